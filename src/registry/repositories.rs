//! Repositories and their policies: created, found, listed, configured and deleted.

use std::collections::BTreeMap;

use wharfinger_base::{Clock, Page};
use wharfinger_db::{Db, Tx};
use wharfinger_oci::{Digest, RepositoryName};

use crate::cleanup::RepositoryCleanup;
use crate::error::Error;
use crate::model::{RegistryId, Repository, RepositorySettings, TagMutability};
use crate::policies::{PolicyCache, complete_uncommitted};
use crate::store::images;
use crate::store::repositories::{self as store, RepositoryRow};

/// Most repositories looked at for a mount that names no source.
const MOUNT_CANDIDATES: i64 = 32;

/// Operations on repositories.
#[derive(Clone)]
pub struct Repositories {
    db: Db,
    clock: Clock,
    pub(super) policies: PolicyCache,
}

impl Repositories {
    pub(super) fn new(db: Db, clock: Clock) -> Self {
        Self {
            db,
            clock,
            policies: PolicyCache::new(),
        }
    }

    /// Creates a repository.
    ///
    /// # Errors
    /// [`Error::RepositoryExists`].
    pub async fn create(
        &self,
        registry: &RegistryId,
        name: &RepositoryName,
        settings: RepositorySettings,
    ) -> Result<Repository, Error> {
        let (registry, name, now) = (registry.clone(), name.clone(), self.clock.now());
        self.db
            .write(move |tx| {
                if store::by_name(tx, &registry, &name)?.is_some() {
                    return Err(Error::RepositoryExists {
                        name: name.clone(),
                        registry: registry.clone(),
                    });
                }
                store::insert(tx, &registry, &name, &settings, now)?;
                let row = load(tx, &registry, &name)?;
                complete_uncommitted(tx, row)
            })
            .await
    }

    /// The repository with its policy, both from one snapshot, if there is one of this name.
    pub async fn find(
        &self,
        registry: &RegistryId,
        name: &RepositoryName,
    ) -> Result<Option<Repository>, Error> {
        let (registry, name) = (registry.clone(), name.clone());
        let policies = self.policies.clone();
        self.db
            .get(move |tx| {
                let row = store::by_name(tx, &registry, &name)?;
                row.map(|row| policies.complete(tx, row)).transpose()
            })
            .await
    }

    /// The repository.
    ///
    /// # Errors
    /// [`Error::NoSuchRepository`].
    pub async fn get(
        &self,
        registry: &RegistryId,
        name: &RepositoryName,
    ) -> Result<Repository, Error> {
        let missing = || Error::NoSuchRepository {
            name: name.clone(),
            registry: registry.clone(),
        };
        self.find(registry, name).await?.ok_or_else(missing)
    }

    /// Up to `limit` repositories with names after `after` in byte order; the page's key is the
    /// last name.
    pub async fn page(
        &self,
        registry: &RegistryId,
        after: &str,
        limit: usize,
    ) -> Result<Page<Repository>, Error> {
        let (registry, after) = (registry.clone(), after.to_owned());
        let policies = self.policies.clone();
        self.db
            .read(move |tx| {
                let rows = store::page(tx, &registry, &after, rows(limit))?;
                let page = Page::of(rows, limit, |row| row.name.to_string());
                Ok(Page {
                    items: complete_all(&policies, tx, page.items)?,
                    next: page.next,
                })
            })
            .await
    }

    /// Repositories of the registry that link `digest`, oldest first, a bounded number.
    pub async fn linking(
        &self,
        registry: &RegistryId,
        digest: &Digest,
    ) -> Result<Vec<Repository>, Error> {
        let (registry, digest) = (registry.clone(), digest.to_stored());
        let policies = self.policies.clone();
        self.db
            .read(move |tx| {
                let rows = store::linking(tx, &registry, &digest, MOUNT_CANDIDATES)?;
                complete_all(&policies, tx, rows)
            })
            .await
    }

    /// Deletes the repository: with its images where `force`, else only an empty one. Returns what
    /// was deleted. The repository is gone, for everybody at once, and its name is free when this
    /// returns; [`RepositoryCleanup`] removes its rows in other tables afterwards.
    ///
    /// # Errors
    /// [`Error::NoSuchRepository`], [`Error::RepositoryNotEmpty`].
    pub async fn delete(
        &self,
        registry: &RegistryId,
        name: &RepositoryName,
        force: bool,
    ) -> Result<Repository, Error> {
        let (registry, name, now) = (registry.clone(), name.clone(), self.clock.now());
        self.db
            .write(move |tx| {
                let repository = load(tx, &registry, &name)?;
                if !force && images::any(tx, repository.id)? {
                    return Err(Error::RepositoryNotEmpty {
                        name: name.clone(),
                        registry: registry.clone(),
                    });
                }
                let repository = complete_uncommitted(tx, repository)?;
                store::delete(tx, repository.id, now)?;
                Ok(repository)
            })
            .await
    }

    /// The reconciler that removes what deleted repositories leave.
    pub fn cleanup(&self) -> RepositoryCleanup {
        RepositoryCleanup(self.db.clone())
    }

