//! The resources of ECR: a registry, all of its repositories, or one repository.

use std::sync::Arc;

use serde::Deserialize;
use wharfinger_api_core::RequestScope;
use wharfinger_aws::{AccountId, Arn};
use wharfinger_iam::{Policy, Resource};
use wharfinger_oci::RepositoryName;
use wharfinger_registry::{RegistryId, Repositories, Repository, RepositoryResource};

use crate::{Error, Result};

/// The name of a resource.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ResourceId {
    /// An account's registry, for actions that its own policy does not decide: identity policies
    /// allow them on `*`.
    Account(RegistryId),
    /// A registry, for actions that policies allow on `*` only.
    Registry(RegistryId),
    /// All repositories of a registry.
    Repositories(RegistryId),
    /// All repositories of a registry whose names begin with a prefix and a slash.
    RepositoriesUnder(RegistryId, String),
    Repository(RegistryId, RepositoryName),
    /// A role that a request hands over, by its ARN.
    Role(RegistryId, Arn),
}

/// A resource as decisions and operations use it.
#[derive(Clone, Debug)]
pub enum EcrResource {
    Registry(RegistryId, Option<Arc<Policy>>),
    Repositories(RegistryId, Arn, Option<Arc<Policy>>),
    Repository(Arc<RepositoryResource>),
    Role(RegistryId, Arn),
}

impl EcrResource {
    pub(super) async fn load(repositories: &Repositories, id: &ResourceId) -> Result<Self> {
        Ok(match id {
            ResourceId::Account(registry) => Self::Registry(registry.clone(), None),
            ResourceId::Registry(registry) => {
                let policy = repositories.registry_policy(registry).await?;
                Self::Registry(registry.clone(), policy)
            }
            ResourceId::Repositories(registry) => {
                let arn = Arn::ecr_repository(&registry.region, &registry.account, "*");
                let policy = repositories.registry_policy(registry).await?;
                Self::Repositories(registry.clone(), arn, policy)
            }
            ResourceId::RepositoriesUnder(registry, prefix) => {
                let names = format!("{prefix}/*");
                let arn = Arn::ecr_repository(&registry.region, &registry.account, &names);
                let policy = repositories.registry_policy(registry).await?;
                Self::Repositories(registry.clone(), arn, policy)
            }
            ResourceId::Repository(registry, name) => {
                Self::Repository(repositories.load_resource(registry, name).await?)
            }
            ResourceId::Role(registry, arn) => Self::Role(registry.clone(), arn.clone()),
        })
    }

    /// The registry that the resource is or belongs to.
    pub(super) fn registry(&self) -> &RegistryId {
        match self {
            Self::Registry(registry, _)
            | Self::Repositories(registry, ..)
            | Self::Role(registry, _) => registry,
            Self::Repository(repository) => &repository.registry,
        }
    }

    /// The repository.
    ///
    /// # Errors
    /// `RepositoryNotFoundException`.
    pub(super) fn repository(&self) -> Result<&Repository> {
        match self {
            Self::Repository(repository) => Ok(repository.repository()?),
            Self::Registry(..) | Self::Repositories(..) | Self::Role(..) => {
                Err(Error::no_repository())
            }
        }
    }
}

impl Resource for EcrResource {
    fn arn(&self) -> Option<&Arn> {
        match self {
            Self::Registry(..) => None,
            Self::Repositories(_, arn, _) | Self::Role(_, arn) => Some(arn),
            Self::Repository(repository) => repository.arn(),
        }
    }

    fn account(&self) -> AccountId {
        self.registry().account
    }

    fn policy(&self) -> Option<&Policy> {
        match self {
            Self::Repository(repository) => repository.policy(),
            Self::Registry(..) | Self::Repositories(..) | Self::Role(..) => None,
        }
    }

    fn registry_policy(&self) -> Option<&Policy> {
        match self {
            Self::Repository(repository) => repository.registry_policy(),
            Self::Registry(_, policy) | Self::Repositories(_, _, policy) => policy.as_deref(),
            Self::Role(..) => None,
        }
    }

    fn tags(&self) -> &[(String, String)] {
        match self {
            Self::Repository(repository) => repository.tags(),
            Self::Registry(..) | Self::Repositories(..) | Self::Role(..) => &[],
        }
    }
}

/// `registryId` and `repositoryName`, which most requests have.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct RepositoryRef {
    registry_id: Option<AccountId>,
    pub(super) repository_name: RepositoryName,
}

impl RepositoryRef {
    pub(super) fn id(&self, scope: &RequestScope) -> ResourceId {
        let registry = registry_id(scope, self.registry_id);
        ResourceId::Repository(registry, self.repository_name.clone())
    }
}

/// The registry of `account`, or else the caller's own.
pub(super) fn registry_id(scope: &RequestScope, account: Option<AccountId>) -> RegistryId {
    RegistryId {
        account: account.unwrap_or(scope.account),
        region: scope.region.clone(),
    }
}
