//! Repositories in memory, each for one state of the index.

use std::sync::Arc;

use quick_cache::sync::Cache;
use wharfinger_db::Tx;
use wharfinger_oci::RepositoryName;

use crate::error::Error;
use crate::model::RegistryId;
use crate::policies::PolicyCache;
use crate::repository_resource::RepositoryResource;
use crate::store;

/// Repositories in memory, at some 2 KB each with 50 tags.
const CAPACITY: usize = 2_048;

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

#[derive(Clone)]
struct Entry {
    /// [`Tx::version`] of the transaction that read the repository.
    version: u64,
    resource: Arc<RepositoryResource>,
}

/// A cache of repositories as policy decisions see them. An entry is used only in transactions on
/// the state that it was read from, so it is never stale, and what such a transaction reads besides
/// is of the same snapshot.
#[derive(Clone)]
pub(super) struct RepositoryCache {
    entries: Arc<Cache<RepositoryLookup, Entry>>,
    policies: PolicyCache,
}

impl RepositoryCache {
    pub(super) fn new(policies: PolicyCache) -> Self {
        Self {
            entries: Arc::new(Cache::new(CAPACITY)),
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
        let version = tx.version();
        if let Some(entry) = self.entries.get(key)
            && Some(entry.version) == version
        {
            return Ok(Some(entry.resource));
        }
        let Some(row) = store::repositories::by_name(tx, &key.registry, &key.name)? else {
            return Ok(None);
        };
        let resource = Arc::new(RepositoryResource::from(self.policies.complete(tx, row)?));
        if let Some(version) = version {
            let resource = Arc::clone(&resource);
            self.entries
                .insert(key.clone(), Entry { version, resource });
        }
        Ok(Some(resource))
    }
}
