//! Fetches advisories from a mirror that the operator names: one JSON document or a ZIP archive.

use std::fs::File;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use reqwest::redirect::{Attempt, Policy};
use reqwest::{Client, StatusCode};
use rustls::RootCertStore;
use url::Url;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// The longest silence of the mirror.
const READ_TIMEOUT: Duration = Duration::from_secs(30);
/// The whole transfer.
const REQUEST_TIMEOUT: Duration = Duration::from_hours(1);
/// The most redirects: a mirror sends to its storage, and that perhaps to a region of it.
const MAX_REDIRECTS: usize = 5;
/// The largest file, in bytes. That of all ecosystems of osv.dev has about 1 GiB.
const MAX_BYTES: u64 = 8 * 1024 * 1024 * 1024;

/// Why the file of a mirror was not received.
#[derive(Debug, thiserror::Error)]
pub enum FetchAdvisoriesError {
    #[error("a TLS client could not be made")]
    Tls(#[source] rustls::Error),
    #[error("the mirror's file could not be received")]
    Http(#[source] reqwest::Error),
    #[error("the mirror's response has the status {0}")]
    Status(StatusCode),
    #[error("the mirror's response is larger than {0} bytes")]
    TooLarge(u64),
    #[error("cannot write to {path}")]
    Write { path: PathBuf, source: io::Error },
}

impl FetchAdvisoriesError {
    /// An error without its URL, which may have a password or a token.
    fn http(error: reqwest::Error) -> Self {
        Self::Http(error.without_url())
    }
}

/// Why a redirect is not followed.
#[derive(Debug, thiserror::Error)]
enum RedirectError {
    #[error("more than {MAX_REDIRECTS} redirects")]
    TooMany,
    #[error("a redirect from https leads to another scheme")]
    Downgrade,
}

/// Writes what a mirror serves at `url` to the new file `path`. Redirects are followed, but from
/// https to https only.
///
/// # Errors
/// [`FetchAdvisoriesError`]. The file may be there in part.
pub async fn fetch_advisories(url: Url, path: &Path) -> Result<(), FetchAdvisoriesError> {
    fetch(url, path, MAX_BYTES).await
}

async fn fetch(url: Url, path: &Path, max_bytes: u64) -> Result<(), FetchAdvisoriesError> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    let tls = wharfinger_tls::client_builder().map_err(FetchAdvisoriesError::Tls)?;
    let client = Client::builder()
        .tls_backend_preconfigured(tls.with_root_certificates(roots).with_no_client_auth())
        .connect_timeout(CONNECT_TIMEOUT)
        .read_timeout(READ_TIMEOUT)
        .timeout(REQUEST_TIMEOUT)
        .user_agent("wharfinger")
        .redirect(Policy::custom(|attempt: Attempt<'_>| match check_redirect(
            attempt.previous(),
            attempt.url(),
        ) {
            Ok(()) => attempt.follow(),
            Err(error) => attempt.error(error),
        }))
        .build()
        .map_err(FetchAdvisoriesError::http)?;
    let response = client.get(url).send().await;
    let mut response = response.map_err(FetchAdvisoriesError::http)?;
    if response.status() != StatusCode::OK {
        return Err(FetchAdvisoriesError::Status(response.status()));
    }
    let failed = |source| FetchAdvisoriesError::Write {
        path: path.to_owned(),
        source,
    };
    if response
        .content_length()
        .is_some_and(|length| length > max_bytes)
    {
        return Err(FetchAdvisoriesError::TooLarge(max_bytes));
    }
    let mut file = File::create_new(path).map_err(failed)?;
    let mut received = 0_u64;
    while let Some(piece) = response.chunk().await.map_err(FetchAdvisoriesError::http)? {
        received = received.saturating_add(piece.len() as u64);
        if received > max_bytes {
            return Err(FetchAdvisoriesError::TooLarge(max_bytes));
        }
        file.write_all(&piece).map_err(failed)?;
    }
    file.flush().map_err(failed)
}

