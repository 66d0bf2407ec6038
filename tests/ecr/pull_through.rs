//! Pulls through the cache, from a scripted upstream registry.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::body::Body;
use axum::extract::Request;
use axum::response::Response as Reply;
use bytes::Bytes;
use futures_util::future::join_all;
use futures_util::{StreamExt as _, stream};
use http::{Method, StatusCode};
use serde_json::{Value, json};
use tokio::sync::watch;

use crate::support::{ACCOUNT, Setup, TestServer, digest_of, image, index, on};

pub(super) const INDEX: &str = "application/vnd.oci.image.index.v1+json";
pub(super) const IMAGE: &str = "application/vnd.oci.image.manifest.v1+json";

/// What the upstream does with a path.
#[derive(Clone)]
pub(super) enum Script {
    Serve(&'static str, Bytes),
    Status(u16, &'static [(&'static str, &'static str)]),
    /// Sends the first half, and the rest once it is told to.
    Halves(Bytes),
    /// Does not say how long it is.
    Unsized(Bytes),
    /// Responds never.
    Hang,
    /// Breaks off in the middle, unless the request is for the rest.
    Broken(Bytes),
}

#[derive(Default)]
struct Scripts {
    by_path: HashMap<String, Script>,
    /// Method and path of each request.
    log: Vec<String>,
}

/// A scripted registry.
pub(super) struct Upstream {
    address: std::net::SocketAddr,
    scripts: Arc<Mutex<Scripts>>,
    pub(super) go: watch::Sender<bool>,
    serving: tokio::task::JoinHandle<()>,
}

impl Upstream {
    pub(super) async fn start() -> Self {
        let scripts = Arc::<Mutex<Scripts>>::default();
        let go = watch::Sender::new(false);
        let (known, release) = (Arc::clone(&scripts), go.subscribe());
        let app = axum::Router::new().fallback(move |request: Request| {
            let path = request.uri().path().to_owned();
            let script = {
                let mut known = known.lock().expect("the scripts");
                known.log.push(format!("{} {path}", request.method()));
                known.by_path.get(&path).cloned()
            };
            let release = release.clone();
            async move {
                if matches!(script, Some(Script::Hang)) {
                    return std::future::pending().await;
                }
                reply(&request, script, release)
            }
        });
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await;
        let listener = listener.expect("a port");
        let address = listener.local_addr().expect("an address");
        let serving = tokio::spawn(async move {
            let _ = axum::serve(listener, app).await;
        });
        Self {
            address,
            scripts,
            go,
            serving,
        }
    }

    pub(super) fn set(&self, path: &str, script: Script) {
        let mut scripts = self.scripts.lock().expect("the scripts");
        scripts.by_path.insert(path.to_owned(), script);
    }

    pub(super) fn blob(&self, name: &str, content: &[u8]) -> String {
        let digest = digest_of(content);
        let script = Script::Serve("application/octet-stream", Bytes::copy_from_slice(content));
        self.set(&format!("/v2/{name}/blobs/{digest}"), script);
        digest
    }

    /// Serves a manifest by its tag and its digest.
    pub(super) fn manifest(
        &self,
        name: &str,
        tag: &str,
        media_type: &'static str,
        text: &str,
    ) -> String {
        let digest = digest_of(text.as_bytes());
        let script = Script::Serve(media_type, Bytes::copy_from_slice(text.as_bytes()));
        for reference in [tag, &digest] {
            self.set(&format!("/v2/{name}/manifests/{reference}"), script.clone());
        }
        digest
    }

    /// Serves an image of one layer; its manifest.
    pub(super) fn image(&self, name: &str, tag: &str, layer: &[u8]) -> String {
        let config = self.blob(name, b"{}");
        let digest = self.blob(name, layer);
        let text = image(&config, &digest, layer.len(), "");
        self.manifest(name, tag, IMAGE, &text);
        text
    }

    pub(super) fn count(&self, part: &str) -> usize {
        let scripts = self.scripts.lock().expect("the scripts");
        scripts.log.iter().filter(|one| one.contains(part)).count()
    }

    /// A server whose upstream quay.io is this one, with a rule for the prefix `quay`.
    pub(super) async fn cache(&self, more: &[&str]) -> TestServer {
        let server = start(&format!("quay.io=http://{}", self.address), more).await;
        let rule = json!({"ecrRepositoryPrefix": "quay", "upstreamRegistryUrl": "quay.io"});
        server.aws().ok("CreatePullThroughCacheRule", rule).await;
        server
    }
}

async fn start(upstreams: &str, more: &[&str]) -> TestServer {
    let upstreams = format!("--upstreams={upstreams}");
    let arguments: Vec<&'static str> = std::iter::once(upstreams.as_str())
        .chain(more.iter().copied())
        .map(|argument| &*Box::leak(argument.to_owned().into_boxed_str()))
        .collect();
    let setup = Setup {
        arguments: Box::leak(arguments.into_boxed_slice()),
        ..Setup::default()
    };
    TestServer::start(setup).await
}

fn reply(request: &Request, script: Option<Script>, mut release: watch::Receiver<bool>) -> Reply {
    let mut reply = http::Response::builder();
    let body = match script {
        None | Some(Script::Hang) => {
            reply = reply.status(StatusCode::NOT_FOUND);
            Body::empty()
        }
        Some(Script::Status(status, headers)) => {
            reply = reply.status(status);
            for (name, value) in headers {
                reply = reply.header(*name, *value);
            }
            Body::empty()
        }
        Some(Script::Serve(media_type, bytes)) => {
            reply = reply
                .header("content-type", media_type)
                .header("content-length", bytes.len());
            if request.uri().path().contains("/manifests/") {
                reply = reply.header("docker-content-digest", digest_of(&bytes));
            }
            if request.method() == Method::HEAD {
                Body::empty()
            } else {
                Body::from(bytes)
            }
        }
        Some(Script::Unsized(bytes)) => {
            Body::from_stream(stream::once(async { Ok::<_, std::io::Error>(bytes) }))
        }
        Some(Script::Halves(bytes)) => {
            reply = reply.header("content-length", bytes.len());
            let (first, second) = (
                bytes.slice(..bytes.len() / 2),
                bytes.slice(bytes.len() / 2..),
            );
            let first = stream::once(async { Ok::<_, std::io::Error>(first) });
            Body::from_stream(first.chain(stream::once(async move {
                let _ = release.wait_for(|open| *open).await;
                Ok(second)
            })))
        }
        Some(Script::Broken(bytes)) => {
            let half = bytes.len() / 2;
            let rest = format!("bytes={half}-");
            let range = request.headers().get("range");
            if range.is_some_and(|range| range.as_bytes() == rest.as_bytes()) {
                let range = format!("bytes {half}-{}/{}", bytes.len() - 1, bytes.len());
                reply = reply.status(206).header("content-range", range);
                Body::from(bytes.slice(half..))
            } else {
                reply = reply.header("content-length", bytes.len());
                let first = stream::once(async move { Ok(bytes.slice(..half)) });
                Body::from_stream(first.chain(stream::once(async {
                    // The connection sends what it has while the body has nothing.
                    tokio::task::yield_now().await;
                    Err(std::io::Error::other("broken off"))
                })))
            }
        }
    };
    reply.body(body).expect("a reply")
}

#[tokio::test]
async fn an_index_is_imported_with_its_members_and_served_without_the_upstream() {
    let upstream = Upstream::start().await;
    let server = upstream.cache(&[]).await;
    let root = server.root();
    let layers: Vec<_> = (0..2_u8).map(|n| vec![n; 100_000]).collect();
    let images: Vec<_> = (0..2)
        .map(|n| upstream.image("team/web", &format!("m{n}"), &layers[n]))
        .collect();
    let digests: Vec<_> = images
        .iter()
        .map(|text| digest_of(text.as_bytes()))
        .collect();
    let members: Vec<_> = (0..2).map(|n| (&*digests[n], images[n].len())).collect();
    let text = index(&members);
    let digest = upstream.manifest("team/web", "v1", INDEX, &text);

    let name = "quay/team/web";
    for _ in 0..2 {
        let got = root.get(&format!("/v2/{name}/manifests/v1")).await;
        assert_eq!(got.status, StatusCode::OK, "{got:?}");
        assert_eq!(
            (&*got.body, got.header("content-type")),
            (text.as_bytes(), INDEX)
        );
        assert_eq!(got.header("docker-content-digest"), digest);
        for n in 0..2 {
            let got = root
                .get(&format!("/v2/{name}/manifests/{}", digests[n]))
                .await;
            assert_eq!(&*got.body, images[n].as_bytes());
            let path = format!("/v2/{name}/blobs/{}", digest_of(&layers[n]));
            let head = root.head(&path).await;
            assert_eq!(
                (head.status, head.header("content-length")),
                (StatusCode::OK, "100000")
            );
            let got = root.get(&path).await;
            assert_eq!(got.header("content-length"), "100000");
            assert!(got.body == layers[n], "the layer");
            let range = root.get_with(&path, &[("range", "bytes=7-9")]).await;
            assert_eq!(
                (range.status, range.body.len()),
                (StatusCode::PARTIAL_CONTENT, 3)
            );
        }
        let config = root
            .get(&format!("/v2/{name}/blobs/{}", digest_of(b"{}")))
            .await;
        assert_eq!(&*config.body, b"{}");
        // Everything is here now.
        upstream.serving.abort();
    }
    assert_eq!(upstream.count("GET /v2/team/web/manifests/v1"), 1);
    assert_eq!(upstream.count(&digest_of(&layers[0])), 1);

    let all = server.aws().ok("DescribeImages", on(name, json!({}))).await;
    let all = all["imageDetails"].as_array().expect("images").clone();
    assert_eq!(all.len(), 3);
    let found = all
        .iter()
        .find(|one| one["imageDigest"] == *digest)
        .expect("the index");
    assert_eq!(found["imageTags"], json!(["v1"]));
    assert_eq!(found["imageSizeInBytes"], 100_002);
    let tags = root.get(&format!("/v2/{name}/tags/list")).await.json();
    assert_eq!(tags["tags"], json!(["v1"]));
}

#[tokio::test]
async fn many_clients_cause_one_download_and_get_bytes_as_they_arrive() {
    let upstream = Upstream::start().await;
    let server = upstream.cache(&[]).await;
    let layer: Vec<u8> = (0..9_000_000_u32).map(|n| n.to_le_bytes()[1]).collect();
    upstream.image("big", "v1", &layer);
    let digest = digest_of(&layer);
    let path = format!("/v2/big/blobs/{digest}");
    upstream.set(&path, Script::Halves(layer.clone().into()));
    let root = server.root();
    root.get("/v2/quay/big/manifests/v1").await;

    // Half of the layer arrives before the upstream sends the other half.
    let http = reqwest::Client::builder()
        .no_proxy()
        .build()
        .expect("a client");
    let url = format!("http://{}/v2/quay/big/blobs/{digest}", server.address);
    let request = || {
        http.get(&url)
            .basic_auth("AWS", Some(server.root_password()))
    };
    let mut first = request().send().await.expect("a response");
    let mut received = Vec::new();
    while received.len() < layer.len() / 2 {
        let piece = first.chunk().await.expect("a piece").expect("more");
        received.extend_from_slice(&piece);
    }
    // One goes away, which ends nothing.
    drop(request().send().await.expect("a response"));
    let range = request().header("range", "bytes=1-1000").send();
    let range = range
        .await
        .expect("a response")
        .bytes()
        .await
        .expect("a range");
    assert!(range == layer[1..=1000], "the range");
    let others = join_all((0..50).map(|_| async {
        let response = request().send().await.expect("a response");
        response.bytes().await.expect("the layer")
    }));
    let release = async {
        while let Ok(Some(piece)) = {
            upstream.go.send_replace(true);
            first.chunk().await
        } {
            received.extend_from_slice(&piece);
        }
    };
    let (others, ()) = tokio::join!(others, release);
    assert!(received == layer && others.iter().all(|other| *other == layer));
    assert_eq!(upstream.count(&format!("GET {path}")), 1);
}

#[tokio::test]
async fn a_download_that_breaks_off_continues() {
    let upstream = Upstream::start().await;
    let server = upstream.cache(&[]).await;
    let layer = vec![7; 300_000];
    upstream.image("web", "v1", &layer);
    let digest = digest_of(&layer);
    let path = format!("/v2/web/blobs/{digest}");
    upstream.set(&path, Script::Broken(layer.clone().into()));
    let root = server.root();
    root.get("/v2/quay/web/manifests/v1").await;
    let got = root.get(&format!("/v2/quay/web/blobs/{digest}")).await;
    assert!(got.body == layer);
    assert_eq!(upstream.count(&path), 2);
}

#[tokio::test]
async fn a_layer_with_another_digest_is_never_received_whole() {
    let upstream = Upstream::start().await;
    let server = upstream.cache(&[]).await;
    let (layer, other) = (vec![1; 200_000], vec![2; 200_000]);
    upstream.image("web", "v1", &layer);
    let digest = digest_of(&layer);
    let path = format!("/v2/web/blobs/{digest}");
    upstream.set(
        &path,
        Script::Serve("application/octet-stream", other.into()),
    );
    let root = server.root();
    root.get("/v2/quay/web/manifests/v1").await;
    let http = reqwest::Client::builder()
        .no_proxy()
        .build()
        .expect("a client");
    let url = format!("http://{}/v2/quay/web/blobs/{digest}", server.address);
    let get = || {
        http.get(&url)
            .basic_auth("AWS", Some(server.root_password()))
            .send()
    };
    for _ in 0..2 {
        let response = get().await.expect("a response");
        let whole = response.bytes().await;
        assert!(whole.is_err(), "{:?}", whole.map(|bytes| bytes.len()));
    }
    let held = json!({"layerDigests": [digest]});
    let held = server
        .aws()
        .ok("BatchCheckLayerAvailability", on("quay/web", held))
        .await;
    assert_eq!(held["layers"][0]["layerAvailability"], "UNAVAILABLE");
    // The next one gets the right content.
    upstream.blob("web", &layer);
    let whole = get().await.expect("a response").bytes().await;
    assert!(whole.expect("the layer") == layer);
}

#[tokio::test]
async fn refusals_of_the_upstream_are_passed_on() {
    let upstream = Upstream::start().await;
    let server = upstream.cache(&[]).await;
    let limited: &[(&str, &str)] = &[("retry-after", "7")];
    upstream.set("/v2/web/manifests/limited", Script::Status(429, limited));
    upstream.set("/v2/web/manifests/denied", Script::Status(403, &[]));
    upstream.set("/v2/web/manifests/down", Script::Status(503, &[]));
    let nonsense = Script::Serve(IMAGE, Bytes::from_static(b"no manifest"));
    upstream.set("/v2/web/manifests/nonsense", nonsense);
    let root = server.root();
    let get = async |reference: &str| {
        root.get(&format!("/v2/quay/web/manifests/{reference}"))
            .await
    };
    let refused = get("limited").await;
    assert_eq!(refused.error(), "429 TOOMANYREQUESTS");
    assert_eq!(refused.header("retry-after"), "7");
    assert_eq!(get("denied").await.error(), "403 DENIED");
    assert_eq!(get("down").await.error(), "502 UNKNOWN");
    assert_eq!(get("nonsense").await.error(), "502 UNKNOWN");
    for _ in 0..2 {
        assert_eq!(get("gone").await.error(), "404 NAME_UNKNOWN");
    }
    assert_eq!(upstream.count("/gone"), 1, "the second time it is known");
    let ids = json!({"imageIds": [{"imageTag": "limited"}, {"imageTag": "denied"},
        {"imageTag": "down"}, {"imageTag": "gone"}]});
    let none = server
        .aws()
        .ecr("BatchGetImage", on("quay/web", ids.clone()))
        .await;
    none.assert_fault("RepositoryNotFoundException", "");
    server
        .aws()
        .ok("CreateRepository", on("quay/web", json!({})))
        .await;
    let found = server.aws().ok("BatchGetImage", on("quay/web", ids)).await;
    let codes: Vec<_> = found["failures"]
        .as_array()
        .expect("failures")
        .iter()
        .collect();
    let codes: Vec<_> = codes
        .iter()
        .map(|one| one["failureCode"].as_str())
        .collect();
    assert_eq!(
        codes,
        [
            Some("UpstreamTooManyRequests"),
            Some("UpstreamAccessDenied"),
            Some("UpstreamUnavailable"),
            Some("ImageNotFound"),
        ]
    );
    assert_eq!(get("gone").await.error(), "404 MANIFEST_UNKNOWN");
}

#[tokio::test]
async fn an_import_needs_its_own_permissions() {
    let upstream = Upstream::start().await;
    let server = upstream.cache(&[]).await;
    upstream.image("web", "v1", b"layer");
    let policy = |actions: &str| {
        format!(
            r#"{{"Version":"2012-10-17","Statement":{{"Effect":"Allow","Resource":"*",
                "Action":["ecr:BatchGetImage","ecr:GetDownloadUrlForLayer"{actions}]}}}}"#
        )
    };
    let import = r#","ecr:BatchImportUpstreamImage""#;
    let create = r#","ecr:BatchImportUpstreamImage","ecr:CreateRepository""#;
    for (name, actions, expected) in [
        ("reader", "", StatusCode::FORBIDDEN),
        ("importer", import, StatusCode::FORBIDDEN),
        ("creator", create, StatusCode::OK),
    ] {
        let user = server.user(ACCOUNT, name, &policy(actions)).await;
        let got = user.get("/v2/quay/web/manifests/v1").await;
        assert_eq!(got.status, expected, "{name}: {got:?}");
    }
    // What is in the cache needs none.
    let reader = server.user(ACCOUNT, "another", &policy("")).await;
    let got = reader.get("/v2/quay/web/manifests/v1").await;
    assert_eq!(got.status, StatusCode::OK);
}

