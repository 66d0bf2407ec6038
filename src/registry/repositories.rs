//! Repositories: made, found, listed, configured and deleted; and the policies they carry.

use std::collections::BTreeMap;
use std::sync::Arc;

use quick_cache::sync::Cache;
use wharfinger_base::{Clock, Page};
use wharfinger_db::Db;
use wharfinger_iam::{Grammar, Policy};
use wharfinger_oci::{Digest, RepositoryName};

use crate::error::Error;
use crate::model::{PolicyId, RegistryId, Repository, RepositorySettings, TagMutability};
use crate::store::repositories as store;

/// Parsed repository policies kept at hand. Each is at most 10,240 characters of text, some 30 KB
/// parsed: 30 MB at the very most.
const COMPILED_POLICIES: usize = 1_000;

/// Most repositories looked at for a mount that names no source.
const MOUNT_CANDIDATES: i64 = 32;

/// Verbs on repositories.
#[derive(Clone)]
pub struct Repositories {
    db: Db,
    clock: Clock,
    compiled: Arc<Cache<PolicyId, Arc<Policy>>>,
}

impl Repositories {
    pub(super) fn new(db: Db, clock: Clock) -> Self {
        Self {
            db,
            clock,
            compiled: Arc::new(Cache::new(COMPILED_POLICIES)),
        }
    }

    /// Makes a repository.
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
                load(tx, &registry, &name)
            })
            .await
    }

    /// The repository, made with default settings where it is missing (create on push).
    pub async fn find_or_create(
        &self,
        registry: &RegistryId,
        name: &RepositoryName,
    ) -> Result<Repository, Error> {
        match self
            .create(registry, name, RepositorySettings::default())
            .await
        {
            Err(Error::RepositoryExists { .. }) => self.get(registry, name).await,
            other => other,
        }
    }

    pub async fn find(
        &self,
        registry: &RegistryId,
        name: &RepositoryName,
    ) -> Result<Option<Repository>, Error> {
        let (registry, name) = (registry.clone(), name.clone());
        self.db
            .get(move |tx| store::by_name(tx, &registry, &name))
            .await
            .map_err(Error::from)
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
        self.db
            .read(move |tx| {
                let rows = store::page(tx, &registry, &after, rows(limit))?;
                Ok(Page::of(rows, limit, |repository| {
                    repository.name.to_string()
                }))
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
        self.db
            .read(move |tx| store::linking(tx, &registry, &digest, MOUNT_CANDIDATES))
            .await
            .map_err(Error::from)
    }

    /// Deletes the repository: with its images where `force`, else only an empty one. Answers what
    /// was deleted.
    ///
    /// # Errors
    /// [`Error::NoSuchRepository`], [`Error::RepositoryNotEmpty`].
    pub async fn delete(
        &self,
        registry: &RegistryId,
        name: &RepositoryName,
        force: bool,
    ) -> Result<Repository, Error> {
        let (registry, name) = (registry.clone(), name.clone());
        self.db
            .write(move |tx| {
                let repository = load(tx, &registry, &name)?;
                if !force && super::store::images::any(tx, repository.id)? {
                    return Err(Error::RepositoryNotEmpty {
                        name: name.clone(),
                        registry: registry.clone(),
                    });
                }
                store::delete(tx, repository.id)?;
                Ok(repository)
            })
            .await
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
                Ok(Some(repository))
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

    /// Deletes the policy and answers the text it had.
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

    /// The repository's policy in the form the evaluator takes. A stored text that no longer parses
    /// is an error: what it might have denied must not be allowed.
    pub async fn compiled_policy(
        &self,
        repository: &Repository,
    ) -> Result<Option<Arc<Policy>>, Error> {
        let Some(id) = repository.policy else {
            return Ok(None);
        };
        if let Some(policy) = self.compiled.get(&id) {
            return Ok(Some(policy));
        }
        let text = self.db.get(move |tx| store::policy_text(tx, id)).await?;
        // Gone since the repository was read: a newer policy, or none, is in force; the caller's
        // next look sees it.
        let Some(text) = text else { return Ok(None) };
        let parsed = Policy::parse(&text, Grammar::Repository)
            .map_err(|_| wharfinger_db::Error::other("a stored policy does not parse"))?;
        let policy = Arc::new(parsed);
        self.compiled.insert(id, policy.clone());
        Ok(Some(policy))
    }

    async fn change(
        &self,
        registry: &RegistryId,
        name: &RepositoryName,
        apply: impl Fn(&mut wharfinger_db::Tx<'_>, &mut Repository) -> Result<(), Error>
        + Send
        + Sync
        + 'static,
    ) -> Result<Repository, Error> {
        let (registry, name) = (registry.clone(), name.clone());
        self.db
            .write(move |tx| {
                let mut repository = load(tx, &registry, &name)?;
                apply(tx, &mut repository)?;
                Ok(repository)
            })
            .await
    }
}

fn load(
    tx: &mut wharfinger_db::Tx<'_>,
    registry: &RegistryId,
    name: &RepositoryName,
) -> Result<Repository, Error> {
    store::by_name(tx, registry, name)?.ok_or_else(|| Error::NoSuchRepository {
        name: name.clone(),
        registry: registry.clone(),
    })
}

fn policy_text(tx: &mut wharfinger_db::Tx<'_>, repository: &Repository) -> Result<String, Error> {
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

/// One row more than the page holds says whether another page follows.
pub(super) fn rows(limit: usize) -> i64 {
    i64::try_from(limit).map_or(i64::MAX, |limit| limit.saturating_add(1))
}
