//! Gets the key set of a provider: its discovery document names the URL of the keys.
//!
//! Source: `OpenID` Connect Discovery 1.0, sections 3 and 4.

use std::net::IpAddr;
use std::time::Duration;

use reqwest::header::ACCEPT;
use reqwest::redirect::Policy;
use reqwest::{Client, StatusCode};
use serde::Deserialize;
use url::{Host, Url};

use crate::key_set::{KeySet, KeySetError};
use crate::pinned_tls::client_config;

/// Time to connect, and for each of the two requests as a whole.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
const REQUEST_TIMEOUT: Duration = Duration::from_secs(5);
/// Largest discovery document, in bytes; real ones have some 2,000.
const MAX_DOCUMENT_BYTES: usize = 64 * 1024;
/// Largest key set, in bytes: 200 keys with chains of certificates.
const MAX_KEY_SET_BYTES: usize = 1024 * 1024;

/// Why a key set was not received.
#[derive(Debug, thiserror::Error)]
pub(super) enum FetchError {
    #[error("the URL {0} may not be used: a provider is reached over https")]
    Url(String),
    #[error("a TLS client could not be made")]
    Tls(#[source] rustls::Error),
    #[error("the provider could not be reached")]
    Http(#[source] reqwest::Error),
    #[error("the provider's response has the status {0}")]
    Status(StatusCode),
    #[error("the provider's response is larger than {0} bytes")]
    TooLarge(usize),
    #[error("the discovery document is not one of this issuer")]
    Document,
    #[error(transparent)]
    KeySet(#[from] KeySetError),
}

#[derive(Deserialize)]
struct DiscoveryDocument {
    issuer: String,
    jwks_uri: String,
}

/// Gets the keys of the provider with this URL. Follows no redirect: only the registered host, and
/// the host that its document names, get a request.
///
/// `loopback` allows plain HTTP to loopback addresses, for development servers.
pub(super) async fn key_set(
    issuer: &str,
    thumbprints: &[String],
    loopback: bool,
) -> Result<KeySet, FetchError> {
    let document_url = format!(
        "{}/.well-known/openid-configuration",
        issuer.trim_end_matches('/')
    );
    let document_url = checked(&document_url, loopback)?;
    let client = client(thumbprints).await?;
    let document = get(&client, document_url, MAX_DOCUMENT_BYTES).await?;
    let document: DiscoveryDocument =
        serde_json::from_slice(&document).map_err(|_| FetchError::Document)?;
    if document.issuer != issuer {
        return Err(FetchError::Document);
    }
    let keys_url = checked(&document.jwks_uri, loopback)?;
    let keys = get(&client, keys_url, MAX_KEY_SET_BYTES).await?;
    Ok(KeySet::parse(&keys)?)
}

async fn client(thumbprints: &[String]) -> Result<Client, FetchError> {
    let thumbprints = thumbprints.to_vec();
    // It reads files at the first call.
    let config = tokio::task::spawn_blocking(move || client_config(&thumbprints)).await;
    let config = config.map_err(|panic| rustls::Error::General(panic.to_string()));
    let config = config.and_then(|config| config).map_err(FetchError::Tls)?;
    Client::builder()
        .tls_backend_preconfigured(config)
        .redirect(Policy::none())
        .connect_timeout(CONNECT_TIMEOUT)
        .timeout(REQUEST_TIMEOUT)
        .user_agent("wharfinger")
        .build()
        .map_err(FetchError::Http)
}

/// Checks that a URL may be requested: https without a user name.
fn checked(text: &str, loopback: bool) -> Result<Url, FetchError> {
    let refused = || FetchError::Url(text.chars().take(200).collect());
    let url: Url = text.parse().map_err(|_| refused())?;
    let fine = match url.scheme() {
        "https" => true,
        "http" => loopback && is_loopback(&url),
        _ => false,
    };
    if fine && url.username().is_empty() && url.password().is_none() {
        Ok(url)
    } else {
        Err(refused())
    }
}

fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Ipv4(address)) => IpAddr::from(address).is_loopback(),
        Some(Host::Ipv6(address)) => IpAddr::from(address).is_loopback(),
        Some(Host::Domain(name)) => name == "localhost",
        None => false,
    }
}

async fn get(client: &Client, url: Url, max_bytes: usize) -> Result<Vec<u8>, FetchError> {
    let request = client.get(url).header(ACCEPT, "application/json");
    let mut response = request.send().await.map_err(FetchError::Http)?;
    if response.status() != StatusCode::OK {
        return Err(FetchError::Status(response.status()));
    }
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(FetchError::Http)? {
        if body.len() + chunk.len() > max_bytes {
            return Err(FetchError::TooLarge(max_bytes));
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_https_is_requested_and_loopback_in_development() {
        for (url, ordinary, development) in [
            ("https://issuer.example.com/x", true, true),
            ("https://10.0.0.1:8443", true, true),
            ("http://issuer.example.com", false, false),
            ("http://localhost:1234", false, true),
            ("http://127.0.0.2", false, true),
            ("http://[::1]:80", false, true),
            ("http://localhost.example.com", false, false),
            ("http://169.254.169.254/", false, false),
            ("https://user@issuer.example.com", false, false),
            ("https://:secret@issuer.example.com", false, false),
            ("file:///etc/passwd", false, false),
            ("ftp://issuer.example.com", false, false),
            ("issuer.example.com", false, false),
            ("", false, false),
        ] {
            assert_eq!(checked(url, false).is_ok(), ordinary, "{url}");
            assert_eq!(checked(url, true).is_ok(), development, "{url}");
        }
    }
}
