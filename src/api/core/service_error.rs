//! Errors raised by the HTTP service itself, encoded in the protocol of the requested API.

use std::time::Duration;

use axum::body::Body;
use axum::response::IntoResponse;
use http::header::RETRY_AFTER;
use http::{HeaderMap, HeaderValue, Response, StatusCode};

use crate::response::text;

/// Why the HTTP service refuses or ends a request, whichever API it is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ServiceError {
    #[error("Rate exceeded")]
    TooManyRequests { retry_after: Duration },
    #[error("a development server does not serve requests from web pages of other sites")]
    ForeignOrigin,
    #[error("a development server is not known by this host name; set --public-url to use it")]
    UnknownHost,
    #[error("the request took too long")]
    TimedOut,
    #[error("internal error")]
    Internal,
}

impl ServiceError {
    #[must_use]
    pub const fn status(self) -> StatusCode {
        match self {
            Self::TooManyRequests { .. } => StatusCode::TOO_MANY_REQUESTS,
            Self::ForeignOrigin | Self::UnknownHost => StatusCode::FORBIDDEN,
            Self::TimedOut => StatusCode::SERVICE_UNAVAILABLE,
            Self::Internal => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    /// The value of `Retry-After` in whole seconds, rounded up, since a client that returns early
    /// is refused again.
    #[must_use]
    pub fn retry_after_seconds(self) -> Option<u64> {
        match self {
            Self::TooManyRequests { retry_after } => {
                let seconds = retry_after.as_secs() + u64::from(retry_after.subsec_nanos() > 0);
                Some(seconds.max(1))
            }
            Self::TimedOut => Some(1),
            Self::ForeignOrigin | Self::UnknownHost | Self::Internal => None,
        }
    }
}

/// A response that the middleware replaces by the requested API's encoding of the error.
impl IntoResponse for ServiceError {
    fn into_response(self) -> Response<Body> {
        let mut response = Response::new(Body::empty());
        *response.status_mut() = self.status();
        response.extensions_mut().insert(self);
        response
    }
}

/// How an API encodes the errors of the HTTP service.
pub trait ErrorFormat: Clone + Send + Sync + 'static {
    /// The format for a request with these headers: some APIs have more than one protocol.
    fn of(headers: &HeaderMap) -> Self;

    /// The response, except `Retry-After` and the request id, which the middleware adds.
    fn encode(&self, error: ServiceError, request_id: &str) -> Response<Body>;
}

/// Errors as a line of plain text, for endpoints that belong to no API.
#[derive(Clone, Copy, Debug)]
pub struct PlainErrors;

impl ErrorFormat for PlainErrors {
    fn of(_headers: &HeaderMap) -> Self {
        Self
    }

    fn encode(&self, error: ServiceError, _request_id: &str) -> Response<Body> {
        text(error.status(), error.to_string())
    }
}

/// Encodes `error` by `format`, with `Retry-After` where it applies.
pub(crate) fn encode<F: ErrorFormat>(
    format: &F,
    error: ServiceError,
    request_id: &str,
) -> Response<Body> {
    let mut response = format.encode(error, request_id);
    if let Some(seconds) = error.retry_after_seconds() {
        let headers = response.headers_mut();
        headers.insert(RETRY_AFTER, HeaderValue::from(seconds));
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_are_rounded_up_to_whole_seconds() {
        let after = |ms| {
            let retry_after = Duration::from_millis(ms);
            ServiceError::TooManyRequests { retry_after }.retry_after_seconds()
        };
        assert_eq!(
            [after(0), after(1), after(1000), after(1001)],
            [Some(1), Some(1), Some(1), Some(2)]
        );
    }
}
