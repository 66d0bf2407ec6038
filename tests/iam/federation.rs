//! Federated users: to whom a user lends some of its permissions.

use serde_json::json;

use crate::support::{ACCOUNT, Aws, QueryOutcome, Setup, TestServer, on};

const ARN: &str = "arn:aws:sts::123456789012:federated-user/bob";
const READING: &str = r#"{"Version":"2012-10-17","Statement":
    {"Effect":"Allow","Action":["ecr:Describe*","ecr:GetAuthorizationToken"],"Resource":"*"}}"#;

async fn token(aws: &Aws, more: &[(&str, &str)]) -> QueryOutcome {
    let name = [("Name", "bob")];
    aws.sts("GetFederationToken", &[&name[..], more].concat())
        .await
}

/// A server with a repository, and a user who may do everything.
async fn with_admin() -> (TestServer, Aws) {
    let server = TestServer::start(Setup::default()).await;
    let new = on("web", json!({}));
    server.aws().ok("CreateRepository", new).await;
    let ann = server.aws_user(ACCOUNT, "ann", "AdministratorAccess");
    (server, ann)
}

#[tokio::test]
async fn a_federated_user_has_what_its_lender_and_the_session_allow() {
    let (server, ann) = with_admin().await;
    let issued = token(&ann, &[("Policy", READING), ("DurationSeconds", "900")]).await;
    assert_eq!(issued.one("FederatedUserId"), "123456789012:bob");
    assert_eq!(issued.one("Arn"), ARN);
    assert!(issued.one("AccessKeyId").starts_with("ASIA"));
    assert!(issued.one("PackedPolicySize").parse::<u32>().is_ok());
    let bob = ann.with_session(&issued);
    let identity = bob.sts("GetCallerIdentity", &[]).await;
    assert_eq!(identity.one("Arn"), ARN);
    assert_eq!(identity.one("UserId"), "123456789012:bob");
    bob.ok("DescribeRepositories", json!({})).await;
    bob.ecr("DeleteRepository", on("web", json!({})))
        .await
        .assert_denied(
            "ecr:DeleteRepository",
            "because no session policy allows the ecr:DeleteRepository action",
        );
    // Such credentials manage no identities, assume no roles and make no others.
    let refused = bob.iam("ListUsers", &[]).await;
    refused.assert_fault(403, "InvalidClientTokenId", "");
    let role = ("RoleArn", "arn:aws:iam::123456789012:role/none");
    let assumed = [role, ("RoleSessionName", "run")];
    let refused = bob.sts("AssumeRole", &assumed).await;
    refused.assert_fault(403, "AccessDenied", "federated users");
    for operation in ["GetSessionToken", "GetFederationToken"] {
        let refused = bob.sts(operation, &[("Name", "eve")]).await;
        refused.assert_fault(403, "AccessDenied", "");
    }
    let managed = [(
        "PolicyArns.member.1.arn",
        "arn:aws:iam::aws:policy/AmazonEC2ContainerRegistryReadOnly",
    )];
    let bob = ann.with_session(&token(&ann, &managed).await);
    bob.ok("DescribeRepositories", json!({})).await;
    drop(server);
}

#[tokio::test]
async fn without_a_session_policy_only_resource_policies_allow() {
    let (server, ann) = with_admin().await;
    let bob = ann.with_session(&token(&ann, &[]).await);
    let denied = bob.ecr("ListImages", on("web", json!({}))).await;
    denied.assert_denied(
        "ecr:ListImages",
        "because no session policy allows the ecr:ListImages action",
    );
    for (principal, allows) in [("arn:aws:iam::123456789012:user/ann", false), (ARN, true)] {
        let policy = json!({"Version": "2012-10-17", "Statement": [
            {"Effect": "Allow", "Principal": {"AWS": principal}, "Action": "ecr:ListImages"},
        ]});
        let policy = on("web", json!({"policyText": policy.to_string()}));
        server.aws().ok("SetRepositoryPolicy", policy).await;
        let listed = bob.ecr("ListImages", on("web", json!({}))).await;
        assert_eq!(listed.code().is_empty(), allows, "{principal}: {listed:?}");
    }
}

#[tokio::test]
async fn a_root_lends_what_the_session_policy_allows() {
    let (server, _) = with_admin().await;
    let root = server.aws();
    let tags = [
        ("Tags.member.1.Key", "team"),
        ("Tags.member.1.Value", "red"),
    ];
    let reading = READING.replace(
        r#""Resource":"*""#,
        r#""Resource":"*","Condition":{"StringEquals":{"aws:PrincipalTag/team":"red"}}"#,
    );
    let issued = token(&root, &[&tags[..], &[("Policy", &reading)]].concat()).await;
    let bob = root.with_session(&issued);
    bob.ok("DescribeRepositories", json!({})).await;
    let denied = bob.ecr("ListImages", on("web", json!({}))).await;
    denied.assert_denied(
        "ecr:ListImages",
        "because no session policy allows the ecr:ListImages action",
    );
}

#[tokio::test]
async fn permission_and_long_term_credentials_are_needed() {
    let (server, ann) = with_admin().await;
    let weak = server.aws_user(ACCOUNT, "weak", READING);
    let denied = token(&weak, &[]).await;
    denied.assert_fault(
        403,
        "AccessDenied",
        &format!("sts:GetFederationToken on resource: {ARN}"),
    );
    let only = r#"{"Version":"2012-10-17","Statement":{"Effect":"Allow",
        "Action":"sts:GetFederationToken","Resource":"arn:aws:sts::*:federated-user/bob"}}"#;
    let lends = server.aws_user(ACCOUNT, "lends", only);
    assert_eq!(token(&lends, &[]).await.one("Arn"), ARN);
    let tags = [
        ("Tags.member.1.Key", "team"),
        ("Tags.member.1.Value", "red"),
    ];
    let denied = token(&lends, &tags).await;
    denied.assert_fault(403, "AccessDenied", "sts:TagSession");
    let session = ann.with_session(&ann.sts("GetSessionToken", &[]).await);
    let refused = token(&session, &[]).await;
    let message = "Cannot call GetFederationToken with session credentials";
    refused.assert_fault(403, "AccessDenied", message);
    for (members, code) in [
        (&[("Name", "b")][..], "ValidationError"),
        (&[("Name", "not valid")], "ValidationError"),
        (
            &[("Name", "bob"), ("Policy", "{}")],
            "MalformedPolicyDocument",
        ),
        (
            &[("Name", "bob"), ("DurationSeconds", "899")],
            "ValidationError",
        ),
        (&[], "ValidationError"),
    ] {
        let refused = ann.sts("GetFederationToken", members).await;
        refused.assert_fault(400, code, "");
    }
}
