//! Error responses of `/v2/`: a status and codes of the closed list, and the conversion of every
//! other error into both.

use std::borrow::Cow;
use std::error::Error;

use axum::body::Body;
use http::header::{ALLOW, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode};
use serde::Serialize;
use serde_json::{Value, json};
use wharfinger_api_core::response::{JSON, document};
use wharfinger_api_core::{AccessDenied, ErrorFormat, ServiceError};
use wharfinger_iam as iam;
use wharfinger_oci::{Digest, ManifestError};
use wharfinger_registry as registry;

use crate::query::QueryError;
use crate::response::ascii;
use crate::route::RouteError;

/// Most errors listed in one response: 10,000 blobs of a manifest may be missing, and its sender
/// needs to see a few.
const MAX_LISTED: usize = 100;

/// A code of `{"errors":[{"code":…}]}`. Clients know these by name; docker shows any other one as a
/// failure of the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Code {
    BlobUnknown,
    BlobUploadInvalid,
    BlobUploadUnknown,
    DigestInvalid,
    ManifestBlobUnknown,
    ManifestInvalid,
    ManifestUnknown,
    NameInvalid,
    NameUnknown,
    SizeInvalid,
    /// No longer in the specification, but in every client: ECR's code for a push that would move
    /// an immutable tag.
    TagInvalid,
    Unauthorized,
    Denied,
    Unsupported,
    TooManyRequests,
    /// Failures of the server (5xx), for which the specification has no code; distribution uses
    /// this one.
    Unknown,
}

impl Code {
    #[cfg(test)]
    const ALL: [Self; 16] = [
        Self::BlobUnknown,
        Self::BlobUploadInvalid,
        Self::BlobUploadUnknown,
        Self::DigestInvalid,
        Self::ManifestBlobUnknown,
        Self::ManifestInvalid,
        Self::ManifestUnknown,
        Self::NameInvalid,
        Self::NameUnknown,
        Self::SizeInvalid,
        Self::TagInvalid,
        Self::Unauthorized,
        Self::Denied,
        Self::Unsupported,
        Self::TooManyRequests,
        Self::Unknown,
    ];

    #[must_use]
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::BlobUnknown => "BLOB_UNKNOWN",
            Self::BlobUploadInvalid => "BLOB_UPLOAD_INVALID",
            Self::BlobUploadUnknown => "BLOB_UPLOAD_UNKNOWN",
            Self::DigestInvalid => "DIGEST_INVALID",
            Self::ManifestBlobUnknown => "MANIFEST_BLOB_UNKNOWN",
            Self::ManifestInvalid => "MANIFEST_INVALID",
            Self::ManifestUnknown => "MANIFEST_UNKNOWN",
            Self::NameInvalid => "NAME_INVALID",
            Self::NameUnknown => "NAME_UNKNOWN",
            Self::SizeInvalid => "SIZE_INVALID",
            Self::TagInvalid => "TAG_INVALID",
            Self::Unauthorized => "UNAUTHORIZED",
            Self::Denied => "DENIED",
            Self::Unsupported => "UNSUPPORTED",
            Self::TooManyRequests => "TOOMANYREQUESTS",
            Self::Unknown => "UNKNOWN",
        }
    }

    #[must_use]
    pub(crate) const fn status(self) -> StatusCode {
        match self {
            Self::BlobUploadInvalid
            | Self::DigestInvalid
            | Self::ManifestBlobUnknown
            | Self::ManifestInvalid
            | Self::NameInvalid
            | Self::SizeInvalid
            | Self::TagInvalid => StatusCode::BAD_REQUEST,
            Self::BlobUnknown
            | Self::BlobUploadUnknown
            | Self::ManifestUnknown
            | Self::NameUnknown => StatusCode::NOT_FOUND,
            Self::Unauthorized => StatusCode::UNAUTHORIZED,
            Self::Denied => StatusCode::FORBIDDEN,
            Self::Unsupported => StatusCode::METHOD_NOT_ALLOWED,
            Self::TooManyRequests => StatusCode::TOO_MANY_REQUESTS,
            Self::Unknown => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }
}

/// An error response. Boxed, since the result of every handler contains it.
#[derive(Debug)]
pub(crate) struct DistributionError(Box<Inner>);

#[derive(Debug)]
struct Inner {
    status: StatusCode,
    errors: Vec<Item>,
    headers: HeaderMap,
    /// The internal cause: for the log, never for the client.
    cause: Option<String>,
}

#[derive(Debug, Serialize)]
struct Item {
    code: &'static str,
    message: Cow<'static, str>,
    #[serde(skip_serializing_if = "Value::is_null")]
    detail: Value,
}

