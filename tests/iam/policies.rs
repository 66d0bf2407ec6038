//! Inline and attached policies of users and groups.

use crate::iam::roles::TRUST;
use crate::support::{ACCOUNT, Setup, TestServer};

const ALLOW: &str = r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"ecr:*",
    "Resource":"*"}]}"#;
const ADMIN: &str = "arn:aws:iam::aws:policy/AdministratorAccess";
const READ_ONLY: &str = "arn:aws:iam::aws:policy/AmazonEC2ContainerRegistryReadOnly";

/// Kind, member that names the identity, and the most characters of its inline policies.
const KINDS: [(&str, &str, usize); 3] = [
    ("User", "UserName", 2_048),
    ("Group", "GroupName", 5_120),
    ("Role", "RoleName", 10_240),
];

/// What the creation of the kind needs besides the name.
fn members<'a>(kind: &str, name: (&'a str, &'a str)) -> Vec<(&'a str, &'a str)> {
    let trust = ("AssumeRolePolicyDocument", TRUST);
    match kind {
        "Role" => vec![name, trust],
        _ => vec![name],
    }
}

#[tokio::test]
async fn inline_policies_are_set_read_and_deleted() {
    let server = TestServer::start(Setup::default()).await;
    let root = server.aws();
    for (kind, member, most) in KINDS {
        let name = (member, "x");
        let policy = |name: &'static str| ("PolicyName", name);
        let put = format!("Put{kind}Policy");
        root.iam_ok(&format!("Create{kind}"), &members(kind, name))
            .await;
        for called in ["b", "a", "a"] {
            root.iam_ok(&put, &[name, policy(called), ("PolicyDocument", ALLOW)])
                .await;
        }
        let got = root
            .iam_ok(&format!("Get{kind}Policy"), &[name, policy("a")])
            .await;
        assert_eq!((got.one(member), got.one("PolicyName")), ("x", "a"));
        let document = got.one("PolicyDocument");
        assert!(
            document.starts_with("%7B%22Version%22%3A%222012"),
            "{document}"
        );
        let listed = root.iam_ok(&format!("List{kind}Policies"), &[name]).await;
        assert!(
            listed
                .document
                .contains("<member>a</member><member>b</member>")
        );
        let refused = root.iam(&put, &[name, policy("c"), ("PolicyDocument", "{}")]);
        let refused = refused.await;
        refused.assert_fault(400, "MalformedPolicyDocument", "Syntax errors in policy.");
        let repository = |at| format!("\"arn:aws:ecr:*:*:repository/{at}\"");
        let repositories: Vec<_> = (0..most / 25).map(repository).collect();
        let long = ALLOW.replace("\"*\"", &format!("[{}]", repositories.join(",")));
        let refused = root.iam(&put, &[name, policy("c"), ("PolicyDocument", &long)]);
        refused.await.assert_fault(
            409,
            "LimitExceeded",
            &format!("Maximum policy size of {most} bytes exceeded"),
        );
        let conflict = root.iam(&format!("Delete{kind}"), &[name]).await;
        conflict.assert_fault(409, "DeleteConflict", "must delete policies first.");
        let delete = format!("Delete{kind}Policy");
        for called in ["a", "b"] {
            root.iam_ok(&delete, &[name, policy(called)]).await;
        }
        let gone = root.iam(&delete, &[name, policy("a")]).await;
        let lower = kind.to_ascii_lowercase();
        let message = format!("The {lower} policy with name a cannot be found.");
        gone.assert_fault(404, "NoSuchEntity", &message);
        root.iam_ok(&format!("Delete{kind}"), &[name]).await;
    }
}

