//! The Distribution API: `/v2/` as the OCI specification defines it, and `/token`.
//!
//! A request to `/v2/` is parsed, authenticated, authorised and handled, in this order, in
//! [`respond`]. Its body is not read before it is authorised. What the endpoints have in common is
//! one table, [`endpoints::ENDPOINTS`].

mod access;
mod blobs;
mod catalog;
mod challenge;
mod endpoints;
mod error;
#[cfg(feature = "fuzzing")]
pub mod fuzzing;
mod link;
mod manifests;
mod permissions;
mod preconditions;
mod pull_through;
mod query;
mod range;
mod referrers;
mod request;
mod response;
mod route;
mod state;
mod tags;
#[cfg(test)]
mod tests;
mod token;
mod uploads;

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::routing::any;
use http::{HeaderName, HeaderValue, Method, Response};
use wharfinger_api_core::{AuditTrail, AuditedRequest, RequestContext, ResponseInfo};

pub use crate::challenge::ChallengeScheme;
use crate::endpoints::{ENDPOINTS, Endpoint};
use crate::error::DistributionError;
pub use crate::error::DistributionErrors;
use crate::permissions::{ECR, RequestTraits, RequiredPermissions};
use crate::query::Query;
use crate::request::IncomingRequest;
use crate::route::{Route, RouteError};
pub use crate::state::{DistributionConfig, DistributionState};

const API_VERSION: HeaderName = HeaderName::from_static("docker-distribution-api-version");

/// The routes of the API. `/v2/{*rest}` is a single route, since repository names contain slashes.
pub fn routes(state: Arc<DistributionState>) -> Router {
    Router::new()
        .route("/v2", any(serve))
        .route("/v2/", any(serve))
        .route("/v2/{*rest}", any(serve))
        .route("/token", any(token::serve))
        .with_state(state)
}

/// The names of all operations, which are labels in metrics and logs.
pub fn operations() -> impl Iterator<Item = &'static str> {
    ENDPOINTS
        .iter()
        .map(|endpoint| endpoint.name)
        .chain([token::OPERATION])
}

async fn serve(
    State(state): State<Arc<DistributionState>>,
    context: RequestContext,
    request: Request,
) -> Response<Body> {
    let (head, body) = request.into_parts();
    let parsed = parse(&head.method, head.uri.path());
    let query = Query::parse(head.uri.query());
    let endpoint = parsed.as_ref().map(|(_, endpoint)| *endpoint);
    let audited = audited_action(endpoint.ok(), query.as_ref().ok());
    let trail = AuditTrail::new(audited.is_some());
    let incoming = IncomingRequest {
        state: &state,
        context: &context,
        headers: &head.headers,
        route: parsed.as_ref().map(|(route, _)| route),
        permissions: endpoint.map_or(&RequiredPermissions::NONE, |found| &found.permissions),
        query: query.as_ref(),
        trail: &trail,
    };
    let outcome = respond(&incoming, endpoint, body).await;
    let error = outcome.as_ref().err();
    let name = endpoint.map_or("Unknown", |endpoint| endpoint.name);
    let request = || AuditedRequest {
        service: ECR,
        operation: audited.unwrap_or(name),
        read_only: audited.is_none(),
        request: Some((head.method.as_str(), head.uri.path())),
        error: error.map(DistributionError::first),
        now: state.clock.now(),
    };
    trail.record(&state.audit, &context, request);
    let error_code = error.map(|error| error.first().0.to_owned());
    let mut response = outcome.unwrap_or_else(DistributionError::into_response);
    response
        .headers_mut()
        .insert(API_VERSION, HeaderValue::from_static("registry/2.0"));
    let info = response
        .extensions_mut()
        .get_or_insert_default::<ResponseInfo>();
    info.operation = endpoint.ok().map(|endpoint| endpoint.name);
    info.error_code = error_code;
    response
}

fn parse(method: &Method, path: &str) -> Result<(Route, &'static Endpoint), RouteError> {
    let route = Route::parse(path)?;
    let endpoint = Endpoint::find(route.form, method)?;
    Ok((route, endpoint))
}

/// The action under which the audit log has the request in any case.
fn audited_action(endpoint: Option<&Endpoint>, query: Option<&Query<'_>>) -> Option<&'static str> {
    // Whether there is a body decides about adding a part, which is not recorded.
    let traits = RequestTraits {
        query: query?,
        has_body: false,
    };
    endpoint?.permissions.audited_action(&traits)
}

async fn respond(
    incoming: &IncomingRequest<'_>,
    endpoint: Result<&'static Endpoint, &RouteError>,
    body: Body,
) -> Result<Response<Body>, DistributionError> {
    let (caller, registry) = incoming.authenticate().await?;
    incoming.context.admit_caller(&caller)?;
    let has_body = !http_body::Body::is_end_stream(&body);
    let request = incoming.authorize(caller, registry, has_body).await?;
    let handler = endpoint?.handler;
    handler(&request, body).await
}