#[derive(Serialize)]
struct ErrorDocument<'a> {
    errors: &'a [Item],
}

impl DistributionError {
    /// An error with the status that belongs to `code`.
    #[must_use]
    pub(crate) fn new(code: Code, message: impl Into<Cow<'static, str>>) -> Self {
        let item = Item {
            code: code.name(),
            message: message.into(),
            detail: Value::Null,
        };
        Self(Box::new(Inner {
            status: code.status(),
            errors: vec![item],
            headers: HeaderMap::new(),
            cause: None,
        }))
    }

    /// 500. The client learns nothing about the cause; the log contains it with its own causes.
    #[must_use]
    pub(crate) fn internal(cause: &dyn Error) -> Self {
        Self::new(Code::Unknown, "internal error").with_cause(cause)
    }

    /// 503 while the index is out of reach.
    #[must_use]
    pub(crate) fn unavailable(cause: &dyn Error) -> Self {
        Self::new(Code::Unknown, "the service is unavailable; try again")
            .with_status(StatusCode::SERVICE_UNAVAILABLE)
            .with_header(RETRY_AFTER, HeaderValue::from_static("1"))
            .with_cause(cause)
    }

    /// The response for an error of authentication that is not the client's.
    #[must_use]
    pub(crate) fn of_authentication(error: &iam::Error) -> Self {
        if error.is_unavailable() {
            Self::unavailable(error)
        } else {
            Self::internal(error)
        }
    }

    /// 401 with its challenge.
    #[must_use]
    pub(crate) fn unauthorized(
        message: impl Into<Cow<'static, str>>,
        challenge: HeaderValue,
    ) -> Self {
        Self::new(Code::Unauthorized, message).with_header(WWW_AUTHENTICATE, challenge)
    }

    /// 405 with the methods that the endpoint has.
    #[must_use]
    pub(crate) fn method_not_allowed(allowed: &str) -> Self {
        let message = format!("the methods of this endpoint are {allowed}");
        Self::new(Code::Unsupported, message).with_header(ALLOW, ascii(allowed.to_owned()))
    }

    #[must_use]
    fn with_cause(mut self, cause: &dyn Error) -> Self {
        let mut text = cause.to_string();
        let mut next = cause.source();
        while let Some(cause) = next {
            text.push_str(": ");
            text.push_str(&cause.to_string());
            next = cause.source();
        }
        self.0.cause = Some(text);
        self
    }

    #[must_use]
    pub(crate) fn with_status(mut self, status: StatusCode) -> Self {
        self.0.status = status;
        self
    }

    /// Sets the detail of every error of the response.
    #[must_use]
    pub(crate) fn with_detail(mut self, detail: &Value) -> Self {
        for item in &mut self.0.errors {
            item.detail = detail.clone();
        }
        self
    }

    #[must_use]
    pub(crate) fn with_header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.0.headers.insert(name, value);
        self
    }

    /// Code and message of the first (nearly always the only) error of the response.
    pub(crate) fn first(&self) -> (&'static str, &str) {
        let first = self.0.errors.first();
        first.map_or(("", ""), |item| (item.code, &*item.message))
    }

    /// The response. The cause of an internal error is logged here and nowhere else.
    #[must_use]
    pub(crate) fn into_response(self) -> Response<Body> {
        let inner = *self.0;
        if let Some(cause) = inner.cause {
            tracing::error!(status = inner.status.as_u16(), %cause, "request failed");
        }
        let errors = ErrorDocument {
            errors: &inner.errors,
        };
        let body = serde_json::to_vec(&errors).unwrap_or_default();
        let mut response = document(inner.status, JSON, body);
        response.headers_mut().extend(inner.headers);
        response
    }

    /// One error for each missing digest, up to [`MAX_LISTED`].
    fn missing(message: &'static str, digests: &[Digest]) -> Self {
        let mut error = Self::new(Code::ManifestBlobUnknown, message);
        let item = |digest: &Digest| Item {
            code: Code::ManifestBlobUnknown.name(),
            message: Cow::Borrowed(message),
            detail: json!({ "digest": digest }),
        };
        error.0.errors = digests.iter().take(MAX_LISTED).map(item).collect();
        error
    }
}

/// How the HTTP service encodes its own errors for `/v2/` and `/token`.
#[derive(Clone, Copy, Debug)]
pub struct DistributionErrors;

impl ErrorFormat for DistributionErrors {
    fn of(_headers: &HeaderMap) -> Self {
        Self
    }

    fn encode(&self, error: ServiceError, _request_id: &str) -> Response<Body> {
        DistributionError::from(error).into_response()
    }
}

