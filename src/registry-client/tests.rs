//! The client against scripted registries.

mod writes;

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::body::Body;
use axum::extract::Request;
use axum::response::Response;
use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt, stream};
use http::header::{AUTHORIZATION, CONTENT_LENGTH, CONTENT_RANGE, LOCATION, RANGE};
use http::{HeaderMap, StatusCode};
use wharfinger_base::{Clock, Secret};
use wharfinger_oci::{Algorithm, Digest, Reference};

use crate::{Credentials, Endpoint, Error, FetchedManifest, RegistryClient, Upstream};

/// The requests to a scripted registry: path and headers.
type Log = Arc<Mutex<Vec<(String, HeaderMap)>>>;

struct Scripted {
    endpoint: Endpoint,
    log: Log,
}

impl Scripted {
    async fn start(
        script: impl Fn(usize, &str, &HeaderMap) -> Response + Clone + Send + Sync + 'static,
    ) -> Self {
        let log = Log::default();
        let seen = Arc::clone(&log);
        let app = axum::Router::new().fallback(move |request: Request| {
            let path = request.uri().path_and_query().map(ToString::to_string);
            let (path, headers) = (path.unwrap_or_default(), request.headers().clone());
            let number = {
                let mut seen = seen.lock().expect("the log");
                seen.push((path.clone(), headers.clone()));
                seen.len()
            };
            let response = script(number, &path, &headers);
            async move { response }
        });
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await;
        let listener = listener.expect("a port");
        let address: SocketAddr = listener.local_addr().expect("an address");
        tokio::spawn(async move { axum::serve(listener, app).await });
        let endpoint = format!("http://{address}").parse().expect("an endpoint");
        Self { endpoint, log }
    }

    fn requests(&self) -> Vec<(String, HeaderMap)> {
        self.log.lock().expect("the log").clone()
    }

    fn count(&self, part: &str) -> usize {
        let requests = self.requests();
        requests
            .iter()
            .filter(|(path, _)| path.contains(part))
            .count()
    }
}

fn client(configured: &[&Scripted]) -> RegistryClient {
    RegistryClient::new(configured.iter().map(|one| &one.endpoint), Clock::System)
}

fn anonymous(registry: &Scripted) -> Upstream {
    Upstream {
        endpoint: registry.endpoint.clone(),
        credentials: None,
        cdn_loop: Some("a; b=c".to_owned()),
        own_host: None,
    }
}

fn as_user(registry: &Scripted) -> Upstream {
    Upstream {
        credentials: Some(Arc::new(Credentials {
            username: "user".to_owned(),
            password: Secret::new("password".to_owned()),
        })),
        ..anonymous(registry)
    }
}

fn reply(status: StatusCode, headers: &[(&str, &str)], body: impl Into<Body>) -> Response {
    let mut response = http::Response::builder().status(status);
    for (name, value) in headers {
        response = response.header(*name, *value);
    }
    response.body(body.into()).expect("a response")
}

fn authorization(headers: &HeaderMap) -> Option<&str> {
    headers.get(AUTHORIZATION)?.to_str().ok()
}

fn tag(text: &str) -> Reference {
    text.parse().expect("a reference")
}

fn sha256(bytes: &[u8]) -> Digest {
    Digest::of(Algorithm::Sha256, bytes)
}

async fn manifest(
    client: &RegistryClient,
    upstream: &Upstream,
    reference: &str,
) -> Result<FetchedManifest, Error> {
    client.manifest(upstream, "team/web", &tag(reference)).await
}

async fn blob(
    client: &RegistryClient,
    upstream: &Upstream,
    bytes: &[u8],
) -> Result<Vec<u8>, Error> {
    let (digest, size) = (sha256(bytes), bytes.len() as u64);
    let download = client.blob(upstream, "team/web", &digest, size).await?;
    let pieces: Vec<Bytes> = download.into_stream().boxed().try_collect().await?;
    Ok(pieces.concat())
}

/// `user:password` in Base64.
const BASIC: &str = "Basic dXNlcjpwYXNzd29yZA==";

#[tokio::test]
async fn a_manifest_is_read_as_anybody() {
    let registry = Scripted::start(|_, path, headers| {
        assert_eq!(path, "/v2/team/web/manifests/v1");
        assert_eq!(headers["cdn-loop"], "a; b=c");
        assert!(
            headers["accept"]
                .to_str()
                .is_ok_and(|accept| accept.contains("index.v1+json"))
        );
        reply(StatusCode::OK, &[("content-type", "x/y")], "{}")
    });
    let registry = registry.await;
    let found = manifest(&client(&[&registry]), &anonymous(&registry), "v1").await;
    let found = found.expect("a manifest");
    assert_eq!(found.digest, sha256(b"{}"));
    assert_eq!(found.content_type.as_deref(), Some("x/y"));
}

