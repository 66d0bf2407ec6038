//! Why a registry did not give what was requested.

use std::time::Duration;

use reqwest::StatusCode;
use wharfinger_oci::Digest;

/// Longest text that is kept of a response, in characters.
const MAX_QUOTED_CHARS: usize = 200;

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The registry has no such repository, manifest or blob.
    #[error("the registry does not have it")]
    NotFound,
    /// 401 after signing in, or 403.
    #[error("the registry denies access: {0}")]
    Denied(String),
    #[error("the registry limits requests")]
    TooManyRequests { retry_after: Option<Duration> },
    /// No connection, no response in time, or a status of 500 and more.
    #[error("the registry is unavailable: {0}")]
    Unavailable(String),
    /// A URL that must not be requested: not encrypted, or an address that is not public.
    #[error("the address {0} may not be requested")]
    Address(String),
    #[error("the registry's content has digest {}, not {}", .0.actual, .0.expected)]
    DigestMismatch(Box<WrongDigest>),
    #[error("the registry's content is larger than {limit_bytes} bytes")]
    TooLarge { limit_bytes: u64 },
    /// 503 with the time after which another request makes sense.
    #[error("the registry is overloaded: {why}")]
    Overloaded { why: String, retry_after: Duration },
    /// Another status of 400 to 499: the same request would be refused again.
    #[error("the registry refuses the request: {}", .0.message)]
    Refused(Box<RefusedRequest>),
    /// The content of an upload could not be read.
    #[error("the content cannot be read: {0}")]
    Source(String),
    /// A response that the Distribution API does not allow.
    #[error("the registry's response is not valid: {0}")]
    Invalid(String),
}

/// A host name that stands for an address which is not public.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct PrivateAddress(pub(crate) String);

/// The content of an upload could not be read.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct SourceFailure(pub(crate) String);

/// A request that a registry refuses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RefusedRequest {
    /// The code of the error document; empty without one.
    code: String,
    pub message: String,
}

impl RefusedRequest {
    /// A manifest names blobs or members that the registry does not have.
    #[must_use]
    pub fn is_missing_content(&self) -> bool {
        let codes = ["MANIFEST_BLOB_UNKNOWN", "BLOB_UNKNOWN", "MANIFEST_UNKNOWN"];
        codes.contains(&self.code.as_str())
    }

    /// A tag must not move: the codes of ECR and this server, and of Harbor.
    #[must_use]
    pub fn is_immutable_tag(&self) -> bool {
        matches!(self.code.as_str(), "TAG_INVALID" | "PRECONDITION")
    }
}

/// Content that is not what it was said to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WrongDigest {
    pub expected: Digest,
    pub actual: Digest,
}

impl Error {
    /// Whether the same request may succeed a moment later.
    pub(crate) const fn is_transient(&self) -> bool {
        matches!(self, Self::Unavailable(_))
    }

    pub(crate) fn of_transport(error: &reqwest::Error) -> Self {
        // The reason is in the sources; the text of the error itself has the URL, which may hold
        // a signature.
        let mut why = String::from(if error.is_timeout() {
            "no response in time"
        } else {
            "no connection"
        });
        let mut source = std::error::Error::source(error);
        while let Some(cause) = source {
            if cause.is::<PrivateAddress>() {
                return Self::Address(cause.to_string());
            }
            if cause.is::<SourceFailure>() {
                return Self::Source(cause.to_string());
            }
            why = cause.to_string();
            source = cause.source();
        }
        Self::Unavailable(shortened(&why))
    }

    /// The error that a status stands for, with what the body says. Only a request that `reads` can
    /// miss what it names; for others it is a refusal.
    pub(crate) fn of_status(
        status: StatusCode,
        body: &[u8],
        retry_after: Option<Duration>,
        (reads, is_secret): (bool, impl Fn(&str) -> bool),
    ) -> Self {
        let RefusedRequest { code, message } = said(status, body, is_secret);
        match (status, retry_after) {
            (StatusCode::NOT_FOUND | StatusCode::GONE, _) if reads => Self::NotFound,
            (StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN, _) => Self::Denied(message),
            (StatusCode::TOO_MANY_REQUESTS, _) => Self::TooManyRequests { retry_after },
            (StatusCode::SERVICE_UNAVAILABLE, Some(retry_after)) => Self::Overloaded {
                why: message,
                retry_after,
            },
            _ if status.is_server_error() => Self::Unavailable(message),
            _ if status.is_client_error() => {
                Self::Refused(Box::new(RefusedRequest { code, message }))
            }
            _ => Self::Invalid(message),
        }
    }

