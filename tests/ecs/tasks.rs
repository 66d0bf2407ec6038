//! Tasks: run, described, listed, stopped and protected.

use serde_json::{Value, json};

use super::{allow, arn, with_cluster};
use crate::support::{ACCOUNT, AgentSocket, Ecs, TestAgent, TestServer};

/// A server with the cluster `web`, the task definition `sleep` and a connected instance.
struct World {
    server: TestServer,
    ecs: Ecs,
    agent: TestAgent,
    _acs: AgentSocket,
}

async fn world() -> World {
    let (server, ecs) = with_cluster("web").await;
    let container = json!({"name": "main", "image": "busybox:1", "memory": 64, "cpu": 10});
    let definition = json!({
        "family": "sleep",
        "containerDefinitions": [container],
        "tags": [{"key": "owner", "value": "definition"}],
    });
    ecs.ok("RegisterTaskDefinition", definition).await;
    let agent = TestAgent::register(&ecs, "web").await;
    let acs = agent.acs().await;
    World {
        server,
        ecs,
        agent,
        _acs: acs,
    }
}

fn text(value: &Value) -> String {
    value.as_str().expect("text").to_owned()
}

fn run_request(more: Value) -> Value {
    let mut request = json!({"cluster": "web", "taskDefinition": "sleep"});
    if let (Value::Object(request), Value::Object(more)) = (&mut request, more) {
        request.extend(more);
    }
    request
}

impl World {
    /// Runs one task; returns it.
    async fn run(&self, more: Value) -> Value {
        let mut started = self.ecs.ok("RunTask", run_request(more)).await;
        assert_eq!(started["failures"], json!([]), "{started}");
        started["tasks"][0].take()
    }

    async fn list(&self, filter: Value) -> Vec<String> {
        let mut request = json!({"cluster": "web"});
        if let (Value::Object(request), Value::Object(filter)) = (&mut request, filter) {
            request.extend(filter);
        }
        let listed = self.ecs.ok("ListTasks", request).await;
        let arns = listed["taskArns"].as_array().expect("ARNs").iter();
        arns.map(text).collect()
    }
}

#[tokio::test]
async fn a_new_task_is_shown_with_all_that_is_known() {
    let world = world().await;
    let mut task = world
        .run(json!({"startedBy": "me", "tags": [{"key": "a", "value": "b"}]}))
        .await;
    let task_arn = text(&task["taskArn"]);
    assert!(task_arn.starts_with(&arn("task/web/")), "{task_arn}");
    assert_eq!(task_arn.len(), arn("task/web/").len() + 32);
    assert!(task["createdAt"].is_number());
    let container_arn = text(&task["containers"][0]["containerArn"]);
    assert!(container_arn.starts_with(&arn("container/web/")));
    let created = task["createdAt"].take();
    let expected = json!({
        "attachments": [],
        "attributes": [],
        "availabilityZone": task["availabilityZone"],
        "clusterArn": arn("cluster/web"),
        "containerInstanceArn": world.agent.instance,
        "containers": [{
            "containerArn": container_arn,
            "taskArn": task_arn,
            "name": "main",
            "image": "busybox:1",
            "lastStatus": "PENDING",
            "networkInterfaces": [],
            "healthStatus": "UNKNOWN",
            "cpu": "10",
            "memory": "64",
        }],
        "cpu": "10",
        "createdAt": null,
        "desiredStatus": "RUNNING",
        "enableExecuteCommand": false,
        "group": "family:sleep",
        "healthStatus": "UNKNOWN",
        "inferenceAccelerators": [],
        "lastStatus": "PENDING",
        "launchType": "EC2",
        "memory": "64",
        "overrides": {
            "containerOverrides": [{"name": "main"}],
            "inferenceAcceleratorOverrides": [],
        },
        "startedBy": "me",
        "tags": [{"key": "a", "value": "b"}],
        "taskArn": task_arn,
        "taskDefinitionArn": arn("task-definition/sleep:1"),
        "version": 1,
    });
    assert_eq!(task, expected);
    let request = json!({"cluster": "web", "tasks": [task_arn, "f".repeat(32)]});
    let described = world.ecs.ok("DescribeTasks", request).await;
    let mut shown = expected;
    shown["tags"] = json!([]);
    shown["createdAt"] = created;
    let missing = arn(&format!("task/web/{}", "f".repeat(32)));
    assert_eq!(
        described,
        json!({"tasks": [shown], "failures": [{"arn": missing, "reason": "MISSING"}]})
    );
}

