//! A repository as policy decisions see it: loaded once, decided on and then used.

use std::sync::Arc;

use wharfinger_aws::{AccountId, Arn};
use wharfinger_iam::{Policy, Resource};
use wharfinger_oci::RepositoryName;

use crate::error::Error;
use crate::model::{RegistryId, Repository};

/// What a repository's name refers to, with the policies and tags that decide about it. A name that
/// no repository has is decided about as a repository without a policy and tags of its own, so that
/// a decision does not tell whether the repository exists.
#[derive(Clone, Debug)]
pub struct RepositoryResource {
    pub registry: RegistryId,
    pub name: RepositoryName,
    repository: Option<Repository>,
    registry_policy: Option<Arc<Policy>>,
    arn: Arn,
    tags: Vec<(String, String)>,
}

impl RepositoryResource {
    /// A name that no repository of the registry with this policy has.
    pub(super) fn missing(
        registry: &RegistryId,
        name: &RepositoryName,
        registry_policy: Option<Arc<Policy>>,
    ) -> Self {
        Self {
            arn: registry.repository_arn(name),
            registry: registry.clone(),
            name: name.clone(),
            repository: None,
            registry_policy,
            tags: Vec::new(),
        }
    }

    /// The repository.
    ///
    /// # Errors
    /// [`Error::NoSuchRepository`].
    pub fn repository(&self) -> Result<&Repository, Error> {
        self.repository
            .as_ref()
            .ok_or_else(|| Error::NoSuchRepository {
                name: self.name.clone(),
                registry: self.registry.clone(),
            })
    }

    /// The repository, if one has the name.
    #[must_use]
    pub fn into_repository(self) -> Option<Repository> {
        self.repository
    }
}

impl Resource for RepositoryResource {
    fn arn(&self) -> Option<&Arn> {
        Some(&self.arn)
    }

    fn account(&self) -> AccountId {
        self.registry.account
    }

    fn policy(&self) -> Option<&Policy> {
        self.repository.as_ref()?.policy.as_deref()
    }

    fn registry_policy(&self) -> Option<&Policy> {
        self.registry_policy.as_deref()
    }

    fn tags(&self) -> &[(String, String)] {
        &self.tags
    }
}

impl From<Repository> for RepositoryResource {
    fn from(repository: Repository) -> Self {
        Self {
            arn: repository.arn(),
            registry: repository.registry.clone(),
            name: repository.name.clone(),
            tags: repository.settings.tags.clone().into_iter().collect(),
            registry_policy: repository.registry_policy.clone(),
            repository: Some(repository),
        }
    }
}
