//! Blobs read: ranges, conditions, and the headers that clients live on.

use std::path::{Path, PathBuf};

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

#[tokio::test]
async fn a_stored_blob_of_another_length_is_an_error_and_the_connection_stays_in_step() {
    let server = TestServer::dev().await;
    let client = server.client();
    for (content, length) in [(b"0123456789", 4), (b"9876543210", 40)] {
        let digest = client.push_blob("aa/bb", content).await;
        let (_, hex) = digest.split_once(':').expect("a digest");
        let path = find_file(server.folder(), hex).expect("the file of the blob");
        let file = std::fs::File::options().write(true).open(path);
        file.and_then(|file| file.set_len(length))
            .expect("another length");
        let path = format!("/v2/aa/bb/blobs/{digest}");
        for headers in [&[][..], &[("range", "bytes=0-1")][..]] {
            let response = client.get_with(&path, headers).await;
            assert_eq!(response.error(), "500 UNKNOWN", "{length}: {headers:?}");
        }
        // The same connection, since the client keeps it open.
        assert_eq!(client.get("/v2/").await.body, "{}");
    }
}

/// The file in `folder`, at any depth, whose name contains `name`.
fn find_file(folder: &Path, name: &str) -> Option<PathBuf> {
    for entry in std::fs::read_dir(folder).ok()?.flatten() {
        let path = entry.path();
        if path.is_dir() {
            if let Some(found) = find_file(&path, name) {
                return Some(found);
            }
        } else if entry.file_name().to_string_lossy().contains(name) {
            return Some(path);
        }
    }
    None
}
