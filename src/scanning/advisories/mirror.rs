//! Fetches advisories from a mirror that the operator names: one JSON document or a ZIP archive.

use std::fs::File;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use reqwest::{Client, StatusCode};
use rustls::RootCertStore;
use url::Url;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// The longest silence of the mirror.
const READ_TIMEOUT: Duration = Duration::from_secs(30);
/// The whole transfer.
const REQUEST_TIMEOUT: Duration = Duration::from_hours(1);
/// The largest file, in bytes. That of all ecosystems of osv.dev has about 1 GiB.
const MAX_BYTES: u64 = 8 * 1024 * 1024 * 1024;

/// Why the file of a mirror was not received.
#[derive(Debug, thiserror::Error)]
pub enum FetchAdvisoriesError {
    #[error("a TLS client could not be made")]
    Tls(#[source] rustls::Error),
    #[error("the mirror could not be reached")]
    Http(#[source] reqwest::Error),
    #[error("the mirror's response has the status {0}")]
    Status(StatusCode),
    #[error("the mirror's response is larger than {MAX_BYTES} bytes")]
    TooLarge,
    #[error("cannot write to {path}")]
    Write { path: PathBuf, source: io::Error },
}

/// Writes what a mirror serves at `url` to the new file `path`.
///
/// # Errors
/// [`FetchAdvisoriesError`]. The file may be there in part.
pub async fn fetch_advisories(url: Url, path: &Path) -> Result<(), FetchAdvisoriesError> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    let tls = wharfinger_tls::client_builder().map_err(FetchAdvisoriesError::Tls)?;
    let client = Client::builder()
        .tls_backend_preconfigured(tls.with_root_certificates(roots).with_no_client_auth())
        .connect_timeout(CONNECT_TIMEOUT)
        .read_timeout(READ_TIMEOUT)
        .timeout(REQUEST_TIMEOUT)
        .user_agent("wharfinger")
        .build()
        .map_err(FetchAdvisoriesError::Http)?;
    let response = client.get(url).send().await;
    let mut response = response.map_err(FetchAdvisoriesError::Http)?;
    if response.status() != StatusCode::OK {
        return Err(FetchAdvisoriesError::Status(response.status()));
    }
    let failed = |source| FetchAdvisoriesError::Write {
        path: path.to_owned(),
        source,
    };
    let mut file = File::create_new(path).map_err(failed)?;
    let mut received = 0_u64;
    while let Some(piece) = response.chunk().await.map_err(FetchAdvisoriesError::Http)? {
        received = received.saturating_add(piece.len() as u64);
        if received > MAX_BYTES {
            return Err(FetchAdvisoriesError::TooLarge);
        }
        file.write_all(&piece).map_err(failed)?;
    }
    file.flush().map_err(failed)
}
