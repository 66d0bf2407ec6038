//! Uploads: every way to push a blob, chunks out of place, clients that leave, and sessions that
//! end.

use std::time::{Duration, Instant};

use http::{Method, StatusCode};
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;

use crate::support::{Client, TestServer, digest_of, sha512_of};

async fn patch(
    client: &Client,
    location: &str,
    range: Option<&str>,
    content: &str,
) -> crate::support::Response {
    let headers: Vec<_> = range
        .map(|range| ("content-range", range))
        .into_iter()
        .collect();
    client
        .send(Method::PATCH, location, &headers, content.to_owned())
        .await
}

#[tokio::test]
async fn a_chunk_out_of_place_changes_nothing_and_says_where_to_go_on() {
    let server = TestServer::dev().await;
    let client = server.client();
    let location = client.start_upload("aa/bb").await;
    let response = patch(&client, &location, Some("0-3"), "abcd").await;
    assert_eq!(
        (response.status, response.header("range")),
        (StatusCode::ACCEPTED, "0-3")
    );
    for range in ["0-3", "2-5", "5-8"] {
        let response = patch(&client, &location, Some(range), "efgh").await;
        assert_eq!(response.error(), "416 BLOB_UPLOAD_INVALID", "{range}");
        assert_eq!(
            (response.header("range"), response.header("location")),
            ("0-3", location.as_str())
        );
    }
    let put = format!("{location}?digest={}", digest_of(b"abcdefgh"));
    let response = client
        .send(Method::PUT, &put, &[("content-range", "9-12")], "efgh")
        .await;
    assert_eq!(response.error(), "416 BLOB_UPLOAD_INVALID");
    let response = client.get(&location).await;
    assert_eq!(
        (response.status, response.header("range")),
        (StatusCode::NO_CONTENT, "0-3")
    );
    let response = client
        .send(Method::PUT, &put, &[("content-range", "4-7")], "efgh")
        .await;
    assert_eq!(response.status, StatusCode::CREATED);
    assert_eq!(
        client.get(response.header("location")).await.body,
        "abcdefgh"
    );
}

#[tokio::test]
async fn a_chunk_must_be_as_long_as_it_says() {
    let server = TestServer::dev().await;
    let client = server.client();
    let location = client.start_upload("aa/bb").await;
    assert_eq!(
        patch(&client, &location, Some("0-9"), "abcd").await.error(),
        "400 SIZE_INVALID"
    );
    for bad in [
        "0",
        "bytes 0-3/4",
        "3-0",
        "a-b",
        "-3",
        "0-99999999999999999999999",
    ] {
        assert_eq!(
            patch(&client, &location, Some(bad), "abcd").await.error(),
            "400 BLOB_UPLOAD_INVALID",
            "{bad}"
        );
    }
    let response = client.get(&location).await;
    assert_eq!(
        (response.status, response.header("range")),
        (StatusCode::NO_CONTENT, "0-0")
    );
}

#[tokio::test]
async fn the_hash_can_be_chosen_or_comes_out_of_the_digest() {
    let server = TestServer::dev().await;
    let client = server.client();
    let content = "some content";
    for (query, digest) in [
        ("?digest-algorithm=sha512", sha512_of(content.as_bytes())),
        ("", sha512_of(content.as_bytes())),
        ("?digest-algorithm=sha256", digest_of(content.as_bytes())),
        ("?digest-algorithm=sha512", digest_of(content.as_bytes())),
    ] {
        let response = client
            .post(&format!("/v2/aa/bb/blobs/uploads/{query}"), "")
            .await;
        assert_eq!(response.status, StatusCode::ACCEPTED);
        let location = response.header("location").to_owned();
        assert_eq!(
            patch(&client, &location, None, content).await.status,
            StatusCode::ACCEPTED
        );
        let put = format!("{location}?digest={}", digest.replace(':', "%3A"));
        let response = client.send(Method::PUT, &put, &[], "").await;
        assert_eq!(
            (response.status, response.header("docker-content-digest")),
            (StatusCode::CREATED, digest.as_str())
        );
        let response = client.head(&format!("/v2/aa/bb/blobs/{digest}")).await;
        assert_eq!(response.header("docker-content-digest"), digest);
        assert_eq!(response.header("content-length"), content.len().to_string());
    }
    assert_eq!(
        client
            .post("/v2/aa/bb/blobs/uploads/?digest-algorithm=md5", "")
            .await
            .error(),
        "400 DIGEST_INVALID"
    );
}

