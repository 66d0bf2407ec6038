//! Compiled policies of repositories and registries, read in the snapshot of the repository that
//! they decide about.

use std::sync::Arc;

use quick_cache::sync::Cache;
use wharfinger_db::{self as db, Tx};
use wharfinger_iam::{Grammar, Policy};

use crate::error::Error;
use crate::model::{PolicyId, RegistryId, Repository};
use crate::store::registry_settings;
use crate::store::repositories::{self, RepositoryRow};

/// Compiled policies in memory. Each is at most 10,240 characters of text, some 30 KB compiled:
/// 30 MB at the very most.
const COMPILED_POLICIES: usize = 1_000;

/// A cache of compiled policies by row number and time. It is never stale: a new text gets a new
/// number. The number of a committed row is used again only where a failover lost that row, and
/// then with a later time.
#[derive(Clone)]
pub(super) struct PolicyCache(Arc<Cache<(Owner, PolicyId), Arc<Policy>>>);

/// What a policy belongs to. Each kind has a table of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Owner {
    Repository,
    Registry,
}

impl PolicyCache {
    pub(super) fn new() -> Self {
        Self(Arc::new(Cache::new(COMPILED_POLICIES)))
    }

    /// Adds the compiled policies to a repository row, in the read transaction that found the row.
    ///
    /// # Errors
    /// A missing text, and a stored text that does not compile: what the policy might deny must not
    /// be allowed.
    pub(super) fn complete(
        &self,
        tx: &mut Tx<'_>,
        row: RepositoryRow,
    ) -> Result<Repository, Error> {
        let policy = self.get(tx, Owner::Repository, row.policy)?;
        let registry_policy = self.get(tx, Owner::Registry, row.registry_policy)?;
        Ok(row.with_policies(policy, registry_policy))
    }

    /// The compiled policy of a registry, in a read transaction.
    ///
    /// # Errors
    /// As [`PolicyCache::complete`].
    pub(super) fn of_registry(
        &self,
        tx: &mut Tx<'_>,
        registry: &RegistryId,
    ) -> Result<Option<Arc<Policy>>, Error> {
        let id = registry_settings::policy_id(tx, registry)?;
        self.get(tx, Owner::Registry, id)
    }

    fn get(
        &self,
        tx: &mut Tx<'_>,
        owner: Owner,
        id: Option<PolicyId>,
    ) -> Result<Option<Arc<Policy>>, Error> {
        let Some(id) = id else { return Ok(None) };
        if let Some(policy) = self.0.get(&(owner, id)) {
            return Ok(Some(policy));
        }
        let policy = compile(tx, owner, id)?;
        self.0.insert((owner, id), Arc::clone(&policy));
        Ok(Some(policy))
    }
}

/// The same in a write transaction. Nothing is added to a cache: the row may be rolled back, and
/// then its number is used again.
pub(super) fn complete_uncommitted(
    tx: &mut Tx<'_>,
    row: RepositoryRow,
) -> Result<Repository, Error> {
    let policy = row.policy.map(|id| compile(tx, Owner::Repository, id));
    let policy = policy.transpose()?;
    let registry_policy = row
        .registry_policy
        .map(|id| compile(tx, Owner::Registry, id));
    let registry_policy = registry_policy.transpose()?;
    Ok(row.with_policies(policy, registry_policy))
}

impl Repository {
    /// The policy's text as it was set.
    ///
    /// # Errors
    /// [`Error::NoRepositoryPolicy`].
    pub fn policy_text(&self) -> Result<&str, Error> {
        let policy = self.policy.as_ref();
        policy
            .map(|policy| policy.text())
            .ok_or_else(|| Error::NoRepositoryPolicy {
                name: self.name.clone(),
                registry: self.registry.clone(),
            })
    }
}

fn compile(tx: &mut Tx<'_>, owner: Owner, id: PolicyId) -> Result<Arc<Policy>, Error> {
    let (text, grammar) = match owner {
        Owner::Repository => (repositories::policy_text(tx, id)?, Grammar::Repository),
        Owner::Registry => (registry_settings::policy_text(tx, id)?, Grammar::Registry),
    };
    let text = text.ok_or_else(|| db::Error::other("the text of a stored policy is missing"))?;
    let compiled = Policy::parse(&text, grammar)
        .map_err(|_| db::Error::other("a stored policy does not compile"))?;
    Ok(Arc::new(compiled))
}