#[tokio::test]
async fn managed_policies_are_attached_and_detached() {
    let server = TestServer::start(Setup::default()).await;
    let root = server.aws();
    for (kind, member, _) in KINDS {
        let name = (member, "x");
        let (attach, detach) = (format!("Attach{kind}Policy"), format!("Detach{kind}Policy"));
        let list = format!("ListAttached{kind}Policies");
        root.iam_ok(&format!("Create{kind}"), &members(kind, name))
            .await;
        for arn in [READ_ONLY, ADMIN, ADMIN] {
            root.iam_ok(&attach, &[name, ("PolicyArn", arn)]).await;
        }
        let page = root.iam_ok(&list, &[name, ("MaxItems", "1")]).await;
        assert_eq!(page.all("PolicyArn"), [ADMIN]);
        assert_eq!(page.one("PolicyName"), "AdministratorAccess");
        let rest = root.iam_ok(&list, &[name, ("Marker", page.one("Marker"))]);
        assert_eq!(rest.await.all("PolicyArn"), [READ_ONLY]);
        for (arn, status, code) in [
            ("arn:aws:iam::aws:policy/Nothing", 404, "NoSuchEntity"),
            ("AdministratorAccess-without-arn", 400, "InvalidInput"),
        ] {
            let refused = root.iam(&attach, &[name, ("PolicyArn", arn)]).await;
            refused.assert_fault(status, code, arn);
        }
        let conflict = root.iam(&format!("Delete{kind}"), &[name]).await;
        conflict.assert_fault(409, "DeleteConflict", "must detach all policies first.");
        for arn in [ADMIN, READ_ONLY] {
            root.iam_ok(&detach, &[name, ("PolicyArn", arn)]).await;
        }
        let gone = root.iam(&detach, &[name, ("PolicyArn", ADMIN)]).await;
        gone.assert_fault(404, "NoSuchEntity", "was not found.");
        root.iam_ok(&format!("Delete{kind}"), &[name]).await;
    }
}

/// An administrator who may hand out some policies only.
#[tokio::test]
async fn the_arn_of_an_attached_policy_is_a_condition_key() {
    let server = TestServer::start(Setup::default()).await;
    let policy = format!(
        r#"{{"Version":"2012-10-17","Statement":[
            {{"Effect":"Allow","Action":"iam:*","Resource":"*"}},
            {{"Effect":"Deny","Action":"iam:AttachUserPolicy","Resource":"*",
             "Condition":{{"ArnEquals":{{"iam:PolicyARN":"{ADMIN}"}}}}}}]}}"#
    );
    let ann = server.aws_user(ACCOUNT, "ann", &policy);
    ann.iam_ok("CreateUser", &[("UserName", "x")]).await;
    let name = ("UserName", "x");
    ann.iam_ok("AttachUserPolicy", &[name, ("PolicyArn", READ_ONLY)])
        .await;
    let refused = ann.iam("AttachUserPolicy", &[name, ("PolicyArn", ADMIN)]);
    refused
        .await
        .assert_fault(403, "AccessDenied", "with an explicit deny");
}

/// The boundary limits what the policies allow.
#[tokio::test]
async fn a_user_with_a_boundary_has_no_more_than_it_allows() {
    let server = TestServer::start(Setup::default()).await;
    let root = server.aws();
    let bounded = [("UserName", "x"), ("PermissionsBoundary", READ_ONLY)];
    let made = root.iam_ok("CreateUser", &bounded).await;
    assert_eq!(made.one("PermissionsBoundaryArn"), READ_ONLY);
    let all = [("UserName", "x"), ("PolicyArn", ADMIN)];
    root.iam_ok("AttachUserPolicy", &all).await;
    let key = root.iam_ok("CreateAccessKey", &[("UserName", "x")]).await;
    let x = server.aws_with(key.one("AccessKeyId"), key.one("SecretAccessKey"));
    x.ok("DescribeRepositories", serde_json::json!({})).await;
    let refused = x.iam("ListUsers", &[]).await;
    refused.assert_fault(
        403,
        "AccessDenied",
        "because no permissions boundary allows the iam:ListUsers action",
    );
}

/// IAM takes documents of up to 131,072 characters, and its quotas refuse them.
#[tokio::test]
async fn a_long_document_gets_the_error_of_iam() {
    let server = TestServer::start(Setup::default()).await;
    let root = server.aws();
    root.iam_ok("CreateUser", &[("UserName", "x")]).await;
    let named = [("UserName", "x"), ("PolicyName", "p")];
    for (chars, status, code, message) in [
        (70_000, 409, "LimitExceeded", "Maximum policy size of 2048"),
        (131_072, 409, "LimitExceeded", "Maximum policy size of 2048"),
        (
            131_073,
            400,
            "ValidationError",
            "length less than or equal to 131072",
        ),
    ] {
        let long = "{".repeat(chars);
        let put = [named[0], named[1], ("PolicyDocument", long.as_str())];
        let refused = root.iam("PutUserPolicy", &put).await;
        refused.assert_fault(status, code, message);
    }
    let long = "\u{e9}".repeat(131_072);
    let policy = [("PolicyName", "p"), ("PolicyDocument", long.as_str())];
    let refused = root.iam("CreatePolicy", &policy).await;
    refused.assert_fault(409, "LimitExceeded", "PolicySize: 6144");
}
