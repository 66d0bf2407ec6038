//! Errors of the HTTP service, and faults, in the two AWS protocols.

use axum::body::Body;
use bytes::Bytes;
use http::header::RETRY_AFTER;
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode};
use wharfinger_aws::{Family, Fault, json, xml};

use crate::response::document;
use crate::service_error::{ErrorFormat, ServiceError};

pub(crate) const AWS_REQUEST_ID: HeaderName = HeaderName::from_static("x-amzn-requestid");
pub(crate) const TARGET: HeaderName = HeaderName::from_static("x-amz-target");

/// The XML namespace of a fault whose service is not known: that of STS, which clients of the Query
/// protocol call first.
pub(crate) const DEFAULT_NAMESPACE: &str = "https://sts.amazonaws.com/doc/2011-06-15/";

/// Errors in the protocol family of the request.
#[derive(Clone, Copy, Debug)]
pub(crate) struct AwsErrors(pub(crate) Family);

impl ErrorFormat for AwsErrors {
    fn of(headers: &HeaderMap) -> Self {
        Self(family(headers))
    }

    fn encode(&self, error: ServiceError, request_id: &str) -> Response<Body> {
        let Self(family) = *self;
        let fault = match error {
            ServiceError::TooManyRequests { .. } => Fault::throttled(family),
            ServiceError::ForeignOrigin | ServiceError::UnknownHost => {
                Fault::access_denied(family, error.to_string()).with_status(403)
            }
            ServiceError::TimedOut => Fault::unavailable(family),
            ServiceError::Internal => Fault::internal(family),
        };
        fault_response(&fault, family, DEFAULT_NAMESPACE, request_id)
    }
}

/// The protocol family of a request: JSON requests name their operation in a header, Query requests
/// in a form.
pub(crate) fn family(headers: &HeaderMap) -> Family {
    let content_type = headers.get(http::header::CONTENT_TYPE);
    let is_json = content_type.is_some_and(|kind| {
        let kind = kind.as_bytes();
        kind.starts_with(b"application/x-amz-json") || kind.starts_with(b"application/json")
    });
    if is_json || headers.contains_key(TARGET) {
        Family::Json
    } else {
        Family::Query
    }
}

/// The response for a fault. `namespace` is that of its service, for XML.
pub(crate) fn fault_response(
    fault: &Fault,
    family: Family,
    namespace: &str,
    request_id: &str,
) -> Response<Body> {
    let status = StatusCode::from_u16(fault.status());
    let status = status.unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let body = match family {
        Family::Json => json::fault(fault),
        Family::Query => xml::fault(fault, namespace, request_id),
    };
    let mut response = aws_response(status, family, request_id, body);
    if matches!(
        status,
        StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE
    ) {
        let headers = response.headers_mut();
        headers.insert(RETRY_AFTER, HeaderValue::from_static("1"));
    }
    response
}

/// A response with an encoded document and the headers that AWS clients expect.
pub(crate) fn aws_response(
    status: StatusCode,
    family: Family,
    request_id: &str,
    body: impl Into<Bytes>,
) -> Response<Body> {
    let content_type = match family {
        Family::Json => json::CONTENT_TYPE,
        Family::Query => xml::CONTENT_TYPE,
    };
    let mut response = document(status, HeaderValue::from_static(content_type), body);
    if let Ok(id) = HeaderValue::from_str(request_id) {
        response.headers_mut().insert(AWS_REQUEST_ID, id);
    }
    response
}
