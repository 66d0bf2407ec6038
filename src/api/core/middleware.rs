//! What happens to every request before and after its handler. What tower-http has is in the stack
//! of layers in [`crate::http_service`] instead.

use std::any::Any;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::IntoResponse as _;
use http::{Method, Response};
use tokio::time::timeout;
use tower_http::request_id::RequestId;
use wharfinger_http::Connection;
use wharfinger_telemetry::Metrics;

use crate::body_budget::BodyBudget;
use crate::browser_guard::BrowserGuard;
use crate::rate_limit::RateLimiter;
use crate::request_context::RequestContext;
use crate::service_error::{ErrorFormat, ServiceError, encode};

/// A request without a body must have the head of its response by then. Requests with a body are
/// bounded by how it flows.
const RESPONSE_TIMEOUT: Duration = Duration::from_mins(1);

/// What the middleware of one group of routes needs.
#[derive(Clone)]
pub(crate) struct MiddlewareState {
    pub(crate) bodies: Arc<BodyBudget>,
    pub(crate) metrics: Arc<Metrics>,
    /// `None`: these routes have no rate limit.
    pub(crate) limiter: Option<Arc<RateLimiter>>,
    /// `None`: browsers of other sites cannot do harm, since every request is authenticated.
    pub(crate) browser_guard: Option<Arc<BrowserGuard>>,
}

/// Admits a request, makes its context, runs its handler, and encodes errors of the HTTP service in
/// the format of the requested API.
pub(crate) async fn handle<F: ErrorFormat>(
    State(state): State<MiddlewareState>,
    request: Request,
    next: Next,
) -> Response<Body> {
    let format = F::of(request.headers());
    let request_id = request.extensions().get::<RequestId>().cloned();
    let mut response = match admit(&state, request) {
        Ok(request) => respond(request, next).await,
        Err(error) => error.into_response(),
    };
    let Some(error) = response.extensions_mut().remove::<ServiceError>() else {
        return response;
    };
    let request_id = request_id.as_ref().map(RequestId::header_value);
    let request_id = request_id.and_then(|id| id.to_str().ok()).unwrap_or("-");
    encode(&format, error, request_id)
}

/// Checks what does not depend on the API, and gives the request its context.
fn admit(state: &MiddlewareState, request: Request) -> Result<Request, ServiceError> {
    let (mut head, body) = request.into_parts();
    let connection = head.extensions.get::<Arc<Connection>>();
    let connection = connection.ok_or(ServiceError::Internal)?;
    let peer = connection.peer().ip();
    let admission = state.limiter.as_ref().map(|limiter| limiter.admit(peer));
    let admission = admission
        .transpose()
        .inspect_err(|_| state.metrics.refused_for_rate())?;
    let context =
        RequestContext::of(&head, admission, &state.bodies).ok_or(ServiceError::Internal)?;
    if let Some(guard) = &state.browser_guard {
        guard.check(&head.headers, context.origin())?;
    }
    head.extensions.insert(context);
    Ok(Request::from_parts(head, body))
}

async fn respond(request: Request, next: Next) -> Response<Body> {
    let has_no_body = matches!(
        *request.method(),
        Method::GET | Method::HEAD | Method::DELETE
    );
    let response = next.run(request);
    if !has_no_body {
        return response.await;
    }
    match timeout(RESPONSE_TIMEOUT, response).await {
        Ok(response) => response,
        Err(_elapsed) => ServiceError::TimedOut.into_response(),
    }
}

/// The response of a handler that panicked.
#[expect(
    clippy::needless_pass_by_value,
    reason = "the signature that CatchPanicLayer requires"
)]
pub(crate) fn panic_response(panic: Box<dyn Any + Send>) -> Response<Body> {
    let message = panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    let panic = message.unwrap_or("of an unknown type");
    tracing::error!(panic, "a request handler panicked");
    ServiceError::Internal.into_response()
}
