//! `/token`: exchanges a password for a Bearer token that is limited to scopes (distribution's
//! token specification, GET and POST form).
//!
//! A token only narrows what the policies allow: they are evaluated again at every use.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Request, State};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::header::{AUTHORIZATION, CACHE_CONTROL};
use http::request::Parts;
use http::{HeaderValue, Method, Response, StatusCode};
use serde::Serialize;
use wharfinger_api_core::response::{JSON, document};
use wharfinger_api_core::{
    AuditTrail, AuditedRequest, Authorizer, ReceiveBodyError, ReceivedBody, RequestContext,
    ResponseInfo,
};
use wharfinger_iam::{
    Caller, Error, EvaluationBudget, PASSWORD_USER, RegistryGrant, ScopeAction, ScopeActions,
    ScopeTarget, TokenScope, TokenScopes,
};
use wharfinger_oci::RepositoryName;
use wharfinger_registry::RegistryId;

use crate::endpoints::actions_of;
use crate::error::{Code, DistributionError};
use crate::manifests::no_memory;
use crate::permissions::ECR;
use crate::state::DistributionState;

/// The label in metrics and logs.
pub(crate) const OPERATION: &str = "Token";

/// Largest form, in bytes. A password and [`TokenScopes::MAX`] scopes of the longest names take a
/// fifth of it.
const MAX_FORM_BYTES: usize = 64 * 1024;

#[derive(Serialize)]
struct TokenResponse<'a> {
    token: &'a str,
    access_token: &'a str,
    expires_in: u64,
    issued_at: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    refresh_token: Option<&'a str>,
}

/// The parameters of a query or a form.
#[derive(Default)]
struct TokenRequest {
    scopes: String,
    /// The host of the registry that the token is for, as the challenge named it.
    service: Option<String>,
    /// Whether the client wants a refresh token.
    offline: bool,
    grant_type: Option<String>,
    username: Option<String>,
    password: Option<String>,
    refresh_token: Option<String>,
}

/// `GET` and `POST /token`. Every response is JSON: containerd takes HTML for a broken server.
pub(crate) async fn serve(
    State(state): State<Arc<DistributionState>>,
    context: RequestContext,
    request: Request,
) -> Response<Body> {
    let (head, body) = request.into_parts();
    let trail = AuditTrail::default();
    let outcome = issue(&state, &context, &head, body, &trail).await;
    let error = outcome.as_ref().err();
    let request = || AuditedRequest {
        service: ECR,
        operation: OPERATION,
        read_only: true,
        request: Some((head.method.as_str(), head.uri.path())),
        error: error.map(DistributionError::first),
        now: state.clock.now(),
    };
    trail.record(&state.audit, &context, request);
    let error_code = error.map(|error| error.first().0.to_owned());
    let info = ResponseInfo {
        error_code,
        ..ResponseInfo::of(OPERATION)
    };
    info.attach(outcome.unwrap_or_else(DistributionError::into_response))
}

async fn issue(
    state: &DistributionState,
    context: &RequestContext,
    head: &Parts,
    body: Body,
    trail: &AuditTrail,
) -> Result<Response<Body>, DistributionError> {
    let mut request = TokenRequest::default();
    request.read(head.uri.query().unwrap_or_default().as_bytes());
    match head.method {
        Method::GET => {}
        Method::POST => request.read(&receive_form(context, body).await?.bytes),
        _ => return Err(DistributionError::method_not_allowed("GET, POST")),
    }
    let authentication = authenticate(state, head, &request).await;
    let (caller, password) =
        authentication.map_err(|error| authentication_error(state, context, error, trail))?;
    context.admit_caller(&caller)?;
    let granted = grant(state, context, &caller, &request, trail).await?;
    let issued = state
        .iam
        .registry_token(&caller, &granted)
        .map_err(|error| match error {
            Error::TokenTooLong => bad_request(error.to_string()),
            error => DistributionError::internal(&error),
        })?;
    let token = issued.token.reveal();
    let response = TokenResponse {
        token,
        access_token: token,
        expires_in: issued.expires_at.since(issued.issued_at).as_secs(),
        issued_at: issued.issued_at.to_rfc3339(),
        // The password itself: another refresh token would stay valid longer than it.
        refresh_token: password.as_deref().filter(|_| request.offline),
    };
    let body = serde_json::to_vec(&response).unwrap_or_default();
    let mut response = document(StatusCode::OK, JSON, body);
    let no_store = HeaderValue::from_static("no-store");
    response.headers_mut().insert(CACHE_CONTROL, no_store);
    Ok(response)
}

