//! Repositories, their settings, tags and policies.

use serde_json::{Value, json};

use crate::support::{Setup, TestServer, now, on, seconds};

#[tokio::test]
async fn a_repository_is_made_described_and_deleted() {
    let server = TestServer::start(Setup::default()).await;
    let aws = server.aws();
    let made = aws
        .ok(
            "CreateRepository",
            on("team/web", json!({"tags": [{"Key": "a", "Value": "b"}]})),
        )
        .await["repository"]
        .clone();
    assert_eq!(
        made["repositoryArn"],
        "arn:aws:ecr:us-east-1:123456789012:repository/team/web"
    );
    assert_eq!(
        (&made["registryId"], &made["imageTagMutability"]),
        (&json!("123456789012"), &json!("MUTABLE"))
    );
    assert_eq!(
        made["encryptionConfiguration"],
        json!({"encryptionType": "AES256"})
    );
    assert_eq!(
        made["imageScanningConfiguration"],
        json!({"scanOnPush": false})
    );
    assert!(
        made["repositoryUri"]
            .as_str()
            .is_some_and(|uri| uri.ends_with("/team/web")),
        "{made}"
    );
    let created_at = made["createdAt"].as_f64().expect("a time");
    assert!((created_at - seconds(now())).abs() < 60.0, "{created_at}");
    aws.ecr("CreateRepository", on("team/web", json!({}))).await.assert_fault(
        "RepositoryAlreadyExistsException",
        "The repository with name 'team/web' already exists in the registry with id '123456789012'",
    );
    let found = aws
        .ok(
            "DescribeRepositories",
            json!({"repositoryNames": ["team/web"]}),
        )
        .await;
    assert_eq!(found["repositories"], json!([made]));
    aws.ecr(
        "DescribeRepositories",
        json!({"repositoryNames": ["team/web", "none"]}),
    )
    .await
    .assert_fault(
        "RepositoryNotFoundException",
        "The repository with name 'none' does not exist in the registry with id '123456789012'",
    );
    aws.ok("DeleteRepository", on("team/web", json!({}))).await;
    aws.ecr("DeleteRepository", on("team/web", json!({})))
        .await
        .assert_fault("RepositoryNotFoundException", "'team/web' does not exist");
}

#[tokio::test]
async fn a_repository_with_images_is_deleted_by_force_only() {
    let server = TestServer::dev().await;
    let (aws, client) = (server.aws(), server.client());
    client.push_image("web", "v1").await;
    aws.ecr("DeleteRepository", on("web", json!({})))
        .await
        .assert_fault(
            "RepositoryNotEmptyException",
            "The repository with name 'web' in registry with id '123456789012' cannot be deleted \
         because it still contains images",
        );
    aws.ok("DeleteRepository", on("web", json!({"force": true})))
        .await;
    assert_eq!(
        client.get("/v2/web/manifests/v1").await.status,
        http::StatusCode::NOT_FOUND
    );
}

#[tokio::test]
async fn pages_join_without_gap_or_repeat_and_tokens_stay_at_home() {
    let server = TestServer::start(Setup::default()).await;
    let aws = server.aws();
    for n in 0..7 {
        aws.ok("CreateRepository", on(&format!("r{n}"), json!({})))
            .await;
    }
    let (mut names, mut token) = (Vec::new(), Value::Null);
    loop {
        let page = aws
            .ok(
                "DescribeRepositories",
                json!({"maxResults": 3, "nextToken": token}),
            )
            .await;
        let items = page["repositories"].as_array().expect("a list").clone();
        names.extend(
            items
                .iter()
                .map(|item| item["repositoryName"].as_str().expect("a name").to_owned()),
        );
        token = page["nextToken"].clone();
        if token.is_null() {
            break;
        }
        let mut west = aws.clone();
        "us-west-2".clone_into(&mut west.region);
        west.ecr("DescribeRepositories", json!({"nextToken": token}))
            .await
            .assert_fault("InvalidParameterException", "'nextToken'");
    }
    assert_eq!(names, ["r0", "r1", "r2", "r3", "r4", "r5", "r6"]);
    let both = json!({"repositoryNames": ["r0"], "maxResults": 3});
    aws.ecr("DescribeRepositories", both).await.assert_fault(
        "InvalidParameterException",
        "cannot be used with repositoryNames",
    );
}

