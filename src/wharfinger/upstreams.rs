//! How this server reaches upstream registries, and the secrets store as their rules use it.

use std::sync::Arc;

use async_trait::async_trait;
use wharfinger_aws::Arn;
use wharfinger_base::{Clock, Secret};
use wharfinger_registry::{RegistryId, SecretError, UpstreamAccess, UpstreamSecrets};
use wharfinger_registry_client::{RegistryClient, Upstream};
use wharfinger_secrets::{Error, SecretRef, SecretValue, Secrets, SecretsHome, VersionQuery};

use crate::config::Upstreams;
use crate::upstream_roles::UpstreamRoles;

/// How upstream registries are reached. `configured` are those with other addresses than their own.
pub(super) fn access(
    configured: &Upstreams,
    clock: &Clock,
    secrets: &Secrets,
    roles: UpstreamRoles,
) -> UpstreamAccess {
    let Upstreams(endpoints) = configured.clone();
    UpstreamAccess {
        client: RegistryClient::new(endpoints.values(), clock.clone()),
        endpoints,
        secrets: own_secrets(secrets, roles),
    }
}

/// The secrets of this server, with credentials of other registries.
pub(super) fn own_secrets(secrets: &Secrets, roles: UpstreamRoles) -> Arc<dyn UpstreamSecrets> {
    Arc::new(OwnSecrets {
        secrets: secrets.clone(),
        roles,
    })
}

/// The secrets and roles of this server.
struct OwnSecrets {
    secrets: Secrets,
    roles: UpstreamRoles,
}

#[async_trait]
impl UpstreamSecrets for OwnSecrets {
    async fn value(&self, registry: &RegistryId, arn: &Arn) -> Result<Secret<String>, SecretError> {
        let home = SecretsHome {
            account: registry.account,
            region: registry.region.clone(),
        };
        let secret = SecretRef::parse(&home, arn.as_str()).map_err(|_| SecretError::NotFound)?;
        match self.secrets.value(&secret, VersionQuery::default()).await {
            Ok((_, _, SecretValue::Text(text))) => Ok(text),
            Ok((_, _, SecretValue::Binary(_))) => Err(SecretError::Malformed),
            Err(Error::NoSuchSecret) => Err(SecretError::NotFound),
            Err(Error::NoSuchValue(_) | Error::SecretDeleted(_)) => Err(SecretError::Inaccessible),
            Err(Error::Sealed) => Err(SecretError::Undecryptable),
            Err(error) => {
                tracing::error!(%error, secret = %arn, "the secret of an upstream was not read");
                Err(SecretError::Failed)
            }
        }
    }
    async fn own_registry(
        &self,
        registry: &RegistryId,
        host: &str,
        role: &Arn,
    ) -> Result<Upstream, SecretError> {
        self.roles.upstream(registry, host, role).await
    }
}
