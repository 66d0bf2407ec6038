//! Access keys: who may make, disable and delete which, and when they were used.

use serde_json::json;

use crate::support::{ACCOUNT, Setup, TestServer};

const OWN_KEYS: &str = r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow",
    "Action":["iam:*AccessKey*","ecr:*"],
    "Resource":["arn:aws:iam::123456789012:user/${aws:username}","arn:aws:ecr:*:*:*"]}]}"#;

#[tokio::test]
async fn a_user_rotates_its_own_keys() {
    let server = TestServer::start(Setup::default()).await;
    let ann = server.aws_user(ACCOUNT, "ann", OWN_KEYS);
    let made = ann.iam_ok("CreateAccessKey", &[]).await;
    assert_eq!(
        (made.one("UserName"), made.one("Status")),
        ("ann", "Active")
    );
    let second = server.aws_with(made.one("AccessKeyId"), made.one("SecretAccessKey"));
    second.ok("DescribeRepositories", json!({})).await;
    ann.iam("CreateAccessKey", &[]).await.assert_fault(
        409,
        "LimitExceeded",
        "Cannot exceed quota for AccessKeysPerUser: 2",
    );
    let first = ann.access_key_id.as_str();
    let off = [("AccessKeyId", first), ("Status", "Inactive")];
    second.iam_ok("UpdateAccessKey", &off).await;
    let listed = second.iam_ok("ListAccessKeys", &[]).await;
    let mut states = listed.all("Status");
    states.sort_unstable();
    assert_eq!(states, ["Active", "Inactive"]);
    second
        .iam_ok("DeleteAccessKey", &[("AccessKeyId", first)])
        .await;
    let listed = second.iam_ok("ListAccessKeys", &[]).await;
    assert_eq!(listed.all("AccessKeyId"), [second.access_key_id.as_str()]);
}

#[tokio::test]
async fn the_keys_of_another_user_are_out_of_reach() {
    let server = TestServer::start(Setup::default()).await;
    let ann = server.aws_user(ACCOUNT, "ann", OWN_KEYS);
    let bob = server.aws_user(ACCOUNT, "bob", OWN_KEYS);
    let (anns, root) = (ann.access_key_id.as_str(), server.aws());
    let roots = root.access_key_id.as_str();
    for key in [anns, roots] {
        for (action, members) in [
            ("DeleteAccessKey", &[("AccessKeyId", key)][..]),
            (
                "UpdateAccessKey",
                &[("AccessKeyId", key), ("Status", "Inactive")],
            ),
        ] {
            bob.iam(action, members).await.assert_fault(
                404,
                "NoSuchEntity",
                &format!("The Access Key with id {key} cannot be found."),
            );
        }
        let refused = bob.iam("GetAccessKeyLastUsed", &[("AccessKeyId", key)]);
        refused.await.assert_fault(403, "AccessDenied", "");
    }
    for members in [&[("UserName", "ann")][..], &[("UserName", "nobody")]] {
        let refused = bob.iam("CreateAccessKey", members).await;
        refused.assert_fault(403, "AccessDenied", "iam:CreateAccessKey");
    }
    let expired = [
        ("AccessKeyId", anns),
        ("Status", "Expired"),
        ("UserName", "ann"),
    ];
    let refused = root.iam("UpdateAccessKey", &expired).await;
    refused.assert_fault(400, "InvalidInput", "Expired");
    ann.iam_ok("ListAccessKeys", &[]).await;
}

/// A caller without permission learns neither who exists, nor in which path, nor whose a key is.
#[tokio::test]
async fn a_denial_tells_no_more_than_its_request() {
    let server = TestServer::start(Setup::default()).await;
    let (root, bob) = (server.aws(), server.aws_user(ACCOUNT, "bob", OWN_KEYS));
    let user = [("UserName", "Ann"), ("Path", "/secret/")];
    root.iam_ok("CreateUser", &user).await;
    let group = [("GroupName", "Admins"), ("Path", "/secret/")];
    root.iam_ok("CreateGroup", &group).await;
    let made = root.iam_ok("CreateAccessKey", &user[..1]).await;
    let (anns, roots) = (made.one("AccessKeyId"), root.access_key_id.as_str());
    let unknown = "AKIAAAAAAAAAAAAAAAAA";
    for (action, member, names, shown) in [
        ("GetUser", "UserName", &["ann", "ANN"][..], "user/ann "),
        (
            "GetGroup",
            "GroupName",
            &["admins", "ADMINS"],
            "group/admins ",
        ),
        (
            "GetAccessKeyLastUsed",
            "AccessKeyId",
            &[anns, roots, unknown],
            "user/ ",
        ),
    ] {
        for name in names {
            let denied = bob.iam(action, &[(member, name)]).await;
            denied.assert_fault(403, "AccessDenied", "");
            let text = denied.document.to_lowercase();
            let (_, resource) = text.split_once("on resource: ").expect("a resource");
            let shown = format!("arn:aws:iam::123456789012:{shown}");
            assert!(resource.starts_with(&shown), "{text}");
        }
    }
}

#[tokio::test]
async fn the_last_use_of_a_key_is_shown() {
    let server = TestServer::start(Setup::default()).await;
    let root = server.aws();
    let ann = server.aws_user(ACCOUNT, "ann", OWN_KEYS);
    let key = [("AccessKeyId", ann.access_key_id.as_str())];
    let unused = root.iam_ok("GetAccessKeyLastUsed", &key).await;
    assert_eq!(unused.one("UserName"), "ann");
    assert_eq!(
        (unused.one("ServiceName"), unused.one("Region")),
        ("N/A", "N/A")
    );
    assert!(unused.all("LastUsedDate").is_empty());
    ann.ok("DescribeRepositories", json!({})).await;
    // The use is recorded after the response.
    let mut used = root.iam_ok("GetAccessKeyLastUsed", &key).await;
    for _ in 0..1_000 {
        if used.one("ServiceName") == "ecr" {
            break;
        }
        used = root.iam_ok("GetAccessKeyLastUsed", &key).await;
    }
    assert_eq!(
        (used.one("ServiceName"), used.one("Region")),
        ("ecr", "us-east-1")
    );
    assert!(used.one("LastUsedDate").ends_with('Z'));
    let unknown = [("AccessKeyId", "AKIAAAAAAAAAAAAAAAAA")];
    let refused = root.iam("GetAccessKeyLastUsed", &unknown).await;
    refused.assert_fault(404, "NoSuchEntity", "cannot be found.");
}
