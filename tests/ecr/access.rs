//! Who may do what: managed policies, other accounts, and the password that docker signs in with.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::StatusCode;
use serde_json::{Value, json};

use crate::support::{ACCOUNT, Setup, TestServer, now, on, seconds};

const NO_IDENTITY: &str = "because no identity-based policy allows the";

/// Each operation with a request that gets past the constraints, and the action that it needs.
#[expect(clippy::too_many_lines, reason = "a table")]
fn operations() -> Vec<(&'static str, Value, &'static str)> {
    let (digest, arn) = (
        format!("sha256:{}", "0".repeat(64)),
        "arn:aws:ecr:us-east-1:123456789012:repository/web",
    );
    let upload = "00000000-0000-4000-8000-000000000000";
    let part =
        json!({"uploadId": upload, "partFirstByte": 0, "partLastByte": 0, "layerPartBlob": "YQ=="});
    vec![
        (
            "CreateRepository",
            on("other", json!({})),
            "ecr:CreateRepository",
        ),
        (
            "DescribeRepositories",
            json!({}),
            "ecr:DescribeRepositories",
        ),
        (
            "DeleteRepository",
            on("web", json!({"force": true})),
            "ecr:DeleteRepository",
        ),
        ("ListImages", on("web", json!({})), "ecr:ListImages"),
        ("DescribeImages", on("web", json!({})), "ecr:DescribeImages"),
        (
            "BatchGetImage",
            on("web", json!({"imageIds": [{"imageTag": "x"}]})),
            "ecr:BatchGetImage",
        ),
        (
            "BatchDeleteImage",
            on("web", json!({"imageIds": [{"imageTag": "x"}]})),
            "ecr:BatchDeleteImage",
        ),
        (
            "BatchCheckLayerAvailability",
            on("web", json!({"layerDigests": [digest]})),
            "ecr:BatchCheckLayerAvailability",
        ),
        (
            "GetDownloadUrlForLayer",
            on("web", json!({"layerDigest": digest})),
            "ecr:GetDownloadUrlForLayer",
        ),
        (
            "StartImageScan",
            on("web", json!({"imageId": {"imageTag": "x"}})),
            "ecr:StartImageScan",
        ),
        (
            "DescribeImageScanFindings",
            on("web", json!({"imageId": {"imageTag": "x"}})),
            "ecr:DescribeImageScanFindings",
        ),
        (
            "PutImage",
            on("web", json!({"imageManifest": "{"})),
            "ecr:PutImage",
        ),
        (
            "InitiateLayerUpload",
            on("web", json!({})),
            "ecr:InitiateLayerUpload",
        ),
        ("UploadLayerPart", on("web", part), "ecr:UploadLayerPart"),
        (
            "CompleteLayerUpload",
            on("web", json!({"uploadId": upload, "layerDigests": [digest]})),
            "ecr:CompleteLayerUpload",
        ),
        (
            "SetRepositoryPolicy",
            on("web", json!({"policyText": "{}"})),
            "ecr:SetRepositoryPolicy",
        ),
        (
            "GetRepositoryPolicy",
            on("web", json!({})),
            "ecr:GetRepositoryPolicy",
        ),
        (
            "DeleteRepositoryPolicy",
            on("web", json!({})),
            "ecr:DeleteRepositoryPolicy",
        ),
        (
            "PutImageTagMutability",
            on("web", json!({"imageTagMutability": "MUTABLE"})),
            "ecr:PutImageTagMutability",
        ),
        (
            "PutImageScanningConfiguration",
            on("web", json!({"imageScanningConfiguration": {}})),
            "ecr:PutImageScanningConfiguration",
        ),
        (
            "TagResource",
            json!({"resourceArn": arn, "tags": []}),
            "ecr:TagResource",
        ),
        (
            "UntagResource",
            json!({"resourceArn": arn, "tagKeys": []}),
            "ecr:UntagResource",
        ),
        (
            "ListTagsForResource",
            json!({"resourceArn": arn}),
            "ecr:ListTagsForResource",
        ),
        (
            "PutLifecyclePolicy",
            on("web", json!({"lifecyclePolicyText": "x".repeat(100)})),
            "ecr:PutLifecyclePolicy",
        ),
        (
            "GetLifecyclePolicy",
            on("web", json!({})),
            "ecr:GetLifecyclePolicy",
        ),
        (
            "DeleteLifecyclePolicy",
            on("web", json!({})),
            "ecr:DeleteLifecyclePolicy",
        ),
        (
            "StartLifecyclePolicyPreview",
            on("web", json!({})),
            "ecr:StartLifecyclePolicyPreview",
        ),
        (
            "GetLifecyclePolicyPreview",
            on("web", json!({})),
            "ecr:GetLifecyclePolicyPreview",
        ),
        (
            "UpdateImageStorageClass",
            on(
                "web",
                json!({"imageId": {"imageTag": "x"}, "targetStorageClass": "ARCHIVE"}),
            ),
            "ecr:UpdateImageStorageClass",
        ),
        ("DescribeRegistry", json!({}), "ecr:DescribeRegistry"),
        (
            "PutRegistryPolicy",
            json!({"policyText": "{}"}),
            "ecr:PutRegistryPolicy",
        ),
        ("GetRegistryPolicy", json!({}), "ecr:GetRegistryPolicy"),
        (
            "DeleteRegistryPolicy",
            json!({}),
            "ecr:DeleteRegistryPolicy",
        ),
        (
            "CreateRepositoryCreationTemplate",
            json!({"prefix": "prod", "appliedFor": ["REPLICATION"]}),
            "ecr:CreateRepositoryCreationTemplate",
        ),
        (
            "UpdateRepositoryCreationTemplate",
            json!({"prefix": "prod"}),
            "ecr:UpdateRepositoryCreationTemplate",
        ),
        (
            "DeleteRepositoryCreationTemplate",
            json!({"prefix": "prod"}),
            "ecr:DeleteRepositoryCreationTemplate",
        ),
        (
            "DescribeRepositoryCreationTemplates",
            json!({}),
            "ecr:DescribeRepositoryCreationTemplates",
        ),
        (
            "GetAccountSetting",
            json!({"name": "BLOB_MOUNTING"}),
            "ecr:GetAccountSetting",
        ),
        (
            "PutAccountSetting",
            json!({"name": "BLOB_MOUNTING", "value": "ENABLED"}),
            "ecr:PutAccountSetting",
        ),
        (
            "RegisterPullTimeUpdateExclusion",
            json!({"principalArn": "arn:aws:iam::123456789012:role/r"}),
            "ecr:RegisterPullTimeUpdateExclusion",
        ),
        (
            "DeregisterPullTimeUpdateExclusion",
            json!({"principalArn": "arn:aws:iam::123456789012:role/r"}),
            "ecr:DeregisterPullTimeUpdateExclusion",
        ),
        (
            "ListPullTimeUpdateExclusions",
            json!({}),
            "ecr:ListPullTimeUpdateExclusions",
        ),
        (
            "PutRegistryScanningConfiguration",
            json!({}),
            "ecr:PutRegistryScanningConfiguration",
        ),
        (
            "GetRegistryScanningConfiguration",
            json!({}),
            "ecr:GetRegistryScanningConfiguration",
        ),
        (
            "BatchGetRepositoryScanningConfiguration",
            json!({"repositoryNames": ["web"]}),
            "ecr:BatchGetRepositoryScanningConfiguration",
        ),
        (
            "PutSigningConfiguration",
            json!({"signingConfiguration": {"rules": []}}),
            "ecr:PutSigningConfiguration",
        ),
        (
            "GetSigningConfiguration",
            json!({}),
            "ecr:GetSigningConfiguration",
        ),
        (
            "DeleteSigningConfiguration",
            json!({}),
            "ecr:DeleteSigningConfiguration",
        ),
        (
            "DescribeImageSigningStatus",
            on("web", json!({"imageId": {"imageTag": "x"}})),
            "ecr:DescribeImageSigningStatus",
        ),
        (
            "PutReplicationConfiguration",
            json!({"replicationConfiguration": {"rules": []}}),
            "ecr:PutReplicationConfiguration",
        ),
        (
            "DescribeImageReplicationStatus",
            on("web", json!({"imageId": {"imageTag": "x"}})),
            "ecr:DescribeImageReplicationStatus",
        ),
        (
            "StartReplicationBackfill",
            json!({"destination": {"region": "eu-west-1", "registryId": "123456789012"}}),
            "ecr:StartReplicationBackfill",
        ),
        (
            "StopReplicationBackfill",
            json!({"replicationBackfillId": "01234567-89ab-4def-8123-456789abcdef"}),
            "ecr:StopReplicationBackfill",
        ),
        (
            "ListReplicationBackfills",
            json!({}),
            "ecr:ListReplicationBackfills",
        ),
        (
            "DescribeReplicationBackfillResults",
            json!({"replicationBackfillId": "01234567-89ab-4def-8123-456789abcdef"}),
            "ecr:DescribeReplicationBackfillResults",
        ),
        (
            "ListImageReferrers",
            on("web", json!({"subjectId": {"imageDigest": digest}})),
            "ecr:BatchGetImage",
        ),
        (
            "GetAuthorizationToken",
            json!({}),
            "ecr:GetAuthorizationToken",
        ),
        (
            "CreatePullThroughCacheRule",
            json!({"ecrRepositoryPrefix": "quay", "upstreamRegistryUrl": "quay.io"}),
            "ecr:CreatePullThroughCacheRule",
        ),
        (
            "UpdatePullThroughCacheRule",
            json!({"ecrRepositoryPrefix": "quay"}),
            "ecr:UpdatePullThroughCacheRule",
        ),
        (
            "DeletePullThroughCacheRule",
            json!({"ecrRepositoryPrefix": "quay"}),
            "ecr:DeletePullThroughCacheRule",
        ),
        (
            "DescribePullThroughCacheRules",
            json!({}),
            "ecr:DescribePullThroughCacheRules",
        ),
        (
            "ValidatePullThroughCacheRule",
            json!({"ecrRepositoryPrefix": "quay"}),
            "ecr:ValidatePullThroughCacheRule",
        ),
    ]
}

