//! The policy of a registry decides about every request of the registry, beside the policies of
//! callers and repositories.

use http::StatusCode;
use serde_json::{Value, json};

use crate::support::{ACCOUNT, Setup, TestServer, on};

const OTHER: &str = "210987654321";

fn policy(effect: &str, principal: &str, action: &str, resource: &str) -> Value {
    let policy = json!({"Version": "2012-10-17", "Statement": [{
        "Sid": "one",
        "Effect": effect,
        "Principal": {"AWS": principal},
        "Action": action,
        "Resource": resource,
    }]});
    json!({"policyText": policy.to_string()})
}

#[tokio::test]
async fn a_policy_is_set_shown_and_deleted() {
    let server = TestServer::start(Setup::default()).await;
    let aws = server.aws();
    let none = "Registry policy does not exist in the registry with id '123456789012'";
    for operation in ["GetRegistryPolicy", "DeleteRegistryPolicy"] {
        let outcome = aws.ecr(operation, json!({})).await;
        outcome.assert_fault("RegistryPolicyNotFoundException", none);
    }
    server.aws_user(ACCOUNT, "ann", "AmazonEC2ContainerRegistryReadOnly");
    let ann = "arn:aws:iam::123456789012:user/ann";
    let wanted = policy("Allow", ann, "ecr:ListImages", "*");
    let put = aws.ok("PutRegistryPolicy", wanted.clone()).await;
    assert_eq!(put["registryId"], ACCOUNT);
    assert_eq!(put["policyText"], wanted["policyText"]);
    let got = aws.ok("GetRegistryPolicy", json!({})).await;
    assert_eq!(got, put);
    let deleted = aws.ok("DeleteRegistryPolicy", json!({})).await;
    assert_eq!(deleted, put);
    let again = aws.ecr("GetRegistryPolicy", json!({})).await;
    again.assert_fault("RegistryPolicyNotFoundException", none);
}

#[tokio::test]
async fn a_policy_that_is_not_valid_is_refused_in_ecrs_words() {
    let server = TestServer::start(Setup::default()).await;
    let aws = server.aws();
    let refusal = "Invalid parameter at 'PolicyText' failed to satisfy constraint: \
                   'Invalid registry policy provided";
    let no_resource = r#"{"Statement":[{"Effect":"Allow","Principal":"*","Action":"ecr:*"}]}"#;
    let nobody = policy(
        "Allow",
        "arn:aws:iam::123456789012:user/nobody",
        "ecr:*",
        "*",
    );
    let nobody = nobody["policyText"].as_str().expect("text").to_owned();
    for text in ["", "{}", "nonsense", no_resource, nobody.as_str()] {
        let outcome = aws
            .ecr("PutRegistryPolicy", json!({"policyText": text}))
            .await;
        outcome.assert_fault("InvalidParameterException", refusal);
    }
    let long = json!({"policyText": "x".repeat(10_241)});
    let outcome = aws.ecr("PutRegistryPolicy", long).await;
    outcome.assert_fault(
        "InvalidParameterException",
        "must have length less than or equal to 10240",
    );
    let outcome = aws.ecr("GetRegistryPolicy", json!({})).await;
    assert_eq!(outcome.code(), "RegistryPolicyNotFoundException");
}

