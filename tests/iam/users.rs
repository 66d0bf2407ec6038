//! Users: created, listed, read and deleted, and who may do so.

use crate::support::{ACCOUNT, Setup, TestServer};

#[tokio::test]
async fn a_user_is_created_listed_and_deleted() {
    let server = TestServer::start(Setup::default()).await;
    let root = server.aws();
    let made = root
        .iam_ok(
            "CreateUser",
            &[
                ("UserName", "ci"),
                ("Path", "/build/"),
                ("Tags.member.1.Key", "team"),
                ("Tags.member.1.Value", "a b"),
            ],
        )
        .await;
    assert_eq!(made.one("Arn"), "arn:aws:iam::123456789012:user/build/ci");
    assert!(made.one("UserId").starts_with("AIDA"));
    let found = root.iam_ok("GetUser", &[("UserName", "CI")]).await;
    assert_eq!(found.one("UserId"), made.one("UserId"));
    assert_eq!(found.one("Value"), "a b");
    assert!(found.one("CreateDate").ends_with('Z'));
    for name in ["ann", "bob"] {
        root.iam_ok("CreateUser", &[("UserName", name)]).await;
    }
    let page = root.iam_ok("ListUsers", &[("MaxItems", "2")]).await;
    assert_eq!(page.all("UserName"), ["ann", "bob"]);
    assert_eq!(page.one("IsTruncated"), "true");
    let marker = page.one("Marker").to_owned();
    let rest = root
        .iam_ok("ListUsers", &[("Marker", marker.as_str())])
        .await;
    assert_eq!(rest.all("UserName"), ["ci"]);
    assert_eq!(rest.one("IsTruncated"), "false");
    let under = root.iam_ok("ListUsers", &[("PathPrefix", "/bu")]).await;
    assert_eq!(under.all("UserName"), ["ci"]);
    root.iam_ok("DeleteUser", &[("UserName", "ci")]).await;
    root.iam("GetUser", &[("UserName", "ci")])
        .await
        .assert_fault(
            404,
            "NoSuchEntity",
            "The user with name ci cannot be found.",
        );
}

#[tokio::test]
async fn wrong_requests_get_iams_errors() {
    let server = TestServer::start(Setup::default()).await;
    let root = server.aws();
    root.iam_ok("CreateUser", &[("UserName", "ci")]).await;
    let long = "x".repeat(65);
    let boundary = "arn:aws:iam::aws:policy/NoSuchPolicy";
    for (action, members, status, code, message) in [
        (
            "CreateUser",
            &[("UserName", "CI")][..],
            409,
            "EntityAlreadyExists",
            "User with name CI already exists.",
        ),
        (
            "CreateUser",
            &[],
            400,
            "ValidationError",
            "Value at 'userName' failed to satisfy constraint: Member must not be null",
        ),
        (
            "CreateUser",
            &[("UserName", long.as_str())],
            400,
            "ValidationError",
            "Member must have length less than or equal to 64",
        ),
        (
            "CreateUser",
            &[("UserName", "a"), ("Path", "a")],
            400,
            "ValidationError",
            "failed to satisfy constraint: Member must satisfy regular expression",
        ),
        (
            "CreateUser",
            &[("UserName", "a"), ("PermissionsBoundary", boundary)],
            404,
            "NoSuchEntity",
            "does not exist or is not attachable.",
        ),
        (
            "CreateUser",
            &[
                ("UserName", "a"),
                ("Tags.member.1.Key", "k"),
                ("Tags.member.1.Value", ""),
                ("Tags.member.2.Key", "K"),
                ("Tags.member.2.Value", ""),
            ],
            400,
            "InvalidInput",
            "Duplicate tag keys found.",
        ),
        (
            "ListUsers",
            &[("MaxItems", "1001")],
            400,
            "ValidationError",
            "Member must have value less than or equal to 1000",
        ),
        (
            "ListUsers",
            &[("MaxItems", "many")],
            400,
            "SerializationException",
            "MaxItems",
        ),
        (
            "ListUsers",
            &[("Marker", "nonsense")],
            400,
            "ValidationError",
            "Invalid Marker.",
        ),
        (
            "DeleteUser",
            &[("UserName", "nobody")],
            404,
            "NoSuchEntity",
            "The user with name nobody cannot be found.",
        ),
    ] {
        root.iam(action, members)
            .await
            .assert_fault(status, code, message);
    }
    let users = root.iam_ok("ListUsers", &[]).await;
    assert_eq!(users.all("UserName"), ["ci"]);
}

