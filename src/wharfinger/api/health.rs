//! Is the server alive, is it ready, and what does it count? Asked by machines that do not sign in.

use axum::body::Body;
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderValue, Response, StatusCode};
use wharfinger_db as db;
use wharfinger_telemetry::{METRICS_CONTENT_TYPE, Metrics};

use crate::app::App;

/// `/healthz`: the process answers.
pub fn live() -> Response<Body> {
    text(StatusCode::OK, "ok\n")
}

/// `/readyz`: the index answers too.
pub async fn ready(app: &App) -> Response<Body> {
    match app.db.ping().await {
        Ok(()) => text(StatusCode::OK, "ready\n"),
        Err(error) => not_ready(&error),
    }
}

fn not_ready(error: &db::Error) -> Response<Body> {
    tracing::warn!(%error, "the index does not answer");
    text(
        StatusCode::SERVICE_UNAVAILABLE,
        "the index does not answer\n",
    )
}

/// `/metrics`.
pub fn metrics(metrics: &Metrics) -> Response<Body> {
    let mut response = Response::new(Body::from(metrics.text()));
    response
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static(METRICS_CONTENT_TYPE));
    response
}

/// A short answer for people; never kept by a proxy.
pub(super) fn text(status: StatusCode, text: &'static str) -> Response<Body> {
    let mut response = Response::new(Body::from(text));
    *response.status_mut() = status;
    response.headers_mut().insert(
        CONTENT_TYPE,
        HeaderValue::from_static("text/plain; charset=utf-8"),
    );
    response
        .headers_mut()
        .insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