/// Receives a form. Its sender is not known yet, so its memory is charged to the peer alone.
async fn receive_form(
    context: &RequestContext,
    body: Body,
) -> Result<ReceivedBody, DistributionError> {
    let received = context.receive_body(body, MAX_FORM_BYTES, None).await;
    received.map_err(|error| match error {
        ReceiveBodyError::Exhausted => no_memory(error),
        _ => invalid_form(),
    })
}

impl TokenRequest {
    fn read(&mut self, form: &[u8]) {
        for (name, value) in form_urlencoded::parse(form) {
            let value = value.into_owned();
            match name.as_ref() {
                "scope" => {
                    self.scopes.push(' ');
                    self.scopes.push_str(&value);
                }
                "service" => self.service = Some(value),
                "offline_token" => self.offline |= value == "true",
                "access_type" => self.offline |= value == "offline",
                "grant_type" => self.grant_type = Some(value),
                "username" => self.username = Some(value),
                "password" => self.password = Some(value),
                "refresh_token" => self.refresh_token = Some(value),
                _ => {}
            }
        }
    }
}

/// Why a request is not authenticated.
enum AuthenticationError {
    Form,
    Credentials(Error),
}

impl From<Error> for AuthenticationError {
    fn from(error: Error) -> Self {
        Self::Credentials(error)
    }
}

/// Returns the caller and the password that was sent. A Bearer token is not accepted, since its
/// holder could request more scopes with it.
async fn authenticate(
    state: &DistributionState,
    head: &Parts,
    request: &TokenRequest,
) -> Result<(Arc<Caller>, Option<String>), AuthenticationError> {
    let (user, password) = match request.grant_type.as_deref() {
        Some("refresh_token") => (PASSWORD_USER, request.refresh_token.as_deref()),
        Some("password") => (
            request.username.as_deref().unwrap_or_default(),
            request.password.as_deref(),
        ),
        Some(_) => return Err(AuthenticationError::Form),
        None => return authenticate_header(state, head).await,
    };
    let password = password.ok_or(AuthenticationError::Form)?;
    let caller = state.iam.authenticate_basic(user, password).await?;
    Ok((caller, Some(password.to_owned())))
}

async fn authenticate_header(
    state: &DistributionState,
    head: &Parts,
) -> Result<(Arc<Caller>, Option<String>), AuthenticationError> {
    let header = head.headers.get(AUTHORIZATION);
    let header = header.map(|value| value.to_str().unwrap_or_default());
    let scheme = header.and_then(|value| value.get(..6));
    if scheme.is_some_and(|scheme| scheme.eq_ignore_ascii_case("bearer")) {
        return Err(Error::BadCredentials.into());
    }
    let caller = state.iam.authenticate_header(header).await?;
    Ok((caller, header.and_then(password_of)))
}

/// The password in a `Basic` header.
fn password_of(header: &str) -> Option<String> {
    let (_, encoded) = header.split_once(' ')?;
    let pair = STANDARD.decode(encoded.trim()).ok()?;
    let pair = String::from_utf8(pair).ok()?;
    let (_, password) = pair.split_once(':')?;
    Some(password.to_owned())
}

