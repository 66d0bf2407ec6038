//! Blobs and manifests written to registries.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::body::{Body, to_bytes};
use axum::extract::Request;
use axum::response::Response;
use bytes::Bytes;
use futures_util::future::BoxFuture;
use futures_util::{FutureExt, StreamExt, stream};
use http::Method;
use http::header::AUTHORIZATION;
use wharfinger_base::{Clock, Secret};
use wharfinger_oci::{Algorithm, Digest, Reference};

use crate::pace::PaceLimits;
use crate::{
    Authorities, BlobUpload, Credentials, Endpoint, Error, ManifestUpload, RegistryClient,
    UploadContent, UploadStream, Upstream,
};

/// A request as a script sees it.
struct Seen {
    number: usize,
    method: Method,
    /// Path and query.
    path: String,
    authorization: Option<String>,
    content_type: Option<String>,
    body: Bytes,
}

/// A registry that responds by a script.
struct Writable {
    endpoint: Endpoint,
    /// Method, and path with query.
    log: Arc<Mutex<Vec<String>>>,
}

impl Writable {
    async fn start(script: impl Fn(&Seen) -> Response + Clone + Send + Sync + 'static) -> Self {
        let log = Arc::<Mutex<Vec<String>>>::default();
        let lines = Arc::clone(&log);
        let app = axum::Router::new().fallback(move |request: Request| {
            let (lines, script) = (Arc::clone(&lines), script.clone());
            async move {
                let (head, body) = request.into_parts();
                let text = |name: &str| {
                    let value = head.headers.get(name)?;
                    value.to_str().ok().map(str::to_owned)
                };
                let path = head.uri.path_and_query().map(ToString::to_string);
                let path = path.unwrap_or_default();
                let number = {
                    let mut lines = lines.lock().expect("the log");
                    lines.push(format!("{} {path}", head.method));
                    lines.len()
                };
                let body = to_bytes(body, usize::MAX).await.unwrap_or_default();
                script(&Seen {
                    number,
                    method: head.method.clone(),
                    path,
                    authorization: text(AUTHORIZATION.as_str()),
                    content_type: text("content-type"),
                    body,
                })
            }
        });
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await;
        let listener = listener.expect("a port");
        let address: SocketAddr = listener.local_addr().expect("an address");
        tokio::spawn(async move { axum::serve(listener, app).await });
        let endpoint = format!("http://{address}").parse().expect("an endpoint");
        Self { endpoint, log }
    }

    fn log(&self) -> Vec<String> {
        self.log.lock().expect("the log").clone()
    }

    fn upstream(&self) -> Upstream {
        Upstream {
            endpoint: self.endpoint.clone(),
            credentials: Some(Arc::new(Credentials {
                username: "user".to_owned(),
                password: Secret::new("password".to_owned()),
            })),
            cdn_loop: None,
            own_host: None,
        }
    }
}

fn client(configured: &[&Writable]) -> RegistryClient {
    let limits = PaceLimits {
        window: Duration::from_millis(300),
        minimum_rate: 1_000,
        commit_wait: Duration::from_millis(600),
        anew_wait: Duration::from_millis(1),
        cancel_wait: Duration::from_millis(50),
    };
    let endpoints = configured.iter().map(|one| &one.endpoint);
    RegistryClient::with_pace(endpoints, Authorities::default(), Clock::System, limits)
}

fn reply(status: u16, headers: &[(&str, &str)]) -> Response {
    with_body(status, headers, "")
}

fn with_body(status: u16, headers: &[(&str, &str)], body: &'static str) -> Response {
    let mut response = http::Response::builder().status(status);
    for (name, value) in headers {
        response = response.header(*name, *value);
    }
    response.body(Body::from(body)).expect("a response")
}

fn sha256(bytes: &[u8]) -> Digest {
    Digest::of(Algorithm::Sha256, bytes)
}

const LAYER: &[u8] = b"a layer";

fn pieces(all: &'static [u8]) -> UploadStream {
    let pieces = all.chunks(3).map(|piece| Ok(Bytes::from_static(piece)));
    stream::iter(pieces.collect::<Vec<_>>()).boxed()
}

/// Content that a function opens.
struct Opened<F>(F);

