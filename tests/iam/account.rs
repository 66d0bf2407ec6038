//! Reports about an account: its alias, its summary, all of its identities, and the credential
//! report.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;

use crate::support::{Setup, TestServer};

const TRUST: &str = r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow",
    "Principal":{"Service":"ecs-tasks.amazonaws.com"},"Action":"sts:AssumeRole"}]}"#;
const READ: &str = r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow",
    "Action":"ecr:BatchGetImage","Resource":"*"}]}"#;
const READ_ONLY: &str = "arn:aws:iam::aws:policy/AmazonEC2ContainerRegistryReadOnly";

#[tokio::test]
async fn an_account_has_one_alias_that_no_other_has() {
    let server = TestServer::start(Setup::default()).await;
    let root = server.aws();
    let none = root.iam_ok("ListAccountAliases", &[]).await;
    assert!(none.all("member").is_empty(), "{}", none.document);
    for alias in ["first-one", "second"] {
        root.iam_ok("CreateAccountAlias", &[("AccountAlias", alias)])
            .await;
        let listed = root.iam_ok("ListAccountAliases", &[]).await;
        assert_eq!(listed.all("member"), [alias]);
    }
    let other = [("AccountAlias", "first-one")];
    let refused = root.iam("DeleteAccountAlias", &other).await;
    let message = "The account alias first-one cannot be found.";
    refused.assert_fault(404, "NoSuchEntity", message);
    for bad in ["-ab", "a--b", "ab", "Upper"] {
        let refused = root.iam("CreateAccountAlias", &[("AccountAlias", bad)]);
        assert_eq!(refused.await.status, 400, "{bad}");
    }
    root.iam_ok("DeleteAccountAlias", &[("AccountAlias", "second")])
        .await;
    let none = root.iam_ok("ListAccountAliases", &[]).await;
    assert!(none.all("member").is_empty());
}

#[tokio::test]
async fn the_summary_counts_what_is_there() {
    let server = TestServer::start(Setup::default()).await;
    let root = server.aws();
    for name in ["ann", "bob"] {
        root.iam_ok("CreateUser", &[("UserName", name)]).await;
    }
    root.iam_ok("CreateGroup", &[("GroupName", "readers")])
        .await;
    let attached = [("GroupName", "readers"), ("PolicyArn", READ_ONLY)];
    root.iam_ok("AttachGroupPolicy", &attached).await;
    let summary = root.iam_ok("GetAccountSummary", &[]).await.document;
    for (key, value) in [
        ("Users", 2),
        ("UsersQuota", 5_000),
        ("Groups", 1),
        ("Roles", 0),
        ("Policies", 0),
        ("PolicyVersionsInUse", 1),
        ("AccountAccessKeysPresent", 1),
        ("AccountMFAEnabled", 0),
        ("AccessKeysPerUserQuota", 2),
    ] {
        let entry = format!("<entry><key>{key}</key><value>{value}</value></entry>");
        assert!(summary.contains(&entry), "{entry} is not in {summary}");
    }
}

#[tokio::test]
async fn all_identities_are_listed_with_their_policies() {
    let server = TestServer::start(Setup::default()).await;
    let root = server.aws();
    root.iam_ok("CreateUser", &[("UserName", "ann")]).await;
    let inline = [
        ("UserName", "ann"),
        ("PolicyName", "read"),
        ("PolicyDocument", READ),
    ];
    root.iam_ok("PutUserPolicy", &inline).await;
    root.iam_ok("CreateGroup", &[("GroupName", "readers")])
        .await;
    let member = [("GroupName", "readers"), ("UserName", "ann")];
    root.iam_ok("AddUserToGroup", &member).await;
    let role = [("RoleName", "task"), ("AssumeRolePolicyDocument", TRUST)];
    root.iam_ok("CreateRole", &role).await;
    let profile = [("InstanceProfileName", "host")];
    root.iam_ok("CreateInstanceProfile", &profile).await;
    let added = [("InstanceProfileName", "host"), ("RoleName", "task")];
    root.iam_ok("AddRoleToInstanceProfile", &added).await;
    let policy = [("PolicyName", "own"), ("PolicyDocument", READ)];
    root.iam_ok("CreatePolicy", &policy).await;

    let all = root.iam_ok("GetAccountAuthorizationDetails", &[]).await;
    assert_eq!(all.all("UserName"), ["ann"]);
    assert_eq!(all.all("GroupName"), ["readers"]);
    assert_eq!(all.one("InstanceProfileName"), "host");
    let policies = all.all("PolicyName");
    assert!(policies.contains(&"read") && policies.contains(&"own"));
    assert_eq!(policies.len(), 2 + 18, "{policies:?}");
    assert_eq!(all.one("IsTruncated"), "false");

    let mut seen = Vec::new();
    let mut marker: Option<String> = None;
    loop {
        let mut request = vec![("MaxItems", "1"), ("Filter.member.1", "User")];
        request.push(("Filter.member.2", "LocalManagedPolicy"));
        if let Some(marker) = &marker {
            request.push(("Marker", marker));
        }
        let page = root.iam_ok("GetAccountAuthorizationDetails", &request);
        let page = page.await;
        seen.extend(page.all("PolicyName").into_iter().map(str::to_owned));
        if page.one("IsTruncated") == "false" {
            break;
        }
        marker = Some(page.one("Marker").to_owned());
    }
    assert_eq!(seen, ["read", "own"]);
}

#[tokio::test]
async fn the_credential_report_names_users_and_their_keys() {
    let server = TestServer::start(Setup::default()).await;
    let root = server.aws();
    let refused = root.iam("GetCredentialReport", &[]).await;
    refused.assert_fault(
        410,
        "ReportNotPresent",
        "No report is present for this account.",
    );
    root.iam_ok("CreateUser", &[("UserName", "ann")]).await;
    root.iam_ok("CreateAccessKey", &[("UserName", "ann")]).await;
    let made = root.iam_ok("GenerateCredentialReport", &[]).await;
    assert_eq!(made.one("State"), "COMPLETE");
    // The report holds for four hours, so a later user is not in it.
    root.iam_ok("CreateUser", &[("UserName", "bob")]).await;
    root.iam_ok("GenerateCredentialReport", &[]).await;
    let report = root.iam_ok("GetCredentialReport", &[]).await;
    assert_eq!(report.one("ReportFormat"), "text/csv");
    let content = BASE64_STANDARD.decode(report.one("Content"));
    let content = String::from_utf8(content.expect("base64")).expect("UTF-8");
    let lines: Vec<_> = content.lines().collect();
    assert_eq!(lines.len(), 3, "{content}");
    assert!(lines[0].starts_with("user,arn,user_creation_time,password_enabled,"));
    let root_line = "<root_account>,arn:aws:iam::123456789012:root,";
    assert!(lines[1].starts_with(root_line), "{content}");
    assert!(lines[2].starts_with("ann,arn:aws:iam::123456789012:user/ann,"));
    let fields: Vec<_> = lines[2].split(',').collect();
    assert_eq!((fields[8], fields[13]), ("true", "false"), "{content}");
}
