//! Roles: who assumes one, and what its sessions may do wherever keys are taken.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::StatusCode;
use serde_json::json;

use crate::support::{ACCOUNT, Aws, QueryOutcome, Setup, TestServer, now};

const ROLE: &str = "arn:aws:iam::123456789012:role/deploy";
const POWER_USER: &str = "arn:aws:iam::aws:policy/AmazonEC2ContainerRegistryPowerUser";
/// May assume every role.
const ASSUME: &str = r#"{"Version":"2012-10-17","Statement":
    {"Effect":"Allow","Action":["sts:AssumeRole","sts:TagSession","sts:SetSourceIdentity"],
     "Resource":"*"}}"#;
/// May do nothing of STS.
const NOTHING: &str = "AmazonEC2ContainerRegistryReadOnly";

/// A trust policy with these principals and conditions.
fn trusting(principal: &serde_json::Value, condition: &serde_json::Value) -> String {
    let statement = json!({
        "Effect": "Allow", "Principal": principal, "Condition": condition,
        "Action": ["sts:AssumeRole", "sts:TagSession", "sts:SetSourceIdentity"],
    });
    json!({"Version": "2012-10-17", "Statement": [statement]}).to_string()
}

/// A server with the role `deploy`, which the account may assume and which may push.
async fn with_role() -> TestServer {
    let server = TestServer::start(Setup::default()).await;
    let trust = trusting(&json!({"AWS": ACCOUNT}), &json!({}));
    create_role(&server.aws(), "deploy", &trust).await;
    server
}

async fn create_role(root: &Aws, name: &str, trust: &str) {
    let members = [("RoleName", name), ("AssumeRolePolicyDocument", trust)];
    root.iam_ok("CreateRole", &members).await;
    let members = [("RoleName", name), ("PolicyArn", POWER_USER)];
    root.iam_ok("AttachRolePolicy", &members).await;
}

async fn assume(aws: &Aws, role: &str, more: &[(&str, &str)]) -> QueryOutcome {
    let mut members = vec![("RoleArn", role), ("RoleSessionName", "run")];
    members.extend(more);
    aws.sts("AssumeRole", &members).await
}

#[track_caller]
fn session_of(aws: &Aws, assumed: &QueryOutcome) -> Aws {
    assert_eq!(assumed.status, StatusCode::OK, "{}", assumed.document);
    aws.with_session(assumed)
}

#[tokio::test]
async fn a_session_of_a_role_acts_as_the_role() {
    let server = with_role().await;
    let ann = server.aws_user(ACCOUNT, "ann", ASSUME);
    let assumed = assume(&ann, ROLE, &[]).await;
    let session = session_of(&ann, &assumed);
    let arn = "arn:aws:sts::123456789012:assumed-role/deploy/run";
    assert_eq!(assumed.one("Arn"), arn);
    assert!(assumed.one("AssumedRoleId").ends_with(":run"));
    assert!(assumed.all("PackedPolicySize").is_empty());
    let identity = session.sts("GetCallerIdentity", &[]).await;
    assert_eq!(identity.one("Arn"), arn);
    assert_eq!(identity.one("UserId"), assumed.one("AssumedRoleId"));
    server
        .aws()
        .ok("CreateRepository", json!({"repositoryName": "web"}))
        .await;
    session.ok("DescribeRepositories", json!({})).await;
    session
        .ecr("DeleteRepository", json!({"repositoryName": "web"}))
        .await
        .assert_denied("ecr:DeleteRepository", "ecr:DeleteRepository action");
    let docker = server.client().with_password(&password(&session).await);
    assert_eq!(docker.get("/v2/web/tags/list").await.status, StatusCode::OK);
    let started = docker.post("/v2/web/blobs/uploads/", "").await;
    assert_eq!(started.status, StatusCode::ACCEPTED);
}

async fn password(aws: &Aws) -> String {
    let response = aws.ok("GetAuthorizationToken", json!({})).await;
    let token = &response["authorizationData"][0]["authorizationToken"];
    let pair = STANDARD.decode(token.as_str().expect("a token"));
    let pair = String::from_utf8(pair.expect("Base64")).expect("text");
    pair.strip_prefix("AWS:").expect("the user AWS").to_owned()
}

