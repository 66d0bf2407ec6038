//! Instance profiles, and the roles that they give.

use crate::iam::roles::TRUST;
use crate::support::{ACCOUNT, Setup, TestServer};

const PROFILE: (&str, &str) = ("InstanceProfileName", "hosts");
const ROLE: (&str, &str) = ("RoleName", "host");

/// A server with a profile and a role.
async fn started() -> TestServer {
    let server = TestServer::start(Setup::default()).await;
    let root = server.aws();
    let tagged = [
        PROFILE,
        ("Path", "/ecs/"),
        ("Tags.member.1.Key", "team"),
        ("Tags.member.1.Value", "red"),
    ];
    let made = root.iam_ok("CreateInstanceProfile", &tagged).await;
    let arn = "arn:aws:iam::123456789012:instance-profile/ecs/hosts";
    assert_eq!(made.one("Arn"), arn);
    assert!(made.one("InstanceProfileId").starts_with("AIPA"));
    let trust = ("AssumeRolePolicyDocument", TRUST);
    root.iam_ok("CreateRole", &[ROLE, trust]).await;
    server
}

#[tokio::test]
async fn a_profile_gives_one_role() {
    let server = started().await;
    let root = server.aws();
    root.iam_ok("AddRoleToInstanceProfile", &[PROFILE, ROLE])
        .await;
    let again = root.iam("AddRoleToInstanceProfile", &[PROFILE, ROLE]).await;
    let quota = "Cannot exceed quota for InstanceSessionsPerInstanceProfile: 1";
    again.assert_fault(409, "LimitExceeded", quota);
    let shown = root.iam_ok("GetInstanceProfile", &[PROFILE]).await;
    assert_eq!(shown.one("RoleName"), "host");
    assert!(shown.one("RoleId").starts_with("AROA"));
    assert_eq!(shown.one("Value"), "red");
    for (list, members) in [
        ("ListInstanceProfiles", &[("PathPrefix", "/ecs/")][..]),
        ("ListInstanceProfilesForRole", &[ROLE]),
    ] {
        let listed = root.iam_ok(list, members).await;
        assert_eq!(listed.one("InstanceProfileName"), "hosts");
        assert_eq!(listed.one("RoleName"), "host", "{list}");
    }
    let first = "must remove roles from instance profile first.";
    for (action, name) in [("DeleteRole", ROLE), ("DeleteInstanceProfile", PROFILE)] {
        let refused = root.iam(action, &[name]).await;
        refused.assert_fault(409, "DeleteConflict", first);
    }
    let remove = [PROFILE, ROLE];
    root.iam_ok("RemoveRoleFromInstanceProfile", &remove).await;
    let gone = root.iam("RemoveRoleFromInstanceProfile", &remove).await;
    gone.assert_fault(404, "NoSuchEntity", "is not in the instance profile");
    root.iam_ok("DeleteInstanceProfile", &[PROFILE]).await;
    root.iam_ok("DeleteRole", &[ROLE]).await;
    let gone = root.iam("GetInstanceProfile", &[PROFILE]).await;
    let message = "Instance Profile hosts cannot be found.";
    gone.assert_fault(404, "NoSuchEntity", message);
}

#[tokio::test]
async fn profiles_have_tags_and_pages() {
    let server = started().await;
    let root = server.aws();
    let tag = [
        PROFILE,
        ("Tags.member.1.Key", "TEAM"),
        ("Tags.member.1.Value", "blue"),
    ];
    root.iam_ok("TagInstanceProfile", &tag).await;
    let tags = root.iam_ok("ListInstanceProfileTags", &[PROFILE]).await;
    assert_eq!((tags.one("Key"), tags.one("Value")), ("TEAM", "blue"));
    let untag = [PROFILE, ("TagKeys.member.1", "team")];
    root.iam_ok("UntagInstanceProfile", &untag).await;
    let tags = root.iam_ok("ListInstanceProfileTags", &[PROFILE]).await;
    assert!(tags.all("Key").is_empty());
    let other = [("InstanceProfileName", "a")];
    root.iam_ok("CreateInstanceProfile", &other).await;
    let again = root.iam("CreateInstanceProfile", &other).await;
    let message = "Instance Profile a already exists.";
    again.assert_fault(409, "EntityAlreadyExists", message);
    let page = [("MaxItems", "1")];
    let page = root.iam_ok("ListInstanceProfiles", &page).await;
    assert_eq!(page.all("InstanceProfileName"), ["a"]);
    let rest = [("Marker", page.one("Marker"))];
    let rest = root.iam_ok("ListInstanceProfiles", &rest).await;
    assert_eq!(rest.all("InstanceProfileName"), ["hosts"]);
}

/// Whoever gives a role to a profile passes it.
#[tokio::test]
async fn a_role_is_passed_to_a_profile() {
    let server = started().await;
    let allowing = |statement: &str| {
        format!(
            r#"{{"Version":"2012-10-17","Statement":[{{"Effect":"Allow",
                "Action":"iam:AddRoleToInstanceProfile","Resource":"*"}}{statement}]}}"#
        )
    };
    let passing = |service: &str| {
        format!(
            r#",{{"Effect":"Allow","Action":"iam:PassRole",
                "Resource":"arn:aws:iam::123456789012:role/host",
                "Condition":{{"StringEquals":{{"iam:PassedToService":"{service}"}}}}}}"#
        )
    };
    for (name, statement) in [
        ("ann", String::new()),
        ("bob", passing("ecs.amazonaws.com")),
    ] {
        let caller = server.aws_user(ACCOUNT, name, &allowing(&statement));
        let refused = caller.iam("AddRoleToInstanceProfile", &[PROFILE, ROLE]);
        let message = "not authorized to perform: iam:PassRole on resource: \
             arn:aws:iam::123456789012:role/host";
        refused.await.assert_fault(403, "AccessDenied", message);
    }
    let carl = allowing(&passing("ec2.amazonaws.com"));
    let carl = server.aws_user(ACCOUNT, "carl", &carl);
    carl.iam_ok("AddRoleToInstanceProfile", &[PROFILE, ROLE])
        .await;
}
