//! Service-linked roles.

use crate::support::{ACCOUNT, Setup, TestServer};

const ECS: (&str, &str) = ("AWSServiceName", "ecs.amazonaws.com");
const ROLE: (&str, &str) = ("RoleName", "AWSServiceRoleForECS");

#[tokio::test]
async fn a_service_has_its_role() {
    let server = TestServer::start(Setup::default()).await;
    let root = server.aws();
    for (service, name, policy) in [
        ("ecs.amazonaws.com", "ECS", "AmazonECSServiceRolePolicy"),
        (
            "ecs.application-autoscaling.amazonaws.com",
            "ApplicationAutoScaling_ECSService",
            "AWSApplicationAutoscalingECSServicePolicy",
        ),
        (
            "replication.ecr.amazonaws.com",
            "ECRReplication",
            "ECRReplicationServiceRolePolicy",
        ),
    ] {
        let named = [("AWSServiceName", service)];
        let made = root.iam_ok("CreateServiceLinkedRole", &named).await;
        let arn = format!(
            "arn:aws:iam::123456789012:role/aws-service-role/{service}/AWSServiceRoleFor{name}"
        );
        assert_eq!(made.one("Arn"), arn);
        assert!(made.one("AssumeRolePolicyDocument").contains(service));
        let role = [("RoleName", made.one("RoleName"))];
        let attached = root.iam_ok("ListAttachedRolePolicies", &role).await;
        let policy = format!("arn:aws:iam::aws:policy/aws-service-role/{policy}");
        assert_eq!(attached.all("PolicyArn"), [policy]);
        let taken = root.iam("CreateServiceLinkedRole", &named).await;
        taken.assert_fault(400, "InvalidInput", "has been taken in this account");
    }
    let suffix = [ECS, ("CustomSuffix", "x")];
    let refused = root.iam("CreateServiceLinkedRole", &suffix).await;
    let message = "Custom suffix is not allowed for ecs.amazonaws.com";
    refused.assert_fault(400, "InvalidInput", message);
    let unknown = [("AWSServiceName", "s3.amazonaws.com")];
    let refused = root.iam("CreateServiceLinkedRole", &unknown).await;
    let message = "Cannot find Service Linked Role template for s3.amazonaws.com";
    refused.assert_fault(400, "InvalidInput", message);
}

#[tokio::test]
async fn only_its_service_changes_the_role() {
    let server = TestServer::start(Setup::default()).await;
    let root = server.aws();
    root.iam_ok("CreateServiceLinkedRole", &[ECS]).await;
    let described = [ROLE, ("Description", "ours")];
    let changed = root.iam_ok("UpdateRoleDescription", &described).await;
    assert_eq!(changed.one("Description"), "ours");
    let profile = ("InstanceProfileName", "hosts");
    root.iam_ok("CreateInstanceProfile", &[profile]).await;
    let policy = ("PolicyArn", "arn:aws:iam::aws:policy/AdministratorAccess");
    let boundary = ("PermissionsBoundary", policy.1);
    let document = r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"ecr:*",
        "Resource":"*"}]}"#;
    let trust = ("PolicyDocument", super::roles::TRUST);
    for (action, members) in [
        ("DeleteRole", &[ROLE][..]),
        ("UpdateRole", &[ROLE, ("MaxSessionDuration", "7200")]),
        ("UpdateAssumeRolePolicy", &[ROLE, trust]),
        ("AttachRolePolicy", &[ROLE, policy]),
        ("DetachRolePolicy", &[ROLE, policy]),
        ("PutRolePermissionsBoundary", &[ROLE, boundary]),
        ("AddRoleToInstanceProfile", &[profile, ROLE]),
        (
            "TagRole",
            &[
                ROLE,
                ("Tags.member.1.Key", "team"),
                ("Tags.member.1.Value", "red"),
            ],
        ),
        ("UntagRole", &[ROLE, ("TagKeys.member.1", "team")]),
        (
            "PutRolePolicy",
            &[ROLE, ("PolicyName", "p"), ("PolicyDocument", document)],
        ),
    ] {
        let refused = root.iam(action, members).await;
        let message = "Cannot perform the operation on the protected role";
        refused.assert_fault(400, "UnmodifiableEntity", message);
    }
}

#[tokio::test]
async fn the_deletion_of_a_role_has_a_status() {
    let server = TestServer::start(Setup::default()).await;
    let root = server.aws();
    root.iam_ok("CreateServiceLinkedRole", &[ECS]).await;
    let deleted = root.iam_ok("DeleteServiceLinkedRole", &[ROLE]).await;
    let task = deleted.one("DeletionTaskId").to_owned();
    let start = "task/aws-service-role/ecs.amazonaws.com/AWSServiceRoleForECS/";
    assert!(task.starts_with(start), "{task}");
    let get = "GetServiceLinkedRoleDeletionStatus";
    let status = root.iam_ok(get, &[("DeletionTaskId", &task)]).await;
    assert_eq!(status.one("Status"), "SUCCEEDED");
    let other = format!("{start}00000000-0000-4000-8000-000000000000");
    let unknown = root.iam(get, &[("DeletionTaskId", &other)]).await;
    unknown.assert_fault(404, "NoSuchEntity", "cannot be found.");
    let wrong = root.iam(get, &[("DeletionTaskId", "nonsense")]).await;
    wrong.assert_fault(400, "InvalidInput", "The deletion task id is not valid.");
    let gone = root.iam("DeleteServiceLinkedRole", &[ROLE]).await;
    gone.assert_fault(404, "NoSuchEntity", "AWSServiceRoleForECS cannot be found.");
}

/// Who may make which role depends on the service.
#[tokio::test]
async fn the_service_is_a_condition_key() {
    let server = TestServer::start(Setup::default()).await;
    let policy = r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow",
        "Action":"iam:CreateServiceLinkedRole","Resource":"*","Condition":{"StringLike":
        {"iam:AWSServiceName":"ecs.amazonaws.com"}}}]}"#;
    let ann = server.aws_user(ACCOUNT, "ann", policy);
    ann.iam_ok("CreateServiceLinkedRole", &[ECS]).await;
    let other = [("AWSServiceName", "replication.ecr.amazonaws.com")];
    let refused = ann.iam("CreateServiceLinkedRole", &other).await;
    refused.assert_fault(403, "AccessDenied", "iam:CreateServiceLinkedRole");
}