#[tokio::test]
async fn a_wrong_digest_leaves_nothing() {
    let server = TestServer::dev().await;
    let client = server.client();
    let (location, wrong) = (client.start_upload("aa/bb").await, digest_of(b"other"));
    let response = client
        .send(
            Method::PUT,
            &format!("{location}?digest={wrong}"),
            &[],
            "content",
        )
        .await;
    assert_eq!(response.error(), "400 DIGEST_INVALID");
    assert_eq!(
        response.json()["errors"][0]["detail"]["actual"],
        digest_of(b"content")
    );
    for digest in [wrong.clone(), digest_of(b"content")] {
        assert_eq!(
            client
                .get(&format!("/v2/aa/bb/blobs/{digest}"))
                .await
                .error(),
            "404 BLOB_UNKNOWN"
        );
    }
    let response = client
        .post(
            &format!("/v2/aa/bb/blobs/uploads/?digest={wrong}"),
            "content",
        )
        .await;
    assert_eq!(response.error(), "400 DIGEST_INVALID");
}

#[tokio::test]
async fn a_session_belongs_to_its_repository_and_can_be_cancelled() {
    let server = TestServer::dev().await;
    let client = server.client();
    let location = client.start_upload("aa/bb").await;
    client.start_upload("aa/cc").await;
    assert_eq!(
        client
            .get(&location.replace("aa/bb", "aa/cc"))
            .await
            .error(),
        "404 BLOB_UPLOAD_UNKNOWN"
    );
    assert_eq!(
        client.delete(&location).await.status,
        StatusCode::NO_CONTENT
    );
    assert_eq!(
        client.get(&location).await.error(),
        "404 BLOB_UPLOAD_UNKNOWN"
    );
    assert_eq!(
        client.delete(&location).await.error(),
        "404 BLOB_UPLOAD_UNKNOWN"
    );
}

#[tokio::test]
async fn a_client_that_leaves_during_a_chunk_resumes_after_the_bytes_that_arrived() {
    let server = TestServer::dev().await;
    let client = server.client();
    let location = client.start_upload("aa/bb").await;
    let mut socket = TcpStream::connect(server.address)
        .await
        .expect("a connection");
    let head = format!(
        "PATCH {location} HTTP/1.1\r\nhost: {}\r\ncontent-length: 100000\r\n\r\n",
        server.address
    );
    socket.write_all(head.as_bytes()).await.expect("sent");
    socket.write_all(&[b'x'; 5_000]).await.expect("sent");
    drop(socket);
    wait_for_size(&client, &location, 5_000).await;
    let content = vec![b'x'; 8_000];
    let put = format!("{location}?digest={}", digest_of(&content));
    let response = client
        .send(
            Method::PUT,
            &put,
            &[("content-range", "5000-7999")],
            content[5_000..].to_vec(),
        )
        .await;
    assert_eq!(response.status, StatusCode::CREATED, "{response:?}");
}

