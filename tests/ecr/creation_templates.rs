//! Repository creation templates, and pushes that create repositories by them.

use futures_util::future::join_all;
use http::StatusCode;
use serde_json::{Value, json};

use crate::support::{ACCOUNT, Setup, TestServer, on};

fn template(prefix: &str, more: Value) -> Value {
    let mut document = json!({"prefix": prefix, "appliedFor": ["CREATE_ON_PUSH"]});
    if let (Value::Object(document), Value::Object(more)) = (&mut document, more) {
        document.extend(more);
    }
    document
}

#[tokio::test]
async fn a_template_is_created_changed_shown_and_deleted() {
    let server = TestServer::start(Setup::default()).await;
    let aws = server.aws();
    let members = json!({
        "description": "for production",
        "imageTagMutability": "IMMUTABLE_WITH_EXCLUSION",
        "imageTagMutabilityExclusionFilters": [{"filterType": "WILDCARD", "filter": "dev-*"}],
        "resourceTags": [{"Key": "team", "Value": "red"}],
        "encryptionConfiguration": {"encryptionType": "KMS"},
        "customRoleArn": "arn:aws:iam::123456789012:role/ecr",
    });
    let wanted = template("prod/", members);
    let created = aws
        .ok("CreateRepositoryCreationTemplate", wanted.clone())
        .await;
    assert_eq!(created["registryId"], ACCOUNT);
    let shown = &created["repositoryCreationTemplate"];
    for member in [
        "prefix",
        "description",
        "imageTagMutability",
        "imageTagMutabilityExclusionFilters",
        "resourceTags",
        "appliedFor",
        "customRoleArn",
    ] {
        assert_eq!(shown[member], wanted[member], "{member}");
    }
    assert_eq!(shown["encryptionConfiguration"]["encryptionType"], "KMS");
    assert_eq!(shown["createdAt"], shown["updatedAt"]);
    let twice = aws
        .ecr(
            "CreateRepositoryCreationTemplate",
            template("prod", json!({})),
        )
        .await;
    twice.assert_fault("TemplateAlreadyExistsException", "with prefix 'prod'");

    let change = json!({"prefix": "prod", "appliedFor": ["REPLICATION"], "description": "new"});
    let changed = aws.ok("UpdateRepositoryCreationTemplate", change).await;
    let changed = &changed["repositoryCreationTemplate"];
    assert_eq!(changed["appliedFor"], json!(["REPLICATION"]));
    assert_eq!(changed["description"], "new");
    assert_eq!(changed["resourceTags"], wanted["resourceTags"]);
    let all = aws
        .ok("DescribeRepositoryCreationTemplates", json!({}))
        .await;
    assert_eq!(all["repositoryCreationTemplates"], json!([changed]));
    let named = json!({"prefixes": ["prod", "none"]});
    let named = aws.ok("DescribeRepositoryCreationTemplates", named).await;
    assert_eq!(named["repositoryCreationTemplates"], json!([changed]));

    let prefix = json!({"prefix": "prod/"});
    let deleted = aws
        .ok("DeleteRepositoryCreationTemplate", prefix.clone())
        .await;
    assert_eq!(&deleted["repositoryCreationTemplate"], changed);
    for (operation, document) in [
        ("DeleteRepositoryCreationTemplate", prefix.clone()),
        ("UpdateRepositoryCreationTemplate", prefix),
    ] {
        let outcome = aws.ecr(operation, document).await;
        outcome.assert_fault("TemplateNotFoundException", "with prefix 'prod/'");
    }
}

#[tokio::test]
async fn what_a_template_may_hold_is_checked_and_changes_nothing() {
    let server = TestServer::start(Setup::default()).await;
    let aws = server.aws();
    let policy = "Invalid parameter at 'PolicyText' failed to satisfy constraint: \
                  'Invalid repository policy provided";
    for (more, code, message) in [
        (
            json!({"resourceTags": [{"Key": "a", "Value": "b"}]}),
            "ValidationException",
            "customRoleArn",
        ),
        (
            json!({"encryptionConfiguration": {"encryptionType": "KMS"}}),
            "ValidationException",
            "customRoleArn",
        ),
        (
            json!({"customRoleArn": "arn:aws:iam::210987654321:role/x"}),
            "ValidationException",
            "not a role in the account",
        ),
        (
            json!({"appliedFor": []}),
            "ValidationException",
            "appliedFor",
        ),
        (
            json!({"appliedFor": ["NEVER"]}),
            "InvalidParameterException",
            "Member must satisfy enum value set",
        ),
        (
            json!({"imageTagMutability": "MUTABLE_WITH_EXCLUSION"}),
            "InvalidParameterException",
            "imageTagMutabilityExclusionFilters",
        ),
        (
            json!({"repositoryPolicy": "{}"}),
            "InvalidParameterException",
            policy,
        ),
        (
            json!({"prefix": "Prod"}),
            "InvalidParameterException",
            "must satisfy regular expression",
        ),
    ] {
        let outcome = aws
            .ecr("CreateRepositoryCreationTemplate", template("prod", more))
            .await;
        outcome.assert_fault(code, message);
    }
    let all = aws
        .ok("DescribeRepositoryCreationTemplates", json!({}))
        .await;
    assert_eq!(all["repositoryCreationTemplates"], json!([]));
}