#[tokio::test]
async fn a_session_policy_limits_every_api() {
    let server = with_role().await;
    let ann = server.aws_user(ACCOUNT, "ann", ASSUME);
    server
        .aws()
        .ok("CreateRepository", json!({"repositoryName": "web"}))
        .await;
    let policy = r#"{"Version":"2012-10-17","Statement":{"Effect":"Allow",
        "Action":["ecr:GetAuthorizationToken","ecr:ListImages"],"Resource":"*"}}"#;
    let assumed = assume(&ann, ROLE, &[("Policy", policy)]).await;
    let session = session_of(&ann, &assumed);
    assert!(assumed.one("PackedPolicySize").parse::<u32>().is_ok());
    session
        .ok("ListImages", json!({"repositoryName": "web"}))
        .await;
    session
        .ecr("DescribeRepositories", json!({}))
        .await
        .assert_denied(
            "ecr:DescribeRepositories",
            "because no session policy allows the ecr:DescribeRepositories action",
        );
    // The name of the member is `arn`: the session must not be without its limit.
    let wrong = [("PolicyArns.member.1.Arn", POWER_USER)];
    assume(&ann, ROLE, &wrong)
        .await
        .assert_fault(400, "ValidationError", "PolicyArns");
    let docker = server.client().with_password(&password(&session).await);
    assert_eq!(docker.get("/v2/web/tags/list").await.status, StatusCode::OK);
    let started = docker.post("/v2/web/blobs/uploads/", "").await;
    assert_eq!(started.status, StatusCode::FORBIDDEN);
    let arns = [
        (
            "PolicyArns.member.1.arn",
            "arn:aws:iam::aws:policy/AmazonEC2ContainerRegistryReadOnly",
        ),
        ("Policy", policy),
    ];
    let assumed = assume(&ann, ROLE, &arns).await;
    let session = session_of(&ann, &assumed);
    session.ok("DescribeRepositories", json!({})).await;
    session
        .ecr(
            "PutImage",
            json!({"repositoryName": "web", "imageManifest": "{}"}),
        )
        .await
        .assert_denied(
            "ecr:PutImage",
            "because no session policy allows the ecr:PutImage action",
        );
}

#[tokio::test]
async fn both_sides_decide_who_assumes_a_role() {
    let server = with_role().await;
    let root = server.aws();
    let (ann, eve) = (
        server.aws_user(ACCOUNT, "ann", ASSUME),
        server.aws_user(ACCOUNT, "eve", NOTHING),
    );
    let denied = "is not authorized to perform: sts:AssumeRole on resource: \
         arn:aws:iam::123456789012:role/deploy because no identity-based policy allows";
    assume(&eve, ROLE, &[])
        .await
        .assert_fault(403, "AccessDenied", denied);
    assume(&root, ROLE, &[]).await.assert_fault(
        403,
        "AccessDenied",
        "Roles may not be assumed by root accounts.",
    );
    let trust = trusting(
        &json!({"AWS": "arn:aws:iam::123456789012:user/eve"}),
        &json!({"StringEquals": {"sts:ExternalId": "deal-7"}}),
    );
    create_role(&root, "partner", &trust).await;
    let partner = "arn:aws:iam::123456789012:role/partner";
    let no_trust = "because no role trust policy allows the sts:AssumeRole action";
    assume(&ann, partner, &[])
        .await
        .assert_fault(403, "AccessDenied", no_trust);
    let wrong = assume(&eve, partner, &[("ExternalId", "deal-8")]).await;
    wrong.assert_fault(403, "AccessDenied", "sts:AssumeRole");
    let right = assume(&eve, partner, &[("ExternalId", "deal-7")]).await;
    assert_eq!(right.status, StatusCode::OK, "{}", right.document);
    for missing in [
        "arn:aws:iam::123456789012:role/nobody",
        "arn:aws:iam::123456789012:role/path/deploy",
    ] {
        assume(&ann, missing, &[])
            .await
            .assert_fault(403, "AccessDenied", no_trust);
        let denied = "because no identity-based policy allows";
        assume(&eve, missing, &[])
            .await
            .assert_fault(403, "AccessDenied", denied);
    }
    let other = server.aws_user("210987654321", "bob", ASSUME);
    assume(&other, ROLE, &[])
        .await
        .assert_fault(403, "AccessDenied", no_trust);
    let service = trusting(&json!({"Service": "ecs-tasks.amazonaws.com"}), &json!({}));
    create_role(&root, "task", &service).await;
    let task = "arn:aws:iam::123456789012:role/task";
    assume(&ann, task, &[])
        .await
        .assert_fault(403, "AccessDenied", no_trust);
}

