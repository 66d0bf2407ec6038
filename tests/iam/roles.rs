//! Roles: who may assume one, their listings, tags and boundaries, and how policies name them.

use serde_json::json;

use crate::support::{ACCOUNT, Aws, Setup, TestServer};

/// Who may assume the roles of tests: all of the account.
pub(super) const TRUST: &str = r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow",
    "Principal":{"AWS":"123456789012"},"Action":"sts:AssumeRole"}]}"#;
const READ_ONLY: &str = "arn:aws:iam::aws:policy/AmazonEC2ContainerRegistryReadOnly";
const DEPLOY: &str = "arn:aws:iam::123456789012:role/ci/deploy";

fn trusting(principal: &str, action: &str) -> String {
    let statement = json!({"Effect": "Allow", "Principal": {"AWS": principal}, "Action": action});
    json!({"Version": "2012-10-17", "Statement": [statement]}).to_string()
}

/// Creates the role `deploy`; returns its unique id.
async fn create_deploy(root: &Aws) -> String {
    let made = root
        .iam_ok(
            "CreateRole",
            &[
                ("RoleName", "deploy"),
                ("Path", "/ci/"),
                ("AssumeRolePolicyDocument", TRUST),
                ("Description", "for CI"),
                ("MaxSessionDuration", "7200"),
                ("PermissionsBoundary", READ_ONLY),
                ("Tags.member.1.Key", "team"),
                ("Tags.member.1.Value", "red"),
            ],
        )
        .await;
    assert_eq!(made.one("Arn"), DEPLOY);
    made.one("RoleId").to_owned()
}

#[tokio::test]
async fn a_role_is_created_shown_changed_and_deleted() {
    let server = TestServer::start(Setup::default()).await;
    let root = server.aws();
    let id = create_deploy(&root).await;
    assert!(id.starts_with("AROA") && id.len() == 21, "{id}");
    let role = ("RoleName", "Deploy");
    let shown = root.iam_ok("GetRole", &[role]).await;
    for (element, expected) in [
        ("RoleName", "deploy"),
        ("RoleId", id.as_str()),
        ("Path", "/ci/"),
        ("Description", "for CI"),
        ("MaxSessionDuration", "7200"),
        ("PermissionsBoundaryArn", READ_ONLY),
        ("Value", "red"),
    ] {
        assert_eq!(shown.one(element), expected, "{element}");
    }
    let document = shown.one("AssumeRolePolicyDocument");
    assert!(document.starts_with("%7B%22Version"), "{document}");
    let change = [role, ("MaxSessionDuration", "43200")];
    root.iam_ok("UpdateRole", &change).await;
    let described = [role, ("Description", "other")];
    let changed = root.iam_ok("UpdateRoleDescription", &described).await;
    assert_eq!(changed.one("Description"), "other");
    assert_eq!(changed.one("MaxSessionDuration"), "43200");
    root.iam_ok("CreateUser", &[("UserName", "ann")]).await;
    let ann = trusting("arn:aws:iam::123456789012:user/ann", "sts:AssumeRole");
    let trust = [role, ("PolicyDocument", ann.as_str())];
    root.iam_ok("UpdateAssumeRolePolicy", &trust).await;
    let shown = root.iam_ok("GetRole", &[role]).await;
    let document = shown.one("AssumeRolePolicyDocument");
    assert!(document.contains("user%2Fann"), "{document}");
    root.iam_ok("DeleteUser", &[("UserName", "ann")]).await;
    let shown = root.iam_ok("GetRole", &[role]).await;
    let document = shown.one("AssumeRolePolicyDocument");
    assert!(document.contains("AIDA"), "a deleted user: {document}");
    root.iam_ok("DeleteRole", &[role]).await;
    let gone = root.iam("GetRole", &[role]).await;
    let message = "The role with name Deploy cannot be found.";
    gone.assert_fault(404, "NoSuchEntity", message);
}

#[tokio::test]
async fn roles_are_listed_by_path_and_page() {
    let server = TestServer::start(Setup::default()).await;
    let root = server.aws();
    create_deploy(&root).await;
    for name in ["b", "A"] {
        let new = [("RoleName", name), ("AssumeRolePolicyDocument", TRUST)];
        root.iam_ok("CreateRole", &new).await;
    }
    let page = root.iam_ok("ListRoles", &[("MaxItems", "2")]).await;
    assert_eq!(page.all("RoleName"), ["A", "b"]);
    let rest = [("Marker", page.one("Marker"))];
    let rest = root.iam_ok("ListRoles", &rest).await;
    assert_eq!(rest.all("RoleName"), ["deploy"]);
    assert_eq!(rest.one("IsTruncated"), "false");
    // As the reference says, listings leave these out.
    assert!(rest.all("PermissionsBoundaryArn").is_empty());
    assert!(rest.all("Tags").is_empty());
    let under = root.iam_ok("ListRoles", &[("PathPrefix", "/ci")]).await;
    assert_eq!(under.all("RoleName"), ["deploy"]);
}