#[tokio::test]
async fn what_cannot_be_run_is_refused() {
    let world = world().await;
    let invalid = "InvalidParameterException";
    let long = "x".repeat(9000);
    for (request, code, message) in [
        (
            json!({"count": 11}),
            invalid,
            "count should be between 1 and 10",
        ),
        (
            json!({"count": 0}),
            invalid,
            "count should be between 1 and 10",
        ),
        (
            json!({"taskDefinition": "none"}),
            "ClientException",
            "TaskDefinition not found.",
        ),
        (
            json!({"cluster": "none"}),
            "ClusterNotFoundException",
            "Cluster not found.",
        ),
        (
            json!({"overrides": {"containerOverrides": [{"name": "side", "cpu": 1}]}}),
            invalid,
            "Override for container named side is not a container in the TaskDefinition.",
        ),
        (
            json!({"overrides": {"containerOverrides": [{"name": "main", "command": [long]}]}}),
            invalid,
            "Overrides length must be at most 8192.",
        ),
        (
            json!({"overrides": {"inferenceAcceleratorOverrides": [{"deviceName": "a"}]}}),
            invalid,
            "This server does not support 'inferenceAcceleratorOverrides'.",
        ),
        (
            json!({"overrides": {"ephemeralStorage": {"sizeInGiB": 20}}}),
            invalid,
            "Invalid setting for 'ephemeralStorage'. The 'sizeInGiB' must be between 21 and 200.",
        ),
        (
            json!({"overrides": {"containerOverrides": [{"name": "main",
                "resourceRequirements": [{"type": "GPU", "value": "1"}]}]}}),
            invalid,
            "This server does not support GPUs and other 'resourceRequirements'.",
        ),
        (
            json!({"referenceId": "x".repeat(1025)}),
            invalid,
            "referenceId length must be at most 1024.",
        ),
        (
            json!({"launchType": "FARGATE"}),
            invalid,
            "Task definition does not support launch_type FARGATE.",
        ),
        (
            json!({"networkConfiguration": {"awsvpcConfiguration": {"subnets": ["subnet-1"]}}}),
            invalid,
            "Network Configuration is not valid for the given networkMode of this task definition.",
        ),
        (
            json!({
                "launchType": "EC2",
                "capacityProviderStrategy": [{"capacityProvider": "FARGATE"}],
            }),
            invalid,
            "Specifying both a launch type and capacity provider strategy is not supported.",
        ),
        (
            json!({"startedBy": "x".repeat(129)}),
            invalid,
            "startedBy length must be at most 128.",
        ),
        (
            json!({"propagateTags": "SERVICE"}),
            invalid,
            "Tags can be propagated from a service only",
        ),
        (
            json!({"placementStrategy": [{"type": "spread"}]}),
            invalid,
            "the placement strategy spread needs a field",
        ),
        (
            json!({"clientToken": "two words"}),
            invalid,
            "clientToken must have",
        ),
    ] {
        let request = run_request(request);
        world.ecs.refused("RunTask", request, code, message).await;
    }
}

#[tokio::test]
async fn an_inactive_definition_is_not_run() {
    let world = world().await;
    let ecs = &world.ecs;
    let deregister = json!({"taskDefinition": "sleep:1"});
    ecs.ok("DeregisterTaskDefinition", deregister).await;
    let request = json!({"cluster": "web", "taskDefinition": "sleep:1"});
    ecs.refused(
        "RunTask",
        request,
        "ClientException",
        "TaskDefinition is inactive",
    )
    .await;
}

