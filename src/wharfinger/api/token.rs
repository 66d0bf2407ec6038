//! `/token`: a password for a bearer token that says what its holder may do now (distribution's
//! token specification, GET and POST form).
//!
//! A token only ever says less than the policies do: they are asked again at every use.

use std::sync::Arc;

use axum::body::Body;
use bytes::Bytes;
use http::header::{AUTHORIZATION, CACHE_CONTROL, CONTENT_LENGTH, CONTENT_TYPE, WWW_AUTHENTICATE};
use http::request::Parts;
use http::{HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Limited};
use serde::Serialize;
use wharfinger_api_core::{Origin, RequestContext, ServiceError};
use wharfinger_iam::{
    Caller, Error, EvaluationBudget, PASSWORD_USER, RegistryGrant, ScopeAction, ScopeActions,
    ScopeError, ScopeTarget, TokenScope, TokenScopes,
};
use wharfinger_oci::RepositoryName;
use wharfinger_registry::RegistryId;

use crate::api::gate::Gate;
use crate::api::v2::actions;
use crate::app::App;

/// Largest form taken, in bytes: a password of ECR's length and [`TokenScopes::MAX`] scopes of the
/// longest names stay far under it.
const MAX_FORM_BYTES: usize = 64 * 1024;

#[derive(Serialize)]
struct Answer<'a> {
    token: &'a str,
    access_token: &'a str,
    expires_in: u64,
    issued_at: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    refresh_token: Option<&'a str>,
}

/// What is asked for, out of a query or a form.
#[derive(Default)]
struct Asked {
    scopes: String,
    /// The host of the registry, as the challenge named it.
    service: Option<String>,
    /// Whether the client wants something to come again with.
    offline: bool,
    grant_type: Option<String>,
    username: Option<String>,
    password: Option<String>,
    refresh_token: Option<String>,
}

/// Answers `GET` and `POST /token`. Always JSON: containerd takes a page of HTML for a broken
/// server.
pub async fn serve(app: &App, request: Request<Body>) -> Response<Body> {
    let (head, body) = request.into_parts();
    match answer(app, &head, body).await {
        Ok(response) => response,
        Err(refused) => refused.into_response(app, &head),
    }
}

async fn answer(app: &App, head: &Parts, body: Body) -> Result<Response<Body>, Refused> {
    let mut asked = Asked::default();
    asked.read(head.uri.query().unwrap_or_default().as_bytes());
    match head.method {
        Method::GET => {}
        Method::POST => asked.read(&form(body).await?),
        _ => return Err(Refused::Method),
    }
    let (caller, password) = authenticate(app, head, &asked).await?;
    if let Some(context) = head.extensions.get::<RequestContext>() {
        context.admit_caller(&caller).map_err(Refused::Service)?;
    }
    let granted = grant(app, head, &caller, &asked).await?;
    let issued = app.iam.registry_token(&caller, &granted)?;
    let token = issued.token.reveal();
    let document = Answer {
        token,
        access_token: token,
        expires_in: issued.expires_at.since(issued.issued_at).as_secs(),
        issued_at: issued.issued_at.to_rfc3339(),
        // The password is what one comes again with: another one would outlive it.
        refresh_token: password.as_deref().filter(|_| asked.offline),
    };
    let mut response = json(
        StatusCode::OK,
        serde_json::to_vec(&document).unwrap_or_default(),
    );
    response
        .headers_mut()
        .insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(response)
}

async fn form(body: Body) -> Result<Bytes, Refused> {
    Limited::new(body, MAX_FORM_BYTES)
        .collect()
        .await
        .map(http_body_util::Collected::to_bytes)
        .map_err(|_| Refused::Form)
}

