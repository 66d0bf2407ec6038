//! Blobs read: ranges, conditions, and the headers that clients live on.

use http::StatusCode;

use crate::support::{TestServer, digest_of};

#[tokio::test]
async fn ranges_are_exact() {
    let server = TestServer::dev().await;
    let client = server.client();
    let path = format!(
        "/v2/aa/bb/blobs/{}",
        client.push_blob("aa/bb", b"0123456789").await
    );
    for (range, content, said) in [
        ("bytes=0-0", "0", "bytes 0-0/10"),
        ("bytes=2-4", "234", "bytes 2-4/10"),
        ("bytes=8-", "89", "bytes 8-9/10"),
        ("bytes=-3", "789", "bytes 7-9/10"),
        ("bytes=5-1000", "56789", "bytes 5-9/10"),
    ] {
        let response = client.get_with(&path, &[("range", range)]).await;
        assert_eq!(
            (response.status, response.header("content-range")),
            (StatusCode::PARTIAL_CONTENT, said)
        );
        assert_eq!(
            (response.body, response.headers["content-length"].as_bytes()),
            (content.into(), content.len().to_string().as_bytes())
        );
    }
    for range in ["bytes=10-", "bytes=5-0", "bytes=-0", "bytes=", "bytes=x"] {
        let response = client.get_with(&path, &[("range", range)]).await;
        assert_eq!(
            (response.error().as_str(), response.header("content-range")),
            ("416 SIZE_INVALID", "bytes */10"),
            "{range}"
        );
    }
    for whole in ["bytes=0-1,4-5", "lines=1-2"] {
        let response = client.get_with(&path, &[("range", whole)]).await;
        assert_eq!(
            (response.status, response.body),
            (StatusCode::OK, "0123456789".into()),
            "{whole}"
        );
    }
}

#[tokio::test]
async fn a_range_applies_only_to_the_content_it_was_meant_for() {
    let server = TestServer::dev().await;
    let client = server.client();
    let digest = client.push_blob("aa/bb", b"0123456789").await;
    let path = format!("/v2/aa/bb/blobs/{digest}");
    let tag = format!("\"{digest}\"");
    for (condition, status) in [
        (tag.as_str(), StatusCode::PARTIAL_CONTENT),
        ("\"other\"", StatusCode::OK),
        ("Wed, 21 Oct 2015 07:28:00 GMT", StatusCode::OK),
    ] {
        let response = client
            .get_with(&path, &[("range", "bytes=0-1"), ("if-range", condition)])
            .await;
        assert_eq!(response.status, status, "{condition}");
    }
}

#[tokio::test]
async fn conditions_save_the_bytes() {
    let server = TestServer::dev().await;
    let client = server.client();
    let digest = client.push_blob("aa/bb", b"content").await;
    let path = format!("/v2/aa/bb/blobs/{digest}");
    let response = client.get(&path).await;
    let tag = response.header("etag").to_owned();
    assert_eq!(tag, format!("\"{digest}\""));
    let response = client.get_with(&path, &[("if-none-match", &tag)]).await;
    assert_eq!(
        (
            response.status,
            response.body.len(),
            response.header("etag")
        ),
        (StatusCode::NOT_MODIFIED, 0, tag.as_str())
    );
    assert_eq!(
        client
            .get_with(&path, &[("if-none-match", "\"other\"")])
            .await
            .status,
        StatusCode::OK
    );
    assert_eq!(
        client
            .get_with(&path, &[("if-match", "\"other\"")])
            .await
            .status,
        StatusCode::PRECONDITION_FAILED
    );
}

#[tokio::test]
async fn heads_say_all_and_nothing_is_compressed() {
    let server = TestServer::dev().await;
    let client = server.client();
    let content = vec![b'a'; 100_000];
    let digest = client.push_blob("aa/bb", &content).await;
    let path = format!("/v2/aa/bb/blobs/{digest}");
    let head = client.head(&path).await;
    let get = client
        .get_with(&path, &[("accept-encoding", "zstd, gzip, deflate")])
        .await;
    for response in [&head, &get] {
        assert_eq!(response.header("content-length"), "100000");
        assert_eq!(response.header("content-type"), "application/octet-stream");
        assert_eq!(response.header("docker-content-digest"), digest);
        assert_eq!(
            response.header("docker-distribution-api-version"),
            "registry/2.0"
        );
        assert_eq!(
            (
                response.header("accept-ranges"),
                response.find("content-encoding")
            ),
            ("bytes", None)
        );
    }
    assert_eq!((head.body.len(), get.body), (0, content.into()));
}

#[tokio::test]
async fn a_blob_is_read_only_through_a_repository_that_links_it() {
    let server = TestServer::dev().await;
    let client = server.client();
    let digest = client.push_blob("aa/bb", b"content").await;
    client.push_blob("aa/cc", b"other").await;
    assert_eq!(
        client
            .get(&format!("/v2/aa/cc/blobs/{digest}"))
            .await
            .error(),
        "404 BLOB_UNKNOWN"
    );
    assert_eq!(
        client
            .get(&format!("/v2/no/such/blobs/{digest}"))
            .await
            .error(),
        "404 NAME_UNKNOWN"
    );
    assert_eq!(
        client
            .get(&format!("/v2/aa/bb/blobs/{}", digest_of(b"no")))
            .await
            .error(),
        "404 BLOB_UNKNOWN"
    );
    assert_eq!(
        client
            .get(&format!("/v2/aa/bb/manifests/{digest}"))
            .await
            .error(),
        "404 MANIFEST_UNKNOWN"
    );
}

#[tokio::test]
async fn the_empty_blob_is_a_blob() {
    let server = TestServer::dev().await;
    let client = server.client();
    let path = format!("/v2/aa/bb/blobs/{}", client.push_blob("aa/bb", b"").await);
    let response = client.get(&path).await;
    assert_eq!(
        (
            response.status,
            response.body.len(),
            response.header("content-length")
        ),
        (StatusCode::OK, 0, "0")
    );
    assert_eq!(
        client
            .get_with(&path, &[("range", "bytes=0-")])
            .await
            .status,
        StatusCode::RANGE_NOT_SATISFIABLE
    );
}