#[tokio::test]
async fn what_a_user_holds_is_removed_first() {
    let server = TestServer::start(Setup::default()).await;
    let root = server.aws();
    server.aws_user(ACCOUNT, "held", "AmazonEC2ContainerRegistryReadOnly");
    root.iam("DeleteUser", &[("UserName", "held")])
        .await
        .assert_fault(409, "DeleteConflict", "must detach all policies first.");
    server.command(&[
        "user",
        "detach",
        "held",
        "AmazonEC2ContainerRegistryReadOnly",
    ]);
    root.iam("DeleteUser", &[("UserName", "held")])
        .await
        .assert_fault(409, "DeleteConflict", "must delete access keys first.");
}

#[tokio::test]
async fn users_need_permission_and_may_read_themselves() {
    let server = TestServer::start(Setup::default()).await;
    let own = r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"iam:GetUser",
        "Resource":"arn:aws:iam::123456789012:user/${aws:username}"}]}"#;
    let ann = server.aws_user(ACCOUNT, "ann", own);
    let me = ann.iam_ok("GetUser", &[]).await;
    assert_eq!(me.one("UserName"), "ann");
    let me = server.aws().iam_ok("GetUser", &[]).await;
    assert_eq!(me.one("Arn"), "arn:aws:iam::123456789012:root");
    for (action, members) in [
        ("CreateUser", &[("UserName", "x")][..]),
        ("GetUser", &[("UserName", "x")]),
        ("ListUsers", &[]),
        ("DeleteUser", &[("UserName", "ann")]),
    ] {
        ann.iam(action, members).await.assert_fault(
            403,
            "AccessDenied",
            &format!("because no identity-based policy allows the iam:{action} action"),
        );
    }
}

/// A permission on a tag of the user that is worked on.
#[tokio::test]
async fn tags_of_users_decide() {
    let server = TestServer::start(Setup::default()).await;
    let red = r#"{"Version":"2012-10-17","Statement":[
        {"Effect":"Allow","Action":["iam:DeleteUser","iam:GetUser"],"Resource":"*",
         "Condition":{"StringEquals":{"aws:ResourceTag/team":"red"}}},
        {"Effect":"Allow","Action":["iam:CreateUser","iam:TagUser"],"Resource":"*",
         "Condition":{"StringEquals":{"aws:RequestTag/team":"red"}}}]}"#;
    let ann = server.aws_user(ACCOUNT, "ann", red);
    let tagged = |name: &'static str, team: &'static str| {
        [
            ("UserName", name),
            ("Tags.member.1.Key", "team"),
            ("Tags.member.1.Value", team),
        ]
    };
    ann.iam_ok("CreateUser", &tagged("r", "red")).await;
    let refused = ann.iam("CreateUser", &tagged("b", "blue")).await;
    refused.assert_fault(403, "AccessDenied", "iam:CreateUser");
    server
        .aws()
        .iam_ok("CreateUser", &tagged("b", "blue"))
        .await;
    let refused = ann.iam("DeleteUser", &[("UserName", "b")]).await;
    refused.assert_fault(403, "AccessDenied", "iam:DeleteUser");
    ann.iam_ok("DeleteUser", &[("UserName", "r")]).await;
}

