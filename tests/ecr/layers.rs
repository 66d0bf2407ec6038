//! Layers by ECR's own three steps, and their download addresses.

use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::StatusCode;
use serde_json::{Value, json};

use super::{push_layer, pushable};
use crate::support::{ACCOUNT, Aws, Setup, TestServer, digest_of, on};

async fn start(aws: &Aws) -> Value {
    let response = aws.ok("InitiateLayerUpload", on("web", json!({}))).await;
    assert_eq!(response["partSize"], 10_485_760);
    response["uploadId"].clone()
}

fn part(upload: &Value, first: usize, content: &[u8]) -> Value {
    let last = first + content.len() - 1;
    on(
        "web",
        json!({"uploadId": upload, "partFirstByte": first, "partLastByte": last,
            "layerPartBlob": STANDARD.encode(content)}),
    )
}

#[tokio::test]
async fn parts_make_a_layer_that_docker_can_read() {
    let server = TestServer::start(Setup::default()).await;
    let aws = server.aws();
    aws.ok("CreateRepository", on("web", json!({}))).await;
    let upload = start(&aws).await;
    let content = vec![7; 5 * 1024 * 1024 + 3];
    let (first, rest) = content.split_at(5 * 1024 * 1024);
    let taken = aws.ok("UploadLayerPart", part(&upload, 0, first)).await;
    assert_eq!(
        (&taken["lastByteReceived"], &taken["uploadId"]),
        (&json!(first.len() - 1), &upload)
    );
    aws.ok("UploadLayerPart", part(&upload, first.len(), rest))
        .await;
    let digest = digest_of(&content);
    let done = aws
        .ok(
            "CompleteLayerUpload",
            on(
                "web",
                json!({"uploadId": upload, "layerDigests": [digest_of(b"no"), digest]}),
            ),
        )
        .await;
    assert_eq!(done["layerDigest"], digest);
    let read = server.root().get(&format!("/v2/web/blobs/{digest}")).await;
    assert_eq!(
        (read.status, read.body.len()),
        (StatusCode::OK, content.len())
    );
}

#[tokio::test]
async fn a_part_that_does_not_fit_says_where_to_go_on() {
    let server = TestServer::start(Setup::default()).await;
    let aws = server.aws();
    aws.ok("CreateRepository", on("web", json!({}))).await;
    let upload = start(&aws).await;
    aws.ok("UploadLayerPart", part(&upload, 0, b"abc")).await;
    for (document, message) in [
        (
            part(&upload, 0, b"abc"),
            "First byte of the layer part is 0 instead of 3",
        ),
        (
            part(&upload, 9, b"abc"),
            "First byte of the layer part is 9 instead of 3",
        ),
        (
            on(
                "web",
                json!({"uploadId": upload, "partFirstByte": 3, "partLastByte": 9,
                    "layerPartBlob": "YWJj"}),
            ),
            "3 bytes",
        ),
        (
            on(
                "web",
                json!({"uploadId": upload, "partFirstByte": 3, "partLastByte": 1,
                    "layerPartBlob": "YWJj"}),
            ),
            "3 bytes",
        ),
    ] {
        let outcome = aws.ecr("UploadLayerPart", document).await;
        outcome.assert_fault("InvalidLayerPartException", message);
        let document = outcome.document;
        assert_eq!(
            (&document["uploadId"], &document["lastValidByteReceived"]),
            (&upload, &json!(2))
        );
        assert_eq!(
            (&document["registryId"], &document["repositoryName"]),
            (&json!("123456789012"), &json!("web"))
        );
    }
    let garbled = on(
        "web",
        json!({"uploadId": upload, "partFirstByte": 3, "partLastByte": 5, "layerPartBlob": "!!!!"}),
    );
    aws.ecr("UploadLayerPart", garbled)
        .await
        .assert_fault("SerializationException", "'layerPartBlob'");
    let complete = async |upload: &Value, digest: String| {
        aws.ecr(
            "CompleteLayerUpload",
            on("web", json!({"uploadId": upload, "layerDigests": [digest]})),
        )
        .await
    };
    complete(&upload, digest_of(b"other")).await.assert_fault(
        "InvalidLayerException",
        "None of the provided layer digests match",
    );
    aws.ok("UploadLayerPart", part(&upload, 3, b"def")).await;
    complete(&upload, digest_of(b"abcdef"))
        .await
        .assert_fault("LayerPartTooSmallException", "5242880");
    complete(&start(&aws).await, digest_of(b""))
        .await
        .assert_fault("EmptyUploadException", "");
    complete(
        &json!("00000000-0000-4000-8000-000000000000"),
        digest_of(b""),
    )
    .await
    .assert_fault("UploadNotFoundException", "00000000-0000-4000");
    complete(&json!("../x"), digest_of(b""))
        .await
        .assert_fault("InvalidParameterException", "'uploadId'");
    push_layer(&aws, "web", b"abc").await;
    complete(&upload, digest_of(b"abc"))
        .await
        .assert_fault("LayerAlreadyExistsException", &digest_of(b"abc"));
}