    /// The upload is lost, as another one need not be.
    pub(crate) fn is_lost_upload(&self) -> bool {
        const CODES: [&str; 3] = [
            "BLOB_UPLOAD_UNKNOWN",
            "BLOB_UPLOAD_INVALID",
            "RANGE_INVALID",
        ];
        matches!(self, Self::Refused(refused) if CODES.contains(&refused.code.as_str()))
    }

    /// What was to be deleted is not there.
    pub(crate) fn is_gone(&self) -> bool {
        const CODES: [&str; 3] = ["MANIFEST_UNKNOWN", "NAME_UNKNOWN", "TAG_UNKNOWN"];
        matches!(self, Self::Refused(refused) if CODES.contains(&refused.code.as_str()))
    }
}

impl From<SourceFailure> for Error {
    fn from(SourceFailure(why): SourceFailure) -> Self {
        Self::Source(shortened(&why))
    }
}

/// The first error of an error document, or the status.
fn said(status: StatusCode, body: &[u8], is_secret: impl Fn(&str) -> bool) -> RefusedRequest {
    #[derive(serde::Deserialize)]
    struct Document {
        errors: Vec<Entry>,
    }
    #[derive(serde::Deserialize)]
    struct Entry {
        message: Option<String>,
        code: Option<String>,
    }
    let document = serde_json::from_slice::<Document>(body).ok();
    let entry = document.and_then(|document| document.errors.into_iter().next());
    let (message, code) = entry.map_or((None, None), |entry| (entry.message, entry.code));
    let code = code.filter(|code| !is_secret(code));
    let message = message.filter(|message| !message.is_empty() && !is_secret(message));
    let message = message.or_else(|| code.clone());
    RefusedRequest {
        code: shortened(&code.unwrap_or_default()),
        message: shortened(&message.unwrap_or_else(|| format!("status {}", status.as_u16()))),
    }
}

/// The start of a text, without control characters.
fn shortened(text: &str) -> String {
    let printable = text.chars().filter(|char| !char.is_control());
    printable.take(MAX_QUOTED_CHARS).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(code: &str) -> RefusedRequest {
        RefusedRequest {
            code: code.to_owned(),
            message: String::new(),
        }
    }

    #[test]
    fn codes_tell_what_a_refusal_means() {
        assert!(refused("TAG_INVALID").is_immutable_tag());
        assert!(refused("PRECONDITION").is_immutable_tag());
        assert!(refused("MANIFEST_BLOB_UNKNOWN").is_missing_content());
        for code in ["NAME_UNKNOWN", ""] {
            assert!(!refused(code).is_immutable_tag());
            assert!(!refused(code).is_missing_content());
        }
        let error = |code| Error::Refused(Box::new(refused(code)));
        assert!(error("NAME_UNKNOWN").is_gone() && !error("DENIED").is_gone());
        assert!(error("RANGE_INVALID").is_lost_upload());
        assert!(!Error::NotFound.is_lost_upload());
    }

    #[test]
    fn a_document_is_read_within_bounds() {
        let of = |body: &[u8]| {
            let reads = (true, |_: &str| false);
            Error::of_status(StatusCode::BAD_REQUEST, body, None, reads)
        };
        let shown = |body: &[u8]| of(body).to_string();
        let text = shown(br#"{"errors":[{"code":"A","message":"no"}]}"#);
        assert_eq!(text, "the registry refuses the request: no");
        let text = shown(br#"{"errors":[{"code":"A","message":""}]}"#);
        assert_eq!(text, "the registry refuses the request: A");
        assert_eq!(shown(b"?"), "the registry refuses the request: status 400");
    }
}
