//! Repository creation templates: the settings of repositories that the registry creates itself, on
//! a push, for a replication or for its pull-through cache.

pub(super) mod candidates;
pub(super) mod model;

use wharfinger_base::{Clock, Page, Timestamp};
use wharfinger_db::{Db, Tx};
use wharfinger_oci::RepositoryName;

use crate::creation_templates::candidates::candidates;
use crate::creation_templates::model::{AppliedFor, CreationTemplate, TemplateSettings, key};
use crate::error::Error;
use crate::lifecycle::schedule;
use crate::model::{RegistryId, Repository, RepositoryId, RepositorySettings};
use crate::policies::complete_uncommitted;
use crate::repositories::{Repositories, rows};
use crate::store::{creation_templates as store, repositories};

/// Most templates of a registry. A quota, so that listings and look-ups stay small.
const MAX_TEMPLATES: i64 = 50;

/// Operations on creation templates.
#[derive(Clone)]
pub struct CreationTemplates {
    db: Db,
    clock: Clock,
}

impl CreationTemplates {
    pub(super) const fn new(db: Db, clock: Clock) -> Self {
        Self { db, clock }
    }

    /// Stores a new template.
    ///
    /// # Errors
    /// [`Error::TemplateExists`], [`Error::QuotaReached`].
    pub async fn create(
        &self,
        registry: &RegistryId,
        settings: TemplateSettings,
    ) -> Result<CreationTemplate, Error> {
        let (registry, now) = (registry.clone(), self.clock.now());
        self.db
            .write(move |tx| {
                if store::find(tx, &registry, key(&settings.prefix))?.is_some() {
                    return Err(Error::TemplateExists {
                        prefix: settings.prefix.clone(),
                        registry: registry.clone(),
                    });
                }
                if store::count(tx, &registry)? >= MAX_TEMPLATES {
                    return Err(Error::QuotaReached {
                        what: "repository creation templates",
                        limit: MAX_TEMPLATES.unsigned_abs(),
                    });
                }
                let template = CreationTemplate {
                    settings: settings.clone(),
                    created_at: now,
                    updated_at: now,
                };
                store::put(tx, &registry, key(&settings.prefix), &template)?;
                Ok(template)
            })
            .await
    }

    /// Changes a template by `change`, which sees it as it is now.
    ///
    /// # Errors
    /// [`Error::NoSuchTemplate`], and those of `change`, after which nothing has changed.
    pub async fn update<E, C>(
        &self,
        registry: &RegistryId,
        prefix: &str,
        change: C,
    ) -> Result<Result<CreationTemplate, E>, Error>
    where
        E: Send + 'static,
        C: Fn(&mut TemplateSettings) -> Result<(), E> + Send + Sync + 'static,
    {
        let (registry, prefix, now) = (registry.clone(), prefix.to_owned(), self.clock.now());
        self.db
            .write(move |tx| {
                let mut template = get(tx, &registry, &prefix)?;
                if let Err(refused) = change(&mut template.settings) {
                    return Ok(Err(refused));
                }
                template.updated_at = now;
                store::put(tx, &registry, key(&prefix), &template)?;
                Ok(Ok(template))
            })
            .await
    }

    /// Deletes a template and returns it. Repositories that were created by it stay as they are.
    ///
    /// # Errors
    /// [`Error::NoSuchTemplate`].
    pub async fn delete(
        &self,
        registry: &RegistryId,
        prefix: &str,
    ) -> Result<CreationTemplate, Error> {
        let (registry, prefix) = (registry.clone(), prefix.to_owned());
        self.db
            .write(move |tx| {
                let template = get(tx, &registry, &prefix)?;
                store::delete(tx, &registry, key(&prefix))?;
                Ok(template)
            })
            .await
    }

    /// The template with this prefix, if there is one.
    pub async fn find(
        &self,
        registry: &RegistryId,
        prefix: &str,
    ) -> Result<Option<CreationTemplate>, Error> {
        let (registry, prefix) = (registry.clone(), prefix.to_owned());
        self.db
            .get(move |tx| Ok(store::find(tx, &registry, key(&prefix))?))
            .await
    }