impl<F: Fn() -> io::Result<UploadStream> + Send + Sync> UploadContent for Opened<F> {
    fn open(&self) -> BoxFuture<'_, io::Result<UploadStream>> {
        let opened = (self.0)();
        async { opened }.boxed()
    }
}

async fn put(
    client: &RegistryClient,
    upstream: &Upstream,
    from: Option<&str>,
) -> Result<(), Error> {
    let blob = BlobUpload {
        digest: sha256(LAYER),
        size: LAYER.len() as u64,
        content: &Opened(|| Ok(pieces(LAYER))),
    };
    client.put_blob(upstream, "team/web", from, &blob).await
}

#[tokio::test]
async fn a_blob_goes_where_the_registry_says() {
    let registry = Writable::start(|seen| match (&seen.method, seen.path.as_str()) {
        (&Method::POST, "/v2/team/web/blobs/uploads/") => reply(
            202,
            &[("location", "/v2/team/web/blobs/uploads/7?_state=a%2Bb")],
        ),
        (&Method::PUT, path) => {
            let query = sha256(LAYER).to_string().replace(':', "%3A");
            let expected = format!("/v2/team/web/blobs/uploads/7?_state=a%2Bb&digest={query}");
            assert_eq!(path, expected);
            assert_eq!(seen.body, LAYER);
            assert_eq!(
                seen.content_type.as_deref(),
                Some("application/octet-stream")
            );
            reply(201, &[])
        }
        other => panic!("{other:?}"),
    });
    let registry = registry.await;
    let outcome = put(&client(&[&registry]), &registry.upstream(), None).await;
    assert_eq!(outcome, Ok(()));
    assert_eq!(registry.log().len(), 2);
}

#[tokio::test]
async fn an_upload_signs_in_once_also_in_the_middle() {
    const BASIC: &str = "Basic dXNlcjpwYXNzd29yZA==";
    let registry = Writable::start(|seen| {
        // The second request is sent with the header and refused all the same, as with a token that
        // has just expired.
        if seen.authorization.as_deref() != Some(BASIC) || seen.number == 3 {
            return reply(401, &[("www-authenticate", "Basic realm=\"x\"")]);
        }
        match seen.method {
            Method::POST => reply(202, &[("location", "/there")]),
            _ => {
                assert_eq!(seen.body, LAYER, "the body is sent again from its start");
                reply(201, &[])
            }
        }
    });
    let registry = registry.await;
    let outcome = put(&client(&[&registry]), &registry.upstream(), None).await;
    assert_eq!(outcome, Ok(()));
    let methods: Vec<_> = registry
        .log()
        .iter()
        .map(|line| line[..4].to_owned())
        .collect();
    assert_eq!(methods, ["POST", "POST", "PUT ", "PUT "]);
}

#[tokio::test]
async fn a_blob_may_be_mounted() {
    let registry = Writable::start(|seen| {
        let query = sha256(LAYER).to_string().replace(':', "%3A");
        let mount = format!("/v2/team/web/blobs/uploads/?mount={query}&from=team%2Fbase");
        match (&seen.method, seen.path == mount) {
            (&Method::POST, true) if seen.number == 1 => reply(201, &[("location", "/x")]),
            (&Method::POST, true) => reply(202, &[("location", "/x")]),
            (&Method::PUT, _) => reply(201, &[]),
            other => panic!("{other:?}"),
        }
    });
    let registry = registry.await;
    let (client, upstream) = (client(&[&registry]), registry.upstream());
    let from = Some("team/base");
    assert_eq!(put(&client, &upstream, from).await, Ok(()));
    assert_eq!(registry.log().len(), 1, "nothing is sent");
    assert_eq!(put(&client, &upstream, from).await, Ok(()));
    assert_eq!(registry.log().len(), 3, "the bytes are sent");
}