impl From<ServiceError> for DistributionError {
    fn from(error: ServiceError) -> Self {
        let code = match error {
            ServiceError::TooManyRequests { .. } => Code::TooManyRequests,
            ServiceError::ForeignOrigin | ServiceError::UnknownHost => Code::Denied,
            ServiceError::TimedOut | ServiceError::Internal => Code::Unknown,
        };
        let response = Self::new(code, error.to_string()).with_status(error.status());
        match error.retry_after_seconds() {
            Some(seconds) => response.with_header(RETRY_AFTER, HeaderValue::from(seconds)),
            None => response,
        }
    }
}

impl From<AccessDenied> for DistributionError {
    fn from(denied: AccessDenied) -> Self {
        Self::new(Code::Denied, denied.message)
    }
}

impl From<&RouteError> for DistributionError {
    fn from(error: &RouteError) -> Self {
        error.clone().into()
    }
}

impl From<&QueryError> for DistributionError {
    fn from(error: &QueryError) -> Self {
        error.clone().into()
    }
}

impl From<RouteError> for DistributionError {
    fn from(error: RouteError) -> Self {
        let message = error.to_string();
        match error {
            RouteError::NoSuchEndpoint => Self::new(Code::NameUnknown, message),
            RouteError::Method { allowed } => Self::method_not_allowed(&allowed),
            RouteError::Encoding | RouteError::Name(_) => Self::new(Code::NameInvalid, message),
            RouteError::Tag(_) => Self::new(Code::TagInvalid, message),
            RouteError::Digest(_) => Self::new(Code::DigestInvalid, message),
            RouteError::UploadId => Self::new(Code::BlobUploadUnknown, message),
        }
    }
}

impl From<QueryError> for DistributionError {
    fn from(error: QueryError) -> Self {
        let message = error.to_string();
        match error {
            QueryError::Digest(_) | QueryError::Algorithm(_) | QueryError::Mount(_) => {
                Self::new(Code::DigestInvalid, message)
            }
            QueryError::Tag(_) => Self::new(Code::TagInvalid, message),
            QueryError::TooManyTags => {
                Self::new(Code::Unsupported, message).with_status(StatusCode::URI_TOO_LONG)
            }
            QueryError::Encoding | QueryError::Number | QueryError::Last => {
                Self::new(Code::Unsupported, message).with_status(StatusCode::BAD_REQUEST)
            }
        }
    }
}

impl From<ManifestError> for DistributionError {
    fn from(error: ManifestError) -> Self {
        Self::new(Code::ManifestInvalid, error.to_string())
    }
}