#[tokio::test]
async fn settings_are_checked_and_kept() {
    let server = TestServer::start(Setup::default()).await;
    let aws = server.aws();
    let filters = json!([{"filterType": "WILDCARD", "filter": "dev-*"}]);
    let settings = json!({
        "imageTagMutability": "IMMUTABLE_WITH_EXCLUSION",
        "imageTagMutabilityExclusionFilters": filters,
        "imageScanningConfiguration": {"scanOnPush": true},
        "encryptionConfiguration": {"encryptionType": "KMS"},
    });
    let made = aws.ok("CreateRepository", on("web", settings)).await["repository"].clone();
    assert_eq!(made["imageTagMutabilityExclusionFilters"], filters);
    assert_eq!(made["imageScanningConfiguration"]["scanOnPush"], true);
    let key = made["encryptionConfiguration"]["kmsKey"]
        .as_str()
        .expect("the managed key");
    assert!(
        key.starts_with("arn:aws:kms:us-east-1:123456789012:key/"),
        "{key}"
    );
    let changed = aws
        .ok(
            "PutImageTagMutability",
            on("web", json!({"imageTagMutability": "MUTABLE"})),
        )
        .await;
    assert_eq!(
        changed,
        json!({"registryId": "123456789012", "repositoryName": "web",
            "imageTagMutability": "MUTABLE"})
    );
    aws.ok(
        "PutImageScanningConfiguration",
        on("web", json!({"imageScanningConfiguration": {}})),
    )
    .await;
    for (document, message) in [
        (
            json!({"imageTagMutability": "SOMETIMES"}),
            "'imageTagMutability' failed to satisfy constraint: 'Member must satisfy enum value \
             set: [IMMUTABLE, MUTABLE, ",
        ),
        (
            json!({"imageTagMutability": "MUTABLE", "imageTagMutabilityExclusionFilters": filters}),
            "'imageTagMutabilityExclusionFilters'",
        ),
        (
            json!({"imageTagMutability": "MUTABLE_WITH_EXCLUSION"}),
            "'imageTagMutabilityExclusionFilters'",
        ),
        (
            json!({}),
            "'imageTagMutability' failed to satisfy constraint: 'must not be null'",
        ),
        (
            json!({"imageTagMutability": "MUTABLE", "registryId": "12"}),
            "'registryId' failed to satisfy constraint: 'must satisfy regular expression \
             '[0-9]{12}''",
        ),
    ] {
        aws.ecr("PutImageTagMutability", on("web", document))
            .await
            .assert_fault("InvalidParameterException", message);
    }
    for name in [
        "A",
        "a",
        "UPPER",
        "a//b",
        "../etc",
        &"a".repeat(256),
        "a b",
        "é",
    ] {
        aws.ecr("CreateRepository", on(name, json!({})))
            .await
            .assert_fault(
                "InvalidParameterException",
                "Invalid parameter at 'repositoryName'",
            );
    }
    assert_eq!(
        aws.ok("DescribeRepositories", json!({})).await["repositories"]
            .as_array()
            .map(Vec::len),
        Some(1)
    );
}

#[tokio::test]
async fn tags_are_added_listed_and_taken_away() {
    let server = TestServer::start(Setup::default()).await;
    let aws = server.aws();
    aws.ok(
        "CreateRepository",
        on("web", json!({"tags": [{"Key": "a", "Value": "1"}]})),
    )
    .await;
    let arn = "arn:aws:ecr:us-east-1:123456789012:repository/web";
    aws.ok(
        "TagResource",
        json!({"resourceArn": arn, "tags": [{"Key": "a", "Value": "2"},
        {"Key": "b", "Value": ""}]}),
    )
    .await;
    let listed = aws
        .ok("ListTagsForResource", json!({"resourceArn": arn}))
        .await;
    assert_eq!(
        listed["tags"],
        json!([{"Key": "a", "Value": "2"}, {"Key": "b", "Value": ""}])
    );
    aws.ok(
        "UntagResource",
        json!({"resourceArn": arn, "tagKeys": ["a", "never"]}),
    )
    .await;
    let many: Vec<_> = (0..50)
        .map(|n| json!({"Key": format!("k{n}"), "Value": ""}))
        .collect();
    aws.ecr("TagResource", json!({"resourceArn": arn, "tags": many}))
        .await
        .assert_fault("TooManyTagsException", "50");
    let listed = aws
        .ok("ListTagsForResource", json!({"resourceArn": arn}))
        .await;
    assert_eq!(listed["tags"], json!([{"Key": "b", "Value": ""}]));
    for bad in [
        "",
        "web",
        "arn:aws:ecr:us-east-1:123456789012:registry",
        "arn:aws:ecr:eu-west-1:123456789012:repository/web",
    ] {
        let outcome = aws
            .ecr("ListTagsForResource", json!({"resourceArn": bad}))
            .await;
        outcome.assert_fault(
            "InvalidParameterException",
            "Invalid parameter at 'resourceArn' failed to satisfy constraint: 'Invalid ARN'",
        );
    }
}

#[tokio::test]
async fn a_policy_is_kept_to_the_letter_and_may_not_lock_out_unawares() {
    let server = TestServer::start(Setup::default()).await;
    let aws = server.aws();
    aws.ok("CreateRepository", on("web", json!({}))).await;
    aws.ecr("GetRepositoryPolicy", on("web", json!({}))).await.assert_fault(
        "RepositoryPolicyNotFoundException",
        "Repository policy does not exist for the repository with name 'web' in the registry with \
         id '123456789012'",
    );
    for bad in [
        "",
        "{}",
        "[]",
        r#"{"Statement": [{"Effect": "Allow", "Action": "ecr:*"}]}"#,
    ] {
        let outcome = aws
            .ecr("SetRepositoryPolicy", on("web", json!({"policyText": bad})))
            .await;
        outcome.assert_fault(
            "InvalidParameterException",
            "Invalid parameter at 'PolicyText' failed to satisfy constraint: 'Invalid repository \
             policy provided",
        );
    }
    let text = "{ \"Version\": \"2008-10-17\",\n \"Statement\": [{\"Effect\": \"Deny\", \
     \"Principal\": \"*\", \"Action\": \"ecr:SetRepositoryPolicy\"}]}";
    let lockout = aws
        .ecr(
            "SetRepositoryPolicy",
            on("web", json!({"policyText": text})),
        )
        .await;
    lockout.assert_fault(
        "InvalidParameterException",
        "prevent you from setting another",
    );
    aws.ok(
        "SetRepositoryPolicy",
        on("web", json!({"policyText": text, "force": true})),
    )
    .await;
    assert_eq!(
        aws.ok("GetRepositoryPolicy", on("web", json!({}))).await["policyText"],
        text
    );
    let denied = aws
        .ecr(
            "SetRepositoryPolicy",
            on("web", json!({"policyText": text, "force": true})),
        )
        .await;
    denied.assert_denied(
        "ecr:SetRepositoryPolicy",
        "with an explicit deny in a resource-based policy",
    );
    assert_eq!(
        aws.ok("DeleteRepositoryPolicy", on("web", json!({}))).await["policyText"],
        text
    );
}