#[tokio::test]
async fn templates_come_in_pages_and_tokens_belong_to_one_listing() {
    let server = TestServer::start(Setup::default()).await;
    let aws = server.aws();
    for prefix in ["a", "b", "ROOT"] {
        aws.ok(
            "CreateRepositoryCreationTemplate",
            template(prefix, json!({})),
        )
        .await;
    }
    let (mut prefixes, mut token) = (Vec::new(), Value::Null);
    loop {
        let mut request = json!({"maxResults": 2});
        if !token.is_null() {
            request["nextToken"] = token;
        }
        let page = aws.ok("DescribeRepositoryCreationTemplates", request).await;
        let found = page["repositoryCreationTemplates"]
            .as_array()
            .expect("them");
        prefixes.extend(found.iter().map(|one| one["prefix"].clone()));
        token = page["nextToken"].clone();
        if token.is_null() {
            break;
        }
        let elsewhere = json!({"nextToken": token});
        let outcome = aws.ecr("ListPullTimeUpdateExclusions", elsewhere).await;
        outcome.assert_fault("InvalidParameterException", "nextToken");
        let both = json!({"nextToken": token, "prefixes": ["a"]});
        let outcome = aws.ecr("DescribeRepositoryCreationTemplates", both).await;
        outcome.assert_fault("InvalidParameterException", "prefixes");
    }
    assert_eq!(prefixes, ["ROOT", "a", "b"]);
}

#[tokio::test]
async fn the_role_of_a_template_must_be_passed() {
    let server = TestServer::start(Setup::default()).await;
    let own = json!({"Version": "2012-10-17", "Statement": [{
        "Effect": "Allow", "Action": "ecr:*", "Resource": "*"}]});
    let user = server.aws_user(ACCOUNT, "maker", &own.to_string());
    let role = json!({"customRoleArn": "arn:aws:iam::123456789012:role/ecr"});
    let outcome = user
        .ecr("CreateRepositoryCreationTemplate", template("prod", role))
        .await;
    outcome.assert_denied(
        "iam:PassRole",
        "because no identity-based policy allows the iam:PassRole action",
    );
}

#[tokio::test]
async fn a_push_creates_a_repository_by_a_template_and_by_nothing_else() {
    let server = TestServer::start(Setup::default()).await;
    let (aws, docker) = (server.aws(), server.root());
    let refused = docker.post("/v2/prod/web/blobs/uploads/", "").await;
    assert_eq!(refused.error(), "404 NAME_UNKNOWN");
    let policy = r#"{"Version":"2012-10-17","Statement":[{"Sid":"t","Effect":"Allow",
        "Principal":"*","Action":"ecr:ListImages"}]}"#;
    let members = json!({"imageTagMutability": "IMMUTABLE", "repositoryPolicy": policy});
    aws.ok(
        "CreateRepositoryCreationTemplate",
        template("prod", members),
    )
    .await;
    docker.push_image("prod/web", "v1").await;
    let named = json!({"repositoryNames": ["prod/web"]});
    let found = aws.ok("DescribeRepositories", named).await;
    let found = &found["repositories"][0];
    assert_eq!(found["imageTagMutability"], "IMMUTABLE");
    let set = aws
        .ok("GetRepositoryPolicy", on("prod/web", json!({})))
        .await;
    assert_eq!(set["policyText"], policy);
    for other in ["prod", "product/web"] {
        let path = format!("/v2/{other}/blobs/uploads/");
        assert_eq!(docker.post(&path, "").await.error(), "404 NAME_UNKNOWN");
    }
    // A template for another purpose does not count.
    let change = json!({"prefix": "prod", "appliedFor": ["REPLICATION"]});
    aws.ok("UpdateRepositoryCreationTemplate", change).await;
    let refused = docker.post("/v2/prod/api/blobs/uploads/", "").await;
    assert_eq!(refused.error(), "404 NAME_UNKNOWN");
}

#[tokio::test]
async fn a_push_that_creates_needs_the_permission_to_create() {
    let server = TestServer::start(Setup::default()).await;
    let aws = server.aws();
    aws.ok(
        "CreateRepositoryCreationTemplate",
        template("prod", json!({})),
    )
    .await;
    let pusher = server
        .user(ACCOUNT, "pusher", "AmazonEC2ContainerRegistryPowerUser")
        .await;
    let denied = pusher.post("/v2/prod/web/blobs/uploads/", "").await;
    assert_eq!(denied.error(), "403 DENIED");
    let message = denied.json()["errors"][0]["message"].to_string();
    assert!(message.contains("ecr:CreateRepository"), "{message}");
    // Without a template, the response is the same as for any repository that is missing.
    let missing = pusher.post("/v2/other/web/blobs/uploads/", "").await;
    assert_eq!(missing.error(), "404 NAME_UNKNOWN");
    server.root().push_image("prod/web", "v1").await;
    pusher.push_image("prod/web", "v2").await;
}

#[tokio::test]
async fn of_many_pushes_at_once_one_creates_and_all_succeed() {
    const PUSHES: usize = 24;
    let server = TestServer::start(Setup::default()).await;
    let aws = server.aws();
    aws.ok(
        "CreateRepositoryCreationTemplate",
        template("ROOT", json!({})),
    )
    .await;
    let docker = server.root();
    let pushes = (0..PUSHES).map(|_| docker.post("/v2/new/web/blobs/uploads/", ""));
    for response in join_all(pushes).await {
        assert_eq!(response.status, StatusCode::ACCEPTED, "{response:?}");
    }
    let all = aws.ok("DescribeRepositories", json!({})).await;
    assert_eq!(all["repositories"].as_array().map(Vec::len), Some(1));
}
