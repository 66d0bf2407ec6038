//! Secrets as policies see them.

use wharfinger_api_core::RequestScope;
use wharfinger_secrets::{SecretRef, Secrets, SecretsHome};

use crate::secrets_manager::Result;
use crate::views::{StoredResource, home};

/// The name of a resource.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SecretId {
    /// All secrets, for actions that policies allow on `*` only.
    All(SecretsHome),
    /// A secret that a request creates. The end of its ARN is not known yet.
    New(SecretsHome, String),
    Secret(SecretRef),
}

impl SecretId {
    /// The secret that a request names.
    pub(super) fn secret(scope: &RequestScope, text: &str) -> Result<Self> {
        Ok(Self::Secret(SecretRef::parse(&home(scope), text)?))
    }

    pub(super) async fn load(&self, secrets: &Secrets) -> Result<StoredResource> {
        Ok(match self {
            Self::All(home) => StoredResource::of(home, None, None),
            Self::New(home, name) => {
                let arn = home.arn("secretsmanager", &format!("secret:{name}-??????"));
                StoredResource::of(home, Some(arn), None)
            }
            Self::Secret(reference) => match secrets.find(reference).await? {
                Some(secret) => {
                    let (arn, tags) = (secret.arn(), secret.details.tags.clone());
                    StoredResource {
                        secret: Some(secret.clone()),
                        ..StoredResource::of(&secret.home, Some(arn), Some(tags))
                    }
                }
                None => StoredResource::of(reference.home(), Some(reference.shown_arn()), None),
            },
        })
    }
}
