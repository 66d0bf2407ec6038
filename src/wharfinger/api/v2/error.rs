//! What `/v2/` says when it says no: a status, codes of the closed list, and the registry's errors
//! turned into both in one match.

use std::borrow::Cow;
use std::time::Duration;

use axum::body::Body;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode};
use serde::Serialize;
use serde_json::{Value, json};
use wharfinger_api_core::{ErrorFormat, ServiceError};
use wharfinger_oci::{Digest, ManifestError};
use wharfinger_registry as registry;

use crate::api::v2::query::QueryError;
use crate::api::v2::route::RouteError;

/// Most errors listed in one answer: a manifest may miss 10,000 blobs, and whoever pushed it needs
/// to see a few.
const MAX_LISTED: usize = 100;

/// A code of `{"errors":[{"code":…}]}`. Clients know these by name; one outside the list shows up
/// in docker as a failure of the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Code {
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
    /// No longer in the specification, but in every client: what ECR answers when an immutable tag
    /// would move.
    TagInvalid,
    Unauthorized,
    Denied,
    Unsupported,
    TooManyRequests,
    /// Failures of the server (5xx), which the specification leaves open; distribution's word for
    /// them.
    Unknown,
}

impl Code {
    #[cfg(test)]
    pub const ALL: [Self; 16] = [
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
    pub const fn name(self) -> &'static str {
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
    pub const fn status(self) -> StatusCode {
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

/// An answer other than success. Boxed, because results carry it through every handler.
#[derive(Debug)]
pub struct Refusal(Box<Inner>);

#[derive(Debug)]
struct Inner {
    status: StatusCode,
    errors: Vec<Item>,
    headers: HeaderMap,
    /// What went wrong inside: for the log, never for the client.
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
struct Document<'a> {
    errors: &'a [Item],
}

impl Refusal {
    /// A refusal with the status that belongs to `code`.
    #[must_use]
    pub fn new(code: Code, message: impl Into<Cow<'static, str>>) -> Self {
        let errors = vec![Item {
            code: code.name(),
            message: message.into(),
            detail: Value::Null,
        }];
        Self(Box::new(Inner {
            status: code.status(),
            errors,
            headers: HeaderMap::new(),
            cause: None,
        }))
    }

    /// A failure of our own: the client learns the status and nothing about the inside, the log
    /// learns `cause`.
    #[must_use]
    pub fn internal(status: StatusCode, message: &'static str, cause: String) -> Self {
        let mut refusal = Self::new(Code::Unknown, message).with_status(status);
        refusal.0.cause = Some(cause);
        refusal
    }

    /// 500: something inside is broken, and only the log says what.
    #[must_use]
    pub fn broken(cause: &dyn std::fmt::Display) -> Self {
        Self::internal(
            StatusCode::INTERNAL_SERVER_ERROR,
            "internal error",
            cause.to_string(),
        )
    }

    /// 401 with its challenge.
    #[must_use]
    pub fn unauthorized(message: impl Into<Cow<'static, str>>, challenge: HeaderValue) -> Self {
        Self::new(Code::Unauthorized, message).with_header(WWW_AUTHENTICATE, challenge)
    }

    /// 429, to be tried again after `wait`.
    #[must_use]
    pub fn too_many_requests(wait: Duration) -> Self {
        // Rounded up: a client that waits no full second would be early.
        let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
        Self::new(Code::TooManyRequests, "Rate exceeded")
            .with_header(RETRY_AFTER, HeaderValue::from(seconds.max(1)))
    }

    /// An error of the HTTP service.
    #[must_use]
    pub fn from_service(error: ServiceError) -> Self {
        match error {
            ServiceError::TooManyRequests { retry_after } => Self::too_many_requests(retry_after),
            ServiceError::ForeignOrigin | ServiceError::UnknownHost => {
                Self::new(Code::Denied, error.to_string())
            }
            ServiceError::TimedOut | ServiceError::Internal => {
                Self::new(Code::Unknown, error.to_string()).with_status(error.status())
            }
        }
    }

    #[must_use]
    pub fn with_status(mut self, status: StatusCode) -> Self {
        self.0.status = status;
        self
    }

    /// Adds to every error of the answer what it is about.
    #[must_use]
    pub fn with_detail(mut self, detail: &Value) -> Self {
        for item in &mut self.0.errors {
            item.detail = detail.clone();
        }
        self
    }

    #[must_use]
    pub fn with_header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.0.headers.insert(name, value);
        self
    }

    #[must_use]
    pub fn status(&self) -> StatusCode {
        self.0.status
    }

    /// The first (nearly always the only) code of the answer.
    #[must_use]
    pub fn code(&self) -> &'static str {
        self.0.errors.first().map_or("", |item| item.code)
    }

    /// The answer as it goes out; what went wrong inside is logged here and nowhere else.
    #[must_use]
    pub fn into_response(self) -> Response<Body> {
        let inner = *self.0;
        if let Some(cause) = inner.cause {
            tracing::error!(status = inner.status.as_u16(), %cause, "request failed");
        }
        let body = serde_json::to_vec(&Document {
            errors: &inner.errors,
        })
        .unwrap_or_default();
        let mut response = Response::new(Body::empty());
        *response.status_mut() = inner.status;
        *response.headers_mut() = inner.headers;
        response
            .headers_mut()
            .insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        response
            .headers_mut()
            .insert(CONTENT_LENGTH, HeaderValue::from(body.len()));
        *response.body_mut() = Body::from(body);
        response
    }

    /// One error for each digest that is missing, up to a bound.
    fn missing(message: &'static str, digests: &[Digest]) -> Self {
        let mut refusal = Self::new(Code::ManifestBlobUnknown, message);
        let item = |digest: &Digest| Item {
            code: Code::ManifestBlobUnknown.name(),
            message: Cow::Borrowed(message),
            detail: json!({ "digest": digest }),
        };
        refusal.0.errors = digests.iter().take(MAX_LISTED).map(item).collect();
        refusal
    }
}

/// Errors of the HTTP service in the Distribution API's format.
#[derive(Clone, Copy, Debug)]
pub struct DistributionErrors;

impl ErrorFormat for DistributionErrors {
    fn of(_headers: &HeaderMap) -> Self {
        Self
    }