#[tokio::test]
async fn a_user_without_policies_may_do_nothing_and_every_refusal_names_its_action() {
    let server = TestServer::start(Setup::default()).await;
    server
        .aws()
        .ok("CreateRepository", on("web", json!({})))
        .await;
    let nothing = r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"s3:*",
        "Resource":"*"}]}"#;
    let nobody = server.aws_user(ACCOUNT, "nobody", nothing);
    let all = server.command(&["operations"]);
    let all = all.lines().filter(|line| line.starts_with("ecr"));
    assert_eq!(operations().len(), all.count());
    for (operation, document, action) in operations() {
        nobody
            .ecr(operation, document)
            .await
            .assert_denied(action, &format!("{NO_IDENTITY} {action} action"));
    }
    assert_eq!(
        server.aws().ok("DescribeRepositories", json!({})).await["repositories"]
            .as_array()
            .map(Vec::len),
        Some(1)
    );
}

#[tokio::test]
async fn the_managed_policies_reach_as_far_as_aws_says() {
    let server = TestServer::start(Setup::default()).await;
    server
        .aws()
        .ok("CreateRepository", on("web", json!({})))
        .await;
    let reading = [
        "DescribeRepositories",
        "ListImages",
        "DescribeImages",
        "BatchGetImage",
        "BatchCheckLayerAvailability",
        "GetDownloadUrlForLayer",
    ];
    let more = [
        "GetLifecyclePolicy",
        "GetLifecyclePolicyPreview",
        "GetRepositoryPolicy",
        "ListTagsForResource",
        "ListImageReferrers",
        "DescribeImageScanFindings",
        "GetAuthorizationToken",
    ];
    let pushing = [
        "PutImage",
        "InitiateLayerUpload",
        "UploadLayerPart",
        "CompleteLayerUpload",
    ];
    for (policy, may_push) in [
        ("AmazonEC2ContainerRegistryReadOnly", false),
        ("AmazonEC2ContainerRegistryPowerUser", true),
    ] {
        let user = server.aws_user(ACCOUNT, if may_push { "pusher" } else { "reader" }, policy);
        for (operation, document, action) in operations() {
            let outcome = user.ecr(operation, document).await;
            let may = reading.contains(&operation)
                || more.contains(&operation)
                || (may_push && pushing.contains(&operation));
            assert_eq!(
                outcome.code() != "AccessDeniedException",
                may,
                "{policy}: {action}: {}",
                outcome.document
            );
        }
    }
}