/// Whether to follow a redirect to `next`, after the URLs `previous`.
fn check_redirect(previous: &[Url], next: &Url) -> Result<(), RedirectError> {
    if previous.len() > MAX_REDIRECTS {
        return Err(RedirectError::TooMany);
    }
    let was_secure = previous.last().is_some_and(|url| url.scheme() == "https");
    if was_secure && next.scheme() != "https" {
        return Err(RedirectError::Downgrade);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead as _, BufReader};
    use std::net::{TcpListener, TcpStream};

    use wharfinger_base::Chain;

    use super::*;

    fn url(text: &str) -> Url {
        text.parse().expect("a URL")
    }

    /// A mirror on the loopback address; a thread serves `requests` requests.
    fn mirror(requests: usize) -> Url {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address");
        std::thread::spawn(move || {
            for stream in listener.incoming().take(requests).flatten() {
                // A client that has enough closes the connection.
                let _ = serve(&stream);
            }
        });
        url(&format!("http://{address}/"))
    }

    fn serve(mut stream: &TcpStream) -> io::Result<()> {
        let mut lines = BufReader::new(stream).lines();
        let first = lines.next().transpose()?.unwrap_or_default();
        for line in lines {
            if line?.is_empty() {
                break;
            }
        }
        let target = first.split(' ').nth(1).unwrap_or_default();
        let path = target.split('?').next().unwrap_or_default();
        let redirect = |to: &str| format!("HTTP/1.1 302 Found\r\nLocation: {to}\r\n");
        let ok = "HTTP/1.1 200 OK\r\n";
        let (head, body) = match path {
            "/all.zip" => (format!("{ok}Content-Length: 7\r\n"), "content"),
            "/short" => (format!("{ok}Content-Length: 70\r\n"), "content"),
            "/endless" => (
                format!("{ok}Transfer-Encoding: chunked\r\n"),
                "7\r\ncontent\r\n",
            ),
            "/moved" => (redirect("/all.zip"), ""),
            "/circle" => (redirect(target), ""),
            "/elsewhere" => (redirect("file:///etc/passwd"), ""),
            _ => ("HTTP/1.1 404 Not Found\r\n".to_owned(), "no such file"),
        };
        write!(stream, "{head}Connection: close\r\n\r\n{body}")
    }

    /// What is written of a path, or why it is not received.
    async fn get(mirror: &Url, path: &str, max_bytes: u64) -> Result<Vec<u8>, String> {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("file");
        let fetched = fetch(mirror.join(path).expect("a URL"), &file, max_bytes).await;
        fetched.map_err(|error| Chain(&error).to_string())?;
        Ok(std::fs::read(file).expect("a file"))
    }

    #[tokio::test]
    async fn a_file_is_received_whole_and_through_redirects() {
        let mirror = mirror(3);
        for path in ["all.zip", "moved"] {
            assert_eq!(
                get(&mirror, path, 7).await.expect("a file"),
                b"content",
                "{path}"
            );
        }
    }

    #[tokio::test]
    async fn what_is_missing_cut_off_or_too_large_is_refused() {
        let mirror = mirror(20);
        let refused = async |path: &str, max_bytes: u64| {
            get(&mirror, path, max_bytes).await.expect_err("no file")
        };
        assert!(refused("missing", 100).await.contains("404"));
        assert!(
            refused("short", 100)
                .await
                .contains("could not be received")
        );
        assert!(
            refused("endless", 100)
                .await
                .contains("could not be received")
        );
        let large = "the mirror's response is larger than 6 bytes";
        assert_eq!(refused("all.zip", 6).await, large);
        assert_eq!(refused("endless", 6).await, large);
        let circle = refused("circle", 100).await;
        assert!(circle.contains("more than 5 redirects"), "{circle}");
        refused("elsewhere", 100).await;
        let nobody = url("http://127.0.0.1:1/");
        assert!(get(&nobody, "all.zip", 100).await.is_err());
    }

    #[tokio::test]
    async fn errors_do_not_tell_secrets_of_the_url() {
        let mirror = mirror(20);
        let nobody = url("http://127.0.0.1:1/");
        let places = [
            (&mirror, "short"),
            (&mirror, "endless"),
            (&mirror, "circle"),
            (&mirror, "elsewhere"),
            (&mirror, "missing"),
            (&nobody, "all.zip"),
        ];
        for (mirror, path) in places {
            let mut mirror = mirror.clone();
            mirror.set_username("user").expect("a host");
            mirror.set_password(Some("hidden")).expect("a host");
            let secret = format!("{path}?token=hidden#hidden");
            let why = get(&mirror, &secret, 6).await.expect_err("no file");
            assert!(!why.contains("hidden") && !why.contains("user"), "{why}");
        }
    }

    #[test]
    fn redirects_stay_on_https_and_end() {
        let (http, https) = (url("http://a/"), url("https://a/"));
        assert!(check_redirect(std::slice::from_ref(&https), &https).is_ok());
        assert!(check_redirect(std::slice::from_ref(&http), &https).is_ok());
        assert!(check_redirect(std::slice::from_ref(&http), &http).is_ok());
        let downgrade = check_redirect(&[http.clone(), https], &http);
        assert!(matches!(downgrade, Err(RedirectError::Downgrade)));
        let many = vec![http.clone(); MAX_REDIRECTS + 1];
        assert!(matches!(
            check_redirect(&many, &http),
            Err(RedirectError::TooMany)
        ));
    }
}
