//! Authentication and authorisation of requests to `/v2/`.
//!
//! The checks have this order, before a byte of the body is read: are the credentials valid (401),
//! do the policies allow the request (403), do the scopes of the token contain it (401 with
//! `insufficient_scope`), does the repository exist (404). So a response never tells a caller
//! whether a repository exists that it has no permission for, and no client requests token after
//! token for something that policies deny.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

use http::header::AUTHORIZATION;
use wharfinger_api_core::{AccessDenied, Authorizer, RequestFacts};
use wharfinger_iam::{self as iam, Caller, EvaluationBudget, LayerGrant, ScopeAction};
use wharfinger_oci::RepositoryName;
use wharfinger_registry::{
    self as registry, AppliedFor, PullTarget, Pulled, RegistryId, Repositories, RepositoryResource,
    RepositorySettings,
};

use crate::challenge::{Challenge, challenge};
use crate::error::{Code, DistributionError};
use crate::permissions::{CREATE_REPOSITORY, RequestTraits};
use crate::pull_through::{Loaded, PulledThrough};
use crate::query::MountSource;
use crate::request::{AuthorizedRequest, IncomingRequest};
use crate::route::{PathForm, Target};

/// How often a request is decided whose repository is created or deleted by others meanwhile.
const MAX_DECISIONS: usize = 3;

impl<'a> IncomingRequest<'a> {
    /// Returns the caller, and the registry that the request addresses.
    ///
    /// # Errors
    /// 401 with a challenge for what the request needs. 403 for an expired password, as ECR does,
    /// and for a download URL that is not valid.
    pub(crate) async fn authenticate(
        &self,
    ) -> Result<(Arc<Caller>, RegistryId), DistributionError> {
        if let Some((
            caller,
            LayerGrant {
                account, region, ..
            },
        )) = self.ticket().await?
        {
            return Ok((caller, RegistryId { account, region }));
        }
        let header = self.headers.get(AUTHORIZATION);
        // A header that is not text is as invalid as any other that cannot be parsed.
        let header = header.map(|value| value.to_str().unwrap_or_default());
        let caller = match self.state.iam.authenticate_header(header).await {
            Ok(caller) => caller,
            Err(error) if error.is_internal() => {
                return Err(DistributionError::of_authentication(&error));
            }
            Err(error @ iam::Error::PasswordExpired) => {
                self.trail.note_failed_sign_in(None);
                return Err(DistributionError::new(Code::Denied, error.to_string()));
            }
            Err(iam::Error::MissingCredentials) => {
                return Err(self.unauthorized("authentication required", None));
            }
            Err(error) => {
                self.trail.note_failed_sign_in(None);
                return Err(self.unauthorized(error.to_string(), Some("invalid_token")));
            }
        };
        let registry = self.registry(&caller)?;
        Ok((caller, registry))
    }

    /// Returns the registry that the request addresses, for which a Bearer token must be issued.
    fn registry(&self, caller: &Caller) -> Result<RegistryId, DistributionError> {
        let origin = self.context.origin();
        let scope = origin.registry_scope(&self.state.names, caller.account);
        if let Some(grant) = &caller.registry_grant
            && (grant.account != scope.account || grant.region != scope.region)
        {
            let message = "the token was issued for another registry";
            return Err(self.unauthorized(message, Some("invalid_token")));
        }
        Ok(RegistryId {
            account: scope.account,
            region: scope.region,
        })
    }

