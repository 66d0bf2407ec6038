//! Images through both APIs: what docker pushed, and what `PutImage` stored.

use serde_json::{Value, json};

use super::{push_layer, pushable};
use crate::support::{Setup, TestServer, digest_of, image, index, now, on, seconds};

const IMAGE: &str = "application/vnd.oci.image.manifest.v1+json";

#[tokio::test]
async fn what_docker_pushed_is_described_in_the_same_second() {
    let server = TestServer::dev().await;
    let (aws, client) = (server.aws(), server.client());
    let digest = client.push_image("web", "v1").await;
    let mut found = aws.ok("DescribeImages", on("web", json!({}))).await["imageDetails"][0].clone();
    let pushed_at = found["imagePushedAt"].take().as_f64().expect("a time");
    assert!((pushed_at - seconds(now())).abs() < 60.0, "{pushed_at}");
    let expected = json!({
        "registryId": "123456789012", "repositoryName": "web", "imageDigest": digest,
            "imageTags": ["v1"], "imageSizeInBytes": 4,
        "imagePushedAt": null, "imageManifestMediaType": IMAGE, "imageStatus": "ACTIVE",
        "artifactMediaType": "application/vnd.oci.image.config.v1+json",
    });
    assert_eq!(found, expected);
    let listed = aws
        .ok(
            "ListImages",
            on("web", json!({"filter": {"tagStatus": "TAGGED"}})),
        )
        .await;
    assert_eq!(
        listed["imageIds"],
        json!([{"imageDigest": digest, "imageTag": "v1"}])
    );
    let untagged = aws
        .ok(
            "ListImages",
            on("web", json!({"filter": {"tagStatus": "UNTAGGED"}})),
        )
        .await;
    assert_eq!(untagged["imageIds"], json!([]));
    let archived = aws
        .ok(
            "DescribeImages",
            on("web", json!({"filter": {"imageStatus": "ARCHIVED"}})),
        )
        .await;
    assert_eq!(archived["imageDetails"], json!([]));
    let got = aws
        .ok(
            "BatchGetImage",
            on("web", json!({"imageIds": [{"imageTag": "v1"}]})),
        )
        .await;
    assert_eq!(
        digest_of(
            got["images"][0]["imageManifest"]
                .as_str()
                .expect("a manifest")
                .as_bytes()
        ),
        digest
    );
}