#[tokio::test]
async fn tags_are_looked_at_again_and_kept_while_the_upstream_is_down() {
    let upstream = Upstream::start().await;
    let server = upstream.cache(&["--pull-through-refresh-seconds=0"]).await;
    let root = server.root();
    let get = async |tag: &str| {
        let got = root.get(&format!("/v2/quay/web/manifests/{tag}")).await;
        assert_eq!(got.status, StatusCode::OK, "{got:?}");
        String::from_utf8(got.body.to_vec()).expect("text")
    };
    let first = upstream.image("web", "v1", b"first");
    assert_eq!(get("v1").await, first);
    assert_eq!(get("v1").await, first);
    assert_eq!(
        upstream.count("GET /v2/web/manifests/v1"),
        1,
        "then only HEAD"
    );
    let second = upstream.image("web", "v1", b"second");
    assert_eq!(get("v1").await, second);
    // A tag that somebody pushes here is not looked at any more.
    let own = image(&digest_of(b"{}"), &digest_of(b"first"), 5, "");
    root.get(&format!("/v2/quay/web/blobs/{}", digest_of(b"{}")))
        .await;
    root.get(&format!("/v2/quay/web/blobs/{}", digest_of(b"first")))
        .await;
    let other = upstream.image("web", "v2", b"other");
    assert_eq!(get("v2").await, other);
    let pushed = root.put_manifest("quay/web", "v2", IMAGE, &own).await;
    assert_eq!(pushed.status, StatusCode::CREATED, "{pushed:?}");
    assert_eq!(get("v2").await, own);
    // Nor is one that must not move.
    let immutable = on("quay/web", json!({"imageTagMutability": "IMMUTABLE"}));
    server.aws().ok("PutImageTagMutability", immutable).await;
    upstream.image("web", "v1", b"third");
    assert_eq!(get("v1").await, second);
    let mutable = on("quay/web", json!({"imageTagMutability": "MUTABLE"}));
    server.aws().ok("PutImageTagMutability", mutable).await;
    upstream.set("/v2/web/manifests/v1", Script::Status(503, &[]));
    assert_eq!(get("v1").await, second);
    let looks = upstream.count("HEAD /v2/web/manifests/v1");
    assert_eq!(get("v1").await, second);
    assert_eq!(
        upstream.count("HEAD /v2/web/manifests/v1"),
        looks,
        "not again at once"
    );
}

