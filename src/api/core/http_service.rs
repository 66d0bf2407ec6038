//! The HTTP service: axum's router over the routes of every API, under one stack of middleware.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::middleware::from_fn_with_state;
use http::header::{AUTHORIZATION, COOKIE, PROXY_AUTHORIZATION};
use http::{Request, Response, StatusCode};
use tower::{Service as _, ServiceBuilder};
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::request_id::{PropagateRequestIdLayer, SetRequestIdLayer};
use tower_http::sensitive_headers::SetSensitiveRequestHeadersLayer;
use tower_http::trace::TraceLayer;
use wharfinger_base::Ids;
use wharfinger_http::{Connection, Handler, RequestBody};
use wharfinger_telemetry::{Metrics, REQUEST_ID, RequestIds, remove_unsafe_id, request_span};

use crate::aws_errors::AwsErrors;
use crate::body_budget::BodyBudget;
use crate::browser_guard::BrowserGuard;
use crate::gateway::Gateway;
use crate::middleware::{self, MiddlewareState};
use crate::names::Names;
use crate::observation::{Observation, ObservedBody};
use crate::rate_limit::{RateLimitConfig, RateLimiter};
use crate::request_log::RequestLog;
use crate::response::text;
use crate::service_error::{ErrorFormat, PlainErrors};

/// Headers that hold credentials, which `Debug` output of a request must not show.
const SENSITIVE_HEADERS: [http::HeaderName; 3] = [AUTHORIZATION, PROXY_AUTHORIZATION, COOKIE];

/// The configuration of the HTTP service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpServiceConfig {
    /// Log every request, not only those that fail, change something or are slow.
    pub access_log: bool,
    /// A request that takes longer is logged in any case.
    pub slow_request: Duration,
    /// `None`: there is no rate limit.
    pub rate_limit: Option<RateLimitConfig>,
    /// Whether spans are exported.
    pub traces: bool,
}

/// Collects the routes of an [`HttpService`].
pub struct HttpServiceBuilder {
    router: Router,
    metrics: Arc<Metrics>,
    limiter: Option<Arc<RateLimiter>>,
    bodies: Arc<BodyBudget>,
    browser_guard: Option<Arc<BrowserGuard>>,
    request_ids: RequestIds,
    log: RequestLog,
    traces: bool,
}

impl HttpServiceBuilder {
    #[must_use]
    pub fn new(config: &HttpServiceConfig, ids: &Ids, metrics: Arc<Metrics>) -> Self {
        let limiter = config.rate_limit.map(RateLimiter::new).map(Arc::new);
        Self {
            router: Router::new(),
            metrics,
            limiter,
            bodies: Arc::default(),
            browser_guard: None,
            request_ids: RequestIds::new(ids),
            log: RequestLog {
                all: config.access_log,
                slow: config.slow_request,
            },
            traces: config.traces,
        }
    }

    /// Protects the routes that are added after this call from web pages: for a development server,
    /// which accepts any credentials.
    #[must_use]
    pub fn guard_against_browsers(mut self, names: &Names) -> Self {
        self.browser_guard = Some(Arc::new(BrowserGuard::new(names)));
        self
    }

    /// Adds the routes of an API, whose errors are written in the format `F`.
    #[must_use]
    pub fn routes<F: ErrorFormat>(self, routes: Router) -> Self {
        let limiter = self.limiter.clone();
        self.add::<F>(routes, limiter)
    }

    /// Adds the route of the AWS APIs.
    #[must_use]
    pub fn gateway(self, gateway: Gateway) -> Self {
        self.routes::<AwsErrors>(gateway.into_routes())
    }

    /// Adds routes that no rate limit applies to.
    #[must_use]
    pub fn unlimited_routes<F: ErrorFormat>(self, routes: Router) -> Self {
        self.add::<F>(routes, None)
    }

    fn add<F: ErrorFormat>(mut self, routes: Router, limiter: Option<Arc<RateLimiter>>) -> Self {
        let metrics = Arc::clone(&self.metrics);
        let browser_guard = self.browser_guard.clone();
        let state = MiddlewareState {
            bodies: Arc::clone(&self.bodies),
            metrics,
            limiter,
            browser_guard,
        };
        let layers = ServiceBuilder::new()
            .layer(from_fn_with_state(state, middleware::handle::<F>))
            .layer(CatchPanicLayer::custom(middleware::panic_response));
        self.router = self.router.merge(routes.layer(layers));
        self
    }

    /// Completes the service.
    #[must_use]
    pub fn build(self) -> HttpService {
        let unknown = Router::new().fallback(unknown_path);
        let mut service = self.unlimited_routes::<PlainErrors>(unknown);
        if service.traces {
            let spans = TraceLayer::new_for_http().make_span_with(request_span::<Body>);
            service.router = service.router.layer(spans);
        }
        let layers = ServiceBuilder::new()
            .layer(SetRequestIdLayer::new(REQUEST_ID, service.request_ids))
            .layer(PropagateRequestIdLayer::new(REQUEST_ID))
            .layer(SetSensitiveRequestHeadersLayer::new(SENSITIVE_HEADERS));
        HttpService {
            router: service.router.layer(layers),
            metrics: service.metrics,
            log: service.log,
        }
    }
}

/// The response for a path that belongs to no API.
async fn unknown_path() -> Response<Body> {
    let message = "not found: /v2/ is the registry, POST / the AWS APIs";
    text(StatusCode::NOT_FOUND, message)
}

/// The HTTP service of one server. Cloning shares it.
#[derive(Clone)]
pub struct HttpService {
    router: Router,
    metrics: Arc<Metrics>,
    log: RequestLog,
}

impl Handler for HttpService {
    type Body = ObservedBody;

    fn handle(
        &self,
        mut request: Request<RequestBody>,
        connection: &Arc<Connection>,
    ) -> impl Future<Output = Response<ObservedBody>> + Send + use<> {
        let started = self.metrics.start();
        let observation = Observation::start(started, self.log, &request, connection);
        remove_unsafe_id(request.headers_mut());
        request.extensions_mut().insert(Arc::clone(connection));
        let response = self.router.clone().call(request);
        async move {
            let Ok(response) = response.await;
            observation.follow(response)
        }
    }
}
