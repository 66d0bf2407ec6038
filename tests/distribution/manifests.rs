//! Manifests pushed, read and deleted: digests, tags, subjects, sizes and media types.

use http::{Method, StatusCode};

use crate::support::{Setup, TestServer, digest_of, image, index, sha512_of};

const IMAGE: &str = "application/vnd.oci.image.manifest.v1+json";
const INDEX: &str = "application/vnd.oci.image.index.v1+json";

#[tokio::test]
async fn a_push_says_what_it_stored_and_a_pull_returns_those_bytes() {
    let server = TestServer::dev().await;
    let client = server.client();
    let (config, layer) = (
        client.push_blob("aa/bb", b"{}").await,
        client.push_blob("aa/bb", b"layer").await,
    );
    // Spacing and unknown members are part of the bytes.
    let manifest = image(&config, &layer, 5, ",  \"unknown\" : [ 1 ]");
    let digest = digest_of(manifest.as_bytes());
    let response = client
        .put_manifest("aa/bb", "v1", &format!("{IMAGE}; charset=utf-8"), &manifest)
        .await;
    assert_eq!(
        (response.status, response.header("docker-content-digest")),
        (StatusCode::CREATED, digest.as_str())
    );
    assert_eq!(
        response.header("location"),
        format!("/v2/aa/bb/manifests/{digest}")
    );
    for reference in ["v1", &digest] {
        let path = format!("/v2/aa/bb/manifests/{reference}");
        let (get, head) = (
            client.get_with(&path, &[("accept", "text/html")]).await,
            client.head(&path).await,
        );
        assert_eq!(get.body, manifest);
        for response in [get, head] {
            assert_eq!(
                (response.status, response.header("content-type")),
                (StatusCode::OK, IMAGE)
            );
            assert_eq!(
                response.header("content-length"),
                manifest.len().to_string()
            );
            assert_eq!(response.header("docker-content-digest"), digest);
            let unchanged = client
                .get_with(&path, &[("if-none-match", response.header("etag"))])
                .await;
            assert_eq!(
                (unchanged.status, unchanged.body.len()),
                (StatusCode::NOT_MODIFIED, 0)
            );
        }
    }
}

