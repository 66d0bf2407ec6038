//! Customer managed policies: their versions, listings and tags, and what deletes are refused.

use serde_json::json;

use crate::support::{ACCOUNT, Setup, TestServer};

const PUSH: &str = "arn:aws:iam::123456789012:policy/ci/Push";
const ADMINISTRATOR: &str = "arn:aws:iam::aws:policy/AdministratorAccess";

/// A policy document that allows one action.
fn allowing(action: &str) -> String {
    format!(
        r#"{{"Version":"2012-10-17","Statement":[{{"Effect":"Allow","Action":"{action}",
            "Resource":"*"}}]}}"#
    )
}

/// A server with the policy `Push` in its first version.
async fn with_push() -> TestServer {
    let server = TestServer::start(Setup::default()).await;
    let document = allowing("ecr:PutImage");
    let made = server
        .aws()
        .iam_ok(
            "CreatePolicy",
            &[
                ("PolicyName", "Push"),
                ("Path", "/ci/"),
                ("PolicyDocument", &document),
                ("Description", "what CI may do"),
                ("Tags.member.1.Key", "team"),
                ("Tags.member.1.Value", "red"),
            ],
        )
        .await;
    assert_eq!(made.one("Arn"), PUSH);
    assert!(made.one("PolicyId").starts_with("ANPA"));
    server
}

#[tokio::test]
async fn a_policy_is_created_shown_and_deleted() {
    let server = with_push().await;
    let root = server.aws();
    let shown = root.iam_ok("GetPolicy", &[("PolicyArn", PUSH)]).await;
    for (element, expected) in [
        ("PolicyName", "Push"),
        ("Path", "/ci/"),
        ("DefaultVersionId", "v1"),
        ("AttachmentCount", "0"),
        ("PermissionsBoundaryUsageCount", "0"),
        ("IsAttachable", "true"),
        ("Description", "what CI may do"),
        ("Value", "red"),
    ] {
        assert_eq!(shown.one(element), expected, "{element}");
    }
    let version = [("PolicyArn", PUSH), ("VersionId", "v1")];
    let version = root.iam_ok("GetPolicyVersion", &version).await;
    assert!(
        version
            .one("Document")
            .starts_with("%7B%22Version%22%3A%222012-10-17%22")
    );
    assert_eq!(version.one("IsDefaultVersion"), "true");
    root.iam_ok("DeletePolicy", &[("PolicyArn", PUSH)]).await;
    let gone = root.iam("GetPolicy", &[("PolicyArn", PUSH)]).await;
    gone.assert_fault(
        404,
        "NoSuchEntity",
        &format!("Policy {PUSH} was not found."),
    );
}

#[tokio::test]
async fn versions_are_numbered_and_at_most_five() {
    let server = with_push().await;
    let root = server.aws();
    let document = allowing("ecr:ListImages");
    let create = [("PolicyArn", PUSH), ("PolicyDocument", document.as_str())];
    let second = root.iam_ok("CreatePolicyVersion", &create).await;
    assert_eq!(second.one("VersionId"), "v2");
    assert_eq!(second.one("IsDefaultVersion"), "false");
    let default = [&create[..], &[("SetAsDefault", "true")]].concat();
    let third = root.iam_ok("CreatePolicyVersion", &default).await;
    assert_eq!(third.one("IsDefaultVersion"), "true");
    for _ in 4..=5 {
        root.iam_ok("CreatePolicyVersion", &create).await;
    }
    let sixth = root.iam("CreatePolicyVersion", &create).await;
    sixth.assert_fault(409, "LimitExceeded", "can have up to 5 versions");

    let page = [("PolicyArn", PUSH), ("MaxItems", "3")];
    let page = root.iam_ok("ListPolicyVersions", &page).await;
    assert_eq!(page.all("VersionId"), ["v5", "v4", "v3"]);
    let rest = [("PolicyArn", PUSH), ("Marker", page.one("Marker"))];
    let rest = root.iam_ok("ListPolicyVersions", &rest).await;
    assert_eq!(rest.all("VersionId"), ["v2", "v1"]);
    assert_eq!(rest.one("IsTruncated"), "false");

    let third = [("PolicyArn", PUSH), ("VersionId", "v3")];
    let refused = root.iam("DeletePolicyVersion", &third).await;
    refused.assert_fault(409, "DeleteConflict", "Cannot delete the default version");
    let fifth = [("PolicyArn", PUSH), ("VersionId", "v5")];
    root.iam_ok("SetDefaultPolicyVersion", &fifth).await;
    root.iam_ok("DeletePolicyVersion", &third).await;
    let again = root.iam("DeletePolicyVersion", &third).await;
    again.assert_fault(404, "NoSuchEntity", "version v3");
    let gone = root.iam("SetDefaultPolicyVersion", &third).await;
    gone.assert_fault(404, "NoSuchEntity", "version v3");
    let sixth = root.iam_ok("CreatePolicyVersion", &create).await;
    assert_eq!(sixth.one("VersionId"), "v6", "numbers are not used again");
    let refused = root.iam("DeletePolicy", &[("PolicyArn", PUSH)]).await;
    refused.assert_fault(409, "DeleteConflict", "more than one version");
}