#[tokio::test]
async fn put_image_says_what_is_there_and_what_is_missing() {
    let server = TestServer::start(Setup::default()).await;
    let aws = server.aws();
    aws.ok("CreateRepository", on("web", json!({}))).await;
    let manifest = pushable(&aws, "web", "layer").await;
    let put = |more: Value| {
        on("web", {
            let mut document = json!({"imageManifest": manifest});
            document
                .as_object_mut()
                .expect("an object")
                .extend(more.as_object().cloned().unwrap_or_default());
            document
        })
    };
    let digest = digest_of(manifest.as_bytes());
    let response = aws
        .ok(
            "PutImage",
            put(json!({"imageTag": "v1", "imageDigest": digest})),
        )
        .await["image"]
        .clone();
    assert_eq!(
        response["imageId"],
        json!({"imageDigest": digest, "imageTag": "v1"})
    );
    assert_eq!(
        (
            &response["imageManifest"],
            &response["imageManifestMediaType"]
        ),
        (&json!(manifest), &json!(IMAGE))
    );
    for tag in [json!({"imageTag": "v1"}), json!({})] {
        let named = tag["imageTag"].as_str().unwrap_or("null");
        let message = format!(
            "Image with digest '{digest}' and tag '{named}' already exists in the repository with \
             name 'web' in registry with id '123456789012'"
        );
        aws.ecr("PutImage", put(tag))
            .await
            .assert_fault("ImageAlreadyExistsException", &message);
    }
    aws.ok("PutImage", put(json!({"imageTag": "v2"}))).await;
    let other = format!("sha256:{}", "0".repeat(64));
    for (document, code, message) in [
        (
            json!({"imageTag": "-v"}),
            "InvalidParameterException",
            "'imageTag'",
        ),
        (
            json!({"imageTag": "x".repeat(301)}),
            "InvalidParameterException",
            "'imageTag' failed to satisfy constraint: 'must have length less than or equal to 300'",
        ),
        (
            json!({"imageDigest": other}),
            "ImageDigestDoesNotMatchException",
            other.as_str(),
        ),
        (
            json!({"imageDigest": "sha256:short"}),
            "InvalidParameterException",
            "'imageDigest'",
        ),
        (
            json!({"imageManifest": "{"}),
            "InvalidParameterException",
            "Invalid parameter at 'ImageManifest' failed to satisfy constraint: 'Invalid JSON \
             syntax'",
        ),
        (
            json!({"imageManifest": "[".repeat(100_000)}),
            "InvalidParameterException",
            "nests more than 128 levels deep",
        ),
        (
            json!({"imageManifest": "x".repeat(4 * 1024 * 1024 + 1)}),
            "InvalidParameterException",
            "less than or equal to 4194304",
        ),
        (
            json!({"imageManifest": image(&digest_of(b"{}"), &other, 1, "")}),
            "LayersNotFoundException",
            &format!(
                "Layers with digests '[{other}]' required for pushing image into repository with \
                 name 'web' in the registry with id '123456789012' do not exist"
            ),
        ),
        (
            json!({"imageManifest": index(&[(&other, 1)])}),
            "ReferencedImagesNotFoundException",
            &format!("Images with digests '[{other}]' required"),
        ),
    ] {
        aws.ecr("PutImage", put(document))
            .await
            .assert_fault(code, message);
    }
}

#[tokio::test]
async fn an_immutable_tag_is_not_moved() {
    let server = TestServer::start(Setup::default()).await;
    let aws = server.aws();
    let immutable = on("web", json!({"imageTagMutability": "IMMUTABLE"}));
    aws.ok("CreateRepository", immutable).await;
    let manifest = pushable(&aws, "web", "layer").await;
    let put = json!({"imageManifest": manifest, "imageTag": "v1"});
    aws.ok("PutImage", on("web", put)).await;
    let put = json!({"imageManifest": format!("{manifest} "), "imageTag": "v1"});
    let refused = aws.ecr("PutImage", on("web", put)).await;
    refused.assert_fault(
        "ImageTagAlreadyExistsException",
        "The image tag 'v1' already exists in the 'web' repository and cannot be overwritten \
         because the repository is immutable.",
    );
}

#[tokio::test]
async fn a_batch_fails_item_by_item() {
    let server = TestServer::dev().await;
    let (aws, client) = (server.aws(), server.client());
    let digest = client.push_image("web", "v1").await;
    let other = format!("sha256:{}", "0".repeat(64));
    let ids = json!([{"imageTag": "v1"}, {"imageDigest": digest}, {"imageTag": "none"}, {},
        {"imageDigest": "x"}, {"imageTag": "v1", "imageDigest": other}]);
    let got = aws
        .ok("BatchGetImage", on("web", json!({"imageIds": ids})))
        .await;
    assert_eq!(
        got["images"][0]["imageId"],
        json!({"imageDigest": digest, "imageTag": "v1"})
    );
    assert_eq!(got["images"][1]["imageId"], json!({"imageDigest": digest}));
    let codes: Vec<_> = got["failures"]
        .as_array()
        .expect("failures")
        .iter()
        .map(|failure| failure["failureCode"].clone())
        .collect();
    assert_eq!(
        codes,
        [
            "ImageNotFound",
            "MissingDigestAndTag",
            "InvalidImageDigest",
            "ImageNotFound"
        ]
    );
    let unwanted = aws
        .ok(
            "BatchGetImage",
            on(
                "web",
                json!({"imageIds": [{"imageTag": "v1"}], "acceptedMediaTypes": ["a/b"]}),
            ),
        )
        .await;
    assert_eq!(unwanted["failures"][0]["failureCode"], "ImageNotFound");
    let missing = aws
        .ecr(
            "DescribeImages",
            on("web", json!({"imageIds": [{"imageTag": "none"}]})),
        )
        .await;
    missing.assert_fault(
        "ImageNotFoundException",
        "The image with imageId {imageDigest:'null', imageTag:'none'} does not exist within the \
         repository with name 'web' in the registry with id '123456789012'",
    );
}