/// Waits until the upload has exactly `size` bytes. The server sees the end of a connection at its
/// own time; the bytes that arrived before it must be there within seconds.
async fn wait_for_size(client: &Client, location: &str, size: usize) {
    let expected = format!("0-{}", size - 1);
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        let response = client.get(location).await;
        if response.header("range") == expected {
            return;
        }
        assert!(
            Instant::now() < deadline,
            "{expected} is never reached: {response:?}"
        );
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn the_same_blob_pushed_by_many_at_once_is_there_for_all() {
    let server = TestServer::dev().await;
    let client = server.client();
    let content = vec![7_u8; 300_000];
    let pushes = (0..16).map(|n| {
        let (client, content) = (client.clone(), content.clone());
        tokio::spawn(async move { client.push_blob(&format!("aa/r{}", n % 3), &content).await })
    });
    for push in pushes.collect::<Vec<_>>() {
        assert_eq!(push.await.expect("no panic"), digest_of(&content));
    }
    for n in 0..3 {
        assert_eq!(
            client
                .get(&format!("/v2/aa/r{n}/blobs/{}", digest_of(&content)))
                .await
                .body,
            content
        );
    }
}

#[tokio::test]
async fn chunks_sent_at_once_to_one_session_never_mix() {
    let server = TestServer::dev().await;
    let client = server.client();
    let location = client.start_upload("aa/bb").await;
    let sends = (0..8_u8).map(|n| {
        let (client, location) = (client.clone(), location.clone());
        tokio::spawn(async move {
            client
                .send(
                    Method::PATCH,
                    &location,
                    &[("content-range", "0-9999")],
                    vec![n; 10_000],
                )
                .await
        })
    });
    let mut taken = Vec::new();
    for (n, send) in (0_u8..).zip(sends.collect::<Vec<_>>()) {
        match send.await.expect("no panic").status {
            StatusCode::ACCEPTED => taken.push(n),
            status => assert_eq!(status, StatusCode::RANGE_NOT_SATISFIABLE),
        }
    }
    let [winner] = taken[..] else {
        panic!("not one winner: {taken:?}")
    };
    let digest = digest_of(&vec![winner; 10_000]);
    assert_eq!(
        client
            .send(Method::PUT, &format!("{location}?digest={digest}"), &[], "")
            .await
            .status,
        StatusCode::CREATED
    );
}

#[tokio::test]
async fn a_mount_links_and_what_cannot_be_mounted_is_uploaded() {
    let server = TestServer::dev().await;
    let client = server.client();
    let digest = client.push_blob("from/here", b"content").await;
    let mount = |query: String| {
        let client = client.clone();
        async move {
            client
                .post(&format!("/v2/to/there/blobs/uploads/?{query}"), "")
                .await
        }
    };
    let response = mount(format!("mount={digest}&from=from%2Fhere")).await;
    assert_eq!(response.status, StatusCode::CREATED);
    assert_eq!(
        response.header("location"),
        format!("/v2/to/there/blobs/{digest}")
    );
    assert_eq!(response.header("docker-content-digest"), digest);
    let absent = digest_of(b"absent");
    for query in [
        format!("mount={absent}&from=from/here"),
        format!("mount={digest}&from=no/such"),
        format!("mount={digest}&from=../../etc"),
        format!("mount={absent}"),
    ] {
        let response = mount(query.clone()).await;
        assert_eq!(
            (response.status, response.header("range")),
            (StatusCode::ACCEPTED, "0-0"),
            "{query}"
        );
    }
    assert_eq!(
        mount("mount=sha256:abc&from=from/here".to_owned())
            .await
            .error(),
        "400 DIGEST_INVALID"
    );
    // The blob stays where it was mounted when its source lets go of it.
    assert_eq!(
        client
            .delete(&format!("/v2/from/here/blobs/{digest}"))
            .await
            .status,
        StatusCode::ACCEPTED
    );
    assert_eq!(
        client
            .get(&format!("/v2/from/here/blobs/{digest}"))
            .await
            .error(),
        "404 BLOB_UNKNOWN"
    );
    assert_eq!(
        client
            .get(&format!("/v2/to/there/blobs/{digest}"))
            .await
            .body,
        "content"
    );
}