#[tokio::test]
async fn another_account_needs_both_its_own_policy_and_the_repositorys() {
    let server = TestServer::start(Setup::default()).await;
    let aws = server.aws();
    aws.ok("CreateRepository", on("web", json!({}))).await;
    let other = "210987654321";
    let full = server.aws_user(other, "full", "AmazonEC2ContainerRegistryFullAccess");
    let there = json!({"registryId": "123456789012"});
    let denied = full.ecr("ListImages", on("web", there.clone())).await;
    denied.assert_denied(
        "ecr:ListImages",
        "because no resource-based policy allows the ecr:ListImages action",
    );
    full.ecr("ListImages", on("web", json!({})))
        .await
        .assert_fault("RepositoryNotFoundException", "with id '210987654321'");
    let policy = json!({"Version": "2012-10-17", "Statement": [
        {"Effect": "Allow", "Principal": {"AWS": "210987654321"}, "Action": "ecr:ListImages"},
    ]});
    aws.ok(
        "SetRepositoryPolicy",
        on("web", json!({"policyText": policy.to_string()})),
    )
    .await;
    full.ok("ListImages", on("web", there.clone())).await;
    full.ecr("DescribeImages", on("web", there.clone()))
        .await
        .assert_denied("ecr:DescribeImages", "action");
    let none = r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"s3:*",
        "Resource":"*"}]}"#;
    let weak = server.aws_user(other, "weak", none);
    weak.ecr("ListImages", on("web", there))
        .await
        .assert_denied(
            "ecr:ListImages",
            "because no identity-based policy allows the ecr:ListImages action",
        );
}

