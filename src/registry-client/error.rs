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
    /// A response that the Distribution API does not allow.
    #[error("the registry's response is not valid: {0}")]
    Invalid(String),
}

/// A host name that stands for an address which is not public.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct PrivateAddress(pub(crate) String);

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
            why = cause.to_string();
            source = cause.source();
        }
        Self::Unavailable(shortened(&why))
    }

    /// The error that a status stands for, with what the body says.
    pub(crate) fn of_status(
        status: StatusCode,
        body: &[u8],
        retry_after: Option<Duration>,
    ) -> Self {
        let said = || said(status, body);
        match status {
            StatusCode::NOT_FOUND | StatusCode::GONE => Self::NotFound,
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Self::Denied(said()),
            StatusCode::TOO_MANY_REQUESTS => Self::TooManyRequests { retry_after },
            _ if status.is_server_error() => Self::Unavailable(said()),
            _ => Self::Invalid(said()),
        }
    }
}

/// The first message of an error document, or the status.
fn said(status: StatusCode, body: &[u8]) -> String {
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
    let text = entry.and_then(|entry| entry.message.or(entry.code));
    shortened(&text.unwrap_or_else(|| format!("status {}", status.as_u16())))
}

/// The start of a text, without control characters.
fn shortened(text: &str) -> String {
    let printable = text.chars().filter(|char| !char.is_control());
    printable.take(MAX_QUOTED_CHARS).collect()
}