    /// Returns the issuer and the layer of the download URL, if the request reads a blob by one.
    /// The issuer's permission is checked as that of any other caller.
    ///
    /// # Errors
    /// 403 for a ticket that was not signed here, has expired, names another layer, or whose issuer
    /// is gone.
    async fn ticket(&self) -> Result<Option<(Arc<Caller>, LayerGrant)>, DistributionError> {
        let (Ok(route), Ok(query)) = (self.route, self.query) else {
            return Ok(None);
        };
        if route.form != PathForm::Blob || self.permissions.scope != Some(ScopeAction::Pull) {
            return Ok(None);
        }
        let Some(ticket) = query.first(iam::LAYER_TICKET_PARAMETER) else {
            return Ok(None);
        };
        match self.state.iam.verify_layer_ticket(ticket).await {
            Ok((caller, grant))
                if route.repository.as_ref() == Some(&grant.repository)
                    && route.target == Target::Digest(grant.digest) =>
            {
                Ok(Some((caller, grant)))
            }
            Err(error) if error.is_internal() => Err(DistributionError::of_authentication(&error)),
            Ok(_) | Err(_) => {
                self.trail.note_failed_sign_in(None);
                let message = iam::Error::InvalidTicket.to_string();
                Err(DistributionError::new(Code::Denied, message))
            }
        }
    }

    /// Loads the repository with its policy and checks that the caller is allowed to send the
    /// request. Creates the repository where a push may.
    ///
    /// # Errors
    /// Those of path and query; 403 in the words of AWS, the same whether the repository exists or
    /// not; 401 where only the scopes of the token do not suffice.
    pub(crate) async fn authorize(
        &'a self,
        caller: Arc<Caller>,
        registry: RegistryId,
        has_body: bool,
    ) -> Result<AuthorizedRequest<'a>, DistributionError> {
        let (route, query) = (self.route?, self.query?);
        let repositories = &self.state.registry.repositories;
        let budget = EvaluationBudget::default();
        let mut found = None;
        let mut pulled = Pulled::Nothing;
        let mut importing = None;
        if let Some(name) = &route.repository {
            let mut resource;
            let target = self.pull_target();
            (resource, pulled) = match target.clone() {
                Some(target) => {
                    let registries = &self.state.registry;
                    registries.load_for_pull(&registry, name, target).await?
                }
                None => (
                    repositories.load_resource(&registry, name).await?,
                    Pulled::Nothing,
                ),
            };
            let authorizer = Authorizer {
                caller: &caller,
                origin: self.context.origin(),
                region: &registry.region,
                now: self.state.clock.now(),
                budget: &budget,
                trail: self.trail,
            };
            let required = self.permissions;
            let more_actions = (required.more_actions)(&RequestTraits { query, has_body });
            let actions = || required.actions.iter().chain(more_actions).copied();
            check_all(&authorizer, actions(), &resource)?;
            self.check_scope(&caller)?;
            if let Some(target) = target {
                let mut loaded = Loaded {
                    resource,
                    pulled,
                    importing,
                };
                for _ in 0..MAX_DECISIONS {
                    let (next, is_over) =
                        match self.pull_through(&authorizer, loaded, &target).await? {
                            PulledThrough::Same(same) => {
                                loaded = same;
                                break;
                            }
                            PulledThrough::Reloaded(next) => (next, true),
                            PulledThrough::Again(next) => (next, false),
                        };
                    check_all(&authorizer, actions(), &next.resource)?;
                    loaded = next;
                    if is_over {
                        break;
                    }
                }
                (resource, pulled, importing) = (loaded.resource, loaded.pulled, loaded.importing);
            }
            found = if required.creates_repository && resource.repository().is_err() {
                let source = self.settings_for_push(&registry, name).await?;
                create_for_push(repositories, &authorizer, actions(), resource, source).await?
            } else {
                Some(resource)
            };
        } else {
            self.check_scope(&caller)?;
        }
        Ok(AuthorizedRequest {
            incoming: self,
            route,
            query,
            caller,
            registry,
            budget,
            found,
            pulled,
            importing,
        })
    }

    /// Where a repository that a push creates gets its settings from.
    async fn settings_for_push(
        &self,
        registry: &RegistryId,
        name: &RepositoryName,
    ) -> Result<SettingsSource, DistributionError> {
        let repositories = &self.state.registry.repositories;
        let purpose = AppliedFor::CreateOnPush;
        let template = repositories.template_for(registry, name, purpose).await?;
        Ok(match template {
            Some(template) => SettingsSource::Template(template.settings.tags),
            None if self.state.config.create_on_push => SettingsSource::Defaults,
            None => SettingsSource::Nothing,
        })
    }

    /// The manifest or blob that the request reads, which is loaded with the repository.
    fn pull_target(&self) -> Option<PullTarget> {
        let route = self.route.ok()?;
        if self.permissions.scope != Some(ScopeAction::Pull) {
            return None;
        }
        match (route.form, &route.target) {
            (PathForm::Manifest, Target::Reference(reference)) => {
                Some(PullTarget::Manifest(reference.clone()))
            }
            (PathForm::Blob, Target::Digest(digest)) => Some(PullTarget::Blob(*digest)),
            _ => None,
        }
    }

    /// Checks that the scopes of a Bearer token contain the request.
    ///
    /// # Errors
    /// 401 with `insufficient_scope`, so that the client requests a token with more scopes.
    fn check_scope(&self, caller: &Caller) -> Result<(), DistributionError> {
        let (Some(grant), Ok(route)) = (&caller.registry_grant, self.route) else {
            return Ok(());
        };
        let contained = match (self.permissions.scope, &route.repository) {
            (None, _) => true,
            (Some(_), None) => grant.scopes.allows_catalog(),
            (Some(action), Some(repository)) => grant.scopes.allows(repository, action),
        };
        if contained {
            return Ok(());
        }
        Err(self.insufficient_scope())
    }

    pub(crate) fn insufficient_scope(&self) -> DistributionError {
        let message = "the scopes of the token do not contain this request";
        self.unauthorized(message, Some("insufficient_scope"))
    }

    fn unauthorized(
        &self,
        message: impl Into<Cow<'static, str>>,
        error: Option<&'static str>,
    ) -> DistributionError {
        let route = self.route.ok();
        let origin = self.context.origin();
        let base_url = origin.base_url(&self.state.names);
        let source = self.mount_source();
        let needed = Challenge {
            base_url: &base_url,
            host: origin.host(),
            scope: self.permissions.scope,
            repository: route
                .and_then(|route| route.repository.as_ref())
                .map(RepositoryName::as_str),
            source: source.as_ref().map(RepositoryName::as_str),
            error,
        };
        let header = challenge(self.state.config.challenge, &needed);
        DistributionError::unauthorized(message, header)
    }

    /// The repository that the request mounts a blob from, which its token must name too.
    fn mount_source(&self) -> Option<RepositoryName> {
        let is_start = self.route.ok()?.form == PathForm::Uploads;
        match self.query.ok().filter(|_| is_start)?.mount() {
            Ok(Some((_, MountSource::Repository(source)))) => Some(source),
            _ => None,
        }
    }
}

