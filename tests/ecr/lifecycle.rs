//! Lifecycle policies: set, previewed, and at work as the days go by.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::{Aws, Client, Setup, TestServer, index, on, run, run_ok};

/// Expires all but so many images.
fn keep(images: u32) -> String {
    json!({"rules": [{"rulePriority": 1, "description": "keep the newest images",
        "selection": {"tagStatus": "any", "countType": "imageCountMoreThan",
            "countNumber": images},
        "action": {"type": "expire"}}]})
    .to_string()
}

/// Does with images of a tag status what the action says, once they are so many days old.
fn after_days(status: &str, days: u32, action: &Value) -> String {
    json!({"rules": [{"rulePriority": 1,
        "selection": {"tagStatus": status, "countType": "sinceImagePushed", "countUnit": "days",
            "countNumber": days},
        "action": action}]})
    .to_string()
}

async fn put(aws: &Aws, policy: &str) {
    let policy = json!({"lifecyclePolicyText": policy});
    aws.ok("PutLifecyclePolicy", on("web", policy)).await;
}

/// The preview once it is no longer in progress.
async fn preview(aws: &Aws, more: Value) -> Value {
    loop {
        let preview = aws
            .ok("GetLifecyclePolicyPreview", on("web", more.clone()))
            .await;
        if preview["status"] != "IN_PROGRESS" {
            return preview;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Tags of the repository, once there are so many images.
async fn tags_of(aws: &Aws, images: usize) -> Vec<String> {
    let started = Instant::now();
    loop {
        let filter = json!({"filter": {"imageStatus": "ANY"}});
        let listed = aws.ok("ListImages", on("web", filter)).await["imageIds"].take();
        let listed = listed.as_array().cloned().unwrap_or_default();
        if listed.len() == images {
            let mut tags: Vec<String> = listed
                .iter()
                .map(|id| id["imageTag"].as_str().unwrap_or_default().to_owned())
                .collect();
            tags.sort();
            return tags;
        }
        assert!(started.elapsed() < Duration::from_secs(30), "{listed:?}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

async fn advance_days(client: &Client, days: u64) {
    let path = format!("/_wharfinger/clock?seconds={}", days * 24 * 60 * 60);
    assert_eq!(client.post(&path, "").await.status, 200);
}

#[tokio::test]
async fn a_policy_is_set_read_and_deleted() {
    let server = TestServer::start(Setup::default()).await;
    let aws = server.aws();
    let refused = aws.ecr("GetLifecyclePolicy", on("web", json!({}))).await;
    refused.assert_fault(
        "RepositoryNotFoundException",
        "The repository with name 'web' does not exist in the registry with id '123456789012'",
    );
    aws.ok("CreateRepository", on("web", json!({}))).await;
    for operation in [
        "GetLifecyclePolicy",
        "DeleteLifecyclePolicy",
        "StartLifecyclePolicyPreview",
    ] {
        let refused = aws.ecr(operation, on("web", json!({}))).await;
        refused.assert_fault(
            "LifecyclePolicyNotFoundException",
            "Lifecycle policy does not exist for the repository with name 'web' in the registry \
             with id '123456789012'",
        );
    }
    let text = keep(3);
    let set = aws
        .ok(
            "PutLifecyclePolicy",
            on("web", json!({"lifecyclePolicyText": text})),
        )
        .await;
    let expected = json!({"registryId": "123456789012", "repositoryName": "web",
        "lifecyclePolicyText": text});
    assert_eq!(set, expected);
    let read = aws.ok("GetLifecyclePolicy", on("web", json!({}))).await;
    assert_eq!(read, expected, "it was not evaluated yet");
    let deleted = aws.ok("DeleteLifecyclePolicy", on("web", json!({}))).await;
    assert_eq!(deleted, expected);
}

#[tokio::test]
async fn policies_that_are_none_are_refused_in_ecrs_words() {
    let server = TestServer::start(Setup::default()).await;
    let aws = server.aws();
    aws.ok("CreateRepository", on("web", json!({}))).await;
    let padding = " ".repeat(200);
    let member = "Invalid parameter at 'LifecyclePolicyText' failed to satisfy constraint: \
                  'Lifecycle policy validation failure: ";
    let cases = [
        (
            format!("{{{padding}"),
            "Could not map policyString into LifecyclePolicy.".to_owned(),
        ),
        (
            format!("{{{padding}}}"),
            r#"object has missing required properties (["rules"])"#.to_owned(),
        ),
        (
            keep(3).replace("any", "some"),
            "instance value (some) not found in enum :(possible values: \
             [\"any\",\"tagged\",\"untagged\"])"
                .to_owned(),
        ),
        (
            keep(3).replace("\"expire\"", "\"expire\",\"targetStorageClass\":null"),
            "instance failed to match exactly one schema (matched 0 out of 2)".to_owned(),
        ),
        (
            keep(0),
            "numeric instance is lower than the required minimum (minimum: 1, found: 0)".to_owned(),
        ),
    ];
    for (text, reason) in cases {
        for operation in ["PutLifecyclePolicy", "StartLifecyclePolicyPreview"] {
            let policy = on("web", json!({"lifecyclePolicyText": text}));
            aws.ecr(operation, policy)
                .await
                .assert_fault("InvalidParameterException", &format!("{member}{reason}'"));
        }
    }
    let short = on("web", json!({"lifecyclePolicyText": "{}"}));
    aws.ecr("PutLifecyclePolicy", short).await.assert_fault(
        "InvalidParameterException",
        "Invalid parameter at 'lifecyclePolicyText' failed to satisfy constraint: 'must have \
         length greater than or equal to 100'",
    );
    let read = aws.ecr("GetLifecyclePolicy", on("web", json!({}))).await;
    assert_eq!(read.code(), "LifecyclePolicyNotFoundException");
}

#[tokio::test]
async fn a_preview_shows_page_by_page_what_would_expire() {
    let server = TestServer::dev().await;
    let (aws, client) = (server.aws(), server.client());
    aws.ok("CreateRepository", on("web", json!({}))).await;
    let none = aws
        .ecr("GetLifecyclePolicyPreview", on("web", json!({})))
        .await;
    none.assert_fault(
        "LifecyclePolicyPreviewNotFoundException",
        "Lifecycle policy preview does not exist for the repository with name 'web' in the \
         registry with id '123456789012'",
    );
    let mut digests = Vec::new();
    for tag in ["one", "two", "three", "four"] {
        digests.push(client.push_image("web", tag).await);
        advance_days(&client, 1).await;
    }
    let text = keep(1);
    let policy = json!({"lifecyclePolicyText": text});
    let started = aws
        .ok("StartLifecyclePolicyPreview", on("web", policy.clone()))
        .await;
    assert_eq!(started["status"], "IN_PROGRESS");
    assert_eq!(started["lifecyclePolicyText"], text);
    let first = preview(&aws, json!({"maxResults": 2})).await;
    assert_eq!(first["status"], "COMPLETE");
    assert_eq!(first["summary"], json!({"expiringImageTotalCount": 3}));
    let results = first["previewResults"].as_array().expect("a list");
    let mut newest = results[0].clone();
    assert!(newest["imagePushedAt"].take().is_number());
    assert_eq!(
        newest,
        json!({"imageTags": ["three"], "imageDigest": digests[2], "imagePushedAt": null,
            "action": {"type": "EXPIRE"}, "appliedRulePriority": 1, "storageClass": "STANDARD"})
    );
    let token = &first["nextToken"];
    let rest = preview(&aws, json!({"nextToken": token})).await;
    assert_eq!(rest["previewResults"][0]["imageDigest"], digests[0]);
    assert!(rest["nextToken"].is_null());
    let named = json!({"imageIds": [{"imageTag": "two"}, {"imageTag": "four"}]});
    let named = preview(&aws, named).await;
    assert_eq!(named["previewResults"].as_array().map(Vec::len), Some(1));
    let untagged = json!({"filter": {"tagStatus": "UNTAGGED"}});
    assert_eq!(preview(&aws, untagged).await["previewResults"], json!([]));
    let mixed = json!({"imageIds": [{"imageTag": "two"}], "maxResults": 1});
    let mixed = aws.ecr("GetLifecyclePolicyPreview", on("web", mixed)).await;
    assert_eq!(mixed.code(), "InvalidParameterException");
    // Nothing has changed. A token of one preview is none of the next.
    assert_eq!(tags_of(&aws, 4).await, ["four", "one", "three", "two"]);
    aws.ok("StartLifecyclePolicyPreview", on("web", policy))
        .await;
    preview(&aws, json!({})).await;
    let stale = on("web", json!({"nextToken": token}));
    let stale = aws.ecr("GetLifecyclePolicyPreview", stale).await;
    assert_eq!(stale.code(), "InvalidParameterException");
    advance_days(&client, 2).await;
    let expired = preview(&aws, json!({})).await;
    assert_eq!(expired["status"], "EXPIRED");
    assert_eq!(expired["previewResults"], json!([]));
}

#[tokio::test]
async fn images_expire_by_themselves_as_the_days_go_by() {
    let server = TestServer::dev().await;
    let (aws, client) = (server.aws(), server.client());
    for tag in ["old", "moved"] {
        client.push_image("web", tag).await;
    }
    let member = client.push_image("web", "member").await;
    let list = index(&[(&member, 10)]);
    let listed = client.put_manifest("web", "list", INDEX, &list).await;
    assert_eq!(listed.status, 201, "{listed:?}");
    for tag in ["member", "moved"] {
        let path = format!("/v2/web/manifests/{tag}");
        assert_eq!(client.delete(&path).await.status, 202);
    }
    put(&aws, &after_days("untagged", 5, &json!({"type": "expire"}))).await;
    advance_days(&client, 4).await;
    assert_eq!(tags_of(&aws, 4).await, ["", "", "list", "old"]);
    advance_days(&client, 2).await;
    // The index keeps its member.
    assert_eq!(tags_of(&aws, 3).await, ["", "list", "old"]);
    let path = format!("/v2/web/manifests/{member}");
    assert_eq!(client.get(&path).await.status, 200);
    let evaluated = aws.ok("GetLifecyclePolicy", on("web", json!({}))).await;
    assert!(evaluated["lastEvaluatedAt"].is_number());
    assert_eq!(client.delete("/v2/web/manifests/list").await.status, 202);
    // It is untagged now, and still keeps its member until it is gone.
    advance_days(&client, 6).await;
    assert_eq!(tags_of(&aws, 2).await, ["", "old"]);
    advance_days(&client, 1).await;
    assert_eq!(tags_of(&aws, 1).await, ["old"]);
    assert_eq!(client.get(&path).await.status, 404);
}

const INDEX: &str = "application/vnd.oci.image.index.v1+json";

#[tokio::test]
async fn a_template_gives_new_repositories_its_policy() {
    let server = TestServer::dev().await;
    let (aws, client) = (server.aws(), server.client());
    let template = |policy: &str| {
        let applied_for = ["CREATE_ON_PUSH"];
        json!({"prefix": "team", "appliedFor": applied_for, "lifecyclePolicy": policy})
    };
    let create = "CreateRepositoryCreationTemplate";
    let refused = aws.ecr(create, template(&keep(0))).await;
    refused.assert_fault(
        "InvalidParameterException",
        "Invalid parameter at 'LifecyclePolicyText' failed to satisfy constraint: 'Lifecycle \
         policy validation failure: numeric instance is lower than the required minimum (minimum: \
         1, found: 0)'",
    );
    aws.ok(create, template(&keep(7))).await;
    client.push_image("team/web", "v1").await;
    let policy = aws
        .ok("GetLifecyclePolicy", on("team/web", json!({})))
        .await;
    assert_eq!(policy["lifecyclePolicyText"], keep(7));
}

#[tokio::test]
async fn only_a_development_server_sets_its_clock_ahead() {
    let dev = TestServer::dev().await;
    for query in ["", "?seconds=0", "?seconds=x", "?seconds=99999999999"] {
        let path = format!("/_wharfinger/clock{query}");
        assert_eq!(dev.client().post(&path, "").await.status, 400, "{query}");
    }
    let real = TestServer::start(Setup::default()).await;
    let path = "/_wharfinger/clock?seconds=60";
    assert_eq!(real.root().post(path, "").await.status, 404);
}

#[tokio::test]
async fn the_command_evaluates_beside_a_server_and_alone() {
    let server = TestServer::start(Setup {
        create_on_push: true,
        ..Setup::default()
    })
    .await;
    let (aws, client) = (server.aws(), server.root());
    for tag in ["one", "two", "three"] {
        client.push_image("web", tag).await;
    }
    let arn = "arn:aws:ecr:us-east-1:123456789012:repository/web";
    assert_eq!(server.command(&["lifecycle", "run"]), "");
    put(&aws, &keep(2)).await;
    let dry = server.command(&["lifecycle", "run", "--dry-run"]);
    assert_eq!(dry, format!("{arn}\twould expire 1\twould archive 0\n"));
    assert_eq!(tags_of(&aws, 3).await, ["one", "three", "two"]);
    assert_eq!(client.get("/v2/web/manifests/one").await.status, 200);
    let requested = server.command(&["lifecycle", "run", "--repository", "web"]);
    assert_eq!(requested, format!("{arn}\tevaluated by the server\n"));
    assert_eq!(client.get("/v2/web/manifests/one").await.status, 404);
    assert_eq!(tags_of(&aws, 2).await, ["three", "two"]);
    put(&aws, &keep(1)).await;
    let folder = server.stop();
    let alone = run_ok(folder.path(), &["lifecycle", "run"]);
    assert_eq!(alone, format!("{arn}\texpired 1\tarchived 0\n"));
    let other = run(folder.path(), &["lifecycle", "run", "--repository", "x"]);
    assert!(!other.status.success());
}
