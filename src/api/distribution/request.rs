//! A request before its sender is known, and after it was authorised: what handlers take their
//! input from.

use std::sync::Arc;

use http::HeaderMap;
use http::header::CONTENT_LENGTH;
use uuid::Uuid;
use wharfinger_api_core::{AuditTrail, Authorizer, Origin, RequestContext};
use wharfinger_iam::{Caller, EvaluationBudget};
use wharfinger_oci::{Digest, Reference, RepositoryName};
use wharfinger_registry::{
    self as registry, ImportedLayer, LinkedBlob, Pulled, RegistryId, Repository,
    RepositoryResource, StoredManifest,
};

use crate::error::DistributionError;
use crate::permissions::RequiredPermissions;
use crate::query::{Query, QueryError};
use crate::route::{Route, RouteError, Target};
use crate::state::DistributionState;

/// A request whose sender is not known yet. Errors in its path and query are reported only to
/// callers with valid credentials.
pub(crate) struct IncomingRequest<'a> {
    pub(crate) state: &'a DistributionState,
    pub(crate) context: &'a RequestContext,
    pub(crate) headers: &'a HeaderMap,
    /// The path, or what is wrong with it or with the method.
    pub(crate) route: Result<&'a Route, &'a RouteError>,
    pub(crate) permissions: &'static RequiredPermissions,
    pub(crate) query: Result<&'a Query<'a>, &'a QueryError>,
    pub(crate) trail: &'a AuditTrail,
}

/// A request whose caller was found to be allowed to send it; only
/// [`IncomingRequest::authorize`] creates one.
pub(crate) struct AuthorizedRequest<'a> {
    pub(crate) incoming: &'a IncomingRequest<'a>,
    pub(crate) route: &'a Route,
    pub(crate) query: &'a Query<'a>,
    pub(crate) caller: Arc<Caller>,
    pub(crate) registry: RegistryId,
    /// The work that all policy decisions of the request may do together.
    pub(crate) budget: EvaluationBudget,
    /// The resource that was decided about; `None` where the request names no repository.
    pub(crate) found: Option<Arc<RepositoryResource>>,
    /// What the repository has of the manifest or blob that the request reads.
    pub(crate) pulled: Pulled,
    /// The layer that the request reads, if it is on its way from an upstream registry.
    pub(crate) importing: Option<ImportedLayer>,
}

impl<'a> AuthorizedRequest<'a> {
    pub(crate) fn state(&self) -> &'a DistributionState {
        self.incoming.state
    }

    pub(crate) fn headers(&self) -> &'a HeaderMap {
        self.incoming.headers
    }

    fn origin(&self) -> &'a Origin {
        self.incoming.context.origin()
    }

    /// Decides about further resources for the same caller.
    pub(crate) fn authorizer(&self) -> Authorizer<'_> {
        Authorizer {
            caller: &self.caller,
            origin: self.origin(),
            region: &self.registry.region,
            now: self.state().clock.now(),
            budget: &self.budget,
            trail: self.incoming.trail,
        }
    }

    /// The name of the repository.
    pub(crate) fn name(&self) -> Result<&'a RepositoryName, DistributionError> {
        let name = self.route.repository.as_ref();
        name.ok_or_else(|| RouteError::NoSuchEndpoint.into())
    }

    /// The repository, if there is one of the name.
    pub(crate) fn found_repository(&self) -> Option<&Repository> {
        self.found.as_ref()?.repository().ok()
    }

    /// The repository.
    ///
    /// # Errors
    /// `NAME_UNKNOWN`.
    pub(crate) fn repository(&self) -> Result<&Repository, DistributionError> {
        if let Some(repository) = self.found_repository() {
            return Ok(repository);
        }
        Err(registry::Error::NoSuchRepository {
            name: self.name()?.clone(),
            registry: self.registry.clone(),
        }
        .into())
    }

    /// The manifest that the request reads.
    ///
    /// # Errors
    /// `NAME_UNKNOWN`, `MANIFEST_UNKNOWN`.
    pub(crate) fn manifest(&self) -> Result<&StoredManifest, DistributionError> {
        self.repository()?;
        match &self.pulled {
            Pulled::Manifest(manifest) => Ok(manifest),
            _ => Err(registry::Error::NoSuchImage(self.reference()?.clone()).into()),
        }
    }

    /// The blob that the request reads.
    ///
    /// # Errors
    /// `NAME_UNKNOWN`, `BLOB_UNKNOWN`.
    pub(crate) fn blob(&self) -> Result<&LinkedBlob, DistributionError> {
        self.repository()?;
        match &self.pulled {
            Pulled::Blob(blob) => Ok(blob),
            _ => Err(registry::Error::NoSuchBlob(*self.digest()?).into()),
        }
    }

    /// The digest in the path.
    pub(crate) fn digest(&self) -> Result<&'a Digest, DistributionError> {
        match &self.route.target {
            Target::Digest(digest) => Ok(digest),
            _ => Err(RouteError::NoSuchEndpoint.into()),
        }
    }

    /// The tag or digest in the path.
    pub(crate) fn reference(&self) -> Result<&'a Reference, DistributionError> {
        match &self.route.target {
            Target::Reference(reference) => Ok(reference),
            _ => Err(RouteError::NoSuchEndpoint.into()),
        }
    }

    /// The id of the upload in the path.
    pub(crate) fn upload_id(&self) -> Result<Uuid, DistributionError> {
        match self.route.target {
            Target::Upload(id) => Ok(id),
            _ => Err(RouteError::NoSuchEndpoint.into()),
        }
    }

    /// The value of `Content-Length` in bytes.
    pub(crate) fn content_length(&self) -> Option<u64> {
        let value = self.headers().get(CONTENT_LENGTH)?;
        value.to_str().ok()?.parse().ok()
    }
}