/// Checks that the caller may perform all of the actions on the repository.
fn check_all<'a>(
    authorizer: &Authorizer<'_>,
    mut actions: impl Iterator<Item = &'a str>,
    resource: &RepositoryResource,
) -> Result<(), AccessDenied> {
    actions.try_for_each(|action| authorizer.check(action, resource))
}

/// Where the settings of a repository that a push creates come from.
enum SettingsSource {
    /// No template matches, and the configuration does not create without: the push is refused.
    Nothing,
    Defaults,
    /// A template, which sets these tags.
    Template(BTreeMap<String, String>),
}

/// Creates the repository that a push names and that was missing when its resource was loaded.
/// Where another request has created it since, it may have a policy already: the actions of the
/// push are then decided again on what is there now.
///
/// # Errors
/// 403 for a caller that may not create it, or not push to the one that another request created.
/// `NAME_UNKNOWN` where that one is deleted by now.
async fn create_for_push<'a>(
    repositories: &Repositories,
    authorizer: &Authorizer<'_>,
    actions: impl Iterator<Item = &'a str>,
    missing: Arc<RepositoryResource>,
    source: SettingsSource,
) -> Result<Option<Arc<RepositoryResource>>, DistributionError> {
    let (registry, name) = (&missing.registry, &missing.name);
    let created = match source {
        SettingsSource::Nothing => return Ok(Some(missing)),
        SettingsSource::Defaults => {
            authorizer.check(CREATE_REPOSITORY, &*missing)?;
            let settings = RepositorySettings::default();
            repositories.create(registry, name, settings).await
        }
        SettingsSource::Template(tags) => {
            let facts = RequestFacts {
                set: tags.into_iter().collect(),
                ..RequestFacts::default()
            };
            authorizer.check_with_facts(CREATE_REPOSITORY, &*missing, &facts)?;
            let purpose = AppliedFor::CreateOnPush;
            repositories
                .create_from_template(registry, name, purpose)
                .await
        }
    };
    match created {
        Ok(created) => Ok(Some(Arc::new(RepositoryResource::from(created)))),
        Err(registry::Error::RepositoryExists { .. }) => {
            let found = repositories.load_resource(registry, name).await?;
            check_all(authorizer, actions, &found)?;
            Ok(Some(found))
        }
        Err(error) => Err(error.into()),
    }
}

