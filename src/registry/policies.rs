//! Compiled repository policies, read in the snapshot of the repository that they belong to.

use std::sync::Arc;

use quick_cache::sync::Cache;
use wharfinger_db::{self as db, Tx};
use wharfinger_iam::{Grammar, Policy};

use crate::error::Error;
use crate::model::{PolicyId, Repository};
use crate::store::repositories::{RepositoryRow, policy_text};

/// Compiled policies in memory. Each is at most 10,240 characters of text, some 30 KB compiled:
/// 30 MB at the very most.
const COMPILED_POLICIES: usize = 1_000;

/// A cache of compiled policies by row number and time. It is never stale: a new text gets a new
/// number. The number of a committed row is used again only where a failover lost that row, and
/// then with a later time.
#[derive(Clone)]
pub(super) struct PolicyCache(Arc<Cache<PolicyId, Arc<Policy>>>);

impl PolicyCache {
    pub(super) fn new() -> Self {
        Self(Arc::new(Cache::new(COMPILED_POLICIES)))
    }

    /// Adds the compiled policy to a repository row, in the read transaction that found the row.
    ///
    /// # Errors
    /// A missing text, and a stored text that does not compile: what the policy might deny must not
    /// be allowed.
    pub(super) fn complete(
        &self,
        tx: &mut Tx<'_>,
        row: RepositoryRow,
    ) -> Result<Repository, Error> {
        let Some(id) = row.policy else {
            return Ok(row.with_policy(None));
        };
        let policy = match self.0.get(&id) {
            Some(policy) => policy,
            None => {
                let policy = compile(tx, id)?;
                self.0.insert(id, Arc::clone(&policy));
                policy
            }
        };
        Ok(row.with_policy(Some(policy)))
    }
}

/// The same in a write transaction. Nothing is added to a cache: the row may be rolled back, and
/// then its number is used again.
pub(super) fn complete_uncommitted(
    tx: &mut Tx<'_>,
    row: RepositoryRow,
) -> Result<Repository, Error> {
    let policy = row.policy.map(|id| compile(tx, id)).transpose()?;
    Ok(row.with_policy(policy))
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

fn compile(tx: &mut Tx<'_>, id: PolicyId) -> Result<Arc<Policy>, Error> {
    let text = policy_text(tx, id)?
        .ok_or_else(|| db::Error::other("the text of a repository policy is missing"))?;
    let compiled = Policy::parse(&text, Grammar::Repository)
        .map_err(|_| db::Error::other("a stored repository policy does not compile"))?;
    Ok(Arc::new(compiled))
}
