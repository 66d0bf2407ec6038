//! What no good client sends: the protocol's own error, with the offending thing named, and nothing
//! changed.

use std::time::Duration;

use http::{Method, StatusCode};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::support::{Setup, TestServer, digest_of, image, index, sha512_of};

const IMAGE: &str = "application/vnd.oci.image.manifest.v1+json";

#[tokio::test]
async fn names_tags_digests_and_ids() {
    let server = TestServer::dev().await;
    let client = server.client();
    client.push_image("aa/bb", "v1").await;
    let digest = digest_of(b"x");
    let long_name = "a".repeat(300);
    let long_tag = "t".repeat(129);
    for (path, error) in [
        ("/v2/AA/tags/list".to_owned(), "400 NAME_INVALID"),
        ("/v2/a..b/tags/list".to_owned(), "400 NAME_INVALID"),
        ("/v2/a%2Fb/tags/list".to_owned(), "400 NAME_INVALID"),
        ("/v2/a%00b/tags/list".to_owned(), "400 NAME_INVALID"),
        (format!("/v2/{long_name}/tags/list"), "400 NAME_INVALID"),
        ("/v2//tags/list".to_owned(), "400 NAME_INVALID"),
        (format!("/v2/aa/bb/manifests/{long_tag}"), "400 TAG_INVALID"),
        ("/v2/aa/bb/manifests/-v1".to_owned(), "400 TAG_INVALID"),
        ("/v2/aa/bb/manifests/v%201".to_owned(), "400 TAG_INVALID"),
        (
            "/v2/aa/bb/manifests/sha256:short".to_owned(),
            "400 DIGEST_INVALID",
        ),
        (
            format!("/v2/aa/bb/manifests/{}", digest.to_uppercase()),
            "400 DIGEST_INVALID",
        ),
        (
            format!("/v2/aa/bb/blobs/{}", &digest[..70]),
            "400 DIGEST_INVALID",
        ),
        (
            format!(
                "/v2/aa/bb/blobs/{}",
                sha512_of(b"x").replace("sha512", "sha384")
            ),
            "400 DIGEST_INVALID",
        ),
        (
            "/v2/aa/bb/blobs/uploads/1".to_owned(),
            "404 BLOB_UPLOAD_UNKNOWN",
        ),
        (
            "/v2/aa/bb/blobs/uploads/67e55044-10b1-426f-9247-bb680e5fe0c8".to_owned(),
            "404 BLOB_UPLOAD_UNKNOWN",
        ),
        (
            format!("/v2/aa/bb/blobs/uploads/{}", "f".repeat(2_000)),
            "404 BLOB_UPLOAD_UNKNOWN",
        ),
        (
            "/v2/aa/bb/blobs/uploads/..%2f..%2fetc".to_owned(),
            "400 NAME_INVALID",
        ),
        ("/v2/aa/bb/nothing".to_owned(), "404 NAME_UNKNOWN"),
        ("/v2/aa/bb/tags/list?last=%ff".to_owned(), "400 UNSUPPORTED"),
    ] {
        assert_eq!(client.get(&path).await.error(), error, "{path}");
    }
    let response = client.post("/v2/aa/bb/manifests/v1", "").await;
    assert_eq!(
        (response.error().as_str(), response.header("allow")),
        ("405 UNSUPPORTED", "GET, HEAD, PUT, DELETE")
    );
    let location = client.start_upload("aa/bb").await;
    for query in [
        "",
        "?digest=",
        "?digest=sha256:abc",
        "?digest=md5:d41d8cd98f00b204e9800998ecf8427e",
    ] {
        assert_eq!(
            client
                .send(Method::PUT, &format!("{location}{query}"), &[], "x")
                .await
                .error(),
            "400 DIGEST_INVALID",
            "{query}"
        );
    }
    assert_eq!(client.get(&location).await.header("range"), "0-0");
}