#[tokio::test]
async fn a_failed_upload_is_begun_anew_a_few_times() {
    let registry = Writable::start(|seen| match (&seen.method, seen.number) {
        (&Method::POST, number) => reply(202, &[("location", &format!("/u{number}"))]),
        (&Method::HEAD, _) => reply(404, &[]),
        (&Method::DELETE, _) => reply(204, &[]),
        (&Method::PUT, 2) => reply(502, &[]),
        (&Method::PUT, number) if number < 7 => with_body(
            404,
            &[],
            r#"{"errors":[{"code":"BLOB_UPLOAD_UNKNOWN","message":"gone"}]}"#,
        ),
        _ => reply(201, &[]),
    });
    let registry = registry.await;
    let outcome = put(&client(&[&registry]), &registry.upstream(), None).await;
    assert_eq!(outcome, Ok(()));
    let methods: Vec<_> = registry
        .log()
        .iter()
        .filter_map(|line| line.split(' ').next().map(str::to_owned))
        .collect();
    let round = ["POST", "PUT", "DELETE", "HEAD"];
    assert_eq!(methods, [&round[..], &round[..], &round[..2]].concat());

    let down = Writable::start(|seen| match seen.method {
        Method::POST => reply(202, &[("location", "/u")]),
        Method::HEAD => reply(404, &[]),
        _ => reply(500, &[]),
    });
    let down = down.await;
    let outcome = put(&client(&[&down]), &down.upstream(), None).await;
    assert!(matches!(outcome, Err(Error::Unavailable(_))), "{outcome:?}");
    let puts = down
        .log()
        .into_iter()
        .filter(|line| line.starts_with("PUT"));
    assert_eq!(puts.count(), 3);
}

#[tokio::test]
async fn a_refused_upload_is_not_repeated() {
    let registry = Writable::start(|seen| match (&seen.method, seen.path.as_str()) {
        (&Method::POST, path) if path.contains("team/web") => reply(202, &[("location", "/u")]),
        (&Method::PUT, _) => with_body(
            400,
            &[],
            r#"{"errors":[{"code":"DIGEST_INVALID","message":"not it"}]}"#,
        ),
        _ => reply(204, &[]),
    });
    let registry = registry.await;
    let outcome = put(&client(&[&registry]), &registry.upstream(), None).await;
    let refused = outcome.expect_err("a refusal");
    assert_eq!(
        refused.to_string(),
        "the registry refuses the request: not it"
    );
    assert_eq!(registry.log().len(), 3, "{:?}", registry.log());
}

#[tokio::test]
async fn limits_are_told_with_their_time() {
    let registry = Writable::start(|seen| {
        if seen.path.contains("busy") {
            reply(503, &[("retry-after", "9")])
        } else {
            reply(429, &[("retry-after", "7")])
        }
    });
    let registry = registry.await;
    let (client, upstream) = (client(&[&registry]), registry.upstream());
    let limited = put(&client, &upstream, None).await;
    let retry_after = Some(Duration::from_secs(7));
    assert_eq!(limited, Err(Error::TooManyRequests { retry_after }));
    let busy = client.has_blob(&upstream, "busy", &sha256(LAYER)).await;
    let retry_after = Duration::from_secs(9);
    assert!(
        matches!(&busy, Err(Error::Overloaded { retry_after: found, .. }) if *found == retry_after),
        "{busy:?}"
    );
    assert_eq!(registry.log().len(), 2, "neither is repeated at once");
}

#[tokio::test]
async fn another_host_gets_bytes_without_credentials_if_it_may() {
    let store = Writable::start(|seen| {
        assert_eq!(seen.authorization, None);
        assert_eq!(seen.method, Method::PUT);
        assert_eq!(seen.body, LAYER);
        reply(201, &[])
    });
    let store = store.await;
    let target = format!("{}/bucket?signature=1", store.endpoint);
    let registry = Writable::start(move |seen| match (&seen.method, &seen.authorization) {
        (_, None) => reply(401, &[("www-authenticate", "Basic realm=\"x\"")]),
        (&Method::POST, Some(_)) => reply(202, &[("location", &target)]),
        other => panic!("{other:?}"),
    });
    let registry = registry.await;
    let both = client(&[&registry, &store]);
    assert_eq!(put(&both, &registry.upstream(), None).await, Ok(()));
    // The configuration does not name it: no request goes there.
    let one = client(&[&registry]);
    let refused = put(&one, &registry.upstream(), None).await;
    assert!(matches!(refused, Err(Error::Address(_))), "{refused:?}");
    assert_eq!(store.log().len(), 1);
}