    /// Up to `limit` templates with prefixes after `after` in byte order; the page's key is the
    /// last prefix.
    pub async fn page(
        &self,
        registry: &RegistryId,
        after: &str,
        limit: usize,
    ) -> Result<Page<CreationTemplate>, Error> {
        let (registry, after) = (registry.clone(), after.to_owned());
        let found = self
            .db
            .read(move |tx| store::page(tx, &registry, &after, rows(limit)))
            .await?;
        let last = |template: &CreationTemplate| key(&template.settings.prefix).to_owned();
        Ok(Page::of(found, limit, last))
    }
}

impl Repositories {
    /// The template by which a repository of this name would be created for this purpose, if there
    /// is one.
    pub async fn template_for(
        &self,
        registry: &RegistryId,
        name: &RepositoryName,
        purpose: AppliedFor,
    ) -> Result<Option<CreationTemplate>, Error> {
        let (registry, name) = (registry.clone(), name.clone());
        self.db
            .get(move |tx| choose(tx, &registry, &name, purpose))
            .await
    }

    /// Creates a repository by the most specific template that matches its name and is applied for
    /// the purpose. Without one, a replication and a pull through the cache get the default
    /// settings.
    ///
    /// # Errors
    /// [`Error::RepositoryExists`]; [`Error::NoSuchRepository`] for a push that no template
    /// matches.
    pub async fn create_from_template(
        &self,
        registry: &RegistryId,
        name: &RepositoryName,
        purpose: AppliedFor,
    ) -> Result<Repository, Error> {
        let (registry, name, now) = (registry.clone(), name.clone(), self.clock.now());
        self.db
            .write(move |tx| {
                create_in(tx, &registry, &name, purpose, now)?;
                let row = repositories::by_name(tx, &registry, &name)?;
                let row = row.ok_or_else(|| Error::NoSuchRepository {
                    name: name.clone(),
                    registry: registry.clone(),
                })?;
                complete_uncommitted(tx, row)
            })
            .await
    }
}

/// The same within a transaction.
pub(super) fn create_in(
    tx: &mut Tx<'_>,
    registry: &RegistryId,
    name: &RepositoryName,
    purpose: AppliedFor,
    now: Timestamp,
) -> Result<RepositoryId, Error> {
    if repositories::by_name(tx, registry, name)?.is_some() {
        return Err(Error::RepositoryExists {
            name: name.clone(),
            registry: registry.clone(),
        });
    }
    let Some(template) = choose(tx, registry, name, purpose)? else {
        if purpose.has_defaults() {
            let defaults = RepositorySettings::default();
            return Ok(repositories::insert(tx, registry, name, &defaults, now)?);
        }
        return Err(Error::NoSuchRepository {
            name: name.clone(),
            registry: registry.clone(),
        });
    };
    let settings = template.settings;
    let id = repositories::insert(tx, registry, name, &settings.repository(), now)?;
    if let Some(text) = &settings.repository_policy {
        repositories::put_policy(tx, id, text, now)?;
    }
    if let Some(text) = &settings.lifecycle_policy {
        schedule::set(tx, id, text, now)?;
    }
    Ok(id)
}

/// The first candidate that is applied for the purpose.
fn choose(
    tx: &mut Tx<'_>,
    registry: &RegistryId,
    name: &RepositoryName,
    purpose: AppliedFor,
) -> Result<Option<CreationTemplate>, Error> {
    for candidate in candidates(name) {
        let found = store::find(tx, registry, candidate)?;
        if let Some(template) = found.filter(|one| one.settings.applied_for.contains(&purpose)) {
            return Ok(Some(template));
        }
    }
    Ok(None)
}

fn get(tx: &mut Tx<'_>, registry: &RegistryId, prefix: &str) -> Result<CreationTemplate, Error> {
    let found = store::find(tx, registry, key(prefix))?;
    found.ok_or_else(|| Error::NoSuchTemplate {
        prefix: prefix.to_owned(),
        registry: registry.clone(),
    })
}