#[tokio::test]
async fn manifests_that_are_none() {
    let server = TestServer::dev().await;
    let client = server.client();
    let (config, layer) = (
        client.push_blob("aa/bb", b"{}").await,
        client.push_blob("aa/bb", b"layer").await,
    );
    let good = image(&config, &layer, 5, "");
    let deep = format!("{}1{}", "[".repeat(100_000), "]".repeat(100_000));
    let nested = image(&config, &layer, 5, &format!(r#","x":{deep}"#));
    let both = image(&config, &layer, 5, r#","manifests":[]"#);
    let twice = image(&config, &layer, 5, r#","layers":[]"#);
    let other = index(&[]);
    let no_digest = image("sha256:abc", &layer, 5, "");
    let cases = [
        ("not JSON", IMAGE, "no manifest"),
        ("nothing", IMAGE, ""),
        ("nested deep", IMAGE, &deep),
        ("a member nested deep", IMAGE, &nested),
        ("both an image and an index", IMAGE, &both),
        ("a member twice", IMAGE, &twice),
        ("another kind than it was sent as", IMAGE, &other),
        ("no digest", IMAGE, &no_digest),
        ("an unknown media type", "application/octet-stream", &good),
        (
            "schema version 3",
            IMAGE,
            &good.replace("\"schemaVersion\":2", "\"schemaVersion\":3"),
        ),
    ];
    for (what, media_type, manifest) in cases {
        let response = client
            .put_manifest("aa/bb", "v1", media_type, manifest)
            .await;
        assert_eq!(response.error(), "400 MANIFEST_INVALID", "{what}");
    }
    let wrong = digest_of(b"another");
    assert_eq!(
        client
            .put_manifest("aa/bb", &wrong, IMAGE, &good)
            .await
            .error(),
        "400 DIGEST_INVALID"
    );
    assert_eq!(
        client.get("/v2/aa/bb/tags/list").await.json()["tags"],
        serde_json::json!([])
    );
}

/// Sends `head` and as much of `body` as the server takes; what it responded by the time the
/// connection ends or is quiet.
async fn raw(server: &TestServer, head: &str, body: &[u8]) -> String {
    let socket = TcpStream::connect(server.address)
        .await
        .expect("a connection");
    let (mut read, mut write) = socket.into_split();
    write
        .write_all(format!("{head}host: {}\r\n\r\n", server.address).as_bytes())
        .await
        .expect("sent");
    let body = body.to_vec();
    let sending = tokio::spawn(async move {
        let outcome = write.write_all(&body).await;
        (write, outcome)
    });
    let mut response = Vec::new();
    let mut buffer = [0; 4_096];
    while let Ok(Ok(count @ 1..)) =
        tokio::time::timeout(Duration::from_millis(500), read.read(&mut buffer)).await
    {
        response.extend_from_slice(&buffer[..count]);
    }
    let (_write, outcome) = sending.await.expect("no panic");
    assert!(
        outcome.is_ok(),
        "the connection broke under the sender: {outcome:?}"
    );
    String::from_utf8_lossy(&response).into_owned()
}

#[tokio::test]
async fn an_early_refusal_reaches_a_client_that_is_still_sending() {
    let server = TestServer::start(Setup::default()).await;
    let body = vec![0; 20 * 1024 * 1024];
    let upload = "/v2/aa/bb/blobs/uploads/67e55044-10b1-426f-9247-bb680e5fe0c8";
    let response = raw(
        &server,
        &format!(
            "PATCH {upload} HTTP/1.1\r\ncontent-length: {}\r\n",
            body.len()
        ),
        &body,
    )
    .await;
    assert!(
        response.starts_with("HTTP/1.1 401 ") && response.contains("UNAUTHORIZED"),
        "{response}"
    );
    let dev = TestServer::dev().await;
    dev.client().start_upload("aa/bb").await;
    let response = raw(
        &dev,
        &format!(
            "PATCH {upload} HTTP/1.1\r\ncontent-length: {}\r\n",
            body.len()
        ),
        &body,
    )
    .await;
    assert!(
        response.starts_with("HTTP/1.1 404 ") && response.contains("BLOB_UPLOAD_UNKNOWN"),
        "{response}"
    );
    let location = dev.client().start_upload("aa/bb").await;
    let head = format!(
        "PATCH {location} HTTP/1.1\r\ncontent-range: 7-{}\r\ncontent-length: {}\r\n",
        body.len() + 6,
        body.len()
    );
    let response = raw(&dev, &head, &body).await;
    assert!(
        response.starts_with("HTTP/1.1 416 ") && response.contains("BLOB_UPLOAD_INVALID"),
        "{response}"
    );
}

#[tokio::test]
async fn expect_100_continue_is_honoured_only_after_the_checks() {
    let server = TestServer::start(Setup::default()).await;
    let upload = "/v2/aa/bb/blobs/uploads/67e55044-10b1-426f-9247-bb680e5fe0c8";
    let response = raw(
        &server,
        &format!("PATCH {upload} HTTP/1.1\r\ncontent-length: 5\r\nexpect: 100-continue\r\n"),
        b"",
    )
    .await;
    assert!(response.starts_with("HTTP/1.1 401 "), "{response}");
    let dev = TestServer::dev().await;
    let location = dev.client().start_upload("aa/bb").await;
    let response = raw(
        &dev,
        &format!("PATCH {location} HTTP/1.1\r\ncontent-length: 5\r\nexpect: 100-continue\r\n"),
        b"",
    )
    .await;
    assert_eq!(response, "HTTP/1.1 100 Continue\r\n\r\n");
    let response = raw(
        &dev,
        &format!("PATCH {location} HTTP/1.1\r\ncontent-length: 5\r\nexpect: 100-continue\r\n"),
        b"hello",
    )
    .await;
    assert!(
        response.starts_with("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 202 "),
        "{response}"
    );
}

#[tokio::test]
async fn a_refused_request_leaves_its_connection_usable() {
    let server = TestServer::dev().await;
    let first = "PATCH /v2/aa/bb/blobs/uploads/1 HTTP/1.1\r\nhost: localhost\r\n\
                 content-length: 3\r\n\r\nabc";
    let response = raw(&server, &format!("{first}GET /v2/ HTTP/1.1\r\n"), b"").await;
    assert!(
        response.starts_with("HTTP/1.1 404 ") && response.contains("HTTP/1.1 200 OK"),
        "{response}"
    );
    assert_eq!(server.client().get("/v2/").await.status, StatusCode::OK);
}