#[tokio::test]
async fn tags_and_source_identity_pass_through_a_chain() {
    let server = with_role().await;
    let root = server.aws();
    let policy = r#"{"Version":"2012-10-17","Statement":[
        {"Effect":"Allow","Action":["sts:*"],"Resource":"*"},
        {"Effect":"Allow","Action":"ecr:CreateRepository","Resource":
         "arn:aws:ecr:*:*:repository/${aws:PrincipalTag/team}/*",
         "Condition":{"StringEquals":{"aws:SourceIdentity":"ann"}}}]}"#;
    for role in ["first", "second"] {
        create_role(&root, role, &trusting(&json!({"AWS": ACCOUNT}), &json!({}))).await;
        let members = [
            ("RoleName", role),
            ("PolicyName", "own"),
            ("PolicyDocument", policy),
        ];
        root.iam_ok("PutRolePolicy", &members).await;
    }
    let (first, second) = (
        "arn:aws:iam::123456789012:role/first",
        "arn:aws:iam::123456789012:role/second",
    );
    let ann = server.aws_user(ACCOUNT, "ann", ASSUME);
    let members = [
        ("Tags.member.1.Key", "team"),
        ("Tags.member.1.Value", "red"),
        ("TransitiveTagKeys.member.1", "team"),
        ("SourceIdentity", "ann"),
    ];
    let assumed = assume(&ann, first, &members).await;
    assert_eq!(assumed.one("SourceIdentity"), "ann");
    let chained = session_of(&ann, &assumed);
    let long = assume(&chained, second, &[("DurationSeconds", "3601")]).await;
    long.assert_fault(
        400,
        "ValidationError",
        "1 hour session limit for roles assumed by role chaining",
    );
    let conflict = [
        ("Tags.member.1.Key", "TEAM"),
        ("Tags.member.1.Value", "blue"),
    ];
    let conflict = assume(&chained, second, &conflict).await;
    conflict.assert_fault(400, "InvalidParameterValue", "transitive tag key");
    let assumed = assume(&chained, second, &[]).await;
    let session = session_of(&chained, &assumed);
    assert_eq!(assumed.one("SourceIdentity"), "ann");
    session
        .ok("CreateRepository", json!({"repositoryName": "red/web"}))
        .await;
    session
        .ecr("CreateRepository", json!({"repositoryName": "blue/web"}))
        .await
        .assert_denied("ecr:CreateRepository", "ecr:CreateRepository action");
    let untagged = session_of(&ann, &assume(&ann, second, &[]).await);
    untagged
        .ecr("CreateRepository", json!({"repositoryName": "red/api"}))
        .await
        .assert_denied("ecr:CreateRepository", "ecr:CreateRepository action");
    let only = r#"{"Version":"2012-10-17","Statement":
        {"Effect":"Allow","Action":"sts:AssumeRole","Resource":"*"}}"#;
    let eve = server.aws_user(ACCOUNT, "eve", only);
    let tag = [("Tags.member.1.Key", "a"), ("Tags.member.1.Value", "b")];
    assume(&eve, first, &tag)
        .await
        .assert_fault(403, "AccessDenied", "sts:TagSession");
    let identity = assume(&eve, first, &[("SourceIdentity", "eve")]).await;
    identity.assert_fault(403, "AccessDenied", "sts:SetSourceIdentity");
}

#[tokio::test]
async fn what_no_session_can_be_is_refused() {
    let server = with_role().await;
    let ann = server.aws_user(ACCOUNT, "ann", ASSUME);
    let long = format!(r#"{{"Statement":[]{}}}"#, " ".repeat(2_048));
    let mut many = Vec::new();
    let names: Vec<String> = (1..=11)
        .map(|at| format!("PolicyArns.member.{at}.arn"))
        .collect();
    for name in &names {
        many.push((name.as_str(), "arn:aws:iam::aws:policy/ReadOnlyAccess"));
    }
    for (members, code, message) in [
        (
            &[("DurationSeconds", "899")][..],
            "ValidationError",
            "greater than or equal to 900",
        ),
        (
            &[("DurationSeconds", "3601")],
            "ValidationError",
            "exceeds the MaxSessionDuration set for this role",
        ),
        (
            &[("DurationSeconds", "43201")],
            "ValidationError",
            "less than or equal to 43200",
        ),
        (&[("Policy", "{}")], "MalformedPolicyDocument", "Statement"),
        (&[("Policy", long.as_str())], "MalformedPolicyDocument", ""),
        (
            &[(
                "PolicyArns.member.1.arn",
                "arn:aws:iam::123456789012:policy/none",
            )],
            "ValidationError",
            "policy/none",
        ),
        (&many, "ValidationError", "up to 10"),
        (
            &[("TransitiveTagKeys.member.1", "team")],
            "InvalidParameterValue",
            "must be included",
        ),
        (
            &[("SourceIdentity", "aws:x")],
            "ValidationError",
            "sourceIdentity",
        ),
        (
            &[(
                "ProvidedContexts.member.1.ProviderArn",
                "arn:aws:iam::aws:contextProvider/IdentityCenter",
            )],
            "ValidationError",
            "not supported",
        ),
    ] {
        assume(&ann, ROLE, members)
            .await
            .assert_fault(400, code, message);
    }
    let mfa = [
        ("SerialNumber", "arn:aws:iam::123456789012:mfa/ann"),
        ("TokenCode", "123456"),
    ];
    assume(&ann, ROLE, &mfa).await.assert_fault(
        403,
        "AccessDenied",
        "MultiFactorAuthentication failed",
    );
    let name = [("RoleArn", ROLE), ("RoleSessionName", "a b")];
    ann.sts("AssumeRole", &name)
        .await
        .assert_fault(400, "ValidationError", "roleSessionName");
    for arn in [
        "arn:aws:iam::123456789012:user/ann",
        "arn:aws:iam::123456789012:role/",
        "arn:aws:sts::123456789012:assumed-role/deploy/run",
        "arn:aws:iam:::role/deployment",
    ] {
        assume(&ann, arn, &[])
            .await
            .assert_fault(400, "ValidationError", "is invalid");
    }
    let tags: Vec<(String, String)> = (1..=50)
        .flat_map(|at| {
            let key = (format!("Tags.member.{at}.Key"), format!("key-{at}"));
            [key, (format!("Tags.member.{at}.Value"), "v".repeat(256))]
        })
        .collect();
    let tags: Vec<_> = tags
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_str()))
        .collect();
    assume(&ann, ROLE, &tags)
        .await
        .assert_fault(400, "PackedPolicyTooLarge", "allotted space");
}