#[tokio::test]
async fn rules_in_a_circle_end() {
    // A server that is its own upstream, by an address that is known before it starts.
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await;
    let listener = listener.expect("a port");
    let address = listener.local_addr().expect("an address");
    let server = start(&format!("quay.io=http://{address}"), &[]).await;
    let target = server.address;
    let forwarding = tokio::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut server = tokio::net::TcpStream::connect(target).await?;
                tokio::io::copy_bidirectional(&mut client, &mut server).await
            });
        }
    });
    let password = json!({"username": "AWS", "accessToken": server.root_password()});
    let secret = json!({"Name": "ecr-pullthroughcache/own", "SecretString": password.to_string(),
        "ClientRequestToken": "00000000-0000-4000-8000-000000000001"});
    let aws = server.aws();
    let made = aws
        .json("secretsmanager", "secretsmanager", "CreateSecret", secret)
        .await;
    let arn = made.document["ARN"].clone();
    for (prefix, upstream_prefix) in [("ROOT", "ROOT"), ("other", "other/more")] {
        let rule: Value = json!({"ecrRepositoryPrefix": prefix, "upstreamRegistryUrl": "quay.io",
            "credentialArn": arn, "upstreamRepositoryPrefix": upstream_prefix});
        aws.ok("CreatePullThroughCacheRule", rule).await;
    }
    for name in ["web", "other/web"] {
        let (root, path) = (server.root(), format!("/v2/{name}/manifests/v1"));
        let got = tokio::time::timeout(Duration::from_secs(20), root.get(&path)).await;
        assert_eq!(got.expect("in time").error(), "404 NAME_UNKNOWN");
    }
    forwarding.abort();
}

#[tokio::test]
async fn the_operations_of_ecr_import_as_well() {
    let upstream = Upstream::start().await;
    let server = upstream.cache(&[]).await;
    let text = upstream.image("web", "v1", b"layer");
    let aws = server.aws();
    let ids = json!({"imageIds": [{"imageTag": "v1"}]});
    let found = aws.ok("BatchGetImage", on("quay/web", ids)).await;
    assert_eq!(found["images"][0]["imageManifest"], text.as_str());
    let layer = json!({"layerDigest": digest_of(b"layer")});
    let url = aws
        .ok("GetDownloadUrlForLayer", on("quay/web", layer))
        .await;
    let url = url["downloadUrl"].as_str().expect("a URL").to_owned();
    let http = reqwest::Client::builder()
        .no_proxy()
        .build()
        .expect("a client");
    let got = http.get(url).send().await.expect("a response");
    assert_eq!(&*got.bytes().await.expect("the layer"), b"layer");
    let none = json!({"layerDigest": digest_of(b"none")});
    let none = aws
        .ecr("GetDownloadUrlForLayer", on("quay/web", none))
        .await;
    none.assert_fault(
        "LayersNotFoundException",
        "does not exist within the repository",
    );
}