#[tokio::test]
async fn the_last_tag_takes_the_image_along_and_an_index_holds_its_members() {
    let server = TestServer::dev().await;
    let (aws, client) = (server.aws(), server.client());
    let digest = client.push_image("web", "v1").await;
    let manifest =
        String::from_utf8(client.get("/v2/web/manifests/v1").await.body.to_vec()).expect("text");
    client.put_manifest("web", "v2", IMAGE, &manifest).await;
    let list = index(&[(&digest, manifest.len())]);
    client
        .put_manifest(
            "web",
            "multi",
            "application/vnd.oci.image.index.v1+json",
            &list,
        )
        .await;
    let delete = async |ids: Value| {
        aws.ok("BatchDeleteImage", on("web", json!({"imageIds": ids})))
            .await
    };
    let gone = delete(json!([{"imageTag": "v2"}, {"imageTag": "v1",
        "imageDigest": digest_of(b"other")}, {"imageDigest": digest}]))
    .await;
    assert_eq!(
        gone["imageIds"],
        json!([{"imageDigest": digest, "imageTag": "v2"}])
    );
    assert_eq!(
        gone["failures"][0]["failureCode"],
        "ImageTagDoesNotMatchDigest"
    );
    assert_eq!(
        gone["failures"][1]["failureCode"],
        "ImageReferencedByManifestList"
    );
    let of_list = digest_of(list.as_bytes());
    assert_eq!(
        gone["failures"][1]["failureReason"],
        format!("Requested image referenced by manifest list: [{of_list}]")
    );
    assert_eq!(
        delete(json!([{"imageTag": "multi"}])).await["failures"],
        json!([])
    );
    assert_eq!(
        delete(json!([{"imageTag": "v1"}])).await["imageIds"],
        json!([{"imageDigest": digest, "imageTag": "v1"}])
    );
    assert_eq!(
        aws.ok("ListImages", on("web", json!({}))).await["imageIds"],
        json!([])
    );
}

#[tokio::test]
async fn every_page_of_images_comes_once() {
    let server = TestServer::dev().await;
    let (aws, client) = (server.aws(), server.client());
    for n in 0..5 {
        client.push_image("web", &format!("v{n}")).await;
    }
    let manifest =
        String::from_utf8(client.get("/v2/web/manifests/v0").await.body.to_vec()).expect("text");
    client.put_manifest("web", "again", IMAGE, &manifest).await;
    for (operation, items, count) in [
        ("ListImages", "imageIds", 6),
        ("DescribeImages", "imageDetails", 5),
    ] {
        for size in 1..=7 {
            let (mut seen, mut token) = (Vec::new(), Value::Null);
            loop {
                let page = aws
                    .ok(
                        operation,
                        on("web", json!({"maxResults": size, "nextToken": token})),
                    )
                    .await;
                seen.extend(
                    page[items]
                        .as_array()
                        .expect("a list")
                        .iter()
                        .map(ToString::to_string),
                );
                token = page["nextToken"].clone();
                if token.is_null() {
                    break;
                }
            }
            let all = seen.len();
            seen.sort_unstable();
            seen.dedup();
            assert_eq!((all, seen.len()), (count, count), "{operation} by {size}");
        }
    }
    let token = aws
        .ok("ListImages", on("web", json!({"maxResults": 1})))
        .await["nextToken"]
        .clone();
    aws.ecr("DescribeImages", on("web", json!({"nextToken": token})))
        .await
        .assert_fault("InvalidParameterException", "'nextToken'");
}