    /// Sets whether tags may move.
    pub async fn set_mutability(
        &self,
        registry: &RegistryId,
        name: &RepositoryName,
        mutability: TagMutability,
    ) -> Result<Repository, Error> {
        self.change(registry, name, move |tx, repository| {
            repository.settings.mutability = mutability.clone();
            Ok(store::update_mutability(tx, repository.id, &mutability).map(drop)?)
        })
        .await
    }

    /// Sets whether images are to be scanned when pushed.
    pub async fn set_scan_on_push(
        &self,
        registry: &RegistryId,
        name: &RepositoryName,
        scan_on_push: bool,
    ) -> Result<Repository, Error> {
        self.change(registry, name, move |tx, repository| {
            repository.settings.scan_on_push = scan_on_push;
            Ok(store::update_scan(tx, repository.id, scan_on_push).map(drop)?)
        })
        .await
    }

    /// Adds or replaces resource tags, then removes the named ones. `limit` tags may remain at
    /// most; `None` says there would be more.
    pub async fn set_tags(
        &self,
        registry: &RegistryId,
        name: &RepositoryName,
        add: BTreeMap<String, String>,
        remove: Vec<String>,
        limit: usize,
    ) -> Result<Option<Repository>, Error> {
        let (registry, name) = (registry.clone(), name.clone());
        self.db
            .write(move |tx| {
                let mut repository = load(tx, &registry, &name)?;
                let tags = &mut repository.settings.tags;
                tags.extend(add.clone());
                for key in &remove {
                    tags.remove(key);
                }
                if tags.len() > limit {
                    return Ok(None);
                }
                store::update_tags(tx, repository.id, &repository.settings)?;
                complete_uncommitted(tx, repository).map(Some)
            })
            .await
    }

    /// Stores the text of a policy that was validated already.
    pub async fn set_policy(
        &self,
        registry: &RegistryId,
        name: &RepositoryName,
        text: String,
    ) -> Result<Repository, Error> {
        let now = self.clock.now();
        self.change(registry, name, move |tx, repository| {
            repository.policy = Some(store::put_policy(tx, repository.id, &text, now)?);
            Ok(())
        })
        .await
    }

    /// The policy's text as it was set.
    ///
    /// # Errors
    /// [`Error::NoSuchRepository`], [`Error::NoRepositoryPolicy`].
    pub async fn policy(
        &self,
        registry: &RegistryId,
        name: &RepositoryName,
    ) -> Result<String, Error> {
        let (registry, name) = (registry.clone(), name.clone());
        self.db
            .get(move |tx| {
                let repository = load(tx, &registry, &name)?;
                policy_text(tx, &repository)
            })
            .await
    }

    /// Deletes the policy and returns its text.
    ///
    /// # Errors
    /// [`Error::NoSuchRepository`], [`Error::NoRepositoryPolicy`].
    pub async fn delete_policy(
        &self,
        registry: &RegistryId,
        name: &RepositoryName,
    ) -> Result<String, Error> {
        let (registry, name) = (registry.clone(), name.clone());
        self.db
            .write(move |tx| {
                let repository = load(tx, &registry, &name)?;
                let text = policy_text(tx, &repository)?;
                store::delete_policy(tx, repository.id)?;
                Ok(text)
            })
            .await
    }

    async fn change<A>(
        &self,
        registry: &RegistryId,
        name: &RepositoryName,
        apply: A,
    ) -> Result<Repository, Error>
    where
        A: Fn(&mut Tx<'_>, &mut RepositoryRow) -> Result<(), Error> + Send + Sync + 'static,
    {
        let (registry, name) = (registry.clone(), name.clone());
        self.db
            .write(move |tx| {
                let mut repository = load(tx, &registry, &name)?;
                apply(tx, &mut repository)?;
                complete_uncommitted(tx, repository)
            })
            .await
    }
}

fn load(
    tx: &mut Tx<'_>,
    registry: &RegistryId,
    name: &RepositoryName,
) -> Result<RepositoryRow, Error> {
    store::by_name(tx, registry, name)?.ok_or_else(|| Error::NoSuchRepository {
        name: name.clone(),
        registry: registry.clone(),
    })
}

fn policy_text(tx: &mut Tx<'_>, repository: &RepositoryRow) -> Result<String, Error> {
    let text = repository
        .policy
        .map(|id| store::policy_text(tx, id))
        .transpose()?
        .flatten();
    text.ok_or_else(|| Error::NoRepositoryPolicy {
        name: repository.name.clone(),
        registry: repository.registry.clone(),
    })
}

fn complete_all(
    policies: &PolicyCache,
    tx: &mut Tx<'_>,
    rows: Vec<RepositoryRow>,
) -> Result<Vec<Repository>, Error> {
    rows.into_iter()
        .map(|row| policies.complete(tx, row))
        .collect()
}

/// One row more than the page holds says whether another page follows.
pub(super) fn rows(limit: usize) -> i64 {
    i64::try_from(limit).map_or(i64::MAX, |limit| limit.saturating_add(1))
}
