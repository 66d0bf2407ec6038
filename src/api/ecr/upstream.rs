//! Images and layers that the API's requests read and that come from upstream registries.

use std::collections::HashMap;
use std::sync::Arc;

use wharfinger_api_core::{Context, Demand};
use wharfinger_oci::{Digest, Reference, RepositoryName};
use wharfinger_registry::{
    self as registry, AppliedFor, ImportError, RegistryId, Repository, RepositoryResource,
    UpstreamSource,
};

use crate::images::ImageId;
use crate::resource::ResourceId;
use crate::{Ecr, Result, error};

/// How often a request is decided whose repository is created or deleted by others meanwhile.
const MAX_DECISIONS: usize = 3;

/// What was imported for a request.
pub(super) struct Imported {
    /// The repository as it is afterwards, if anything was imported.
    resource: Option<Arc<RepositoryResource>>,
    failures: HashMap<Reference, ImportError>,
}

impl Imported {
    /// The repository of the request.
    ///
    /// # Errors
    /// `RepositoryNotFoundException`.
    pub(super) fn repository<'a>(&'a self, cx: &'a Context<Ecr>) -> Result<&'a Repository> {
        match &self.resource {
            Some(resource) => Ok(resource.repository()?),
            None => cx.resource().repository(),
        }
    }

    /// Why an image is not there, if its import failed.
    pub(super) fn failure(&self, reference: &Reference) -> Option<(&'static str, String)> {
        self.failures
            .get(reference)
            .and_then(error::upstream_failure)
    }
}

/// Imports the images of a request that the repository lacks.
///
/// # Errors
/// `AccessDeniedException` for a caller without the permissions to import;
/// `UnableToGetUpstreamImageException` where the secret of the rule gives no credentials.
pub(super) async fn import_images(
    cx: &Context<Ecr>,
    name: &RepositoryName,
    ids: &[ImageId],
) -> Result<Imported> {
    let mut imported = Imported {
        resource: None,
        failures: HashMap::new(),
    };
    let state = cx.state();
    let id = cx.resource().registry();
    let Some(source) = state.pull_through.source(id, name, None).await? else {
        return Ok(imported);
    };
    for reference in ids.iter().filter_map(|id| id.named().ok()) {
        let reference = reference.reference();
        if let Ok(repository) = imported.repository(cx)
            && !lacks(cx, repository, &reference).await?
        {
            continue;
        }
        for _ in 0..MAX_DECISIONS {
            let repository = imported.repository(cx).ok().map(|found| found.id);
            if !may_import(cx, &source, id, name, repository.is_none()).await? {
                break;
            }
            let import = state
                .pull_through
                .import_image(&source, &reference, repository);
            let is_again = match import.await {
                Ok(()) => false,
                Err(registry::Error::Import(ImportError::RepositoryAppeared)) => true,
                Err(registry::Error::Import(ImportError::Secret(why))) => {
                    return Err(error::no_upstream_image(why));
                }
                Err(registry::Error::Import(why)) => {
                    imported.failures.insert(reference, why);
                    break;
                }
                Err(why) => return Err(why.into()),
            };
            let loaded = state.registry.repositories.load_resource(id, name).await?;
            imported.resource = Some(loaded);
            // It may be another one, or have another policy, than when the request was decided.
            let resource = ResourceId::Repository(id.clone(), name.clone());
            cx.require(Demand::new("BatchGetImage", resource)).await?;
            if !is_again {
                break;
            }
        }
    }
    Ok(imported)
}

async fn lacks(cx: &Context<Ecr>, repository: &Repository, reference: &Reference) -> Result<bool> {
    match cx
        .state()
        .registry
        .images
        .head(repository.id, reference)
        .await
    {
        Ok(_) => Ok(false),
        Err(registry::Error::NoSuchImage(_)) => Ok(true),
        Err(error) => Err(error.into()),
    }
}

async fn may_import(
    cx: &Context<Ecr>,
    source: &UpstreamSource,
    id: &RegistryId,
    name: &RepositoryName,
    creates: bool,
) -> Result<bool> {
    let resource = || ResourceId::Repository(id.clone(), name.clone());
    let mut demands = vec![Demand::new("BatchImportUpstreamImage", resource())];
    if creates {
        let repositories = &cx.state().registry.repositories;
        let purpose = AppliedFor::PullThroughCache;
        let template = repositories.template_for(id, name, purpose).await?;
        let tags = template.map(|template| template.settings.tags);
        let tags = tags.into_iter().flatten().collect();
        demands.push(Demand::new("CreateRepository", resource()).with_tags(tags));
    }
    for demand in demands {
        if let Err(denied) = cx.require(demand).await {
            // Under a rule for all names, what a caller may not import is simply not there.
            return if source.is_for_all_names() {
                Ok(false)
            } else {
                Err(denied.into())
            };
        }
    }
    Ok(true)
}

/// Begins to import a layer that the repository lacks; false where it does not come from upstream.
///
/// # Errors
/// `AccessDeniedException`, `UnableToGetUpstreamLayerException`.
pub(super) async fn import_layer(
    cx: &Context<Ecr>,
    repository: &Repository,
    digest: &Digest,
) -> Result<bool> {
    let cache = &cx.state().pull_through;
    let (id, name) = (&repository.registry, &repository.name);
    let Some(source) = cache.source(id, name, None).await? else {
        return Ok(false);
    };
    if !may_import(cx, &source, id, name, false).await? {
        return Ok(false);
    }
    match cache.import_layer(&source, repository, digest).await {
        Ok(_) => Ok(true),
        Err(registry::Error::NoSuchBlob(_)) => Ok(false),
        Err(registry::Error::Import(why)) => Err(error::no_upstream_layer(&why)),
        Err(error) => Err(error.into()),
    }
}
