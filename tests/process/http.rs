//! What the HTTP service does for every API: request ids, metrics, health, limits, and responses to
//! requests that no API understands.

use std::time::Duration;

use http::Method;
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::support::{Response, Setup, TestServer};

fn text(response: &Response) -> String {
    String::from_utf8_lossy(&response.body).into_owned()
}

#[tokio::test]
async fn health_and_metrics_need_no_credentials() {
    let server = TestServer::start(Setup::default()).await;
    for (path, says) in [
        ("/healthz", "ok"),
        ("/readyz", "ready"),
        ("/metrics", "wharfinger_requests_total"),
    ] {
        let response = server.client().get(path).await;
        assert_eq!(response.status, 200, "{path}");
        assert!(
            text(&response).contains(says),
            "{path}: {}",
            text(&response)
        );
    }
    assert_eq!(server.client().get("/").await.status, 403);
    assert_eq!(server.client().get("/nothing").await.status, 404);
}

#[tokio::test]
async fn health_is_read_only() {
    let server = TestServer::start(Setup::default()).await;
    for path in ["/healthz", "/readyz", "/metrics"] {
        for method in [Method::POST, Method::PUT, Method::DELETE] {
            let response = server.client().send(method, path, &[], "").await;
            assert_eq!(response.status, 405, "{path}");
            assert_eq!(response.header("allow"), "GET,HEAD", "{path}");
        }
        assert_eq!(server.client().head(path).await.status, 200, "{path}");
    }
}

#[tokio::test]
async fn every_request_has_an_id_and_is_counted_by_operation() {
    let server = TestServer::start(Setup::default()).await;
    let client = server.root();
    assert_eq!(
        client
            .get_with("/v2/", &[("x-request-id", "build-7")])
            .await
            .header("x-request-id"),
        "build-7"
    );
    let made = client.get("/v2/").await;
    assert_eq!(made.header("x-request-id").len(), 36);
    assert_ne!(
        client
            .get_with("/v2/", &[("x-request-id", "a b")])
            .await
            .header("x-request-id"),
        "a b"
    );
    assert_eq!(server.client().get("/v2/").await.status, 401);
    let metrics = text(&client.get("/metrics").await);
    for line in [
        "{operation=\"Ping\",status=\"2xx\"} 3",
        "{operation=\"Ping\",status=\"4xx\"} 1",
        "_count{operation=\"Ping\"} 4",
    ] {
        assert!(metrics.contains(line), "{line} is missing in\n{metrics}");
    }
}

#[tokio::test]
async fn bytes_of_blobs_are_counted_both_ways() {
    let server = TestServer::dev().await;
    let client = server.client();
    let digest = client.push_blob("web", b"twelve bytes").await;
    assert_eq!(
        client.get(&format!("/v2/web/blobs/{digest}")).await.status,
        200
    );
    let metrics = text(&client.get("/metrics").await);
    for line in [
        "wharfinger_blob_in_bytes_total 12\n",
        "wharfinger_blob_out_bytes_total 12\n",
    ] {
        assert!(metrics.contains(line), "{line} is missing in\n{metrics}");
    }
}

#[tokio::test]
async fn a_caller_past_its_rate_is_told_when_to_come_again() {
    let server = TestServer::start(Setup {
        rate: Some(1),
        ..Setup::default()
    })
    .await;
    let client = server.root();
    // The password that the test has requested took the first second.
    until_status(200, async || client.get("/v2/").await).await;
    let refused = until_status(429, async || client.get("/v2/").await).await;
    assert_eq!(
        (refused.header("retry-after"), refused.error().as_str()),
        ("1", "429 TOOMANYREQUESTS")
    );
    assert_eq!(
        server.client().get("/v2/").await.status,
        401,
        "others are not held up"
    );
    let target = [(
        "x-amz-target",
        "AmazonEC2ContainerRegistry_V20150921.DescribeRepositories",
    )];
    let unsigned = async || server.client().send(Method::POST, "/", &target, "{}").await;
    let refused = until_status(429, unsigned).await;
    assert!(
        text(&refused).contains("ThrottlingException"),
        "{}",
        text(&refused)
    );
}