#[tokio::test]
async fn the_default_version_is_what_users_may_do() {
    let server = with_push().await;
    let root = server.aws();
    let first = server.aws_user(ACCOUNT, "ci", PUSH);
    let denied = first.iam("GetUser", &[("UserName", "ci")]).await;
    denied.assert_fault(403, "AccessDenied", "iam:GetUser");
    let document = allowing("iam:GetUser");
    let second = [
        ("PolicyArn", PUSH),
        ("PolicyDocument", document.as_str()),
        ("SetAsDefault", "true"),
    ];
    root.iam_ok("CreatePolicyVersion", &second).await;
    // A user whose policies this server has not read before.
    let other = server.aws_user(ACCOUNT, "cd", PUSH);
    other.iam_ok("GetUser", &[("UserName", "cd")]).await;
    let shown = root.iam_ok("GetPolicy", &[("PolicyArn", PUSH)]).await;
    assert_eq!(shown.one("AttachmentCount"), "2");
    let refused = root.iam("DeletePolicy", &[("PolicyArn", PUSH)]).await;
    refused.assert_fault(409, "DeleteConflict", "attached to entities");

    let page = [("PolicyArn", PUSH), ("MaxItems", "1")];
    let page = root.iam_ok("ListEntitiesForPolicy", &page).await;
    assert_eq!(page.one("IsTruncated"), "true");
    let rest = [("PolicyArn", PUSH), ("Marker", page.one("Marker"))];
    let rest = root.iam_ok("ListEntitiesForPolicy", &rest).await;
    let mut users = [page.one("UserName"), rest.one("UserName")];
    users.sort_unstable();
    assert_eq!(users, ["cd", "ci"]);
    let groups = [("PolicyArn", PUSH), ("EntityFilter", "Group")];
    let groups = root.iam_ok("ListEntitiesForPolicy", &groups).await;
    assert!(groups.all("UserName").is_empty());
}

#[tokio::test]
async fn listings_have_both_kinds_and_filters() {
    let server = with_push().await;
    let root = server.aws();
    let document = allowing("ecr:*");
    for name in ["alpha", "Beta"] {
        let new = [("PolicyName", name), ("PolicyDocument", document.as_str())];
        root.iam_ok("CreatePolicy", &new).await;
    }
    let local = root.iam_ok("ListPolicies", &[("Scope", "Local")]).await;
    assert_eq!(local.all("PolicyName"), ["alpha", "Beta", "Push"]);
    assert!(local.all("Description").is_empty());
    let under = [("Scope", "Local"), ("PathPrefix", "/ci/")];
    let under = root.iam_ok("ListPolicies", &under).await;
    assert_eq!(under.all("PolicyName"), ["Push"]);
    let aws = root.iam_ok("ListPolicies", &[("Scope", "AWS")]).await;
    assert!(aws.all("Arn").contains(&ADMINISTRATOR));
    let mut all = Vec::new();
    let mut marker: Option<String> = None;
    loop {
        let mut members = vec![("MaxItems", "2")];
        members.extend(marker.as_deref().map(|marker| ("Marker", marker)));
        let page = root.iam_ok("ListPolicies", &members).await;
        all.extend(page.all("Arn").into_iter().map(ToOwned::to_owned));
        if page.one("IsTruncated") == "false" {
            break;
        }
        marker = Some(page.one("Marker").to_owned());
    }
    let whole = root.iam_ok("ListPolicies", &[]).await;
    assert_eq!(all, whole.all("Arn"));
    let used = root
        .iam_ok("ListPolicies", &[("OnlyAttached", "true")])
        .await;
    assert!(used.all("Arn").is_empty());
    server.aws_user(ACCOUNT, "admin", "AdministratorAccess");
    let used = root
        .iam_ok("ListPolicies", &[("OnlyAttached", "true")])
        .await;
    assert_eq!(used.all("Arn"), [ADMINISTRATOR]);
    let shown = root
        .iam_ok("GetPolicy", &[("PolicyArn", ADMINISTRATOR)])
        .await;
    assert_eq!(shown.one("AttachmentCount"), "1");
}

