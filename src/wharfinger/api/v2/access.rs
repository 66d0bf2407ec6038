//! Who sends a request of `/v2/`, and may they: credentials to a caller, the gate of policies, a
//! token's scopes.
//!
//! Decided in this order, before a byte of the body is read: who (401), do the policies allow
//! (403), does the token reach (401, `insufficient_scope`), does the repository exist (404). So
//! nobody learns of a repository whose name they may not ask about, and no client fetches token
//! after token for what policies refuse.

use std::borrow::Cow;
use std::sync::Arc;

use http::HeaderMap;
use http::header::AUTHORIZATION;
use wharfinger_api_core::Origin;
use wharfinger_iam::{self as iam, Caller, LayerGrant, ScopeAction};
use wharfinger_oci::{Digest, RepositoryName};
use wharfinger_registry::{RegistryId, Repository};

use crate::api::v2::actions::{self, Scope};
use crate::api::v2::challenge::{Asked, challenge};
use crate::api::v2::error::{Code, Refusal};
use crate::api::v2::query::{MountSource, Query};
use crate::api::v2::route::Route;
use crate::api::v2::visit::Visit;
use crate::app::App;

/// A request as it arrives, before it is known who sends it.
pub(super) struct Arrival<'a> {
    pub(super) app: &'a App,
    pub(super) origin: &'a Origin,
    pub(super) headers: &'a HeaderMap,
    /// What it asks for, where that can be told.
    pub(super) route: Option<&'a Route>,
    pub(super) query: &'a Query<'a>,
}

impl Arrival<'_> {
    /// The caller, by the `Authorization` header.
    ///
    /// # Errors
    /// 401 with a challenge for what the request needs; 403 for a password that has expired, as ECR
    /// does.
    pub(super) async fn authenticate(&self) -> Result<Arc<Caller>, Refusal> {
        let header = self.headers.get(AUTHORIZATION);
        // A header that is no text is as wrong as any other that cannot be read.
        let value = header.map(|value| value.to_str().unwrap_or_default());
        match self.app.iam.authenticate_header(value).await {
            Ok(caller) => Ok(caller),
            Err(error) if error.is_internal() => Err(Refusal::broken(&error)),
            Err(error @ iam::Error::PasswordExpired) => {
                Err(Refusal::new(Code::Denied, error.to_string()))
            }
            Err(iam::Error::MissingCredentials) => {
                Err(self.unauthorized("authentication required", None))
            }
            Err(error) => Err(self.unauthorized(error.to_string(), Some("invalid_token"))),
        }
    }

    /// The issuer and the layer of the download URL, if the request uses one. The issuer's
    /// permission to read is checked as that of any other caller.
    ///
    /// # Errors
    /// 403 for a ticket that was not signed here, has expired, names another layer, or whose
    /// issuer is gone.
    pub(super) async fn ticket(&self) -> Result<Option<(Arc<Caller>, LayerGrant)>, Refusal> {
        let Some(Route::ReadBlob { repository, digest } | Route::CheckBlob { repository, digest }) =
            self.route
        else {
            return Ok(None);
        };
        let Some(ticket) = self.query.first(iam::LAYER_TICKET_PARAMETER) else {
            return Ok(None);
        };
        let invalid = || Refusal::new(Code::Denied, iam::Error::InvalidTicket.to_string());
        match self.app.iam.verify_layer_ticket(ticket).await {
            Ok((caller, grant)) if grant.repository == *repository && grant.digest == *digest => {
                Ok(Some((caller, grant)))
            }
            Err(error) if error.is_internal() => Err(Refusal::broken(&error)),
            Ok(_) | Err(_) => Err(invalid()),
        }
    }

    /// Checks that a Bearer token was issued for the registry that the request addresses.
    ///
    /// # Errors
    /// 401 with `invalid_token`, so that the client fetches another one.
    pub(super) fn check_registry(
        &self,
        caller: &Caller,
        registry: &RegistryId,
    ) -> Result<(), Refusal> {
        match &caller.registry_grant {
            Some(grant)
                if (grant.account, &grant.region) != (registry.account, &registry.region) =>
            {
                Err(self.unauthorized(
                    "the token was issued for another registry",
                    Some("invalid_token"),
                ))
            }
            _ => Ok(()),
        }
    }

    /// Whether a caller who came with a bearer token may do this by the token's scopes.
    ///
    /// # Errors
    /// 401 with `insufficient_scope`, so that the client fetches a token that reaches.
    pub(super) fn check_scope(&self, caller: &Caller) -> Result<(), Refusal> {
        let (Some(grant), Some(route)) = (&caller.registry_grant, self.route) else {
            return Ok(());
        };
        let scopes = &grant.scopes;
        let reaches = match (route.endpoint().row().scope.verb(), route.repository()) {
            (None, _) => true,
            (Some(_), None) => scopes.allows_catalog(),
            (Some(verb), Some(repository)) => scopes.allows(repository, verb),
        };
        if reaches {
            Ok(())
        } else {
            Err(self.unauthorized(
                "the token does not reach this far",
                Some("insufficient_scope"),
            ))
        }
    }

    fn unauthorized(
        &self,
        message: impl Into<Cow<'static, str>>,
        error: Option<&'static str>,
    ) -> Refusal {
        let scope = self
            .route
            .map_or(Scope::None, |route| route.endpoint().row().scope);
        let repository = self
            .route
            .and_then(Route::repository)
            .map(RepositoryName::as_str);
        let source = match (self.route, self.query.mount()) {
            (Some(Route::StartUpload { .. }), Ok(Some((_, MountSource::Repository(source))))) => {
                Some(source)
            }
            _ => None,
        };
        let base = self.origin.base_url(&self.app.config.names);
        let asked = Asked {
            base: &base,
            host: self.origin.host(),
            scope,
            repository,
            source: source.as_ref().map(RepositoryName::as_str),
            error,
        };
        Refusal::unauthorized(message, challenge(self.app.config.challenge, &asked))
    }
}