/// Returns the requested scopes that the caller's policies currently allow.
async fn grant(
    state: &DistributionState,
    context: &RequestContext,
    caller: &Caller,
    request: &TokenRequest,
    trail: &AuditTrail,
) -> Result<RegistryGrant, DistributionError> {
    let requested = TokenScopes::parse(&request.scopes);
    let requested = requested.map_err(|error| bad_request(error.to_string()))?;
    let origin = context.origin();
    let service = request.service.as_deref();
    let scope = origin.requested_registry_scope(&state.names, caller.account, service);
    let registry = RegistryId {
        account: scope.account,
        region: scope.region,
    };
    let budget = EvaluationBudget::default();
    let authorizer = Authorizer {
        caller,
        origin,
        region: &registry.region,
        now: state.clock.now(),
        budget: &budget,
        trail,
    };
    let mut granted = Vec::new();
    for TokenScope { target, actions } in requested.as_slice() {
        let actions = match target {
            ScopeTarget::Repository(name) => {
                repository_actions(state, &authorizer, &registry, name, *actions).await?
            }
            // The listing shows each caller only what it may describe.
            ScopeTarget::Catalog => {
                ScopeActions::of(Some(ScopeAction::All).filter(|all| actions.contains(*all)))
            }
        };
        granted.push(TokenScope {
            target: target.clone(),
            actions,
        });
    }
    if budget.is_spent() {
        let message = "the policies take too long to evaluate for these scopes: request fewer";
        return Err(bad_request(message.to_owned()));
    }
    Ok(RegistryGrant {
        account: registry.account,
        region: registry.region,
        scopes: TokenScopes::of(granted).map_err(|error| bad_request(error.to_string()))?,
    })
}

/// Returns the scope actions that allow at least one of their IAM actions. Which one is decided at
/// use, where a denial states its reason.
async fn repository_actions(
    state: &DistributionState,
    authorizer: &Authorizer<'_>,
    registry: &RegistryId,
    name: &RepositoryName,
    requested: ScopeActions,
) -> Result<ScopeActions, DistributionError> {
    let repositories = &state.registry.repositories;
    let resource = repositories.load_resource(registry, name).await?;
    let allowed = |scope: &ScopeAction| {
        requested.contains(*scope)
            && actions_of(*scope)
                .iter()
                .any(|action| authorizer.would_allow(action, &*resource))
    };
    let scopes = [ScopeAction::Pull, ScopeAction::Push, ScopeAction::Delete];
    Ok(ScopeActions::of(scopes.into_iter().filter(allowed)))
}

fn authentication_error(
    state: &DistributionState,
    context: &RequestContext,
    error: AuthenticationError,
    trail: &AuditTrail,
) -> DistributionError {
    let error = match error {
        AuthenticationError::Form => return invalid_form(),
        AuthenticationError::Credentials(error) if error.is_internal() => {
            return DistributionError::of_authentication(&error);
        }
        AuthenticationError::Credentials(error) => error,
    };
    if error != Error::MissingCredentials {
        trail.note_failed_sign_in(None);
    }
    let base_url = context.origin().base_url(&state.names);
    let header = HeaderValue::try_from(format!("Basic realm=\"{base_url}/token\""))
        .unwrap_or_else(|_| HeaderValue::from_static("Basic realm=\"registry\""));
    DistributionError::unauthorized(error.to_string(), header)
}

fn invalid_form() -> DistributionError {
    let message =
        "grant_type is password, with username and password, or refresh_token, within 64 KiB";
    bad_request(message.to_owned())
}

fn bad_request(message: String) -> DistributionError {
    DistributionError::new(Code::Unsupported, message).with_status(StatusCode::BAD_REQUEST)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scopes_may_be_repeated_or_separated_by_spaces() {
        let mut request = TokenRequest::default();
        request.read(
            b"service=x&scope=repository:aa:pull+repository:bb:pull\
              &scope=repository%3Acc%3Apush&offline_token=true",
        );
        let scopes = TokenScopes::parse(&request.scopes).expect("three scopes");
        assert_eq!(
            scopes.to_string(),
            "repository:aa:pull repository:bb:pull repository:cc:push"
        );
        assert!(request.offline);
    }

    #[test]
    fn a_password_may_contain_colons() {
        assert_eq!(password_of("Basic QVdTOmE6Yg==").as_deref(), Some("a:b"));
        assert_eq!(password_of("Basic"), None);
    }
}