#[tokio::test]
async fn conditions_see_the_tags_of_request_and_resource() {
    let server = TestServer::start(Setup::default()).await;
    let own = json!({"Version": "2012-10-17", "Statement": [
        {"Effect": "Allow", "Action": ["ecr:CreateRepository", "ecr:TagResource"], "Resource": "*",
            "Condition": {"StringEquals": {"aws:RequestTag/Team": "red"}}},
        {"Effect": "Allow", "Action": "ecr:ListImages", "Resource": "*",
            "Condition": {"StringEquals": {"ecr:ResourceTag/Team": "red"}}},
    ]});
    let user = server.aws_user(ACCOUNT, "red", &own.to_string());
    let tagged = |value: &str| json!({"tags": [{"Key": "Team", "Value": value}]});
    user.ecr("CreateRepository", on("web", json!({})))
        .await
        .assert_denied("ecr:CreateRepository", "action");
    user.ecr("CreateRepository", on("web", tagged("blue")))
        .await
        .assert_denied("ecr:CreateRepository", "action");
    user.ok("CreateRepository", on("web", tagged("red"))).await;
    server
        .aws()
        .ok("CreateRepository", on("blue", tagged("blue")))
        .await;
    user.ok("ListImages", on("web", json!({}))).await;
    user.ecr("ListImages", on("blue", json!({})))
        .await
        .assert_denied("ecr:ListImages", "action");
    let both = json!({"tags": [{"Key": "TEAM", "Value": "blue"}, {"Key": "Team", "Value": "red"}]});
    user.ecr("CreateRepository", on("both", both))
        .await
        .assert_denied("ecr:CreateRepository", "action");
}

#[tokio::test]
async fn a_removed_tag_is_a_tag_key_of_the_request_and_has_no_value() {
    let server = TestServer::start(Setup::default()).await;
    server
        .aws()
        .ok("CreateRepository", on("web", json!({})))
        .await;
    let arn = "arn:aws:ecr:us-east-1:123456789012:repository/web";
    let own = json!({"Version": "2012-10-17", "Statement": [
        {"Effect": "Allow", "Action": "ecr:UntagResource", "Resource": "*",
            "Condition": {"Null": {"aws:RequestTag/a": "true"}}},
        {"Effect": "Deny", "Action": "ecr:UntagResource", "Resource": "*",
            "Condition": {"ForAnyValue:StringEquals": {"aws:TagKeys": "kept"}}},
    ]});
    let user = server.aws_user(ACCOUNT, "tagger", &own.to_string());
    let untag = |keys: &[&str]| json!({"resourceArn": arn, "tagKeys": keys});
    user.ok("UntagResource", untag(&["a"])).await;
    user.ecr("UntagResource", untag(&["a", "kept"]))
        .await
        .assert_denied(
            "ecr:UntagResource",
            "with an explicit deny in an identity-based policy",
        );
}

#[tokio::test]
async fn the_password_lets_docker_in_for_twelve_hours() {
    let server = TestServer::start(Setup::default()).await;
    let aws = server.aws();
    let response = aws
        .ok(
            "GetAuthorizationToken",
            json!({"registryIds": ["123456789012", "210987654321"]}),
        )
        .await;
    let data = response["authorizationData"]
        .as_array()
        .expect("a list")
        .clone();
    assert_eq!(data.len(), 2);
    let hours = (data[0]["expiresAt"].as_f64().expect("a time") - seconds(now())) / 3600.0;
    assert!((11.9..=12.0).contains(&hours), "{hours}");
    assert!(
        data[0]["proxyEndpoint"]
            .as_str()
            .is_some_and(|endpoint| endpoint.starts_with("http://localhost")),
        "{response}"
    );
    let pair = STANDARD
        .decode(data[0]["authorizationToken"].as_str().expect("a token"))
        .expect("Base64");
    let password = String::from_utf8(pair)
        .expect("text")
        .strip_prefix("AWS:")
        .expect("the user AWS")
        .to_owned();
    assert!(!password.contains([':', ' ']));
    let docker = server.client().with_password(&password);
    assert_eq!(docker.get("/v2/").await.status, StatusCode::OK);
}
