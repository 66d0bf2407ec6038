//! Pulls through the cache: what a repository lacks comes from its upstream registry.

use std::sync::Arc;

use http::header::RETRY_AFTER;
use http::{HeaderName, StatusCode};
use wharfinger_api_core::{Authorizer, RequestFacts};
use wharfinger_oci::Reference;
use wharfinger_registry::{
    self as registry, AppliedFor, ImportError, ImportedLayer, PullTarget, Pulled, Repositories,
    RepositoryResource, UpstreamSource,
};

use crate::error::{Code, DistributionError};
use crate::permissions::{CREATE_REPOSITORY, IMPORT_IMAGE};
use crate::request::IncomingRequest;
use crate::response::ascii;

const CDN_LOOP: HeaderName = HeaderName::from_static("cdn-loop");

/// A repository, and what it has of the target of a pull.
pub(crate) struct Loaded {
    pub(crate) resource: Arc<RepositoryResource>,
    pub(crate) pulled: Pulled,
    /// A layer that is on its way into the repository.
    pub(crate) importing: Option<ImportedLayer>,
}

/// What became of a pull through the cache.
pub(crate) enum PulledThrough {
    /// The repository as it was when the request was decided.
    Same(Loaded),
    /// The repository was loaded again, and may be another one, or have another policy: the request
    /// is to be decided again.
    Reloaded(Loaded),
    /// The same, and nothing was imported.
    Again(Loaded),
}

impl IncomingRequest<'_> {
    /// Imports what the caller, who may pull it, pulls and the repository lacks, and looks upstream
    /// for a tag that was not looked at for long.
    ///
    /// # Errors
    /// 403 for a caller without the permissions to import. The failures of the upstream registry.
    pub(crate) async fn pull_through(
        &self,
        authorizer: &Authorizer<'_>,
        loaded: Loaded,
        target: &PullTarget,
    ) -> Result<PulledThrough, DistributionError> {
        let may_come = matches!(
            (target, &loaded.pulled),
            (PullTarget::Manifest(Reference::Tag(_)), Pulled::Manifest(_)) | (_, Pulled::Nothing)
        );
        if !may_come {
            return Ok(PulledThrough::Same(loaded));
        }
        let cache = &self.state.pull_through;
        let (id, name) = (&loaded.resource.registry, &loaded.resource.name);
        let cdn_loop = self.headers.get(CDN_LOOP);
        let cdn_loop = cdn_loop.and_then(|value| value.to_str().ok());
        let Some(source) = cache.source(id, name, cdn_loop).await? else {
            return Ok(PulledThrough::Same(loaded));
        };
        match (target, &loaded.pulled) {
            (PullTarget::Manifest(Reference::Tag(tag)), Pulled::Manifest(manifest)) => {
                let repository = loaded.resource.repository()?;
                let digest = &manifest.image.digest;
                if !cache.is_due(repository, tag, digest).await?
                    || !authorizer.would_allow(IMPORT_IMAGE, &*loaded.resource)
                {
                    return Ok(PulledThrough::Same(loaded));
                }
                cache.refresh(&source, repository, tag, digest).await;
                self.load_again(loaded, target)
                    .await
                    .map(PulledThrough::Reloaded)
            }
            (PullTarget::Manifest(reference), _) => {
                let repositories = &self.state.registry.repositories;
                if !may_import(repositories, authorizer, &source, &loaded.resource).await? {
                    return Ok(PulledThrough::Same(loaded));
                }
                let repository = loaded.resource.repository().ok().map(|found| found.id);
                match cache.import_image(&source, reference, repository).await {
                    Ok(()) => self
                        .load_again(loaded, target)
                        .await
                        .map(PulledThrough::Reloaded),
                    Err(registry::Error::Import(ImportError::RepositoryAppeared)) => self
                        .load_again(loaded, target)
                        .await
                        .map(PulledThrough::Again),
                    Err(registry::Error::Import(ImportError::NotFound)) => {
                        Ok(PulledThrough::Same(loaded))
                    }
                    Err(error) => Err(of_registry(error)),
                }
            }
            (PullTarget::Blob(digest), _) => {
                let Ok(repository) = loaded.resource.repository() else {
                    return Ok(PulledThrough::Same(loaded));
                };
                if !authorizer.would_allow(IMPORT_IMAGE, &*loaded.resource) {
                    return Ok(PulledThrough::Same(loaded));
                }
                match cache.import_layer(&source, repository, digest).await {
                    Ok(layer) => Ok(PulledThrough::Same(Loaded {
                        importing: Some(layer),
                        ..loaded
                    })),
                    Err(
                        registry::Error::NoSuchBlob(_)
                        | registry::Error::Import(ImportError::NotFound),
                    ) => self
                        .load_again(loaded, target)
                        .await
                        .map(PulledThrough::Reloaded),
                    Err(error) => Err(of_registry(error)),
                }
            }
        }
    }

    async fn load_again(
        &self,
        loaded: Loaded,
        target: &PullTarget,
    ) -> Result<Loaded, DistributionError> {
        let (id, name) = (&loaded.resource.registry, &loaded.resource.name);
        let again = self.state.registry.load_for_pull(id, name, target.clone());
        let (resource, pulled) = again.await?;
        Ok(Loaded {
            resource,
            pulled,
            importing: None,
        })
    }
}