/// `AWSRevokeOlderSessions` is the policy that the console of AWS sets to end sessions.
#[tokio::test]
async fn older_sessions_are_revoked_by_a_policy_within_a_second() {
    let server = with_role().await;
    let root = server.aws();
    let ann = server.aws_user(ACCOUNT, "ann", ASSUME);
    let old = session_of(&ann, &assume(&ann, ROLE, &[]).await);
    old.ok("DescribeRepositories", json!({})).await;
    // Times of issue have whole seconds.
    tokio::time::sleep(Duration::from_millis(1_100)).await;
    let from = now().to_string();
    let revoke = json!({"Version": "2012-10-17", "Statement": [{
        "Effect": "Deny", "Action": ["*"], "Resource": ["*"],
        "Condition": {"DateLessThan": {"aws:TokenIssueTime": from}},
    }]});
    let members = [
        ("RoleName", "deploy"),
        ("PolicyName", "AWSRevokeOlderSessions"),
        ("PolicyDocument", &revoke.to_string()),
    ];
    root.iam_ok("PutRolePolicy", &members).await;
    tokio::time::sleep(Duration::from_millis(1_100)).await;
    old.ecr("DescribeRepositories", json!({}))
        .await
        .assert_denied(
            "ecr:DescribeRepositories",
            "with an explicit deny in an identity-based policy",
        );
    let new = session_of(&ann, &assume(&ann, ROLE, &[]).await);
    new.ok("DescribeRepositories", json!({})).await;
}

#[tokio::test]
async fn a_session_ends_with_its_role() {
    let server = with_role().await;
    let root = server.aws();
    let ann = server.aws_user(ACCOUNT, "ann", ASSUME);
    let session = session_of(&ann, &assume(&ann, ROLE, &[]).await);
    session.ok("DescribeRepositories", json!({})).await;
    let used = async || root.iam_ok("GetRole", &[("RoleName", "deploy")]).await;
    while used().await.all("LastUsedDate").is_empty() {
        tokio::task::yield_now().await;
    }
    let members = [("RoleName", "deploy"), ("PolicyArn", POWER_USER)];
    root.iam_ok("DetachRolePolicy", &members).await;
    root.iam_ok("DeleteRole", &[("RoleName", "deploy")]).await;
    tokio::time::sleep(Duration::from_millis(1_100)).await;
    session
        .ecr("DescribeRepositories", json!({}))
        .await
        .assert_fault("UnrecognizedClientException", "security token");
}

#[tokio::test]
async fn sessions_of_roles_manage_identities_and_those_of_users_do_not() {
    let server = with_role().await;
    let root = server.aws();
    let members = [
        ("RoleName", "deploy"),
        ("PolicyArn", "arn:aws:iam::aws:policy/IAMReadOnlyAccess"),
    ];
    root.iam_ok("AttachRolePolicy", &members).await;
    let ann = server.aws_user(ACCOUNT, "ann", ASSUME);
    let session = session_of(&ann, &assume(&ann, ROLE, &[]).await);
    session.iam_ok("ListRoles", &[]).await;
    let of_user = ann.with_session(&ann.sts("GetSessionToken", &[]).await);
    of_user
        .iam("ListRoles", &[])
        .await
        .assert_fault(403, "InvalidClientTokenId", "");
    let refused = session.sts("GetSessionToken", &[]).await;
    refused.assert_fault(403, "AccessDenied", "with session credentials");
}