impl From<registry::Error> for DistributionError {
    fn from(error: registry::Error) -> Self {
        use registry::Error;
        let message = error.to_string();
        match error {
            Error::NoSuchRepository { name, .. } => {
                Self::new(Code::NameUnknown, message).with_detail(&json!({ "name": name.as_str() }))
            }
            Error::NoSuchImage(reference) => Self::new(Code::ManifestUnknown, message)
                .with_detail(&json!({ "reference": reference.to_string() })),
            Error::ImageArchived(digest) => Self::new(Code::ManifestUnknown, message)
                .with_detail(&json!({ "reference": digest.to_string() })),
            Error::TagImmutable { tag, .. } => {
                Self::new(Code::TagInvalid, message).with_detail(&json!({ "tag": tag.as_str() }))
            }
            Error::ReferencedByIndex { .. } | Error::TooManyTags { .. } => {
                Self::new(Code::Denied, message)
            }
            Error::UnsupportedImage => Self::new(Code::Unsupported, message),
            Error::ManifestDigestMismatch(mismatch) | Error::DigestMismatch(mismatch) => {
                Self::new(Code::DigestInvalid, message).with_detail(
                    &json!({ "expected": mismatch.expected, "actual": mismatch.actual }),
                )
            }
            Error::Manifest(error) => Self::from(error),
            Error::MissingBlobs(digests) => Self::missing("blob unknown to registry", &digests),
            Error::MissingMembers(digests) => {
                Self::missing("manifest unknown to registry", &digests)
            }
            Error::NoSuchBlob(digest) => {
                Self::new(Code::BlobUnknown, message).with_detail(&json!({ "digest": digest }))
            }
            Error::NoSuchUpload => Self::new(Code::BlobUploadUnknown, message),
            Error::UploadBusy => {
                Self::new(Code::BlobUploadInvalid, message).with_status(StatusCode::CONFLICT)
            }
            Error::OutOfOrder { .. } => Self::new(Code::BlobUploadInvalid, message)
                .with_status(StatusCode::RANGE_NOT_SATISFIABLE),
            Error::PartLength { .. } | Error::PartTooSmall { .. } => {
                Self::new(Code::SizeInvalid, message)
            }
            Error::EmptyUpload | Error::BodyEnded(_) => Self::new(Code::BlobUploadInvalid, message),
            Error::TooLarge { .. } => {
                Self::new(Code::SizeInvalid, message).with_status(StatusCode::PAYLOAD_TOO_LARGE)
            }
            Error::TooManyUploads { .. } | Error::ScanQuota => {
                Self::new(Code::TooManyRequests, message)
            }
            Error::NoSpace => Self::new(Code::Unknown, message)
                .with_status(StatusCode::INSUFFICIENT_STORAGE)
                .with_cause(&Error::NoSpace),
            error if error.is_unavailable() => Self::unavailable(&error),
            // The rest comes from operations that this API does not call, or is internal.
            error => Self::internal(&error),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use http::header::CONTENT_TYPE;
    use http_body_util::BodyExt as _;
    use wharfinger_oci::Algorithm;

    use super::*;

    async fn read(error: DistributionError) -> (StatusCode, HeaderMap, Value) {
        let (head, body) = error.into_response().into_parts();
        let bytes = body.collect().await.expect("a body").to_bytes();
        let document = serde_json::from_slice(&bytes).expect("JSON");
        (head.status, head.headers, document)
    }

    #[tokio::test]
    async fn an_error_is_json_with_a_code_of_the_closed_list() {
        let digest = Digest::of(Algorithm::Sha256, b"x");
        let (status, headers, body) = read(registry::Error::NoSuchBlob(digest).into()).await;
        assert_eq!(status, StatusCode::NOT_FOUND);
        assert_eq!(headers[CONTENT_TYPE], "application/json");
        assert_eq!(body["errors"][0]["code"], "BLOB_UNKNOWN");
        assert_eq!(body["errors"][0]["detail"]["digest"], digest.to_string());
    }

    #[tokio::test]
    async fn missing_blobs_are_listed_one_by_one_within_a_bound() {
        let digests: Vec<_> = (0..200_u32)
            .map(|n| Digest::of(Algorithm::Sha256, &n.to_be_bytes()))
            .collect();
        let (status, _, body) = read(registry::Error::MissingBlobs(digests).into()).await;
        assert_eq!(status, StatusCode::BAD_REQUEST);
        assert_eq!(body["errors"].as_array().map(Vec::len), Some(MAX_LISTED));
    }

    #[tokio::test]
    async fn internal_causes_are_not_sent() {
        let cause = std::io::Error::other("disk /dev/sda1 is on fire");
        let (status, _, body) = read(DistributionError::internal(&cause)).await;
        assert_eq!(status, StatusCode::INTERNAL_SERVER_ERROR);
        assert!(!body.to_string().contains("fire"));
    }

    #[tokio::test]
    async fn too_many_requests_states_when_to_return() {
        let error = ServiceError::TooManyRequests {
            retry_after: Duration::from_millis(1_200),
        };
        let (status, headers, body) = read(error.into()).await;
        assert_eq!(status, StatusCode::TOO_MANY_REQUESTS);
        assert_eq!(headers[RETRY_AFTER], "2");
        assert_eq!(body["errors"][0]["code"], "TOOMANYREQUESTS");
    }

    #[tokio::test]
    async fn an_index_out_of_reach_is_503_and_one_that_is_damaged_500() {
        let away = wharfinger_db::Error::Unavailable("db.internal refused".to_owned());
        let errors = [
            DistributionError::from(registry::Error::from(away.clone())),
            DistributionError::of_authentication(&iam::Error::from(away)),
        ];
        for error in errors {
            let (status, headers, body) = read(error).await;
            assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
            assert_eq!(headers[RETRY_AFTER], "1");
            assert!(!body.to_string().contains("db.internal"));
        }
        let damaged = registry::Error::from(wharfinger_db::Error::other("a stored digest"));
        let (status, _, _) = read(damaged.into()).await;
        assert_eq!(status, StatusCode::INTERNAL_SERVER_ERROR);
    }

    #[test]
    fn every_code_has_its_own_name_and_an_error_status() {
        let mut names: Vec<_> = Code::ALL.iter().map(|code| code.name()).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), Code::ALL.len());
        for code in Code::ALL {
            assert!(code.status().is_client_error() || code.status().is_server_error());
            let legal = |byte: u8| byte.is_ascii_uppercase() || byte == b'_';
            assert!(code.name().bytes().all(legal), "{}", code.name());
        }
    }
}