#[tokio::test]
async fn wrong_requests_get_iams_errors() {
    let server = TestServer::start(Setup::default()).await;
    let root = server.aws();
    create_deploy(&root).await;
    let create = |trust: &str| {
        let trust = trust.to_owned();
        let root = root.clone();
        async move {
            let members = [("RoleName", "x"), ("AssumeRolePolicyDocument", &trust)];
            root.iam("CreateRole", &members).await
        }
    };
    let nobody = "arn:aws:iam::123456789012:user/nobody";
    let long = trusting("*", &"sts:A".repeat(500));
    let resource = TRUST.replace("\"Effect\"", "\"Resource\":\"*\",\"Effect\"");
    let malformed = "MalformedPolicyDocument";
    for (trust, status, code, message) in [
        (
            trusting(nobody, "sts:AssumeRole"),
            400,
            malformed,
            "Invalid principal in policy: &quot;AWS&quot;:&quot;arn:aws:iam::",
        ),
        (
            trusting("*", "ecr:*"),
            400,
            malformed,
            "AssumeRole policy may only specify STS AssumeRole actions.",
        ),
        (resource, 400, malformed, "Has prohibited field Resource"),
        ("{}".to_owned(), 400, malformed, "Statement is missing"),
        (
            r#"{"Statement":{"Effect":"Allow","Action":"sts:AssumeRole"}}"#.to_owned(),
            400,
            malformed,
            "Missing required field Principal",
        ),
        (
            long,
            409,
            "LimitExceeded",
            "Cannot exceed quota for ACLSizePerRole: 2048",
        ),
    ] {
        create(&trust).await.assert_fault(status, code, message);
    }
    let trust = ("AssumeRolePolicyDocument", TRUST);
    for (action, members, status, code, message) in [
        (
            "CreateRole",
            &[("RoleName", "DEPLOY"), trust][..],
            409,
            "EntityAlreadyExists",
            "Role with name DEPLOY already exists.",
        ),
        (
            "CreateRole",
            &[("RoleName", "x"), trust, ("MaxSessionDuration", "3599")],
            400,
            "ValidationError",
            "Member must have value greater than or equal to 3600",
        ),
        (
            "CreateRole",
            &[("RoleName", "x"), trust, ("Path", "/aws-service-role/x/")],
            400,
            "InvalidInput",
            "reserved for service-linked roles",
        ),
        (
            "UpdateAssumeRolePolicy",
            &[("RoleName", "nobody"), ("PolicyDocument", TRUST)],
            404,
            "NoSuchEntity",
            "The role with name nobody cannot be found.",
        ),
        (
            "AttachRolePolicy",
            &[
                ("RoleName", "deploy"),
                (
                    "PolicyArn",
                    "arn:aws:iam::aws:policy/aws-service-role/AmazonECSServiceRolePolicy",
                ),
            ],
            400,
            "PolicyNotAttachable",
            "Cannot attach a Service Role Policy to a Customer Role.",
        ),
    ] {
        let refused = root.iam(action, members).await;
        refused.assert_fault(status, code, message);
    }
}

/// What managed policies know of the roles that use them.
#[tokio::test]
async fn a_policy_knows_its_roles() {
    let server = TestServer::start(Setup::default()).await;
    let root = server.aws();
    create_deploy(&root).await;
    let role = ("RoleName", "deploy");
    let allow = r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"ecr:*",
        "Resource":"*"}]}"#;
    let new = [("PolicyName", "Push"), ("PolicyDocument", allow)];
    let policy = root.iam_ok("CreatePolicy", &new).await;
    let arn = policy.one("Arn").to_owned();
    let attached = [role, ("PolicyArn", arn.as_str())];
    root.iam_ok("AttachRolePolicy", &attached).await;
    let bounded = [role, ("PermissionsBoundary", arn.as_str())];
    root.iam_ok("PutRolePermissionsBoundary", &bounded).await;
    let policy = [("PolicyArn", arn.as_str())];
    let shown = root.iam_ok("GetPolicy", &policy).await;
    assert_eq!(shown.one("AttachmentCount"), "1");
    assert_eq!(shown.one("PermissionsBoundaryUsageCount"), "1");
    for filter in [
        &[][..],
        &[("EntityFilter", "Role")],
        &[("PolicyUsageFilter", "PermissionsBoundary")],
        &[("PathPrefix", "/ci/")],
    ] {
        let members = [&policy[..], filter].concat();
        let entities = root.iam_ok("ListEntitiesForPolicy", &members).await;
        assert_eq!(entities.all("RoleName"), ["deploy"], "{filter:?}");
    }
    let users = [policy[0], ("EntityFilter", "User")];
    let users = root.iam_ok("ListEntitiesForPolicy", &users).await;
    assert!(users.all("RoleName").is_empty());
    root.iam_ok("DetachRolePolicy", &attached).await;
    let refused = root.iam("DeletePolicy", &policy).await;
    refused.assert_fault(409, "DeleteConflict", "attached to entities");
    root.iam_ok("DeleteRolePermissionsBoundary", &[role]).await;
    root.iam_ok("DeletePolicy", &policy).await;
}