#[tokio::test]
async fn a_password_is_sent_where_it_is_required() {
    let registry = Scripted::start(|_, _, headers| match authorization(headers) {
        Some(BASIC) => reply(StatusCode::OK, &[], "{}"),
        _ => reply(
            StatusCode::UNAUTHORIZED,
            &[("www-authenticate", "Basic realm=\"x\"")],
            "",
        ),
    });
    let registry = registry.await;
    let client = client(&[&registry]);
    let denied = manifest(&client, &anonymous(&registry), "v1").await;
    assert!(matches!(denied, Err(Error::Denied(_))), "{denied:?}");
    for _ in 0..3 {
        manifest(&client, &as_user(&registry), "v1")
            .await
            .expect("a manifest");
    }
    // Once for nobody, twice for the first request of the user, then with the password at once.
    assert_eq!(registry.requests().len(), 1 + 2 + 2);
    assert_eq!(client.ping(&as_user(&registry)).await, Ok(()));
}

#[tokio::test]
async fn a_token_is_requested_once_and_used_again() {
    let registry = Scripted::start(|_, path, headers| {
        let host = headers["host"].to_str().expect("a host");
        if path.starts_with("/token") {
            assert_eq!(authorization(headers), Some(BASIC));
            assert!(
                path.contains("scope=repository%3Ateam%2Fweb%3Apull&account=user"),
                "{path}"
            );
            return reply(StatusCode::OK, &[], r#"{"token":"t1","expires_in":300}"#);
        }
        if authorization(headers) == Some("Bearer t1") {
            return reply(StatusCode::OK, &[], "{}");
        }
        let challenge = format!("Bearer realm=\"http://{host}/token\",service=\"s\"");
        reply(
            StatusCode::UNAUTHORIZED,
            &[("www-authenticate", &challenge)],
            "",
        )
    });
    let registry = registry.await;
    let client = client(&[&registry]);
    for _ in 0..3 {
        manifest(&client, &as_user(&registry), "v1")
            .await
            .expect("a manifest");
    }
    assert_eq!(registry.count("/token"), 1);
    assert_eq!(registry.requests().len(), 1 + 1 + 3);
}

#[tokio::test]
async fn another_host_gets_no_credentials() {
    let store = Scripted::start(|_, path, headers| {
        assert_eq!(authorization(headers), None);
        assert_eq!(path, "/signed?x=1");
        reply(StatusCode::OK, &[], "layer")
    });
    let store = store.await;
    let target = format!("{}/signed?x=1", store.endpoint);
    let registry = Scripted::start(move |_, _, headers| match authorization(headers) {
        Some(BASIC) => reply(
            StatusCode::TEMPORARY_REDIRECT,
            &[(LOCATION.as_str(), &target)],
            "",
        ),
        _ => reply(
            StatusCode::UNAUTHORIZED,
            &[("www-authenticate", "Basic realm=\"x\"")],
            "",
        ),
    });
    let registry = registry.await;
    let both = client(&[&registry, &store]);
    let bytes = blob(&both, &as_user(&registry), b"layer").await;
    assert_eq!(bytes, Ok(b"layer".to_vec()));
    // A host in this network that the configuration does not name gets no request at all.
    let one = client(&[&registry]);
    let refused = blob(&one, &as_user(&registry), b"layer").await;
    assert!(matches!(refused, Err(Error::Address(_))), "{refused:?}");
    assert_eq!(store.requests().len(), 1);
    // Nor is the registry itself, unless it is configured.
    let none = client(&[]);
    let refused = manifest(&none, &as_user(&registry), "v1").await;
    assert!(matches!(refused, Err(Error::Address(_))), "{refused:?}");
}

#[tokio::test]
async fn names_of_private_addresses_are_refused() {
    let endpoint = Endpoint::https("localhost:1").expect("an endpoint");
    let upstream = Upstream {
        endpoint,
        credentials: None,
        cdn_loop: None,
        own_host: None,
    };
    let refused = manifest(&client(&[]), &upstream, "v1").await;
    assert!(matches!(refused, Err(Error::Address(_))), "{refused:?}");
}

#[tokio::test]
async fn refusals_are_told_apart() {
    let denial = r#"{"errors":[{"code":"DENIED","message":"not\nyou"}]}"#;
    let registry = Scripted::start(move |_, path, _| match path.rsplit('/').next() {
        Some("limited") => reply(StatusCode::TOO_MANY_REQUESTS, &[("retry-after", "7")], ""),
        Some("denied") => reply(StatusCode::FORBIDDEN, &[], denial),
        Some("down") => reply(StatusCode::BAD_GATEWAY, &[], ""),
        Some("large") => reply(StatusCode::OK, &[], vec![b' '; 4 * 1024 * 1024 + 1]),
        Some("circle") => reply(StatusCode::FOUND, &[("location", path)], ""),
        Some("odd") => reply(StatusCode::IM_A_TEAPOT, &[], ""),
        Some("wrong") => {
            let digest = sha256(b"other").to_string();
            reply(StatusCode::OK, &[("docker-content-digest", &digest)], "{}")
        }
        _ => reply(StatusCode::NOT_FOUND, &[], ""),
    });
    let registry = registry.await;
    let (client, upstream) = (client(&[&registry]), anonymous(&registry));
    let error = async |reference: &str| {
        let outcome = manifest(&client, &upstream, reference).await;
        outcome.expect_err(reference)
    };
    let retry_after = Some(Duration::from_secs(7));
    assert_eq!(
        error("limited").await,
        Error::TooManyRequests { retry_after }
    );
    assert_eq!(error("denied").await, Error::Denied("notyou".to_owned()));
    assert!(matches!(error("down").await, Error::Unavailable(_)));
    assert_eq!(registry.count("/down"), 2, "once more after a failure");
    assert!(matches!(error("large").await, Error::TooLarge { .. }));
    assert!(matches!(error("circle").await, Error::Invalid(_)));
    assert_eq!(registry.count("/circle"), 6);
    assert!(matches!(error("odd").await, Error::Refused(_)));
    assert!(matches!(error("wrong").await, Error::DigestMismatch(_)));
    assert_eq!(error("gone").await, Error::NotFound);
    let digest = sha256(b"x").to_string();
    assert_eq!(error(&digest).await, Error::NotFound);
}

#[tokio::test]
async fn a_password_that_is_sent_back_is_not_told() {
    let registry = Scripted::start(|_, path, headers| {
        let Some(authorization) = authorization(headers) else {
            return reply(
                StatusCode::UNAUTHORIZED,
                &[("www-authenticate", "Basic realm=\"x\"")],
                "",
            );
        };
        let said = match path.rsplit('/').next() {
            Some("header") => authorization,
            Some("password") => "it is password",
            _ => "who are you",
        };
        let body = format!(r#"{{"errors":[{{"code":"DENIED","message":"{said}"}}]}}"#);
        reply(StatusCode::FORBIDDEN, &[], body)
    });
    let registry = registry.await;
    let (client, upstream) = (client(&[&registry]), as_user(&registry));
    for (reference, told) in [
        ("header", "DENIED"),
        ("password", "DENIED"),
        ("other", "who are you"),
    ] {
        let refused = manifest(&client, &upstream, reference).await;
        assert_eq!(refused.err(), Some(Error::Denied(told.to_owned())));
    }
}

#[tokio::test]
async fn a_registry_that_is_gone_is_unavailable() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    drop(listener);
    let endpoint: Endpoint = format!("http://{address}").parse().expect("an endpoint");
    let client = RegistryClient::new(std::iter::once(&endpoint), Clock::System);
    let upstream = Upstream {
        endpoint,
        credentials: None,
        cdn_loop: None,
        own_host: None,
    };
    let gone = manifest(&client, &upstream, "v1").await;
    assert!(matches!(gone, Err(Error::Unavailable(_))), "{gone:?}");
}

#[tokio::test]
async fn the_digest_of_a_tag_is_read_without_its_manifest() {
    let digest = sha256(b"{}");
    let shown = digest.to_string();
    let registry = Scripted::start(move |_, path, _| {
        let headers = [("docker-content-digest", shown.as_str())];
        let headers: &[_] = if path.ends_with("/v1") { &headers } else { &[] };
        reply(StatusCode::OK, headers, "")
    });
    let registry = registry.await;
    let (client, upstream) = (client(&[&registry]), anonymous(&registry));
    for (name, expected) in [("v1", Some(digest)), ("v2", None)] {
        let found = client.manifest_digest(&upstream, "a", &tag(name)).await;
        assert_eq!(found, Ok(expected));
    }
}

/// A body that breaks off after `sent`, though it declares `length` bytes.
fn broken(status: StatusCode, headers: &[(&str, &str)], sent: &[u8], length: usize) -> Response {
    let sent = Bytes::copy_from_slice(sent);
    let pieces = stream::once(async { Ok(sent) }).chain(stream::once(async {
        // The connection sends what it has while the body has nothing.
        tokio::task::yield_now().await;
        Err(std::io::Error::other("broken off"))
    }));
    let mut response = reply(status, headers, Body::from_stream(pieces));
    response.headers_mut().insert(CONTENT_LENGTH, length.into());
    response
}

#[tokio::test]
async fn a_blob_that_breaks_off_is_continued() {
    const LAYER: &[u8] = b"0123456789";
    let registry = Scripted::start(|number, _, headers| {
        let range = headers
            .get(RANGE)
            .map(|range| range.to_str().expect("text"));
        match (number, range) {
            (1, None) => broken(StatusCode::OK, &[], &LAYER[..3], 10),
            (2, Some("bytes=3-")) => broken(
                StatusCode::PARTIAL_CONTENT,
                &[(CONTENT_RANGE.as_str(), "bytes 3-9/10")],
                &LAYER[3..6],
                7,
            ),
            // It has forgotten how to serve ranges.
            (3, Some("bytes=6-")) => reply(StatusCode::OK, &[], LAYER),
            other => panic!("{other:?}"),
        }
    });
    let registry = registry.await;
    let bytes = blob(&client(&[&registry]), &anonymous(&registry), LAYER).await;
    assert_eq!(bytes, Ok(LAYER.to_vec()));
    assert_eq!(registry.requests().len(), 3);
}

#[tokio::test]
async fn a_blob_that_never_comes_further_is_given_up() {
    let registry = Scripted::start(|_, _, headers| {
        if headers.contains_key(RANGE) {
            let range = [(CONTENT_RANGE.as_str(), "bytes 1-2/3")];
            broken(StatusCode::PARTIAL_CONTENT, &range, b"", 2)
        } else {
            broken(StatusCode::OK, &[], b"0", 3)
        }
    });
    let registry = registry.await;
    let bytes = blob(&client(&[&registry]), &anonymous(&registry), b"012").await;
    assert!(matches!(bytes, Err(Error::Unavailable(_))), "{bytes:?}");
    assert!(registry.requests().len() <= 8);
}

#[tokio::test]
async fn a_blob_of_another_size_is_refused() {
    let registry = Scripted::start(|_, path, _| match path {
        path if path.ends_with(&sha256(b"short").to_string()) => {
            reply(StatusCode::OK, &[], "longer than that")
        }
        _ => {
            let pieces = [Ok::<_, std::io::Error>(Bytes::from_static(
                b"longer than that",
            ))];
            reply(StatusCode::OK, &[], Body::from_stream(stream::iter(pieces)))
        }
    });
    let registry = registry.await;
    let (client, upstream) = (client(&[&registry]), anonymous(&registry));
    let declared = blob(&client, &upstream, b"short").await;
    assert!(matches!(declared, Err(Error::Invalid(_))), "{declared:?}");
    let streamed = blob(&client, &upstream, b"other").await;
    assert!(
        matches!(streamed, Err(Error::TooLarge { .. })),
        "{streamed:?}"
    );
}

#[tokio::test]
async fn the_own_server_gives_tokens_where_it_listens_and_nobody_else_gets_a_password() {
    const HOST: &str = "123456789012.dkr.ecr.us-east-1.amazonaws.com";
    let other = Scripted::start(|_, _, _| reply(StatusCode::OK, &[], r#"{"token":"t"}"#)).await;
    let realm = format!("Bearer realm=\"{}/token\",service=\"s\"", other.endpoint);
    let own = Scripted::start(move |_, path, headers| match authorization(headers) {
        _ if path.starts_with("/token?") => reply(StatusCode::OK, &[], r#"{"token":"t"}"#),
        Some("Bearer t") => reply(StatusCode::OK, &[], "{}"),
        _ => reply(
            StatusCode::UNAUTHORIZED,
            &[("www-authenticate", &realm)],
            "",
        ),
    });
    let own = own.await;
    let upstream = Upstream {
        own_host: Some(HOST.to_owned()),
        ..as_user(&own)
    };
    let fetched = manifest(&client(&[]), &upstream, "v1").await;
    assert!(fetched.is_ok(), "{fetched:?}");
    assert!(other.requests().is_empty(), "{:?}", other.requests());
    for (path, headers) in own.requests() {
        let host = headers.get("host").and_then(|host| host.to_str().ok());
        assert_eq!(host, Some(HOST), "{path}");
    }
    assert_eq!(own.count("/token?"), 1);
}
