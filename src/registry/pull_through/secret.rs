//! Credentials of upstream registries, which lie in the secrets store or are those of roles.

use async_trait::async_trait;
use serde::Deserialize;
use wharfinger_aws::Arn;
use wharfinger_base::Secret;
use wharfinger_registry_client::{Credentials, Upstream};

use crate::model::RegistryId;

/// Why a secret gives no credentials. Messages are those of AWS where they are known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SecretError {
    #[error(
        "The ARN of the secret specified in the pull through cache rule was not found. Update the \
         pull through cache rule with a valid secret ARN and try again."
    )]
    NotFound,
    #[error(
        "The secret is unable to be accessed. Verify the resource permissions for the secret and \
         try again."
    )]
    Inaccessible,
    #[error(
        "The secret is accessible but is unable to be decrypted. Verify the resource permissions \
         and try again."
    )]
    Undecryptable,
    /// The value is not the JSON object that it must be.
    #[error("The secret must have the keys username and accessToken.")]
    Malformed,
    /// The rule's role does not exist, or does not trust the cache.
    #[error(
        "The role specified in the pull through cache rule cannot be assumed. Verify that the role \
         exists and that its trust policy allows pullthroughcache.ecr.amazonaws.com."
    )]
    Role,
    /// The secrets store failed.
    #[error("the secrets store failed")]
    Failed,
}

/// The secrets store, as far as requests to other registries use it.
#[async_trait]
pub trait UpstreamSecrets: Send + Sync {
    /// The current value of a secret of the registry's account in its region.
    async fn value(&self, registry: &RegistryId, arn: &Arn) -> Result<Secret<String>, SecretError>;

    /// The credentials in it.
    async fn credentials(
        &self,
        registry: &RegistryId,
        arn: &Arn,
    ) -> Result<Credentials, SecretError> {
        credentials(&self.value(registry, arn).await?)
    }

    /// How an ECR registry of this server is reached: its host, as a role of the registry's
    /// account.
    ///
    /// # Errors
    /// [`SecretError::Role`], also where this server assumes no roles.
    async fn own_registry(
        &self,
        registry: &RegistryId,
        host: &str,
        role: &Arn,
    ) -> Result<Upstream, SecretError> {
        let _ = (registry, host, role);
        Err(SecretError::Role)
    }
}

/// Longest name and longest token, in bytes.
const MAX_BYTES: usize = 16 * 1024;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Document {
    username: String,
    access_token: String,
}

/// The credentials in a secret's value.
///
/// # Errors
/// [`SecretError::Malformed`].
fn credentials(value: &Secret<String>) -> Result<Credentials, SecretError> {
    let document = serde_json::from_str::<Document>(value.reveal());
    let document = document.map_err(|_| SecretError::Malformed)?;
    let fits = |text: &str| (1..=MAX_BYTES).contains(&text.len());
    if !fits(&document.username)
        || !fits(&document.access_token)
        // The Basic scheme separates the two by a colon.
        || document.username.contains(':')
    {
        return Err(SecretError::Malformed);
    }
    Ok(Credentials {
        username: document.username,
        password: Secret::new(document.access_token),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_has_a_name_and_a_token() {
        let of = |text: &str| credentials(&Secret::new(text.to_owned()));
        let found = of(r#"{"username": "me", "accessToken": "t:1", "more": 1}"#);
        let found = found.expect("credentials");
        assert_eq!(
            (found.username.as_str(), found.password.reveal().as_str()),
            ("me", "t:1")
        );
        for text in [
            "",
            "me:token",
            "{}",
            r#"{"username": "me"}"#,
            r#"{"username": "", "accessToken": "t"}"#,
            r#"{"username": "me", "accessToken": ""}"#,
            r#"{"username": "m:e", "accessToken": "t"}"#,
            r#"{"username": 1, "accessToken": "t"}"#,
        ] {
            assert_eq!(of(text).err(), Some(SecretError::Malformed), "{text}");
        }
    }
}
