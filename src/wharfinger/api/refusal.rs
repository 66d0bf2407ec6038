//! What the door itself says no to, worded as the face beyond it would.

use std::time::Duration;

use axum::body::Body;
use http::header::{CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderMap, HeaderValue, Response, StatusCode};
use wharfinger_aws::{Family, Fault, json, xml};
use wharfinger_telemetry::RequestId;

use crate::api::door::Face;
use crate::api::v2::error::{Code, Refusal};

const TWO_FRAMINGS: &str = "a request has either Content-Length or Transfer-Encoding, never both";
const TOO_LONG: &str = "the request took too long";
const BROKEN: &str = "internal error";

/// The namespace in which AWS words a fault whose service is not known: that of STS, which clients
/// ask first.
const NAMESPACE: &str = "https://sts.amazonaws.com/doc/2011-06-15/";

/// Why a request is not answered by its face.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refused {
    TwoFramings,
    TooOften { wait: Duration },
    TooLong,
    Broken,
}

/// How a face words its errors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum FaultKind {
    /// As the Distribution specification has it.
    Distribution,
    Aws(Family),
    Plain,
}

impl Face {
    pub(super) fn fault_kind(self, headers: &HeaderMap) -> FaultKind {
        match self {
            Self::V2 | Self::Token => FaultKind::Distribution,
            Self::Aws if headers.contains_key("x-amz-target") => FaultKind::Aws(Family::Json),
            Self::Aws => FaultKind::Aws(Family::Query),
            Self::Live | Self::Ready | Self::Metrics | Self::Reset | Self::Nobody => {
                FaultKind::Plain
            }
        }
    }
}

impl Refused {
    pub(super) fn answer(self, kind: FaultKind, id: &RequestId) -> Response<Body> {
        let mut response = match kind {
            FaultKind::Distribution => self.distribution().into_response(),
            FaultKind::Aws(family) => encode(&self.fault(family), family, id),
            FaultKind::Plain => super::health::text(self.status(), self.text()),
        };
        if let Some(seconds) = self.retry_after() {
            response
                .headers_mut()
                .insert(RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }

    fn distribution(self) -> Refusal {
        match self {
            Self::TooOften { wait } => Refusal::too_many_requests(wait),
            Self::TwoFramings => {
                Refusal::new(Code::Unsupported, TWO_FRAMINGS).with_status(self.status())
            }
            Self::TooLong | Self::Broken => {
                Refusal::new(Code::Unknown, self.text()).with_status(self.status())
            }
        }
    }

    fn fault(self, family: Family) -> Fault {
        match self {
            Self::TooOften { .. } => Fault::throttled(family),
            Self::TwoFramings => Fault::serialization(TWO_FRAMINGS),
            Self::TooLong => Fault::unavailable(family),
            Self::Broken => Fault::internal(family),
        }
    }

    fn status(self) -> StatusCode {
        match self {
            Self::TwoFramings => StatusCode::BAD_REQUEST,
            Self::TooOften { .. } => StatusCode::TOO_MANY_REQUESTS,
            Self::TooLong => StatusCode::SERVICE_UNAVAILABLE,
            Self::Broken => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    fn text(self) -> &'static str {
        match self {
            Self::TwoFramings => TWO_FRAMINGS,
            Self::TooOften { .. } => "too many requests",
            Self::TooLong => TOO_LONG,
            Self::Broken => BROKEN,
        }
    }

    /// Whole seconds, never zero: the header knows no fractions.
    fn retry_after(self) -> Option<u64> {
        match self {
            Self::TooOften { wait } => Some(wait.as_secs() + u64::from(wait.subsec_nanos() > 0))
                .map(|seconds| seconds.max(1)),
            Self::TooLong => Some(1),
            Self::TwoFramings | Self::Broken => None,
        }
    }
}

fn encode(fault: &Fault, family: Family, id: &RequestId) -> Response<Body> {
    let (content_type, body) = match family {
        Family::Json => (json::CONTENT_TYPE, json::fault(fault)),
        Family::Query => (
            xml::CONTENT_TYPE,
            xml::fault(fault, NAMESPACE, &id.to_string()),
        ),
    };
    let mut response = Response::new(Body::from(body));
    *response.status_mut() =
        StatusCode::from_u16(fault.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    response
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
        .headers_mut()
        .insert("x-amzn-requestid", id.to_header());
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_are_rounded_up_to_whole_seconds() {
        let after = |ms| {
            Refused::TooOften {
                wait: Duration::from_millis(ms),
            }
            .retry_after()
        };
        assert_eq!(
            (after(0), after(1), after(1000), after(1001)),
            (Some(1), Some(1), Some(1), Some(2))
        );
    }
}