#[tokio::test]
async fn tags_of_policies_are_set_and_decide() {
    let server = with_push().await;
    let root = server.aws();
    let red = r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"iam:GetPolicy",
        "Resource":"*","Condition":{"StringEquals":{"aws:ResourceTag/team":"red"}}}]}"#;
    let ann = server.aws_user(ACCOUNT, "ann", red);
    ann.iam_ok("GetPolicy", &[("PolicyArn", PUSH)]).await;
    let set = [
        ("PolicyArn", PUSH),
        ("Tags.member.1.Key", "team"),
        ("Tags.member.1.Value", "blue"),
        ("Tags.member.2.Key", "cost"),
        ("Tags.member.2.Value", "7"),
    ];
    root.iam_ok("TagPolicy", &set).await;
    let denied = ann.iam("GetPolicy", &[("PolicyArn", PUSH)]).await;
    denied.assert_fault(403, "AccessDenied", "iam:GetPolicy");
    let page = [("PolicyArn", PUSH), ("MaxItems", "1")];
    let page = root.iam_ok("ListPolicyTags", &page).await;
    assert_eq!((page.all("Key"), page.one("Value")), (vec!["cost"], "7"));
    let rest = [("PolicyArn", PUSH), ("Marker", page.one("Marker"))];
    let rest = root.iam_ok("ListPolicyTags", &rest).await;
    assert_eq!((rest.all("Key"), rest.one("Value")), (vec!["team"], "blue"));
    let removed = [("PolicyArn", PUSH), ("TagKeys.member.1", "team")];
    root.iam_ok("UntagPolicy", &removed).await;
    let left = root.iam_ok("ListPolicyTags", &[("PolicyArn", PUSH)]).await;
    assert_eq!(left.all("Key"), ["cost"]);
}

#[tokio::test]
async fn wrong_requests_get_iams_errors() {
    let server = with_push().await;
    let root = server.aws();
    let (document, none) = (allowing("ecr:*"), "arn:aws:iam::123456789012:policy/None");
    let actions: Vec<_> = (0..400).map(|n| format!("ecr:Action{n:010}")).collect();
    let statement = json!({"Effect": "Allow", "Action": actions, "Resource": "*"});
    let many = json!({"Version": "2012-10-17", "Statement": [statement]}).to_string();
    for (action, members, status, code, message) in [
        (
            "CreatePolicy",
            &[
                ("PolicyName", "PUSH"),
                ("PolicyDocument", document.as_str()),
            ][..],
            409,
            "EntityAlreadyExists",
            "A policy called PUSH already exists. Duplicate names are not allowed.",
        ),
        (
            "CreatePolicy",
            &[("PolicyName", "x"), ("PolicyDocument", "{")],
            400,
            "MalformedPolicyDocument",
            "",
        ),
        (
            "CreatePolicy",
            &[("PolicyName", "x"), ("PolicyDocument", many.as_str())],
            409,
            "LimitExceeded",
            "Cannot exceed quota for PolicySize: 6144",
        ),
        (
            "CreatePolicyVersion",
            &[
                ("PolicyArn", ADMINISTRATOR),
                ("PolicyDocument", document.as_str()),
            ],
            403,
            "AccessDenied",
            "cannot be changed",
        ),
        (
            "DeletePolicy",
            &[("PolicyArn", none)],
            404,
            "NoSuchEntity",
            "Policy arn:aws:iam::123456789012:policy/None was not found.",
        ),
        (
            "GetPolicy",
            &[("PolicyArn", "arn:aws:iam::123456789012:policy/Push")],
            404,
            "NoSuchEntity",
            "was not found.",
        ),
        (
            "GetPolicy",
            &[("PolicyArn", "arn:aws:iam::123456789012:user/ci")],
            400,
            "InvalidInput",
            "ARN arn:aws:iam::123456789012:user/ci is not valid.",
        ),
        (
            "GetPolicy",
            &[("PolicyArn", "arn:aws:iam::210987654321:policy/Push")],
            403,
            "AccessDenied",
            "because no resource-based policy allows the iam:GetPolicy action",
        ),
        (
            "GetPolicyVersion",
            &[("PolicyArn", PUSH), ("VersionId", "v7")],
            404,
            "NoSuchEntity",
            "version v7 does not exist",
        ),
        (
            "ListPolicies",
            &[("Scope", "Mine")],
            400,
            "ValidationError",
            "Member must satisfy enum value set: [All, AWS, Local]",
        ),
    ] {
        root.iam(action, members)
            .await
            .assert_fault(status, code, message);
    }
    let local = root.iam_ok("ListPolicies", &[("Scope", "Local")]).await;
    assert_eq!(local.all("PolicyName"), ["Push"]);
}
