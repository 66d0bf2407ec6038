//! `POST /_wharfinger/clock?seconds=N` of a development server: the registry's clock goes ahead, so
//! that lifecycle policies can be seen at work without waiting for days.

use std::time::Duration;

use axum::body::Body;
use http::{Response, StatusCode};

use wharfinger_api_core::response::text;

use crate::app::App;

/// The furthest that one request sets the clock ahead: ten years.
const MAX_SECONDS: u64 = 10 * 366 * 24 * 60 * 60;

/// Sets the registry's clock ahead, and has evaluated what is due then. The route exists under
/// `--dev` only.
pub(super) fn advance(app: &App, query: &str) -> Response<Body> {
    let seconds = query
        .strip_prefix("seconds=")
        .and_then(|seconds| seconds.parse().ok())
        .filter(|seconds| (1..=MAX_SECONDS).contains(seconds));
    let Some(seconds) = seconds else {
        return text(
            StatusCode::BAD_REQUEST,
            "say ?seconds=N, with a whole number from 1 to 316224000",
        );
    };
    app.registry_clock.advance(Duration::from_secs(seconds));
    app.registry.lifecycle.wake();
    let now = app.registry_clock.now().to_rfc3339();
    text(StatusCode::OK, format!("the registry's clock says {now}"))
}