    fn encode(&self, error: ServiceError, _request_id: &str) -> Response<Body> {
        Refusal::from_service(error).into_response()
    }
}

/// The document of a refusal by status alone, for the endpoints beside `/v2/` that its clients also
/// talk to.
#[must_use]
pub fn document(status: StatusCode, message: &str) -> Vec<u8> {
    let code = match status {
        StatusCode::UNAUTHORIZED => Code::Unauthorized,
        StatusCode::TOO_MANY_REQUESTS => Code::TooManyRequests,
        status if status.is_server_error() => Code::Unknown,
        _ => Code::Unsupported,
    };
    let item = Item {
        code: code.name(),
        message: Cow::Owned(message.to_owned()),
        detail: Value::Null,
    };
    serde_json::to_vec(&Document { errors: &[item] }).unwrap_or_default()
}

impl From<RouteError> for Refusal {
    fn from(error: RouteError) -> Self {
        let message = error.to_string();
        match error {
            RouteError::NoSuchEndpoint => Self::new(Code::NameUnknown, message),
            RouteError::Method { allowed } => Self::new(Code::Unsupported, message)
                .with_header(http::header::ALLOW, HeaderValue::from_static(allowed)),
            RouteError::Encoding | RouteError::Name(_) => Self::new(Code::NameInvalid, message),
            RouteError::Tag(_) => Self::new(Code::TagInvalid, message),
            RouteError::Digest(_) => Self::new(Code::DigestInvalid, message),
            RouteError::UploadId => Self::new(Code::BlobUploadUnknown, message),
        }
    }
}

impl From<QueryError> for Refusal {
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

impl From<ManifestError> for Refusal {
    fn from(error: ManifestError) -> Self {
        Self::new(Code::ManifestInvalid, error.to_string())
    }
}

impl From<registry::Error> for Refusal {
    fn from(error: registry::Error) -> Self {
        use registry::Error;
        let message = error.to_string();
        match error {
            Error::NoSuchRepository { name, .. } => {
                Self::new(Code::NameUnknown, message).with_detail(&json!({ "name": name.as_str() }))
            }
            Error::NoSuchImage(reference) => Self::new(Code::ManifestUnknown, message)
                .with_detail(&json!({ "reference": reference.to_string() })),
            Error::TagImmutable { tag, .. } => {
                Self::new(Code::TagInvalid, message).with_detail(&json!({ "tag": tag.as_str() }))
            }
            Error::ReferencedByIndex { .. } => Self::new(Code::Denied, message),
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
            Error::TooManyUploads { .. } => Self::new(Code::TooManyRequests, message),
            Error::NoSpace => Self::internal(
                StatusCode::INSUFFICIENT_STORAGE,
                "no space left for content",
                message,
            ),
            Error::Index(cause) => Self::broken(&format!("{message}: {cause}")),
            Error::Blobs(cause) => Self::broken(&format!("{message}: {cause}")),
            // Verbs that this face does not call.
            Error::RepositoryExists { .. }
            | Error::RepositoryNotEmpty { .. }
            | Error::NoRepositoryPolicy { .. }
            | Error::ImageExists { .. } => Self::broken(&message),
        }
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt as _;
    use wharfinger_oci::Algorithm;

    use super::*;

    async fn read(refusal: Refusal) -> (StatusCode, HeaderMap, Value) {
        let (head, body) = refusal.into_response().into_parts();
        let bytes = body.collect().await.expect("a body").to_bytes();
        (
            head.status,
            head.headers,
            serde_json::from_slice(&bytes).expect("JSON"),
        )
    }

    #[tokio::test]
    async fn a_refusal_is_json_of_the_closed_list() {
        let digest = Digest::of(Algorithm::Sha256, b"x");
        let (status, headers, body) = read(registry::Error::NoSuchBlob(digest).into()).await;
        assert_eq!(status, StatusCode::NOT_FOUND);
        assert_eq!(headers[CONTENT_TYPE], "application/json");
        assert_eq!(body["errors"][0]["code"], "BLOB_UNKNOWN");
        assert_eq!(body["errors"][0]["detail"]["digest"], digest.to_string());
    }

    #[tokio::test]
    async fn missing_blobs_are_listed_one_by_one_within_bounds() {
        let digests: Vec<_> = (0..200_u32)
            .map(|n| Digest::of(Algorithm::Sha256, &n.to_be_bytes()))
            .collect();
        let (status, _, body) = read(registry::Error::MissingBlobs(digests).into()).await;
        assert_eq!(status, StatusCode::BAD_REQUEST);
        assert_eq!(body["errors"].as_array().map(Vec::len), Some(MAX_LISTED));
    }

    #[tokio::test]
    async fn causes_stay_inside() {
        let refusal = Refusal::internal(
            StatusCode::INTERNAL_SERVER_ERROR,
            "internal error",
            "disk /dev/sda1 is on fire".to_owned(),
        );
        let (status, _, body) = read(refusal).await;
        assert_eq!(
            (status, body.to_string().contains("fire")),
            (StatusCode::INTERNAL_SERVER_ERROR, false)
        );
    }

    #[tokio::test]
    async fn too_many_requests_says_when_to_return() {
        let (status, headers, _) =
            read(Refusal::too_many_requests(Duration::from_millis(1_200))).await;
        assert_eq!(
            (status, headers[RETRY_AFTER].as_bytes()),
            (StatusCode::TOO_MANY_REQUESTS, b"2".as_slice())
        );
    }

    #[test]
    fn every_code_has_its_own_name_and_an_error_status() {
        let mut names: Vec<_> = Code::ALL.iter().map(|code| code.name()).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), Code::ALL.len());
        for code in Code::ALL {
            assert!(code.status().is_client_error() || code.status().is_server_error());
            assert!(
                code.name()
                    .bytes()
                    .all(|byte| byte.is_ascii_uppercase() || byte == b'_')
            );
        }
    }
}
