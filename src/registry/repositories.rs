//! Repositories and their policies: created, found, listed, configured and deleted.

use std::collections::BTreeMap;
use std::sync::Arc;

use wharfinger_base::{Clock, Page};
use wharfinger_db::{Db, Tx};
use wharfinger_iam::Policy;
use wharfinger_oci::{Digest, RepositoryName};

use crate::cleanup::RepositoryCleanup;
use crate::error::Error;
use crate::model::{RegistryId, Repository, RepositoryId, RepositorySettings, TagMutability};
use crate::policies::{PolicyCache, complete_uncommitted};
use crate::repository_cache::{RepositoryCache, RepositoryLookup};
use crate::repository_resource::RepositoryResource;
use crate::store::images;
use crate::store::repositories::{self as store, RepositoryRow};

/// Most repositories looked at for a mount that names no source.
const MOUNT_CANDIDATES: i64 = 32;

/// Operations on repositories.
#[derive(Clone)]
pub struct Repositories {
    pub(super) db: Db,
    pub(super) clock: Clock,
    policies: PolicyCache,
    pub(super) resources: RepositoryCache,
}

impl Repositories {
    pub(super) fn new(db: Db, clock: Clock) -> Self {
        let policies = PolicyCache::new();
        Self {
            db,
            clock,
            resources: RepositoryCache::new(policies.clone()),
            policies,
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
                let id = store::insert(tx, &registry, &name, &settings, now)?;
                let (registry, name) = (registry.clone(), name.clone());
                let row = RepositoryKey { id, registry, name }.load(tx)?;
                complete_uncommitted(tx, row)
            })
            .await
    }

    /// Loads what `name` refers to, for a decision about it.
    pub async fn load_resource(
        &self,
        registry: &RegistryId,
        name: &RepositoryName,
    ) -> Result<Arc<RepositoryResource>, Error> {
        let (resources, key) = (self.resources.clone(), RepositoryLookup::of(registry, name));
        self.db
            .get(move |tx| resources.get_or_missing(tx, &key))
            .await
    }

    /// The policy of the registry, for a decision about something else than one repository.
    pub async fn registry_policy(
        &self,
        registry: &RegistryId,
    ) -> Result<Option<Arc<Policy>>, Error> {
        let (resources, registry) = (self.resources.clone(), registry.clone());
        self.db
            .get(move |tx| resources.registry_policy(tx, &registry))
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
    pub async fn delete(&self, repository: &Repository, force: bool) -> Result<Repository, Error> {
        let (key, now) = (RepositoryKey::of(repository), self.clock.now());
        self.db
            .write(move |tx| {
                let repository = key.load(tx)?;
                if !force && images::any(tx, repository.id)? {
                    return Err(Error::RepositoryNotEmpty {
                        name: repository.name,
                        registry: repository.registry,
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
        repository: &Repository,
        mutability: TagMutability,
    ) -> Result<Repository, Error> {
        self.change(repository, move |tx, repository| {
            repository.settings.mutability = mutability.clone();
            Ok(store::update_mutability(tx, repository.id, &mutability).map(drop)?)
        })
        .await
    }

    /// Sets whether images are to be scanned when pushed.
    pub async fn set_scan_on_push(
        &self,
        repository: &Repository,
        scan_on_push: bool,
    ) -> Result<Repository, Error> {
        self.change(repository, move |tx, repository| {
            repository.settings.scan_on_push = scan_on_push;
            Ok(store::update_scan(tx, repository.id, scan_on_push).map(drop)?)
        })
        .await
    }

    /// Adds or replaces resource tags, then removes the named ones. `limit` tags may remain at
    /// most; `None` says there would be more.
    pub async fn set_tags(
        &self,
        repository: &Repository,
        add: BTreeMap<String, String>,
        remove: Vec<String>,
        limit: usize,
    ) -> Result<Option<Repository>, Error> {
        let key = RepositoryKey::of(repository);
        self.db
            .write(move |tx| {
                let mut repository = key.load(tx)?;
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
        repository: &Repository,
        text: String,
    ) -> Result<Repository, Error> {
        let now = self.clock.now();
        self.change(repository, move |tx, repository| {
            repository.policy = Some(store::put_policy(tx, repository.id, &text, now)?);
            Ok(())
        })
        .await
    }

    /// Deletes the policy and returns its text.
    ///
    /// # Errors
    /// [`Error::NoSuchRepository`], [`Error::NoRepositoryPolicy`].
    pub async fn delete_policy(&self, repository: &Repository) -> Result<String, Error> {
        let key = RepositoryKey::of(repository);
        self.db
            .write(move |tx| {
                let row = key.load(tx)?;
                let repository = complete_uncommitted(tx, row)?;
                let text = repository.policy_text()?.to_owned();
                store::delete_policy(tx, repository.id)?;
                Ok(text)
            })
            .await
    }

    async fn change<A>(&self, repository: &Repository, apply: A) -> Result<Repository, Error>
    where
        A: Fn(&mut Tx<'_>, &mut RepositoryRow) -> Result<(), Error> + Send + Sync + 'static,
    {
        let key = RepositoryKey::of(repository);
        self.db
            .write(move |tx| {
                let mut repository = key.load(tx)?;
                apply(tx, &mut repository)?;
                complete_uncommitted(tx, repository)
            })
            .await
    }
}

/// A repository that was loaded before, and decided about. Another of the same name, made after
/// this one was deleted, may have a policy that the decision did not see.
struct RepositoryKey {
    id: RepositoryId,
    registry: RegistryId,
    name: RepositoryName,
}

impl RepositoryKey {
    fn of(repository: &Repository) -> Self {
        Self {
            id: repository.id,
            registry: repository.registry.clone(),
            name: repository.name.clone(),
        }
    }

    /// The repository's row as it is now.
    ///
    /// # Errors
    /// [`Error::NoSuchRepository`] where it was deleted, even if its name was given again.
    fn load(&self, tx: &mut Tx<'_>) -> Result<RepositoryRow, Error> {
        let found = store::by_name(tx, &self.registry, &self.name)?;
        let same = found.filter(|row| row.id == self.id);
        same.ok_or_else(|| Error::NoSuchRepository {
            name: self.name.clone(),
            registry: self.registry.clone(),
        })
    }
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