#[tokio::test]
async fn a_redirect_that_would_change_the_method_is_refused() {
    let registry = Writable::start(|seen| match seen.path.as_str() {
        "/v2/team/web/blobs/uploads/" => reply(307, &[("location", "/moved")]),
        "/moved" => reply(202, &[("location", "/u")]),
        _ if seen.method == Method::PUT => reply(303, &[("location", "/else")]),
        _ => reply(204, &[]),
    });
    let registry = registry.await;
    let outcome = put(&client(&[&registry]), &registry.upstream(), None).await;
    assert!(matches!(outcome, Err(Error::Invalid(_))), "{outcome:?}");
}

#[tokio::test]
async fn content_that_cannot_be_read_is_no_fault_of_the_registry() {
    let registry = Writable::start(|seen| match seen.method {
        Method::POST => reply(202, &[("location", "/u")]),
        _ => reply(204, &[]),
    });
    let registry = registry.await;
    let (client, upstream) = (client(&[&registry]), registry.upstream());
    let opens = AtomicUsize::new(0);
    let closed = Opened(|| {
        opens.fetch_add(1, Ordering::Relaxed);
        Err(io::Error::other("no file"))
    });
    let broken = Opened(|| {
        let pieces = [Ok(Bytes::from_static(b"a")), Err(io::Error::other("torn"))];
        Ok(stream::iter(pieces).boxed())
    });
    let (digest, size) = (sha256(LAYER), LAYER.len() as u64);
    let content = &closed;
    let blob = BlobUpload {
        digest,
        size,
        content,
    };
    let outcome = client.put_blob(&upstream, "a", None, &blob).await;
    assert_eq!(outcome, Err(Error::Source("no file".to_owned())));
    assert_eq!(opens.load(Ordering::Relaxed), 1, "not repeated");
    let content = &broken;
    let blob = BlobUpload {
        digest,
        size,
        content,
    };
    let outcome = client.put_blob(&upstream, "a", None, &blob).await;
    assert_eq!(outcome, Err(Error::Source("torn".to_owned())));
}

#[tokio::test]
async fn an_upload_that_stands_still_is_given_up() {
    // Takes requests, and reads nothing of the blob.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    let stalled: Endpoint = format!("http://{address}").parse().expect("an endpoint");
    std::thread::spawn(move || {
        let connections: Vec<_> = listener.incoming().collect();
        drop(connections);
    });
    let target = format!("{stalled}/u");
    let registry = Writable::start(move |seen| match seen.method {
        Method::POST => reply(202, &[("location", &target)]),
        _ => reply(404, &[]),
    });
    let registry = registry.await;
    let limits = PaceLimits {
        window: Duration::from_millis(200),
        minimum_rate: 1_000,
        commit_wait: Duration::from_millis(200),
        anew_wait: Duration::from_millis(1),
        cancel_wait: Duration::from_millis(50),
    };
    let endpoints = [&registry.endpoint, &stalled];
    let client = RegistryClient::with_pace(
        endpoints.into_iter(),
        Authorities::default(),
        Clock::System,
        limits,
    );
    let endless = Opened(|| {
        let piece = Bytes::from(vec![0; 64 * 1024]);
        Ok(stream::repeat_with(move || Ok(piece.clone())).boxed())
    });
    let blob = BlobUpload {
        digest: sha256(LAYER),
        size: 1 << 40,
        content: &endless,
    };
    let upstream = registry.upstream();
    let outcome = client.put_blob(&upstream, "a", None, &blob);
    let outcome = tokio::time::timeout(Duration::from_mins(1), outcome).await;
    let outcome = outcome.expect("it ends");
    let slow = Error::Unavailable("it takes an upload too slowly".to_owned());
    assert_eq!(outcome, Err(slow));
}

