//! Permissions boundaries: what a user may do is what its policies and its boundary allow.

use crate::support::{ACCOUNT, Setup, TestServer};

const READING: &str = "arn:aws:iam::123456789012:policy/Reading";

#[tokio::test]
async fn a_boundary_limits_what_policies_allow() {
    let server = TestServer::start(Setup::default()).await;
    let root = server.aws();
    let reading = r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"iam:Get*",
        "Resource":"*"}]}"#;
    let new = [("PolicyName", "Reading"), ("PolicyDocument", reading)];
    root.iam_ok("CreatePolicy", &new).await;
    let ann = server.aws_user(ACCOUNT, "ann", "AdministratorAccess");
    let bounded = [("UserName", "ann"), ("PermissionsBoundary", READING)];
    root.iam_ok("PutUserPermissionsBoundary", &bounded).await;
    let shown = ann.iam_ok("GetUser", &[("UserName", "ann")]).await;
    assert_eq!(shown.one("PermissionsBoundaryArn"), READING);
    assert_eq!(shown.one("PermissionsBoundaryType"), "Policy");
    let denied = ann.iam("ListUsers", &[]).await;
    denied.assert_fault(
        403,
        "AccessDenied",
        "because no permissions boundary allows the iam:ListUsers action",
    );

    let policy = root.iam_ok("GetPolicy", &[("PolicyArn", READING)]).await;
    assert_eq!(policy.one("PermissionsBoundaryUsageCount"), "1");
    assert_eq!(policy.one("AttachmentCount"), "0");
    let usage = [
        ("PolicyArn", READING),
        ("PolicyUsageFilter", "PermissionsBoundary"),
    ];
    let users = root.iam_ok("ListEntitiesForPolicy", &usage).await;
    assert_eq!(users.all("UserName"), ["ann"]);
    let usage = [
        ("PolicyArn", READING),
        ("PolicyUsageFilter", "PermissionsPolicy"),
    ];
    let users = root.iam_ok("ListEntitiesForPolicy", &usage).await;
    assert!(users.all("UserName").is_empty());
    let boundaries = [("PolicyUsageFilter", "PermissionsBoundary")];
    let boundaries = root.iam_ok("ListPolicies", &boundaries).await;
    assert_eq!(boundaries.all("Arn"), [READING]);
    let refused = root.iam("DeletePolicy", &[("PolicyArn", READING)]).await;
    refused.assert_fault(409, "DeleteConflict", "attached to entities");

    let user = [("UserName", "ann")];
    root.iam_ok("DeleteUserPermissionsBoundary", &user).await;
    let shown = root.iam_ok("GetUser", &user).await;
    assert!(shown.all("PermissionsBoundaryArn").is_empty());
    // A user whose policies this server has not read before.
    let bob = server.aws_user(ACCOUNT, "bob", "AdministratorAccess");
    bob.iam_ok("ListUsers", &[]).await;
    root.iam_ok("DeletePolicy", &[("PolicyArn", READING)]).await;
}

#[tokio::test]
async fn a_boundary_is_a_policy_that_exists() {
    let server = TestServer::start(Setup::default()).await;
    let root = server.aws();
    root.iam_ok("CreateUser", &[("UserName", "ann")]).await;
    let missing = [("UserName", "ann"), ("PermissionsBoundary", READING)];
    let refused = root.iam("PutUserPermissionsBoundary", &missing).await;
    refused.assert_fault(404, "NoSuchEntity", "does not exist or is not attachable.");
    let nobody = [("UserName", "bob")];
    let refused = root.iam("DeleteUserPermissionsBoundary", &nobody).await;
    refused.assert_fault(
        404,
        "NoSuchEntity",
        "The user with name bob cannot be found.",
    );
}

/// The pattern by which AWS lets administrators delegate (IAM user guide, "Delegating
/// responsibility to others using permissions boundaries").
#[tokio::test]
async fn conditions_know_the_boundary_that_is_set_or_that_the_user_has() {
    let server = TestServer::start(Setup::default()).await;
    let root = server.aws();
    let allow = r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"ecr:*",
        "Resource":"*"}]}"#;
    for name in ["Reading", "Other"] {
        let new = [("PolicyName", name), ("PolicyDocument", allow)];
        root.iam_ok("CreatePolicy", &new).await;
    }
    let delegated = format!(
        r#"{{"Version":"2012-10-17","Statement":[{{"Effect":"Allow","Action":"iam:*",
            "Resource":"*","Condition":{{"StringEquals":{{"iam:PermissionsBoundary":"{READING}"}}
            }}}},{{"Effect":"Deny","Action":"iam:DeleteUserPermissionsBoundary","Resource":"*",
            "Condition":{{"StringEquals":{{"iam:PermissionsBoundary":"{READING}"}}}}}}]}}"#
    );
    let ann = server.aws_user(ACCOUNT, "ann", "AmazonEC2ContainerRegistryReadOnly");
    let policy = [
        ("UserName", "ann"),
        ("PolicyName", "delegated"),
        ("PolicyDocument", &delegated),
    ];
    root.iam_ok("PutUserPolicy", &policy).await;
    root.iam_ok("CreateUser", &[("UserName", "bob")]).await;

    let attach = [("UserName", "bob"), ("PolicyArn", READING)];
    let inline = [
        ("UserName", "bob"),
        ("PolicyName", "x"),
        ("PolicyDocument", allow),
    ];
    let name = [("UserName", "bob"), ("PolicyName", "x")];
    let bound = |arn| [("UserName", "bob"), ("PermissionsBoundary", arn)];
    let other = "arn:aws:iam::123456789012:policy/Other";
    for (operation, members) in [
        ("AttachUserPolicy", &attach[..]),
        ("DetachUserPolicy", &attach),
        ("PutUserPolicy", &inline),
        ("DeleteUserPolicy", &name),
        ("PutUserPermissionsBoundary", &bound(other)),
        ("DeleteUserPermissionsBoundary", &attach[..1]),
    ] {
        let denied = ann.iam(operation, members).await;
        denied.assert_fault(403, "AccessDenied", "because no identity-based policy");
    }
    for (operation, members) in [
        ("PutUserPermissionsBoundary", &bound(READING)[..]),
        ("AttachUserPolicy", &attach),
        ("DetachUserPolicy", &attach),
        ("PutUserPolicy", &inline),
        ("DeleteUserPolicy", &name),
    ] {
        ann.iam_ok(operation, members).await;
    }
    let denied = ann.iam("PutUserPermissionsBoundary", &bound(other)).await;
    denied.assert_fault(403, "AccessDenied", "because no identity-based policy");
    let bob = &attach[..1];
    let denied = ann.iam("DeleteUserPermissionsBoundary", bob).await;
    denied.assert_fault(403, "AccessDenied", "with an explicit deny");
}