/// Whether the caller may import an image, and create its repository where it is missing. Where a
/// rule is for all names, what a caller may not import is simply not there: it may be about to push
/// it.
///
/// # Errors
/// 403, for a rule with a prefix.
async fn may_import(
    repositories: &Repositories,
    authorizer: &Authorizer<'_>,
    source: &UpstreamSource,
    resource: &RepositoryResource,
) -> Result<bool, DistributionError> {
    let is_hidden = source.is_for_all_names();
    if is_hidden && !authorizer.would_allow(IMPORT_IMAGE, resource) {
        return Ok(false);
    }
    authorizer.check(IMPORT_IMAGE, resource)?;
    if resource.repository().is_ok() {
        return Ok(true);
    }
    if is_hidden && !authorizer.would_allow(CREATE_REPOSITORY, resource) {
        return Ok(false);
    }
    let (registry, name) = (&resource.registry, &resource.name);
    let purpose = AppliedFor::PullThroughCache;
    let template = repositories.template_for(registry, name, purpose).await?;
    let tags = template.map(|template| template.settings.tags);
    let facts = RequestFacts {
        set: tags.into_iter().flatten().collect(),
        ..RequestFacts::default()
    };
    authorizer.check_with_facts(CREATE_REPOSITORY, resource, &facts)?;
    Ok(true)
}

fn of_registry(error: registry::Error) -> DistributionError {
    match error {
        registry::Error::Import(why) => of_import(&why),
        error => error.into(),
    }
}

/// What an upstream registry refused, or why it could not be reached.
fn of_import(error: &ImportError) -> DistributionError {
    let message = error.to_string();
    match error {
        ImportError::NotFound => DistributionError::new(Code::ManifestUnknown, message),
        ImportError::Denied(_) | ImportError::Secret(_) => {
            DistributionError::new(Code::Denied, message)
        }
        ImportError::TooManyRequests { retry_after } => {
            let limited = DistributionError::new(Code::TooManyRequests, message);
            match retry_after {
                Some(wait) => {
                    // Rounded up: not before it is over.
                    let seconds = wait.as_millis().div_ceil(1_000);
                    limited.with_header(RETRY_AFTER, ascii(seconds.to_string()))
                }
                None => limited,
            }
        }
        ImportError::Unavailable(_) | ImportError::Invalid(_) | ImportError::RepositoryAppeared => {
            DistributionError::new(Code::Unknown, message).with_status(StatusCode::BAD_GATEWAY)
        }
        ImportError::Internal => DistributionError::internal(error),
    }
}
