//! Where a request works: the registry and repository that nearly every request names.

use serde::Deserialize;
use wharfinger_aws::{AccountId, Fault};
use wharfinger_oci::RepositoryName;
use wharfinger_registry::{RegistryId, Repository};

use wharfinger_api_core::RequestScope as Scope;

use crate::api::context::{Context, Demand};
use crate::api::ecr::error;

/// `registryId` and `repositoryName`.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Place {
    pub(super) registry_id: Option<AccountId>,
    pub(super) repository_name: RepositoryName,
}

impl Place {
    pub(super) fn registry(&self, scope: &Scope) -> RegistryId {
        registry(scope, self.registry_id)
    }

    /// The demand to do `action` on the repository.
    pub(super) fn demand(&self, action: &'static str, scope: &Scope) -> Demand {
        let registry = self.registry(scope);
        Demand::new(
            action,
            Some(registry.repository_arn(&self.repository_name)),
            registry.account,
        )
    }

    /// The repository itself.
    pub(super) async fn repository(&self, cx: &Context) -> Result<Repository, Fault> {
        let registry = self.registry(cx.scope());
        let found = cx
            .app()
            .registry
            .repositories
            .get(&registry, &self.repository_name)
            .await;
        found.map_err(|error| error::fault(cx, &error))
    }
}

/// The registry of `account`, or else the caller's own.
pub(super) fn registry(scope: &Scope, account: Option<AccountId>) -> RegistryId {
    RegistryId {
        account: account.unwrap_or(scope.account),
        region: scope.region.clone(),
    }
}
