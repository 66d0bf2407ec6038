//! `/healthz`, `/readyz` and `/metrics`, for machines that do not sign in.

use std::error::Error;
use std::future::Future;
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::routing::get;
use http::{HeaderValue, Response, StatusCode};
use wharfinger_telemetry::{METRICS_CONTENT_TYPE, Metrics};

use crate::observation::ResponseInfo;
use crate::response::{document, text};

/// Whether the server can serve requests now.
pub trait ReadinessCheck: Send + Sync + 'static {
    /// # Errors
    /// What is not ready, for the log.
    fn check(&self) -> impl Future<Output = Result<(), Box<dyn Error + Send + Sync>>> + Send;
}

struct Health<C> {
    readiness: C,
    metrics: Arc<Metrics>,
}

/// The routes.
pub fn health_routes<C: ReadinessCheck>(readiness: C, metrics: Arc<Metrics>) -> Router {
    Router::new()
        .route("/healthz", get(live))
        .route("/readyz", get(ready::<C>))
        .route("/metrics", get(metrics_text::<C>))
        .with_state(Arc::new(Health { readiness, metrics }))
}

/// `/healthz`: the process responds.
async fn live() -> Response<Body> {
    ResponseInfo::of("Live").attach(text(StatusCode::OK, "ok"))
}

/// `/readyz`: what requests need responds too.
async fn ready<C: ReadinessCheck>(State(health): State<Arc<Health<C>>>) -> Response<Body> {
    let response = match health.readiness.check().await {
        Ok(()) => text(StatusCode::OK, "ready"),
        Err(error) => {
            tracing::warn!(%error, "the server is not ready");
            text(StatusCode::SERVICE_UNAVAILABLE, "not ready")
        }
    };
    ResponseInfo::of("Ready").attach(response)
}

/// `/metrics`.
async fn metrics_text<C: ReadinessCheck>(State(health): State<Arc<Health<C>>>) -> Response<Body> {
    let content_type = HeaderValue::from_static(METRICS_CONTENT_TYPE);
    let response = document(StatusCode::OK, content_type, health.metrics.text());
    ResponseInfo::of("Metrics").attach(response)
}