impl Asked {
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

/// Who asks, and with which password. A bearer token buys no other token: it would grow beyond its
/// scopes.
async fn authenticate(
    app: &App,
    head: &Parts,
    asked: &Asked,
) -> Result<(Arc<Caller>, Option<String>), Refused> {
    let (user, password) = match asked.grant_type.as_deref() {
        Some("refresh_token") => (
            PASSWORD_USER,
            asked.refresh_token.as_deref().ok_or(Refused::Form)?,
        ),
        Some("password") => (
            asked.username.as_deref().unwrap_or_default(),
            asked.password.as_deref().ok_or(Refused::Form)?,
        ),
        Some(_) => return Err(Refused::Form),
        None => {
            let header = head
                .headers
                .get(AUTHORIZATION)
                .map(|value| value.to_str().unwrap_or_default());
            if header.is_some_and(|value| {
                value
                    .get(..6)
                    .is_some_and(|scheme| scheme.eq_ignore_ascii_case("bearer"))
            }) {
                return Err(Error::BadCredentials.into());
            }
            let caller = app.iam.authenticate_header(header).await?;
            return Ok((caller, header.and_then(password_of)));
        }
    };
    Ok((
        app.iam.authenticate_basic(user, password).await?,
        Some(password.to_owned()),
    ))
}

/// The password within a `Basic` header.
fn password_of(header: &str) -> Option<String> {
    use base64::Engine as _;
    let (_, encoded) = header.split_once(' ')?;
    let pair = base64::engine::general_purpose::STANDARD
        .decode(encoded.trim())
        .ok()?;
    let pair = String::from_utf8(pair).ok()?;
    pair.split_once(':')
        .map(|(_, password)| password.to_owned())
}

/// Of what was asked for, what policies allow now. A verb is granted where any action behind it is:
/// which one, the gate decides at use, and its refusal says why.
async fn grant(
    app: &App,
    head: &Parts,
    caller: &Caller,
    asked: &Asked,
) -> Result<RegistryGrant, Refused> {
    let requested = TokenScopes::parse(&asked.scopes).map_err(Refused::Scopes)?;
    let origin = Origin::of(head);
    let scope = origin.requested_registry_scope(
        &app.config.names,
        caller.account,
        asked.service.as_deref(),
    );
    let registry = RegistryId {
        account: scope.account,
        region: scope.region,
    };
    let budget = EvaluationBudget::default();
    let gate = Gate {
        app,
        caller,
        registry: &registry,
        origin: &origin,
        budget: &budget,
    };
    let mut granted = Vec::new();
    for TokenScope { target, actions } in requested.as_slice() {
        let actions = match target {
            ScopeTarget::Repository(name) => repository_actions(&gate, name, *actions).await?,
            // Whoever may describe one repository may list; the listing shows no other.
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
        return Err(Refused::TooComplex);
    }
    let scopes = TokenScopes::of(granted).map_err(Refused::Scopes)?;
    let RegistryId { account, region } = registry;
    Ok(RegistryGrant {
        account,
        region,
        scopes,
    })
}

async fn repository_actions(
    gate: &Gate<'_>,
    name: &RepositoryName,
    asked: ScopeActions,
) -> Result<ScopeActions, Refused> {
    let subject = gate
        .find(name)
        .await
        .map_err(|error| Refused::Broken(error.to_string()))?;
    let allowed = |verb: &ScopeAction| {
        asked.contains(*verb)
            && actions::behind(*verb)
                .iter()
                .any(|action| gate.refusal(&subject, action).is_none())
    };
    Ok(ScopeActions::of(
        [ScopeAction::Pull, ScopeAction::Push, ScopeAction::Delete]
            .into_iter()
            .filter(allowed),
    ))
}

enum Refused {
    SignIn(Error),
    Scopes(ScopeError),
    TooLong,
    /// The policies could not be evaluated for all scopes within the budget of one request.
    TooComplex,
    Form,
    Method,
    Broken(String),
    Service(ServiceError),
}

impl From<Error> for Refused {
    fn from(error: Error) -> Self {
        match error {
            Error::TokenTooLong => Self::TooLong,
            error if error.is_internal() => Self::Broken(error.to_string()),
            error => Self::SignIn(error),
        }
    }
}

impl Refused {
    fn into_response(self, app: &App, head: &Parts) -> Response<Body> {
        let (status, message) = match self {
            Self::Service(error) => return axum::response::IntoResponse::into_response(error),
            Self::SignIn(error) => (StatusCode::UNAUTHORIZED, error.to_string()),
            Self::Scopes(error) => (StatusCode::BAD_REQUEST, error.to_string()),
            Self::TooLong => (StatusCode::BAD_REQUEST, Error::TokenTooLong.to_string()),
            Self::TooComplex => (
                StatusCode::BAD_REQUEST,
                "the policies take too long to evaluate for so many scopes: ask for fewer"
                    .to_owned(),
            ),
            Self::Form => (
                StatusCode::BAD_REQUEST,
                "grant_type is password, with username and password, or refresh_token".to_owned(),
            ),
            Self::Method => (
                StatusCode::METHOD_NOT_ALLOWED,
                "a token is asked for with GET or POST".to_owned(),
            ),
            Self::Broken(cause) => {
                tracing::error!(%cause, "no token could be given");
                (
                    StatusCode::INTERNAL_SERVER_ERROR,
                    "internal error".to_owned(),
                )
            }
        };
        let mut response = json(status, crate::api::v2::error::document(status, &message));
        if status == StatusCode::UNAUTHORIZED {
            let challenge = format!(
                "Basic realm=\"{}/token\"",
                Origin::of(head).base_url(&app.config.names)
            );
            let challenge = HeaderValue::try_from(challenge)
                .unwrap_or_else(|_| HeaderValue::from_static("Basic realm=\"registry\""));
            response.headers_mut().insert(WWW_AUTHENTICATE, challenge);
        }
        response
    }
}

fn json(status: StatusCode, body: Vec<u8>) -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = status;
    response
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
        .headers_mut()
        .insert(CONTENT_LENGTH, HeaderValue::from(body.len()));
    *response.body_mut() = Body::from(body);
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scopes_come_repeated_or_with_blanks_and_passwords_hold_colons() {
        let mut asked = Asked::default();
        asked.read(b"service=x&scope=repository:aa:pull+repository:bb:pull&scope=repository%3Acc%3Apush&offline_token=true");
        let scopes = TokenScopes::parse(&asked.scopes).expect("three scopes");
        assert_eq!(
            scopes.to_string(),
            "repository:aa:pull repository:bb:pull repository:cc:push"
        );
        assert!(asked.offline);
        assert_eq!(password_of("Basic QVdTOmE6Yg==").as_deref(), Some("a:b"));
        assert_eq!(password_of("Basic"), None);
    }
}