/// Repeats a request until its response has this status: how many requests pass in a second
/// depends on the machine.
async fn until_status(status: u16, request: impl AsyncFn() -> Response) -> Response {
    for _ in 0..200 {
        let response = request().await;
        if response.status == status {
            return response;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("no response with status {status}");
}

#[tokio::test]
async fn malformed_requests_get_400_and_are_counted() {
    let server = TestServer::dev().await;
    for head in [
        "POST /v2/a/blobs/uploads/ HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\n\
         Transfer-Encoding: chunked",
        "POST / HTTP/1.1\r\nHost: localhost\r\nX-Amz-Target: x.y\r\nTransfer-Encoding: chunked\r\n\
         Content-Length: 5",
        "GET /v2/ HTTP/1.1",
        "GET /v2/ HTTP/1.1\r\nHost: a\r\nHost: b",
        "POST / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\nno size",
    ] {
        let mut socket = TcpStream::connect(server.address).await.expect("connects");
        let request =
            format!("{head}\r\n\r\n0\r\n\r\nGET /v2/ HTTP/1.1\r\nHost: localhost\r\n\r\n");
        socket.write_all(request.as_bytes()).await.expect("sends");
        let mut response = String::new();
        socket
            .read_to_string(&mut response)
            .await
            .expect("no reset");
        assert!(response.starts_with("HTTP/1.1 400 "), "{response}");
        assert!(response.contains("connection: close"), "{response}");
        assert_eq!(response.matches("date: ").count(), 1, "{response}");
    }
}

#[tokio::test]
async fn only_a_development_server_forgets_on_request() {
    let dev = TestServer::dev().await;
    dev.client().push_image("web", "latest").await;
    assert_eq!(
        dev.client().get("/v2/web/manifests/latest").await.status,
        200
    );
    let deny = r#"{"Statement":[{"Effect":"Deny","Principal":"*","Action":"ecr:PutImage",
        "Resource":"*"}]}"#;
    let policy = serde_json::json!({"policyText": deny});
    dev.aws().ok("PutRegistryPolicy", policy).await;
    let rule = serde_json::json!({"ecrRepositoryPrefix": "quay",
        "upstreamRegistryUrl": "quay.io", "upstreamRegistry": "quay"});
    dev.aws().ok("CreatePullThroughCacheRule", rule).await;
    assert_eq!(dev.client().get("/_wharfinger/reset").await.status, 405);
    assert_eq!(
        dev.client().post("/_wharfinger/reset", "").await.status,
        200
    );
    assert_eq!(
        dev.client().get("/v2/web/manifests/latest").await.status,
        404
    );
    assert_eq!(
        dev.client().get("/v2/_catalog").await.json()["repositories"],
        serde_json::json!([])
    );
    let rules = dev
        .aws()
        .ok("DescribePullThroughCacheRules", serde_json::json!({}))
        .await;
    assert_eq!(rules["pullThroughCacheRules"], serde_json::json!([]));
    dev.client().push_image("web", "latest").await;
    assert_eq!(
        dev.client().get("/v2/web/manifests/latest").await.status,
        200
    );

    let real = TestServer::start(Setup {
        create_on_push: true,
        ..Setup::default()
    })
    .await;
    real.root().push_image("web", "latest").await;
    assert_eq!(real.root().post("/_wharfinger/reset", "").await.status, 404);
    assert_eq!(
        real.root().get("/v2/web/manifests/latest").await.status,
        200
    );
}

#[tokio::test]
async fn a_web_page_cannot_use_a_development_server() {
    let server = TestServer::dev().await;
    let client = server.client();
    client.push_image("web", "latest").await;
    for label in [
        ("origin", "https://evil.test"),
        ("origin", "null"),
        ("sec-fetch-site", "cross-site"),
        ("host", "evil.test"),
        ("host", "123456789012.dkr.ecr.us-east-1.evil.test"),
    ] {
        for path in [
            "/_wharfinger/reset",
            "/v2/web/blobs/uploads/",
            "/",
            "/token",
        ] {
            let refused = client.send(Method::POST, path, &[label], "").await;
            assert_eq!(refused.status, 403, "{path} {label:?}");
        }
    }
    assert_eq!(client.get("/v2/web/manifests/latest").await.status, 200);
    let registry = ("host", "123456789012.dkr.ecr.us-east-1.localhost:4566");
    let response = client.get_with("/v2/", &[registry]).await;
    assert_eq!(response.status, 200);
}

#[tokio::test]
async fn an_aborted_download_is_recorded_as_such() {
    const SIZE: usize = 64 * 1024 * 1024;
    let server = TestServer::dev().await;
    let client = server.client();
    let digest = client.push_blob("web", &vec![7; SIZE]).await;
    let mut socket = TcpStream::connect(server.address).await.expect("connects");
    let request = format!("GET /v2/web/blobs/{digest} HTTP/1.1\r\nHost: localhost\r\n\r\n");
    socket.write_all(request.as_bytes()).await.expect("sends");
    let mut first = [0; 1024];
    socket.read_exact(&mut first).await.expect("a response");
    let metrics = text(&client.get("/metrics").await);
    assert!(
        metrics.contains("wharfinger_requests_in_flight 2\n"),
        "the download and this request: {metrics}"
    );
    drop(socket);
    let aborted = async || {
        let metrics = text(&client.get("/metrics").await);
        metrics.contains("wharfinger_responses_aborted_total 1\n")
    };
    let seen = async { while !aborted().await {} };
    tokio::time::timeout(Duration::from_secs(30), seen)
        .await
        .expect("recorded");
    let metrics = text(&client.get("/metrics").await);
    assert!(metrics.contains("wharfinger_requests_in_flight 1\n"));
    let sent = metrics
        .lines()
        .find_map(|line| line.strip_prefix("wharfinger_blob_out_bytes_total "))
        .and_then(|sent| sent.parse::<usize>().ok())
        .expect("a number of bytes");
    assert!(sent < SIZE, "{sent}");
}

#[tokio::test]
async fn nobody_spends_the_rate_of_another_caller() {
    let server = TestServer::start(Setup {
        rate: Some(20),
        ..Setup::default()
    })
    .await;
    let forged = {
        let mut aws = server.aws();
        "forged".clone_into(&mut aws.secret);
        aws
    };
    // More than the rate of the caller whose key id these requests state.
    let mut statuses = Vec::new();
    for _ in 0..30 {
        let outcome = forged.ecr("DescribeRepositories", json!({})).await;
        statuses.push(outcome.status.as_u16());
    }
    assert!(
        statuses.contains(&429),
        "the address is limited: {statuses:?}"
    );
    assert_eq!(server.client().get("/healthz").await.status, 200);
    // The caller itself has all of its rate left, once its address is not limited any more.
    let root = server.root();
    until_status(200, async || root.get("/v2/").await).await;
    for _ in 0..10 {
        assert_eq!(root.get("/v2/").await.status, 200);
    }
}
