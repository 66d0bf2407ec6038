//! A webhook: each event is the body of one POST request.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use reqwest::header::{CONTENT_TYPE, RETRY_AFTER};
use reqwest::redirect::Policy;
use reqwest::{Client, Response, StatusCode};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::{ClientConfig, RootCertStore};
use url::Url;
use wharfinger_base::{Chain, Secret, Timestamp};
use wharfinger_tls::client_builder;

use crate::signature::signature;
use crate::{Delivery, SinkError, SinkFailure};

/// The header with the signature.
const SIGNATURE_HEADER: &str = "wharfinger-signature";
/// A shorter secret could be found by trial.
const MIN_SECRET_BYTES: usize = 16;
/// After this time no further request of a list begins.
const LIST_TIME: Duration = Duration::from_secs(5);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// Where events are posted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WebhookConfig {
    pub url: Url,
    /// A file with the secret that signs requests; without one they are not signed.
    pub secret_file: Option<PathBuf>,
    /// A PEM file with the authorities of the receiver's certificate, instead of the system's.
    pub ca_file: Option<PathBuf>,
    /// Time for a request as a whole.
    pub timeout: Duration,
}

/// A webhook. Redirects are not followed: only the configured host gets events.
pub struct WebhookSink {
    client: Client,
    url: Url,
    secret: Option<Secret<Vec<u8>>>,
    timeout: Duration,
}

impl WebhookSink {
    /// Reads secret and authorities. Blocks for as long as that takes.
    ///
    /// # Errors
    /// [`SinkError`] where a file cannot be used.
    pub fn new(config: WebhookConfig) -> Result<Self, SinkError> {
        let secret = config.secret_file.as_deref().map(secret).transpose()?;
        let client = Client::builder()
            .tls_backend_preconfigured(tls(config.ca_file.as_deref())?)
            .redirect(Policy::none())
            .no_proxy()
            .connect_timeout(CONNECT_TIMEOUT)
            .timeout(config.timeout)
            .user_agent("wharfinger")
            .build()
            .map_err(SinkError::Http)?;
        Ok(Self {
            client,
            url: config.url,
            secret,
            timeout: config.timeout,
        })
    }

    pub(super) fn longest_delivery(&self) -> Duration {
        LIST_TIME + self.timeout
    }

    pub(super) async fn deliver(&self, events: &[String], now: Timestamp) -> Delivery {
        let started = Instant::now();
        let mut delivered = 0;
        for event in events {
            if delivered > 0 && started.elapsed() >= LIST_TIME {
                break;
            }
            let failure = self.post(event, now.plus(started.elapsed())).await.err();
            if failure.is_some() {
                return Delivery { delivered, failure };
            }
            delivered += 1;
        }
        Delivery {
            delivered,
            failure: None,
        }
    }

    async fn post(&self, event: &str, now: Timestamp) -> Result<(), SinkFailure> {
        let mut request = self
            .client
            .post(self.url.clone())
            .header(CONTENT_TYPE, "application/json")
            .body(event.to_owned());
        if let Some(secret) = &self.secret {
            let value = signature(secret.reveal(), now.as_ms() / 1_000, event.as_bytes());
            request = request.header(SIGNATURE_HEADER, value);
        }
        match request.send().await {
            // The body is not read: the connection is closed where it is long.
            Ok(response) => outcome(&response),
            // The URL may hold a token.
            Err(error) => Err(retry(Chain(&error.without_url()).to_string(), None)),
        }
    }
}

/// What a response says about the event. Responses to what the event holds reject it; everything
/// else may pass, such as a wrong address or missing permission that somebody repairs.
fn outcome(response: &Response) -> Result<(), SinkFailure> {
    let status = response.status();
    if status.is_success() {
        return Ok(());
    }
    let why = format!("the receiver's response has the status {status}");
    if matches!(
        status,
        StatusCode::BAD_REQUEST | StatusCode::PAYLOAD_TOO_LARGE | StatusCode::UNPROCESSABLE_ENTITY
    ) {
        return Err(SinkFailure::Rejected { why });
    }
    let seconds = response.headers().get(RETRY_AFTER);
    let seconds = seconds.and_then(|value| value.to_str().ok()?.trim().parse().ok());
    Err(retry(why, seconds.map(Duration::from_secs)))
}

const fn retry(why: String, after: Option<Duration>) -> SinkFailure {
    SinkFailure::Retry { why, after }
}

fn secret(path: &Path) -> Result<Secret<Vec<u8>>, SinkError> {
    let text = fs::read(path).map_err(|source| SinkError::File {
        path: path.to_owned(),
        source,
    })?;
    let secret = text.trim_ascii();
    if secret.len() < MIN_SECRET_BYTES {
        return Err(SinkError::ShortSecret {
            path: path.to_owned(),
            minimum_bytes: MIN_SECRET_BYTES,
        });
    }
    Ok(Secret::new(secret.to_vec()))
}

fn tls(ca_file: Option<&Path>) -> Result<ClientConfig, SinkError> {
    let mut roots = RootCertStore::empty();
    match ca_file {
        None => {
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        }
        Some(path) => {
            let unreadable = |_| SinkError::Certificates {
                path: path.to_owned(),
            };
            for certificate in CertificateDer::pem_file_iter(path).map_err(unreadable)? {
                let certificate = certificate.map_err(unreadable)?;
                roots
                    .add(certificate)
                    .map_err(|_| SinkError::Certificates {
                        path: path.to_owned(),
                    })?;
            }
            if roots.is_empty() {
                return Err(SinkError::Certificates {
                    path: path.to_owned(),
                });
            }
        }
    }
    let builder = client_builder().map_err(SinkError::Tls)?;
    Ok(builder.with_root_certificates(roots).with_no_client_auth())
}