#[tokio::test]
async fn docker_s_own_media_types_are_taken_and_schema_1_is_not() {
    let server = TestServer::dev().await;
    let client = server.client();
    let (config, layer) = (
        client.push_blob("aa/bb", b"{}").await,
        client.push_blob("aa/bb", b"layer").await,
    );
    let docker = "application/vnd.docker.distribution.manifest.v2+json";
    let manifest = image(&config, &layer, 5, "").replace(IMAGE, docker);
    let response = client.put_manifest("aa/bb", "v2", docker, &manifest).await;
    assert_eq!(response.status, StatusCode::CREATED, "{response:?}");
    let list = "application/vnd.docker.distribution.manifest.list.v2+json";
    let members =
        index(&[(response.header("docker-content-digest"), manifest.len())]).replace(INDEX, list);
    assert_eq!(
        client
            .put_manifest("aa/bb", "list", list, &members)
            .await
            .status,
        StatusCode::CREATED
    );
    assert_eq!(
        client
            .get("/v2/aa/bb/manifests/list")
            .await
            .header("content-type"),
        list
    );
    let old = r#"{"schemaVersion":1,"name":"aa/bb","tag":"v1","fsLayers":[],"history":[]}"#;
    for media_type in [
        "application/vnd.docker.distribution.manifest.v1+json",
        "application/vnd.docker.distribution.manifest.v1+prettyjws",
    ] {
        assert_eq!(
            client
                .put_manifest("aa/bb", "v1", media_type, old)
                .await
                .error(),
            "400 MANIFEST_INVALID"
        );
    }
    let long = format!(r#","artifactType":"a/{}""#, "x".repeat(300));
    let long = image(&config, &layer, 5, &long);
    let put = client.put_manifest("aa/bb", "v1", IMAGE, &long);
    assert_eq!(put.await.error(), "400 MANIFEST_INVALID");
}

#[tokio::test]
async fn tags_can_come_with_a_digest() {
    let server = TestServer::dev().await;
    let client = server.client();
    let (config, layer) = (
        client.push_blob("aa/bb", b"{}").await,
        client.push_blob("aa/bb", b"layer").await,
    );
    let manifest = image(&config, &layer, 5, "");
    let digest = sha512_of(manifest.as_bytes());
    let tags: Vec<_> = (0..12).map(|n| format!("t{n}")).collect();
    let query = format!("tag={}", tags.join("&tag="));
    let response = client
        .put_manifest("aa/bb", &format!("{digest}?{query}"), IMAGE, &manifest)
        .await;
    assert_eq!(
        (response.status, response.header("oci-tag")),
        (StatusCode::CREATED, tags.join(", ").as_str())
    );
    for tag in tags {
        assert_eq!(
            client
                .head(&format!("/v2/aa/bb/manifests/{tag}"))
                .await
                .header("docker-content-digest"),
            digest
        );
    }
    let many = (0..101)
        .map(|n| format!("tag=m{n}"))
        .collect::<Vec<_>>()
        .join("&");
    assert_eq!(
        client
            .put_manifest("aa/bb", &format!("{digest}?{many}"), IMAGE, &manifest)
            .await
            .status,
        StatusCode::URI_TOO_LONG
    );
    let response = client
        .put_manifest(
            "aa/bb",
            &format!("{digest}?tag=good&tag=.bad"),
            IMAGE,
            &manifest,
        )
        .await;
    assert_eq!(response.error(), "400 TAG_INVALID");
    assert_eq!(
        client.get("/v2/aa/bb/manifests/good").await.error(),
        "404 MANIFEST_UNKNOWN"
    );
}

#[tokio::test]
async fn four_mebibytes_are_taken_and_no_more() {
    let server = TestServer::dev().await;
    let client = server.client();
    let (config, layer) = (
        client.push_blob("aa/bb", b"{}").await,
        client.push_blob("aa/bb", b"layer").await,
    );
    let padded = |size: usize| {
        let frame = image(&config, &layer, 5, r#","pad":"""#).len();
        image(
            &config,
            &layer,
            5,
            &format!(r#","pad":"{}""#, "x".repeat(size - frame)),
        )
    };
    let limit = 4 * 1024 * 1024;
    assert_eq!(
        client
            .put_manifest("aa/bb", "big", IMAGE, &padded(limit))
            .await
            .status,
        StatusCode::CREATED
    );
    assert_eq!(
        client
            .put_manifest("aa/bb", "over", IMAGE, &padded(limit + 1))
            .await
            .error(),
        "413 SIZE_INVALID"
    );
    // Without a length the limit is found while reading.
    let pieces = futures_util::stream::iter(
        (0..100).map(|_| Ok::<_, std::io::Error>(vec![b' '; 64 * 1024])),
    );
    let body = reqwest::Body::wrap_stream(pieces);
    let response = client
        .send(
            Method::PUT,
            "/v2/aa/bb/manifests/over",
            &[("content-type", IMAGE)],
            body,
        )
        .await;
    assert_eq!(response.error(), "413 SIZE_INVALID");
    assert_eq!(
        client.get("/v2/aa/bb/manifests/over").await.error(),
        "404 MANIFEST_UNKNOWN"
    );
}

#[tokio::test]
async fn a_deleted_tag_leaves_the_manifest_and_a_deleted_manifest_takes_its_tags() {
    let server = TestServer::dev().await;
    let client = server.client();
    let digest = client.push_image("aa/bb", "one").await;
    let manifest = client.get("/v2/aa/bb/manifests/one").await.body;
    let manifest = std::str::from_utf8(&manifest).expect("text");
    client.put_manifest("aa/bb", "two", IMAGE, manifest).await;
    let kept = client.push_image("aa/bb", "kept").await;
    assert_eq!(
        client.delete("/v2/aa/bb/manifests/one").await.status,
        StatusCode::ACCEPTED
    );
    assert_eq!(
        client.get("/v2/aa/bb/manifests/one").await.error(),
        "404 MANIFEST_UNKNOWN"
    );
    assert_eq!(
        client
            .get(&format!("/v2/aa/bb/manifests/{digest}"))
            .await
            .status,
        StatusCode::OK
    );
    assert_eq!(
        client
            .delete(&format!("/v2/aa/bb/manifests/{digest}"))
            .await
            .status,
        StatusCode::ACCEPTED
    );
    for gone in ["two", &digest] {
        assert_eq!(
            client
                .get(&format!("/v2/aa/bb/manifests/{gone}"))
                .await
                .error(),
            "404 MANIFEST_UNKNOWN"
        );
        assert_eq!(
            client
                .delete(&format!("/v2/aa/bb/manifests/{gone}"))
                .await
                .error(),
            "404 MANIFEST_UNKNOWN"
        );
    }
    assert_eq!(
        client.get("/v2/aa/bb/tags/list").await.json()["tags"],
        serde_json::json!(["kept"])
    );
    assert_eq!(
        client
            .head("/v2/aa/bb/manifests/kept")
            .await
            .header("docker-content-digest"),
        kept
    );
}

#[tokio::test]
async fn one_manifest_under_many_tags_at_once() {
    let server = TestServer::dev().await;
    let client = server.client();
    let (config, layer) = (
        client.push_blob("aa/bb", b"{}").await,
        client.push_blob("aa/bb", b"layer").await,
    );
    let manifest = image(&config, &layer, 5, "");
    let pushes = (0..24).map(|n| {
        let (client, manifest) = (client.clone(), manifest.clone());
        tokio::spawn(async move {
            client
                .put_manifest("aa/bb", &format!("t{}", n / 2), IMAGE, &manifest)
                .await
                .status
        })
    });
    for push in pushes.collect::<Vec<_>>() {
        assert_eq!(push.await.expect("no panic"), StatusCode::CREATED);
    }
    let tags = client.get("/v2/aa/bb/tags/list").await.json();
    assert_eq!(tags["tags"].as_array().map(Vec::len), Some(12));
}

#[tokio::test]
async fn what_a_manifest_names_must_be_there_unless_the_server_takes_sparse_ones() {
    let manifest = image(&digest_of(b"{}"), &digest_of(b"layer"), 5, "");
    let strict = TestServer::dev().await;
    let client = strict.client();
    client.push_blob("aa/bb", b"{}").await;
    let response = client.put_manifest("aa/bb", "v1", IMAGE, &manifest).await;
    assert_eq!(response.error(), "400 MANIFEST_BLOB_UNKNOWN");
    assert_eq!(
        response.json()["errors"][0]["detail"]["digest"],
        digest_of(b"layer")
    );
    // A blob of another repository is not there.
    client.push_blob("aa/cc", b"layer").await;
    assert_eq!(
        client
            .put_manifest("aa/bb", "v1", IMAGE, &manifest)
            .await
            .error(),
        "400 MANIFEST_BLOB_UNKNOWN"
    );
    let members = index(&[(&digest_of(manifest.as_bytes()), manifest.len())]);
    assert_eq!(
        client
            .put_manifest("aa/bb", "v1", INDEX, &members)
            .await
            .error(),
        "400 MANIFEST_BLOB_UNKNOWN"
    );
    let lenient = TestServer::start(Setup {
        dev: true,
        sparse: true,
        ..Setup::default()
    })
    .await;
    for (media_type, manifest) in [(IMAGE, &manifest), (INDEX, &members)] {
        assert_eq!(
            lenient
                .client()
                .put_manifest("aa/bb", "v1", media_type, manifest)
                .await
                .status,
            StatusCode::CREATED
        );
    }
}