impl AuthorizedRequest<'_> {
    /// Whether the scopes of the caller's token, if it came with one, contain a pull from `name`.
    pub(crate) fn scopes_allow_pull(&self, name: &RepositoryName) -> bool {
        let grant = self.caller.registry_grant.as_ref();
        grant.is_none_or(|grant| grant.scopes.allows(name, ScopeAction::Pull))
    }
}

#[cfg(test)]
mod tests {
    use http::StatusCode;
    use wharfinger_api_core::{AuditTrail, Origin};
    use wharfinger_base::{Clock, Timestamp};
    use wharfinger_registry::Registry;

    use super::*;
    use crate::permissions::START_UPLOAD;

    const NAME: &str = "team/web";
    const DENY: &str = r#"{"Version": "2012-10-17", "Statement": {
        "Effect": "Deny", "Principal": "*", "Action": "ecr:InitiateLayerUpload"}}"#;

    /// Pushes to a repository that was missing when it was loaded, and which another request
    /// creates before this one does, with or without a policy.
    async fn push_after_creation_by_another(policy: Option<&str>) -> Option<StatusCode> {
        let state = crate::tests::state(Clock::manual(Timestamp::from_ms(1_000)), true).await;
        let Registry { repositories, .. } = &state.registry;
        let caller = state.iam.authenticate_header(None).await.expect("a root");
        let registry = RegistryId {
            account: caller.account,
            region: state.names.region.clone(),
        };
        let name = NAME.parse().expect("a name");
        let missing = repositories.load_resource(&registry, &name).await;
        let missing = missing.expect("loaded");

        let settings = RepositorySettings::default();
        let created = repositories.create(&registry, &name, settings).await;
        let created = created.expect("created");
        if let Some(policy) = policy {
            let set = repositories.set_policy(&created, policy.to_owned());
            set.await.expect("set");
        }

        let authorizer = Authorizer {
            caller: &caller,
            origin: &Origin::default(),
            region: &registry.region,
            now: state.clock.now(),
            budget: &EvaluationBudget::default(),
            trail: &AuditTrail::default(),
        };
        let actions = [START_UPLOAD].into_iter();
        let source = SettingsSource::Defaults;
        match create_for_push(repositories, &authorizer, actions, missing, source).await {
            Ok(found) => {
                let found = found.expect("a resource");
                let repository = found.repository().expect("it exists");
                assert_eq!(repository.id, created.id);
                None
            }
            Err(error) => Some(error.into_response().status()),
        }
    }

    #[tokio::test]
    async fn the_policy_of_a_repository_that_another_request_created_decides() {
        let denied = push_after_creation_by_another(Some(DENY)).await;
        assert_eq!(denied, Some(StatusCode::FORBIDDEN));
        assert_eq!(push_after_creation_by_another(None).await, None);
    }
}