#[tokio::test]
async fn a_user_is_renamed_and_stays_the_same() {
    let server = TestServer::start(Setup::default()).await;
    let root = server.aws();
    let made = root.iam_ok("CreateUser", &[("UserName", "ci")]).await;
    root.iam_ok("CreateUser", &[("UserName", "ann")]).await;
    let renaming = [
        ("UserName", "ci"),
        ("NewUserName", "Build"),
        ("NewPath", "/b/"),
    ];
    root.iam_ok("UpdateUser", &renaming).await;
    let found = root.iam_ok("GetUser", &[("UserName", "build")]).await;
    assert_eq!(found.one("UserId"), made.one("UserId"));
    assert_eq!(found.one("Arn"), "arn:aws:iam::123456789012:user/b/Build");
    let other_case = [("UserName", "Build"), ("NewUserName", "build")];
    root.iam_ok("UpdateUser", &other_case).await;
    root.iam(
        "UpdateUser",
        &[("UserName", "build"), ("NewUserName", "ANN")],
    )
    .await
    .assert_fault(
        409,
        "EntityAlreadyExists",
        "User with name ANN already exists.",
    );
    let policy = r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow",
        "Action":"iam:UpdateUser","Resource":"arn:aws:iam::123456789012:user/b/*"}]}"#;
    let bob = server.aws_user(ACCOUNT, "bob", policy);
    bob.iam_ok(
        "UpdateUser",
        &[("UserName", "build"), ("NewUserName", "b2")],
    )
    .await;
    let out = [("UserName", "b2"), ("NewPath", "/admins/")];
    let refused = bob.iam("UpdateUser", &out).await;
    refused.assert_fault(403, "AccessDenied", "user/admins/b2");
}

#[tokio::test]
async fn tags_of_a_user_are_set_and_removed() {
    let server = TestServer::start(Setup::default()).await;
    let root = server.aws();
    root.iam_ok("CreateUser", &[("UserName", "ci")]).await;
    let set = |key: &'static str, value: &'static str| {
        [
            ("UserName", "ci"),
            ("Tags.member.1.Key", key),
            ("Tags.member.1.Value", value),
        ]
    };
    for (key, value) in [("Team", "red"), ("team", "blue"), ("cost", "1")] {
        root.iam_ok("TagUser", &set(key, value)).await;
    }
    let first = [("UserName", "ci"), ("MaxItems", "1")];
    let page = root.iam_ok("ListUserTags", &first).await;
    assert_eq!(
        (page.all("Key"), page.one("IsTruncated")),
        (vec!["cost"], "true")
    );
    let rest = [("UserName", "ci"), ("Marker", page.one("Marker"))];
    let rest = root.iam_ok("ListUserTags", &rest).await;
    assert_eq!(
        (rest.all("Key"), rest.all("Value")),
        (vec!["team"], vec!["blue"])
    );
    let untag = [("UserName", "ci"), ("TagKeys.member.1", "TEAM")];
    root.iam_ok("UntagUser", &untag).await;
    let none_removed = [("UserName", "ci"), ("TagKeys", "")];
    root.iam_ok("UntagUser", &none_removed).await;
    let left = root.iam_ok("ListUserTags", &[("UserName", "ci")]).await;
    assert_eq!(left.all("Key"), ["cost"]);
    let names: Vec<String> = (1..=50).map(|at| format!("Tags.member.{at}.Key")).collect();
    let values: Vec<String> = (1..=50)
        .map(|at| format!("Tags.member.{at}.Value"))
        .collect();
    let keys: Vec<String> = (1..=50).map(|at| format!("k{at}")).collect();
    let mut many = vec![("UserName", "ci")];
    for at in 0..50 {
        many.push((&names[at], &keys[at]));
        many.push((&values[at], "x"));
    }
    root.iam("TagUser", &many).await.assert_fault(
        409,
        "LimitExceeded",
        "Cannot exceed quota for TagsPerUser: 50",
    );
}
