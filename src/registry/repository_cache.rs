//! Repositories and the policies of registries in memory, each for one state of the index.

use std::sync::Arc;

use wharfinger_db::Tx;
use wharfinger_iam::Policy;
use wharfinger_oci::RepositoryName;

use crate::error::Error;
use crate::model::RegistryId;
use crate::policies::PolicyCache;
use crate::repository_resource::RepositoryResource;
use crate::state_cache::StateCache;
use crate::store;

/// Repositories in memory, at some 2 KB each with 50 tags.
const CAPACITY: usize = 2_048;

/// Registries whose policies, or that they have none, are in memory.
const REGISTRIES: usize = 256;

/// The name that a repository is looked up by.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct RepositoryLookup {
    pub(super) registry: RegistryId,
    pub(super) name: RepositoryName,
}

impl RepositoryLookup {
    pub(super) fn of(registry: &RegistryId, name: &RepositoryName) -> Self {
        Self {
            registry: registry.clone(),
            name: name.clone(),
        }
    }
}

/// A cache of repositories as policy decisions see them.
#[derive(Clone)]
pub(super) struct RepositoryCache {
    resources: StateCache<RepositoryLookup, Arc<RepositoryResource>>,
    registries: StateCache<RegistryId, Option<Arc<Policy>>>,
    policies: PolicyCache,
}

impl RepositoryCache {
    pub(super) fn new(policies: PolicyCache) -> Self {
        Self {
            resources: StateCache::new(CAPACITY),
            registries: StateCache::new(REGISTRIES),
            policies,
        }
    }

    /// The repository of that name, in a read transaction.
    ///
    /// # Errors
    /// Those of [`PolicyCache::complete`].
    pub(super) fn get(
        &self,
        tx: &mut Tx<'_>,
        key: &RepositoryLookup,
    ) -> Result<Option<Arc<RepositoryResource>>, Error> {
        if let Some(resource) = self.resources.get(tx, key) {
            return Ok(Some(resource));
        }
        let Some(row) = store::repositories::by_name(tx, &key.registry, &key.name)? else {
            return Ok(None);
        };
        let resource = Arc::new(RepositoryResource::from(self.policies.complete(tx, row)?));
        self.resources
            .insert(tx, key.clone(), Arc::clone(&resource));
        Ok(Some(resource))
    }
    /// What a name refers to, in a read transaction: also one that no repository has.
    ///
    /// # Errors
    /// Those of [`PolicyCache::complete`].
    pub(super) fn get_or_missing(
        &self,
        tx: &mut Tx<'_>,
        key: &RepositoryLookup,
    ) -> Result<Arc<RepositoryResource>, Error> {
        if let Some(resource) = self.get(tx, key)? {
            return Ok(resource);
        }
        let policy = self.registry_policy(tx, &key.registry)?;
        let missing = RepositoryResource::missing(&key.registry, &key.name, policy);
        Ok(Arc::new(missing))
    }

    /// The policy of a registry, in a read transaction.
    ///
    /// # Errors
    /// Those of [`PolicyCache::complete`].
    pub(super) fn registry_policy(
        &self,
        tx: &mut Tx<'_>,
        registry: &RegistryId,
    ) -> Result<Option<Arc<Policy>>, Error> {
        if let Some(policy) = self.registries.get(tx, registry) {
            return Ok(policy);
        }
        let policy = self.policies.of_registry(tx, registry)?;
        self.registries.insert(tx, registry.clone(), policy.clone());
        Ok(policy)
    }
}
