//! Where events go: files of JSON lines and webhooks. What an event is, these sinks do not know.

mod file;
mod signature;
#[cfg(test)]
mod tests;
mod webhook;

use std::io;
use std::path::PathBuf;
use std::time::Duration;

pub use file::{FileSink, FileSinkConfig};
pub use webhook::{WebhookConfig, WebhookSink};
use wharfinger_base::Timestamp;

/// Why a sink cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SinkError {
    #[error("cannot read {path}")]
    File { path: PathBuf, source: io::Error },
    #[error("{path} has no certificate, or one that cannot be read")]
    Certificates { path: PathBuf },
    #[error("the secret in {path} has fewer than {minimum_bytes} bytes")]
    ShortSecret { path: PathBuf, minimum_bytes: usize },
    #[error("a TLS client could not be made")]
    Tls(#[source] rustls::Error),
    #[error("an HTTP client could not be made")]
    Http(#[source] reqwest::Error),
}

/// Why an event was not delivered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SinkFailure {
    /// The next attempt may succeed, after the time that the receiver requests.
    Retry {
        why: String,
        after: Option<Duration>,
    },
    /// The receiver does not accept this very event, and never will.
    Rejected { why: String },
}

/// What a sink did with a list of events: the first `delivered` arrived, and the next one failed,
/// if there is a failure.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Delivery {
    pub delivered: usize,
    pub failure: Option<SinkFailure>,
}

/// A sink of events.
pub enum Sink {
    File(FileSink),
    Webhook(WebhookSink),
}

impl Sink {
    /// Delivers events, each a JSON document of one line, in their order. Ends early after some
    /// seconds, so that what was delivered can be recorded.
    pub async fn deliver(&self, events: Vec<String>, now: Timestamp) -> Delivery {
        match self {
            Self::File(sink) => sink.deliver(events).await,
            Self::Webhook(sink) => sink.deliver(&events, now).await,
        }
    }

    /// The longest time that a call of [`Sink::deliver`] takes.
    pub fn longest_delivery(&self) -> Duration {
        match self {
            Self::File(_) => file::LONGEST_WRITE,
            Self::Webhook(sink) => sink.longest_delivery(),
        }
    }
}
