//! Credentials of the roles of tasks, as agents get them.

use serde_json::{Value, json};

use super::with_cluster;
use crate::support::{ACCOUNT, Aws, TestAgent, TestServer};

const SERVICE: &str = "ecs-tasks.amazonaws.com";

fn role_arn(name: &str) -> String {
    format!("arn:aws:iam::{ACCOUNT}:role/{name}")
}

/// Makes a role that this service may assume.
async fn make_role(server: &TestServer, name: &str, service: &str) {
    let statement = json!({
        "Effect": "Allow", "Principal": {"Service": service}, "Action": "sts:AssumeRole",
    });
    let trust = json!({"Version": "2012-10-17", "Statement": [statement]}).to_string();
    let members = [("RoleName", name), ("AssumeRolePolicyDocument", &trust)];
    server.aws().iam_ok("CreateRole", &members).await;
}

/// An agent with a session, and the ARN of a task with this task role and execution role.
async fn run(server: &TestServer, agent: &TestAgent, role: &str, execution: &str) -> String {
    let _ = server;
    let container = json!({"name": "main", "image": "busybox", "memory": 64});
    let definition = json!({
        "family": "with-roles",
        "containerDefinitions": [container],
        "taskRoleArn": role_arn(role),
        "executionRoleArn": role_arn(execution),
    });
    agent.ecs.ok("RegisterTaskDefinition", definition).await;
    let request = json!({"cluster": "web", "taskDefinition": "with-roles"});
    let started = agent.ecs.ok("RunTask", request).await;
    let arn = started["tasks"][0]["taskArn"].as_str();
    arn.unwrap_or_else(|| panic!("no task: {started}"))
        .to_owned()
}

/// Who these credentials are.
async fn identity(server: &TestServer, credentials: &Value) -> String {
    let member = |name: &str| credentials[name].as_str().expect("text").to_owned();
    let mut aws: Aws = server.aws_with(&member("accessKeyId"), &member("secretAccessKey"));
    aws.session_token = Some(member("sessionToken"));
    let identity = aws.sts("GetCallerIdentity", &[]).await;
    identity.text("Arn")
}

#[tokio::test]
async fn a_task_gets_the_credentials_of_its_roles() {
    let (server, ecs) = with_cluster("web").await;
    make_role(&server, "app", SERVICE).await;
    make_role(&server, "pull", SERVICE).await;
    let agent = TestAgent::register(&ecs, "web").await;
    let mut acs = agent.acs().await;
    let task = run(&server, &agent, "app", "pull").await;
    let payload = acs.payload().await;
    let told = &payload["tasks"][0];
    let id = task.rsplit('/').next().expect("an id");
    for (member, role) in [
        ("roleCredentials", "app"),
        ("executionRoleCredentials", "pull"),
    ] {
        let credentials = &told[member];
        assert_eq!(credentials["roleArn"], role_arn(role));
        let expected = format!("arn:aws:sts::{ACCOUNT}:assumed-role/{role}/{id}");
        assert_eq!(identity(&server, credentials).await, expected);
    }
    let names = ["roleCredentials", "executionRoleCredentials"];
    let [one, other] = names.map(|name| told[name]["credentialsId"].clone());
    assert_ne!(one, other);

    // On a new connection, the agent gets credentials under the same names.
    agent.report(&task, "RUNNING").await;
    drop(acs);
    let mut acs = agent.acs().await;
    for _ in 0..2 {
        let message = acs.next("IAMRoleCredentialsMessage").await;
        assert_eq!(message["taskArn"], task);
        let credentials = &message["roleCredentials"];
        let (name, role) = match message["roleType"].as_str() {
            Some("TaskApplication") => (&one, "app"),
            _ => (&other, "pull"),
        };
        assert_eq!(
            (&credentials["credentialsId"], &credentials["roleArn"]),
            (name, &json!(role_arn(role)))
        );
        let ack = json!({
            "messageId": message["messageId"],
            "credentialsId": credentials["credentialsId"],
            "expiration": credentials["expiration"],
        });
        acs.send("IAMRoleCredentialsAckRequest", &ack).await;
    }
}

#[tokio::test]
async fn a_role_that_does_not_trust_the_service_stops_the_task() {
    let (server, ecs) = with_cluster("web").await;
    make_role(&server, "app", "ec2.amazonaws.com").await;
    make_role(&server, "pull", SERVICE).await;
    let agent = TestAgent::register(&ecs, "web").await;
    let _acs = agent.acs().await;
    let task = run(&server, &agent, "app", "pull").await;
    let stopped = async {
        loop {
            let described = agent.task(&task).await;
            if described["lastStatus"] == "STOPPED" {
                return described;
            }
            tokio::task::yield_now().await;
        }
    };
    let patience = std::time::Duration::from_secs(20);
    let stopped = tokio::time::timeout(patience, stopped)
        .await
        .expect("stopped in time");
    assert_eq!(stopped["stopCode"], "TaskFailedToStart");
    let expected = format!(
        "ECS was unable to assume the role '{}' that was provided for this task. Please verify \
         that the role being passed has the proper trust relationship and permissions and that \
         your IAM user has permissions to pass this role.",
        role_arn("app")
    );
    assert_eq!(stopped["stoppedReason"], expected);
}
