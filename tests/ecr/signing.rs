//! Images that are signed because a registry is configured so.

use std::time::Duration;

use serde_json::{Value, json};

use crate::support::{Aws, Setup, TestServer, on};

const BUNDLE: &str = "application/vnd.dev.sigstore.bundle.v0.3+json";
/// For signatures, which are made a moment after the push.
const TRIES: usize = 200;

fn rules(rules: &Value) -> Value {
    json!({"signingConfiguration": {"rules": rules}})
}

/// The statuses of an image, once none is in progress.
async fn settled(aws: &Aws, name: &str, tag: &str) -> Value {
    let image = json!({"imageId": {"imageTag": tag}});
    for _ in 0..TRIES {
        let got = aws
            .ok("DescribeImageSigningStatus", on(name, image.clone()))
            .await;
        let statuses = got["signingStatuses"].as_array().expect("a list");
        if statuses.iter().all(|one| one["status"] != "IN_PROGRESS") {
            return got["signingStatuses"].clone();
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("the image is not signed");
}

#[tokio::test]
async fn an_image_is_signed_by_each_profile_whose_rule_matches_and_signatures_are_not() {
    let server = TestServer::start(Setup::default()).await;
    let (aws, docker) = (server.aws(), server.root());
    for name in ["prod/web", "test/web"] {
        aws.ok("CreateRepository", on(name, json!({}))).await;
    }
    docker.push_image("prod/web", "before").await;
    let created = server.command(&["signing-key", "create", "release"]);
    let (profile, key) = created.split_once('\n').expect("two parts");
    assert_eq!(
        profile,
        "arn:aws:signer:us-east-1:123456789012:/signing-profiles/release"
    );
    assert!(key.starts_with("-----BEGIN PUBLIC KEY-----\n"), "{key}");
    assert_eq!(server.command(&["signing-key", "show", "release"]), created);
    let missing = profile.replace("release", "missing");
    let filters = json!([{"filter": "prod/*", "filterType": "WILDCARD_MATCH"}]);
    let configured = rules(&json!([
        {"signingProfileArn": profile, "repositoryFilters": filters},
        {"signingProfileArn": missing, "repositoryFilters": filters},
    ]));
    aws.ok("PutSigningConfiguration", configured).await;

    let digest = docker.push_image("prod/web", "v1").await;
    let statuses = settled(&aws, "prod/web", "v1").await;
    assert_eq!(statuses[0]["signingProfileArn"], missing);
    assert_eq!(statuses[0]["status"], "FAILED");
    assert_eq!(statuses[0]["failureCode"], "SigningProfileNotFound");
    let complete = json!({"signingProfileArn": profile, "status": "COMPLETE"});
    assert_eq!(statuses[1], complete);
    let subject = json!({"subjectId": {"imageDigest": digest}});
    let listed = async || {
        let listed = aws
            .ok("ListImageReferrers", on("prod/web", subject.clone()))
            .await;
        listed["referrers"].as_array().expect("a list").clone()
    };
    let referrers = listed().await;
    assert_eq!(referrers.len(), 1);
    assert_eq!(referrers[0]["artifactType"], BUNDLE);

    // The same again, under another tag, makes no other signature; what failed is tried again.
    server.command(&["signing-key", "create", "missing"]);
    let path = "/v2/prod/web/manifests/v1";
    let manifest = docker.get(path).await;
    let manifest = String::from_utf8(manifest.body.to_vec()).expect("text");
    let media_type = "application/vnd.oci.image.manifest.v1+json";
    docker
        .put_manifest("prod/web", "v2", media_type, &manifest)
        .await;
    let statuses = settled(&aws, "prod/web", "v2").await;
    assert_eq!(statuses[0]["status"], "COMPLETE");
    assert_eq!(listed().await.len(), 2);

    for (name, tag) in [("prod/web", "before"), ("test/web", "v1")] {
        if name == "test/web" {
            docker.push_image(name, tag).await;
        }
        assert_eq!(settled(&aws, name, tag).await, json!([]), "{name}:{tag}");
    }
    let none = json!({"imageId": {"imageTag": "none"}});
    let outcome = aws
        .ecr("DescribeImageSigningStatus", on("prod/web", none))
        .await;
    outcome.assert_fault("ImageNotFoundException", "imageTag:'none'");
}

#[tokio::test]
async fn an_image_that_was_deleted_with_its_signature_is_signed_again() {
    let server = TestServer::start(Setup::default()).await;
    let (aws, docker) = (server.aws(), server.root());
    aws.ok("CreateRepository", on("web", json!({}))).await;
    let created = server.command(&["signing-key", "create", "one"]);
    let profile = created.lines().next().expect("the ARN");
    aws.ok(
        "PutSigningConfiguration",
        rules(&json!([{"signingProfileArn": profile}])),
    )
    .await;
    let digest = docker.push_image("web", "v1").await;
    settled(&aws, "web", "v1").await;
    let listed = aws.ok("ListImages", on("web", json!({}))).await;
    let all = listed["imageIds"].as_array().expect("a list");
    assert_eq!(all.len(), 2);
    let by_digest: Vec<_> = all
        .iter()
        .map(|one| json!({"imageDigest": one["imageDigest"]}))
        .collect();
    aws.ok(
        "BatchDeleteImage",
        on("web", json!({"imageIds": by_digest})),
    )
    .await;
    assert_eq!(docker.push_image("web", "v1").await, digest);
    let complete = json!([{"signingProfileArn": profile, "status": "COMPLETE"}]);
    assert_eq!(settled(&aws, "web", "v1").await, complete);
    let subject = json!({"subjectId": {"imageDigest": digest}});
    let referrers = aws.ok("ListImageReferrers", on("web", subject)).await;
    assert_eq!(referrers["referrers"].as_array().map(Vec::len), Some(1));
}
