//! Groups: made, filled, emptied, and what their policies allow their members.

use std::time::Duration;

use http::StatusCode;
use serde_json::json;

use crate::support::{ACCOUNT, Setup, TestServer};

const NOTHING: &str = r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"s3:*",
    "Resource":"*"}]}"#;
const READ_ONLY: &str = "arn:aws:iam::aws:policy/AmazonEC2ContainerRegistryReadOnly";

#[tokio::test]
async fn a_group_is_made_filled_renamed_and_deleted() {
    let server = TestServer::start(Setup::default()).await;
    let root = server.aws();
    let made = root
        .iam_ok("CreateGroup", &[("GroupName", "builders"), ("Path", "/b/")])
        .await;
    assert_eq!(
        made.one("Arn"),
        "arn:aws:iam::123456789012:group/b/builders"
    );
    assert!(made.one("GroupId").starts_with("AGPA"));
    for name in ["ann", "bob", "carl"] {
        root.iam_ok("CreateUser", &[("UserName", name)]).await;
        let member = [("GroupName", "builders"), ("UserName", name)];
        root.iam_ok("AddUserToGroup", &member).await;
        root.iam_ok("AddUserToGroup", &member).await;
    }
    let two = [("GroupName", "builders"), ("MaxItems", "2")];
    let page = root.iam_ok("GetGroup", &two).await;
    assert_eq!(page.all("UserName"), ["ann", "bob"]);
    let rest = [("GroupName", "builders"), ("Marker", page.one("Marker"))];
    let rest = root.iam_ok("GetGroup", &rest).await;
    assert_eq!(rest.all("UserName"), ["carl"]);
    let groups = root.iam_ok("ListGroupsForUser", &[("UserName", "ann")]);
    assert_eq!(groups.await.all("GroupName"), ["builders"]);
    let renaming = [("GroupName", "builders"), ("NewGroupName", "makers")];
    root.iam_ok("UpdateGroup", &renaming).await;
    let listed = root.iam_ok("ListGroups", &[("PathPrefix", "/b/")]).await;
    assert_eq!(listed.all("GroupName"), ["makers"]);
    let refused = root.iam("DeleteGroup", &[("GroupName", "makers")]).await;
    refused.assert_fault(409, "DeleteConflict", "must remove users from group first.");
    let refused = root.iam("DeleteUser", &[("UserName", "ann")]).await;
    refused.assert_fault(409, "DeleteConflict", "must remove users from group first.");
    for name in ["ann", "bob", "carl"] {
        let member = [("GroupName", "makers"), ("UserName", name)];
        root.iam_ok("RemoveUserFromGroup", &member).await;
    }
    let member = [("GroupName", "makers"), ("UserName", "ann")];
    let refused = root.iam("RemoveUserFromGroup", &member).await;
    refused.assert_fault(404, "NoSuchEntity", "User ann is not in group makers.");
    root.iam_ok("DeleteGroup", &[("GroupName", "makers")]).await;
    root.iam_ok("DeleteUser", &[("UserName", "ann")]).await;
    let gone = root.iam("GetGroup", &[("GroupName", "makers")]).await;
    gone.assert_fault(
        404,
        "NoSuchEntity",
        "The group with name makers cannot be found.",
    );
}

#[tokio::test]
async fn a_user_belongs_to_ten_groups_at_most() {
    let server = TestServer::start(Setup::default()).await;
    let root = server.aws();
    root.iam_ok("CreateUser", &[("UserName", "ann")]).await;
    for at in 0..=10 {
        let name = format!("g{at}");
        let group = [("GroupName", name.as_str())];
        root.iam_ok("CreateGroup", &group).await;
        let member = [("GroupName", name.as_str()), ("UserName", "ann")];
        let added = root.iam("AddUserToGroup", &member).await;
        if at < 10 {
            assert_eq!(added.status, StatusCode::OK, "{}", added.document);
        } else {
            let quota = "Cannot exceed quota for GroupsPerUser: 10";
            added.assert_fault(409, "LimitExceeded", quota);
        }
    }
    let again = root.iam("CreateGroup", &[("GroupName", "G1")]).await;
    again.assert_fault(
        409,
        "EntityAlreadyExists",
        "Group with name G1 already exists.",
    );
}

/// A change takes effect within a second.
#[tokio::test]
async fn policies_of_groups_decide_about_their_members() {
    let server = TestServer::start(Setup::default()).await;
    let root = server.aws();
    let ann = server.aws_user(ACCOUNT, "ann", NOTHING);
    let group = ("GroupName", "readers");
    let member = [group, ("UserName", "ann")];
    root.iam_ok("CreateGroup", &[group]).await;
    root.iam_ok("AttachGroupPolicy", &[group, ("PolicyArn", READ_ONLY)])
        .await;
    let allowed = async |expected: StatusCode| {
        tokio::time::sleep(Duration::from_millis(1_100)).await;
        let outcome = ann.ecr("DescribeRepositories", json!({})).await;
        assert_eq!(outcome.status, expected, "{}", outcome.document);
    };
    allowed(StatusCode::BAD_REQUEST).await;
    root.iam_ok("AddUserToGroup", &member).await;
    allowed(StatusCode::OK).await;
    let deny = r#"{"Version":"2012-10-17","Statement":[{"Effect":"Deny","Action":"ecr:*",
        "Resource":"*"}]}"#;
    let no = ("PolicyName", "no");
    root.iam_ok("PutGroupPolicy", &[group, no, ("PolicyDocument", deny)])
        .await;
    allowed(StatusCode::BAD_REQUEST).await;
    root.iam_ok("DeleteGroupPolicy", &[group, no]).await;
    allowed(StatusCode::OK).await;
    root.iam_ok("RemoveUserFromGroup", &member).await;
    allowed(StatusCode::BAD_REQUEST).await;
}