/// The repository of that name if there is one, for a caller who may do all of `demanded` to a
/// repository of that name.
///
/// # Errors
/// 403 in AWS's words, the same whether the repository exists or not; 401 where only the token
/// falls short.
pub(super) async fn admit(
    visit: &Visit<'_>,
    name: &RepositoryName,
    demanded: &[&'static str],
) -> Result<Option<Repository>, Refusal> {
    let subject = visit.gate.find(name).await?;
    if let Some(message) = demanded
        .iter()
        .find_map(|action| visit.gate.refusal(&subject, action))
    {
        return Err(Refusal::new(Code::Denied, message));
    }
    visit.arrival.check_scope(visit.gate.caller)?;
    Ok(subject.into_repository())
}

/// The repository, if the caller may do `action` to it.
fn allowed(visit: &Visit<'_>, repository: Repository, action: &'static str) -> Option<Repository> {
    let subject = visit.gate.subject(repository);
    let refusal = visit.gate.refusal(&subject, action);
    subject.into_repository().filter(|_| refusal.is_none())
}

/// The name of a repository that a listing shows to the caller.
pub(super) fn visible(visit: &Visit<'_>, repository: Repository) -> Option<RepositoryName> {
    allowed(visit, repository, actions::DESCRIBE_REPOSITORIES).map(|repository| repository.name)
}

/// For a caller who sees no repository at all: whether that is because there is none.
///
/// # Errors
/// 403 where no policy lets the caller describe repositories.
pub(super) fn may_list(visit: &Visit<'_>) -> Result<(), Refusal> {
    match visit.gate.refusal_on_all(actions::DESCRIBE_REPOSITORIES) {
        None => Ok(()),
        Some(message) => Err(Refusal::new(Code::Denied, message)),
    }
}

/// The repositories that a mount of `digest` may take it from: the one named, or those that link it
/// where none was named; only such as the caller may read. What the caller may not read is not
/// there.
///
/// # Errors
/// 401 with `insufficient_scope` where policies let the caller read the named source and only the
/// token does not say so.
pub(super) async fn mountable(
    visit: &Visit<'_>,
    digest: &Digest,
    source: &MountSource,
) -> Result<Vec<Repository>, Refusal> {
    let repositories = &visit.app.registry.repositories;
    let registry = visit.gate.registry;
    let candidates = match source {
        MountSource::Nowhere => Vec::new(),
        MountSource::Anywhere => repositories.linking(registry, digest).await?,
        MountSource::Repository(name) => repositories
            .find(registry, name)
            .await?
            .into_iter()
            .collect(),
    };
    let mut readable = Vec::new();
    for candidate in candidates {
        let Some(repository) = allowed(visit, candidate, actions::READ_LAYER) else {
            continue;
        };
        if visit
            .gate
            .caller
            .registry_grant
            .as_ref()
            .is_none_or(|grant| grant.scopes.allows(&repository.name, ScopeAction::Pull))
        {
            readable.push(repository);
        } else if matches!(source, MountSource::Repository(_)) {
            return Err(visit.arrival.unauthorized(
                "the token does not reach the source of the mount",
                Some("insufficient_scope"),
            ));
        }
    }
    Ok(readable)
}