#[tokio::test]
async fn a_download_of_single_bytes_is_given_up() {
    let registry = Writable::start(|_| {
        let drops = stream::repeat_with(|| Ok::<_, io::Error>(Bytes::from_static(b"x")));
        let drops = drops.then(|piece| async {
            tokio::time::sleep(Duration::from_millis(20)).await;
            piece
        });
        Response::new(Body::from_stream(drops))
    });
    let registry = registry.await;
    let client = client(&[&registry]);
    let (upstream, digest) = (registry.upstream(), sha256(LAYER));
    let download = client.blob(&upstream, "a", &digest, 1 << 20).await;
    let download = download.expect("a download");
    let mut pieces = std::pin::pin!(download.into_stream());
    let mut outcome = Ok(Bytes::new());
    while let Some(piece) = pieces.next().await {
        outcome = piece;
    }
    let slow = Error::Unavailable("it sends too slowly".to_owned());
    assert_eq!(outcome, Err(slow));
    assert_eq!(registry.log().len(), 1, "it is not continued either");
}

#[tokio::test]
async fn a_download_that_ends_after_each_byte_is_given_up() {
    const SIZE: u64 = 1 << 20;
    let registry = Writable::start(|seen| {
        std::thread::sleep(Duration::from_millis(20));
        let pieces = stream::iter([Ok::<_, io::Error>(Bytes::from_static(b"x"))]);
        let offset = seen.number as u64 - 1;
        Response::builder()
            .status(206)
            .header(
                "content-range",
                format!("bytes {offset}-{}/{SIZE}", SIZE - 1),
            )
            .body(Body::from_stream(pieces))
            .expect("a response")
    });
    let registry = registry.await;
    let client = client(&[&registry]);
    let (upstream, digest) = (registry.upstream(), sha256(LAYER));
    let download = client.blob(&upstream, "a", &digest, SIZE).await;
    let download = download.expect("a download");
    let pieces = download.into_stream().collect::<Vec<_>>();
    let pieces = tokio::time::timeout(Duration::from_secs(20), pieces).await;
    let last = pieces.expect("it ends").pop();
    let slow = Error::Unavailable("it sends too slowly".to_owned());
    assert_eq!(last, Some(Err(slow)));
}

#[tokio::test]
async fn manifests_are_stored_and_checked() {
    let stored = Arc::<Mutex<BTreeMap<String, Bytes>>>::default();
    let shelf = Arc::clone(&stored);
    let registry = Writable::start(move |seen| {
        let name = seen.path.rsplit('/').next().unwrap_or_default().to_owned();
        match (&seen.method, name.as_str()) {
            (&Method::PUT, "immutable") => with_body(
                400,
                &[],
                r#"{"errors":[{"code":"TAG_INVALID","message":"it exists"}]}"#,
            ),
            (&Method::PUT, _) => {
                assert_eq!(seen.content_type.as_deref(), Some("x/y"));
                shelf
                    .lock()
                    .expect("a shelf")
                    .insert(name, seen.body.clone());
                let digest = sha256(&seen.body).to_string();
                reply(201, &[("docker-content-digest", &digest)])
            }
            (&Method::DELETE, name) => match shelf.lock().expect("a shelf").remove(name) {
                Some(_) => reply(202, &[]),
                None => with_body(404, &[], r#"{"errors":[{"code":"MANIFEST_UNKNOWN"}]}"#),
            },
            other => panic!("{other:?}"),
        }
    });
    let registry = registry.await;
    let (client, upstream) = (client(&[&registry]), registry.upstream());
    let mut manifest = ManifestUpload {
        digest: sha256(b"{}"),
        media_type: "x/y",
        bytes: Bytes::from_static(b"{}"),
    };
    let tag = |text: &str| -> Reference { text.parse().expect("a reference") };
    let (v1, fixed) = (tag("v1"), tag("immutable"));
    let put = client.put_manifest(&upstream, "a", &v1, &manifest);
    assert_eq!(put.await, Ok(()));
    let shown = stored.lock().expect("a shelf").get("v1").cloned();
    assert_eq!(shown.as_deref(), Some(&b"{}"[..]));
    let put = client.put_manifest(&upstream, "a", &fixed, &manifest);
    let refused = put.await.expect_err("a refusal");
    assert!(matches!(refused, Error::Refused(why) if why.is_immutable_tag()));
    for _ in 0..2 {
        let gone = client.delete_manifest(&upstream, "a", &v1).await;
        assert_eq!(gone, Ok(()));
    }
    manifest.digest = sha256(b"other");
    let put = client.put_manifest(&upstream, "a", &v1, &manifest);
    assert!(matches!(put.await, Err(Error::DigestMismatch(_))));
}