#[tokio::test]
async fn a_client_token_runs_tasks_once() {
    let world = world().await;
    let request = json!({"clientToken": "t1", "startedBy": "a"});
    let first = world.run(request.clone()).await;
    let second = world.run(request).await;
    assert_eq!(first, second);
    assert_eq!(world.list(json!({})).await.len(), 1);
    let other = run_request(json!({"clientToken": "t1", "startedBy": "b"}));
    let outcome = world.ecs.call("RunTask", other).await;
    outcome.assert_fault("ConflictException", "other parameters");
    assert_eq!(outcome.document["resourceIds"], json!([first["taskArn"]]));
}

#[tokio::test]
async fn tags_come_from_the_request_the_definition_and_the_cluster() {
    let world = world().await;
    let task = world
        .run(json!({
            "tags": [{"key": "a", "value": "b"}],
            "propagateTags": "TASK_DEFINITION",
            "enableECSManagedTags": true,
        }))
        .await;
    let expected = json!([
        {"key": "a", "value": "b"},
        {"key": "owner", "value": "definition"},
        {"key": "aws:ecs:clusterName", "value": "web"},
    ]);
    assert_eq!(task["tags"], expected);
    let request = json!({"cluster": "web", "tasks": [task["taskArn"]], "include": ["TAGS"]});
    let described = world.ecs.ok("DescribeTasks", request).await;
    assert_eq!(described["tasks"][0]["tags"], expected);
}

#[tokio::test]
async fn a_stopped_task_keeps_its_first_reason() {
    let world = world().await;
    let task = world.run(json!({})).await;
    let stop = |reason: Value| {
        let mut request = json!({"cluster": "web", "task": task["taskArn"]});
        request["reason"] = reason;
        request
    };
    let stopped = world.ecs.ok("StopTask", stop(json!("enough"))).await;
    let stopped = &stopped["task"];
    assert_eq!(stopped["desiredStatus"], "STOPPED");
    assert_eq!(stopped["lastStatus"], "PENDING");
    assert_eq!(stopped["stopCode"], "UserInitiated");
    assert_eq!(stopped["stoppedReason"], "enough");
    assert!(stopped["stoppingAt"].is_number());
    let again = world.ecs.ok("StopTask", stop(json!("again"))).await;
    assert_eq!(again["task"]["stoppedReason"], "enough");
    assert_eq!(world.list(json!({})).await, Vec::<String>::new());
    let listed = world.list(json!({"desiredStatus": "STOPPED"})).await;
    assert_eq!(listed, [text(&task["taskArn"])]);

    let usual = world.run(json!({})).await;
    let request = json!({"cluster": "web", "task": usual["taskArn"]});
    let stopped = world.ecs.ok("StopTask", request).await;
    assert_eq!(stopped["task"]["stoppedReason"], "Task stopped by user");
    let request = json!({"cluster": "web", "task": "0".repeat(32)});
    let (code, message) = (
        "InvalidParameterException",
        "The referenced task was not found.",
    );
    world.ecs.refused("StopTask", request, code, message).await;
}