#[tokio::test]
async fn roles_have_tags() {
    let server = TestServer::start(Setup::default()).await;
    let root = server.aws();
    create_deploy(&root).await;
    let role = ("RoleName", "deploy");
    let tags = [
        role,
        ("Tags.member.1.Key", "Team"),
        ("Tags.member.1.Value", "blue"),
        ("Tags.member.2.Key", "a"),
        ("Tags.member.2.Value", "1"),
    ];
    root.iam_ok("TagRole", &tags).await;
    let page = [role, ("MaxItems", "1")];
    let page = root.iam_ok("ListRoleTags", &page).await;
    assert_eq!((page.one("Key"), page.one("IsTruncated")), ("Team", "true"));
    let rest = [role, ("Marker", page.one("Marker"))];
    let rest = root.iam_ok("ListRoleTags", &rest).await;
    assert_eq!((rest.one("Key"), rest.one("Value")), ("a", "1"));
    let untag = [role, ("TagKeys.member.1", "TEAM")];
    root.iam_ok("UntagRole", &untag).await;
    let left = root.iam_ok("ListRoleTags", &[role]).await;
    assert_eq!(left.all("Key"), ["a"]);
    let nobody = ("RoleName", "nobody");
    for (action, members) in [
        ("TagRole", &[nobody, tags[1], tags[2]][..]),
        ("UntagRole", &[nobody, ("TagKeys.member.1", "a")]),
        ("ListRoleTags", &[nobody]),
    ] {
        let refused = root.iam(action, members).await;
        refused.assert_fault(404, "NoSuchEntity", "The role with name nobody");
    }
}

/// The boundary of the role, and the one that a request sets, are condition keys.
#[tokio::test]
async fn whoever_may_manage_bounded_roles_makes_no_others() {
    let server = TestServer::start(Setup::default()).await;
    let root = server.aws();
    create_deploy(&root).await;
    let free = [("RoleName", "free"), ("AssumeRolePolicyDocument", TRUST)];
    root.iam_ok("CreateRole", &free).await;
    let delegated = format!(
        r#"{{"Version":"2012-10-17","Statement":[{{"Effect":"Allow","Action":"iam:*",
            "Resource":"*","Condition":{{"StringEquals":
            {{"iam:PermissionsBoundary":"{READ_ONLY}"}}}}}}]}}"#
    );
    let ann = server.aws_user(ACCOUNT, "ann", &delegated);
    let boundary = ("PermissionsBoundary", READ_ONLY);
    let bounded = [("RoleName", "x"), free[1], boundary];
    ann.iam_ok("CreateRole", &bounded).await;
    let admin = ("PolicyArn", "arn:aws:iam::aws:policy/AdministratorAccess");
    let attach = [("RoleName", "deploy"), admin];
    ann.iam_ok("AttachRolePolicy", &attach).await;
    let put = [("RoleName", "free"), boundary];
    ann.iam_ok("PutRolePermissionsBoundary", &put).await;
    root.iam_ok("DeleteRolePermissionsBoundary", &[("RoleName", "free")])
        .await;
    for (action, members) in [
        ("CreateRole", &[("RoleName", "y"), free[1]][..]),
        ("AttachRolePolicy", &[("RoleName", "free"), admin]),
        ("DetachRolePolicy", &[("RoleName", "free"), admin]),
        ("GetRole", &[("RoleName", "deploy")]),
    ] {
        let refused = ann.iam(action, members).await;
        refused.assert_fault(403, "AccessDenied", "not authorized to perform");
    }
}

/// A repository policy that names a role names it by its unique id.
#[tokio::test]
async fn a_deleted_role_shows_as_its_id() {
    let server = TestServer::start(Setup::default()).await;
    let root = server.aws();
    let repository = json!({"repositoryName": "app"});
    root.ok("CreateRepository", repository.clone()).await;
    let session = "arn:aws:sts::123456789012:assumed-role/deploy/run";
    let policy = |principals: [&str; 2]| {
        let statement = json!({
            "Effect": "Allow", "Principal": {"AWS": principals}, "Action": "ecr:BatchGetImage",
        });
        let policy = json!({"Version": "2012-10-17", "Statement": [statement]}).to_string();
        json!({"repositoryName": "app", "policyText": policy})
    };
    let missing = root.ecr("SetRepositoryPolicy", policy([DEPLOY, session]));
    missing
        .await
        .assert_fault("InvalidParameterException", "Principal not found");
    let id = create_deploy(&root).await;
    root.ok("SetRepositoryPolicy", policy([DEPLOY, session]))
        .await;
    let shown = async || {
        let shown = root.ok("GetRepositoryPolicy", repository.clone()).await;
        shown["policyText"].as_str().expect("a text").to_owned()
    };
    let by_arn = shown().await;
    assert!(by_arn.contains(DEPLOY) && by_arn.contains(session));
    root.iam_ok("DeleteRole", &[("RoleName", "deploy")]).await;
    let successor = create_deploy(&root).await;
    let by_id = shown().await;
    assert!(by_id.contains(&format!("\"{id}\"")), "{by_id}");
    assert!(by_id.contains(&format!("\"{id}:run\"")), "{by_id}");
    assert!(!by_id.contains(&successor), "{by_id}");
}