#[tokio::test]
async fn referrers_are_listed_by_type() {
    let server = TestServer::start(Setup::default()).await;
    let aws = server.aws();
    aws.ok("CreateRepository", on("web", json!({}))).await;
    let manifest = pushable(&aws, "web", "layer").await;
    aws.ok(
        "PutImage",
        on("web", json!({"imageManifest": manifest, "imageTag": "v1"})),
    )
    .await;
    let subject = digest_of(manifest.as_bytes());
    let layer = push_layer(&aws, "web", b"signature").await;
    for kind in ["a/one", "a/two"] {
        let extra = format!(
            r#","artifactType":"{kind}","subject":{{"mediaType":"{IMAGE}","digest":"{subject}",
                "size":{}}}"#,
            manifest.len()
        );
        aws.ok(
            "PutImage",
            on(
                "web",
                json!({"imageManifest": image(&digest_of(b"{}"), &layer, 9, &extra)}),
            ),
        )
        .await;
    }
    let list = async |filter: Value| {
        let response = aws
            .ok(
                "ListImageReferrers",
                on(
                    "web",
                    json!({"subjectId": {"imageDigest": subject}, "filter": filter}),
                ),
            )
            .await;
        response["referrers"]
            .as_array()
            .expect("a list")
            .iter()
            .map(|found| found["artifactType"].clone())
            .collect::<Vec<_>>()
    };
    assert_eq!(list(json!({})).await, ["a/one", "a/two"]);
    assert_eq!(list(json!({"artifactTypes": ["a/two"]})).await, ["a/two"]);
    assert_eq!(
        list(json!({"artifactTypes": ["a/two", "a/one", "a/none"]})).await,
        ["a/one", "a/two"]
    );
}

#[tokio::test]
async fn an_image_takes_a_thousand_tags_through_either_api() {
    let server = TestServer::dev().await;
    let (aws, client) = (server.aws(), server.client());
    let config = client.push_blob("web", b"{}").await;
    let layer = client.push_blob("web", b"layer").await;
    let manifest = image(&config, &layer, 5, "");
    let digest = digest_of(manifest.as_bytes());
    for hundred in 0..10 {
        let tags: Vec<_> = (0..100).map(|n| format!("tag=t{hundred}-{n}")).collect();
        let reference = format!("{digest}?{}", tags.join("&"));
        let put = client.put_manifest("web", &reference, IMAGE, &manifest);
        assert_eq!(put.await.status, 201);
    }
    let response = client.put_manifest("web", "more", IMAGE, &manifest).await;
    assert_eq!(response.error(), "403 DENIED");
    let told = String::from_utf8_lossy(&response.body);
    assert!(told.contains("1000 tags"), "{told}");
    let put = json!({"imageManifest": manifest, "imageTag": "more"});
    aws.ecr("PutImage", on("web", put))
        .await
        .assert_fault("LimitExceededException", "1000 tags");
    let known = client.put_manifest("web", "t3-7", IMAGE, &manifest).await;
    assert_eq!(known.status, 201);
}

#[tokio::test]
async fn a_batch_of_large_manifests_is_refused_whole() {
    let server = TestServer::dev().await;
    let aws = server.aws();
    aws.ok("CreateRepository", on("web", json!({}))).await;
    let small = pushable(&aws, "web", "layer").await;
    let filler = "x".repeat(4 * 1024 * 1024 - 1024);
    let rest = small.strip_prefix('{').expect("an object");
    let manifest = format!(r#"{{"annotations":{{"filler":"{filler}"}},{rest}"#);
    let put = json!({"imageManifest": manifest, "imageTag": "v1"});
    aws.ok("PutImage", on("web", put)).await;
    let ids = |number| json!({"imageIds": vec![json!({"imageTag": "v1"}); number]});
    let got = aws.ok("BatchGetImage", on("web", ids(4))).await;
    assert_eq!(got["images"].as_array().map(Vec::len), Some(4));
    aws.ecr("BatchGetImage", on("web", ids(5)))
        .await
        .assert_fault(
            "LimitExceededException",
            "The requested manifests are too large for one response; request fewer",
        );
}