#[tokio::test]
async fn a_deny_wins_on_both_apis_also_over_the_root_and_its_resource_names_repositories() {
    let server = TestServer::start(Setup::default()).await;
    let (aws, docker) = (server.aws(), server.root());
    for name in ["web", "team/api"] {
        aws.ok("CreateRepository", on(name, json!({}))).await;
    }
    docker.push_image("web", "v1").await;
    docker.push_image("team/api", "v1").await;
    let team = "arn:aws:ecr:us-east-1:123456789012:repository/team/*";
    aws.ok(
        "PutRegistryPolicy",
        policy("Deny", "*", "ecr:*Image*", team),
    )
    .await;
    let because = "with an explicit deny in a resource-based policy";
    let listed = aws.ecr("ListImages", on("team/api", json!({}))).await;
    listed.assert_denied("ecr:ListImages", because);
    // The repository does not exist, which must not show.
    let missing = aws.ecr("ListImages", on("team/none", json!({}))).await;
    missing.assert_denied("ecr:ListImages", because);
    aws.ok("ListImages", on("web", json!({}))).await;
    let pulled = docker.get("/v2/team/api/manifests/v1").await;
    assert_eq!(pulled.error(), "403 DENIED");
    let pulled = docker.get("/v2/web/manifests/v1").await;
    assert_eq!(pulled.status, StatusCode::OK);
    // Another region is another registry.
    let mut elsewhere = server.aws();
    "eu-west-1".clone_into(&mut elsewhere.region);
    elsewhere
        .ok("CreateRepository", on("team/api", json!({})))
        .await;
    elsewhere.ok("ListImages", on("team/api", json!({}))).await;

    aws.ok("DeleteRegistryPolicy", json!({})).await;
    aws.ok("ListImages", on("team/api", json!({}))).await;
    let pulled = docker.get("/v2/team/api/manifests/v1").await;
    assert_eq!(pulled.status, StatusCode::OK);
}

#[tokio::test]
async fn a_policy_that_denies_everything_can_still_be_deleted() {
    let server = TestServer::start(Setup::default()).await;
    let aws = server.aws();
    aws.ok("PutRegistryPolicy", policy("Deny", "*", "*", "*"))
        .await;
    let because = "with an explicit deny in a resource-based policy";
    let denied = aws.ecr("DescribeRepositories", json!({})).await;
    denied.assert_denied("ecr:DescribeRepositories", because);
    let denied = aws.ecr("DescribeRegistry", json!({})).await;
    denied.assert_denied("ecr:DescribeRegistry", because);
    assert_eq!(
        server.root().get("/v2/_catalog").await.error(),
        "403 DENIED"
    );
    // Identity policies alone decide about signing in.
    aws.ok("GetAuthorizationToken", json!({})).await;
    aws.ok("GetRegistryPolicy", json!({})).await;
    aws.ok("DeleteRegistryPolicy", json!({})).await;
    aws.ok("DescribeRepositories", json!({})).await;
}

#[tokio::test]
async fn another_account_needs_its_own_policies_and_one_of_the_registry_or_the_repository() {
    let server = TestServer::start(Setup::default()).await;
    let aws = server.aws();
    aws.ok("CreateRepository", on("web", json!({}))).await;
    let full = server.aws_user(OTHER, "full", "AmazonEC2ContainerRegistryFullAccess");
    let nothing = r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"s3:*",
        "Resource":"*"}]}"#;
    let weak = server.aws_user(OTHER, "weak", nothing);
    let there = || json!({"registryId": ACCOUNT});
    let prod = "arn:aws:ecr:us-east-1:123456789012:repository/prod/*";
    let create = || on("prod/new", there());
    let denied = full.ecr("CreateRepository", create()).await;
    denied.assert_denied(
        "ecr:CreateRepository",
        "because no resource-based policy allows the ecr:CreateRepository action",
    );
    aws.ok(
        "PutRegistryPolicy",
        policy("Allow", OTHER, "ecr:CreateRepository", prod),
    )
    .await;
    let denied = weak.ecr("CreateRepository", create()).await;
    denied.assert_denied(
        "ecr:CreateRepository",
        "because no identity-based policy allows the ecr:CreateRepository action",
    );
    let made = full.ok("CreateRepository", create()).await;
    assert_eq!(made["repository"]["registryId"], ACCOUNT);
    let outside = full.ecr("CreateRepository", on("other", there())).await;
    outside.assert_denied(
        "ecr:CreateRepository",
        "because no resource-based policy allows the ecr:CreateRepository action",
    );
    let listed = full.ecr("ListImages", on("prod/new", there())).await;
    listed.assert_denied(
        "ecr:ListImages",
        "because no resource-based policy allows the ecr:ListImages action",
    );
}