#[tokio::test]
async fn tasks_are_listed_by_each_filter_and_in_pages() {
    let world = world().await;
    let one = text(&world.run(json!({"startedBy": "one"})).await["taskArn"]);
    let two = text(&world.run(json!({"startedBy": "two"})).await["taskArn"]);
    let mut both = vec![one.clone(), two];
    both.sort_unstable();
    assert_eq!(world.list(json!({})).await, both);
    assert_eq!(world.list(json!({"family": "sleep"})).await, both);
    assert_eq!(world.list(json!({"launchType": "EC2"})).await, both);
    let on_instance = json!({"containerInstance": world.agent.instance});
    assert_eq!(world.list(on_instance).await, both);
    assert_eq!(world.list(json!({"startedBy": "one"})).await, [one]);
    for nothing in [
        json!({"family": "other"}),
        json!({"launchType": "FARGATE"}),
        json!({"desiredStatus": "PENDING"}),
        json!({"desiredStatus": "STOPPED"}),
    ] {
        assert_eq!(world.list(nothing).await, Vec::<String>::new());
    }
    let first = json!({"cluster": "web", "maxResults": 1});
    let first = world.ecs.ok("ListTasks", first).await;
    assert_eq!(first["taskArns"], json!([both[0]]));
    let second = json!({"cluster": "web", "nextToken": first["nextToken"]});
    let second = world.ecs.ok("ListTasks", second).await;
    assert_eq!(second, json!({"taskArns": [both[1]]}));
    let code = "InvalidParameterException";
    let request = json!({"cluster": "web", "daemonName": "logs"});
    let message = "This server does not support managed daemons.";
    world.ecs.refused("ListTasks", request, code, message).await;
    let request = json!({"cluster": "web", "startedBy": "one", "family": "sleep"});
    let message = "When startedBy is specified, it must be the only filter.";
    world.ecs.refused("ListTasks", request, code, message).await;
    let request = json!({"cluster": "web", "serviceName": "none"});
    let missing = "ServiceNotFoundException";
    world
        .ecs
        .refused("ListTasks", request, missing, "Service not found.")
        .await;
    let request = json!({"cluster": "web", "nextToken": "x"});
    world
        .ecs
        .refused("ListTasks", request, code, "Invalid token")
        .await;
}

#[tokio::test]
async fn tasks_without_a_service_are_not_protected() {
    let world = world().await;
    let task = world.run(json!({})).await["taskArn"].take();
    let missing = arn(&format!("task/web/{}", "f".repeat(32)));
    let request = json!({
        "cluster": "web", "tasks": [task, missing], "protectionEnabled": true,
    });
    let updated = world.ecs.ok("UpdateTaskProtection", request).await;
    let detail = "The specified task is not part of an Amazon ECS service.";
    let expected = json!({
        "protectedTasks": [],
        "failures": [
            {"arn": task, "reason": "TASK_NOT_VALID", "detail": detail},
            {"arn": missing, "reason": "MISSING"},
        ],
    });
    assert_eq!(updated, expected);
    let request = json!({"cluster": "web", "tasks": [task, missing]});
    assert_eq!(world.ecs.ok("GetTaskProtection", request).await, expected);
    let request = json!({
        "cluster": "web", "tasks": [task], "protectionEnabled": true, "expiresInMinutes": 2881,
    });
    let message = "expiresInMinutes should be between 1 and 2880.";
    let code = "InvalidParameterException";
    world
        .ecs
        .refused("UpdateTaskProtection", request, code, message)
        .await;
}

#[tokio::test]
async fn running_a_task_needs_permission_on_its_definition_and_to_pass_its_roles() {
    let world = world().await;
    let definition = json!({
        "family": "role",
        "containerDefinitions": [{"name": "main", "image": "busybox", "memory": 64}],
        "taskRoleArn": format!("arn:aws:iam::{ACCOUNT}:role/app"),
    });
    world.ecs.ok("RegisterTaskDefinition", definition).await;
    let run = allow("ecs:RunTask", &arn("task-definition/*"));
    let user = Ecs::of(&world.server.aws_user(ACCOUNT, "runner", &run));
    user.ok("RunTask", run_request(json!({}))).await;
    let with_role = run_request(json!({"taskDefinition": "role"}));
    let outcome = user.call("RunTask", with_role.clone()).await;
    outcome.assert_fault("AccessDeniedException", "iam:PassRole");
    let tagged = run_request(json!({"tags": [{"key": "a", "value": "b"}]}));
    let outcome = user.call("RunTask", tagged).await;
    outcome.assert_fault("AccessDeniedException", "ecs:TagResource");
    world.ecs.ok("RunTask", with_role).await;
    let narrow = allow("ecs:RunTask", &arn("task-definition/other:*"));
    let other = Ecs::of(&world.server.aws_user(ACCOUNT, "other", &narrow));
    let outcome = other.call("RunTask", run_request(json!({}))).await;
    outcome.assert_fault("AccessDeniedException", "ecs:RunTask");
}