#[tokio::test]
async fn availability_is_told_for_each_layer() {
    let server = TestServer::start(Setup::default()).await;
    let aws = server.aws();
    aws.ok("CreateRepository", on("web", json!({}))).await;
    let (held, missing) = (push_layer(&aws, "web", b"abc").await, digest_of(b"none"));
    let response = aws
        .ok(
            "BatchCheckLayerAvailability",
            on("web", json!({"layerDigests": [held, missing, "x:y", ""]})),
        )
        .await;
    let layers = json!([
        {"layerDigest": held, "layerAvailability": "AVAILABLE", "layerSize": 3},
        {"layerDigest": missing, "layerAvailability": "UNAVAILABLE"},
    ]);
    assert_eq!(response["layers"], layers);
    assert_eq!(response["failures"][0]["failureCode"], "InvalidLayerDigest");
    assert_eq!(response["failures"][1]["failureCode"], "MissingLayerDigest");
}

#[tokio::test]
async fn a_layer_of_an_image_has_the_media_type_that_the_image_states() {
    let server = TestServer::start(Setup::default()).await;
    let aws = server.aws();
    aws.ok("CreateRepository", on("web", json!({}))).await;
    let manifest = pushable(&aws, "web", "the layer").await;
    let digests = [digest_of(b"the layer"), digest_of(b"{}")];
    let check = async || {
        let document = on("web", json!({"layerDigests": digests}));
        let checked = aws.ok("BatchCheckLayerAvailability", document).await;
        let layers = checked["layers"].as_array().expect("a list").clone();
        layers.into_iter().map(|layer| layer["mediaType"].clone())
    };
    assert!(check().await.all(|media_type| media_type.is_null()));
    aws.ok("PutImage", on("web", json!({"imageManifest": manifest})))
        .await;
    let types: Vec<_> = check().await.collect();
    assert_eq!(
        types,
        [
            "application/vnd.oci.image.layer.v1.tar",
            "application/vnd.oci.image.config.v1+json"
        ]
    );
}

#[tokio::test]
async fn a_download_address_opens_one_layer_for_an_hour() {
    let server = TestServer::start(Setup::default()).await;
    let aws = server.aws();
    aws.ok("CreateRepository", on("web", json!({}))).await;
    let manifest = pushable(&aws, "web", "the layer").await;
    let digest = digest_of(b"the layer");
    let request = async || {
        aws.ecr(
            "GetDownloadUrlForLayer",
            on("web", json!({"layerDigest": digest})),
        )
        .await
    };
    request()
        .await
        .assert_fault("LayerInaccessibleException", &digest);
    aws.ok(
        "PutImage",
        on("web", json!({"imageManifest": manifest, "imageTag": "v1"})),
    )
    .await;
    let url = request().await.document["downloadUrl"]
        .as_str()
        .expect("an address")
        .to_owned();
    let path = &url[url.find("/v2/").expect("a path")..];
    let client = server.client();
    let response = client.get(path).await;
    assert_eq!(
        (response.status, &response.body[..]),
        (StatusCode::OK, &b"the layer"[..])
    );
    assert_eq!(
        client
            .get(&path.replace(&digest, &digest_of(b"{}")))
            .await
            .status,
        StatusCode::FORBIDDEN
    );
    assert_eq!(
        client
            .get(path.split('?').next().expect("a path"))
            .await
            .status,
        StatusCode::UNAUTHORIZED
    );
    // It permits reading only, also where its issuer may delete.
    assert_eq!(client.delete(path).await.status, StatusCode::UNAUTHORIZED);
    let missing = aws
        .ecr(
            "GetDownloadUrlForLayer",
            on("web", json!({"layerDigest": digest_of(b"none")})),
        )
        .await;
    missing.assert_fault(
        "LayersNotFoundException",
        "does not exist within the repository with name 'web' in the registry with id \
         '123456789012'",
    );
}

#[tokio::test]
async fn a_download_url_is_valid_only_while_its_issuer_may_read() {
    let server = TestServer::start(Setup::default()).await;
    let root = server.aws();
    root.ok("CreateRepository", on("web", json!({}))).await;
    let manifest = pushable(&root, "web", "the layer").await;
    root.ok(
        "PutImage",
        on("web", json!({"imageManifest": manifest, "imageTag": "v1"})),
    )
    .await;
    let reader = server.aws_user(ACCOUNT, "reader", "AmazonEC2ContainerRegistryReadOnly");
    let url = reader
        .ok(
            "GetDownloadUrlForLayer",
            on("web", json!({"layerDigest": digest_of(b"the layer")})),
        )
        .await["downloadUrl"]
        .as_str()
        .expect("a URL")
        .to_owned();
    let path = &url[url.find("/v2/").expect("a path")..];
    let client = server.client();
    assert_eq!(client.get(path).await.status, StatusCode::OK);
    let policy = json!({"Version": "2012-10-17", "Statement": [{
        "Effect": "Deny",
        "Principal": {"AWS": "arn:aws:iam::123456789012:user/reader"},
        "Action": "ecr:GetDownloadUrlForLayer",
    }]});
    root.ok(
        "SetRepositoryPolicy",
        on("web", json!({"policyText": policy.to_string()})),
    )
    .await;
    let denied = client.get(path).await;
    assert_eq!(denied.error(), "403 DENIED");
    assert!(denied.json().to_string().contains("user/reader"));
    root.ok("DeleteRepositoryPolicy", on("web", json!({})))
        .await;
    assert_eq!(client.get(path).await.status, StatusCode::OK);
    server.command(&["user", "delete", "reader"]);
    // Identities are cached for a second.
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        let response = client.get(path).await;
        if response.status == StatusCode::FORBIDDEN {
            assert_eq!(response.error(), "403 DENIED");
            break;
        }
        assert!(Instant::now() < deadline, "{response:?}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}
