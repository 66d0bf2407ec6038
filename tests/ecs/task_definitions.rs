//! Task definitions: registered, described, listed, deregistered and deleted.

use serde_json::{Value, json};

use super::{allow, arn, server};
use crate::support::{ACCOUNT, Ecs};

/// A request to register a task of one container, with further members of the task.
fn request(family: &str, members: Value) -> Value {
    let mut request = json!({
        "family": family,
        "containerDefinitions": [{ "name": "web", "image": "nginx", "memory": 128 }],
    });
    if let Value::Object(members) = members {
        for (member, value) in members {
            request[member] = value;
        }
    }
    request
}

async fn register(ecs: &Ecs, family: &str) -> Value {
    let response = ecs.ok("RegisterTaskDefinition", request(family, json!({})));
    response.await["taskDefinition"].clone()
}

#[tokio::test]
async fn a_registered_task_definition_is_described_with_its_defaults() {
    let (_server, ecs) = server().await;
    let registered = register(&ecs, "web").await;
    let described = ecs
        .ok("DescribeTaskDefinition", json!({ "taskDefinition": "web" }))
        .await;
    assert_eq!(described["taskDefinition"], registered);
    assert_eq!(described["tags"], json!([]));
    let mut expected = json!({
        "taskDefinitionArn": arn("task-definition/web:1"),
        "family": "web", "revision": 1, "status": "ACTIVE",
        "registeredBy": format!("arn:aws:iam::{ACCOUNT}:root"),
        "containerDefinitions": [{
            "name": "web", "image": "nginx", "cpu": 0, "memory": 128, "essential": true,
            "portMappings": [], "environment": [], "mountPoints": [], "volumesFrom": [],
            "systemControls": [],
        }],
        "volumes": [], "requiresAttributes": [], "placementConstraints": [],
        "compatibilities": ["EXTERNAL", "EC2"],
    });
    expected["registeredAt"] = registered["registeredAt"].clone();
    assert_eq!(registered, expected);
    assert!(registered["registeredAt"].is_f64());
}

/// What a client describes, edits and registers again keeps all else.
#[tokio::test]
async fn a_described_task_definition_registers_again_to_the_same() {
    let (_server, ecs) = server().await;
    let members = json!({
        "cpu": ".5 vCPU", "memory": "1GB", "networkMode": "awsvpc",
        "requiresCompatibilities": ["FARGATE"], "executionRoleArn": "execution",
        "volumes": [{ "name": "data" }],
        "containerDefinitions": [{
            "name": "web", "image": "nginx",
            "portMappings": [{ "containerPort": 80 }],
            "secrets": [{ "name": "KEY", "valueFrom": "/key" }],
            "mountPoints": [{ "sourceVolume": "data", "containerPath": "/data" }],
            "healthCheck": { "command": ["CMD-SHELL", "true"] },
            "logConfiguration": { "logDriver": "awslogs", "options": {
                "awslogs-group": "web", "awslogs-region": "us-east-1",
                "awslogs-stream-prefix": "web" } },
        }],
    });
    let first = ecs
        .ok("RegisterTaskDefinition", request("web", members))
        .await;
    let first = &first["taskDefinition"];
    assert_eq!(
        (&first["cpu"], &first["memory"]),
        (&json!("512"), &json!("1024"))
    );
    assert_eq!(first["compatibilities"], json!(["EC2", "FARGATE"]));
    let mut again = first.clone();
    let computed = [
        "taskDefinitionArn",
        "revision",
        "status",
        "registeredAt",
        "registeredBy",
        "requiresAttributes",
        "compatibilities",
    ];
    for member in computed {
        again.as_object_mut().expect("an object").remove(member);
    }
    let second = ecs.ok("RegisterTaskDefinition", again).await;
    let mut second = second["taskDefinition"].clone();
    for member in ["taskDefinitionArn", "revision", "registeredAt"] {
        second[member] = first[member].clone();
    }
    assert_eq!(second, *first);
}

/// `none` is in no list of the service model, but ECS takes it, and agents register it.
#[tokio::test]
async fn the_log_driver_none_is_registered() {
    let (_server, ecs) = server().await;
    let with_logs = |driver: &str| {
        let container = json!({ "name": "web", "image": "nginx", "memory": 128,
            "logConfiguration": { "logDriver": driver } });
        request("web", json!({ "containerDefinitions": [container] }))
    };
    let registered = ecs.ok("RegisterTaskDefinition", with_logs("none")).await;
    let definition = &registered["taskDefinition"];
    assert_eq!(
        definition["containerDefinitions"][0]["logConfiguration"],
        json!({ "logDriver": "none" })
    );
    let capability = "com.amazonaws.ecs.capability.logging-driver.none";
    let required = definition["requiresAttributes"].as_array().expect("a list");
    assert!(required.contains(&json!({ "name": capability })));

    let message = "logDriver should be one of [json-file,syslog,journald,gelf,fluentd,awslogs,\
                   splunk,awsfirelens,none]";
    let code = "InvalidParameterException";
    ecs.refused("RegisterTaskDefinition", with_logs("loki"), code, message)
        .await;
}

#[tokio::test]
async fn what_is_not_valid_is_refused_in_the_words_of_ecs() {
    let (_server, ecs) = server().await;
    let client = "ClientException";
    let fargate = json!({ "requiresCompatibilities": ["FARGATE"], "networkMode": "awsvpc",
        "cpu": "1024", "memory": "1024" });
    for (family, members, message) in [
        ("a b", json!({}), "Family contains invalid characters."),
        (
            "web",
            json!({ "containerDefinitions": [] }),
            "Container list cannot be empty.",
        ),
        (
            "web",
            json!({ "containerDefinitions": [{ "name": "web", "image": "nginx" }] }),
            "Invalid setting for container 'web'. At least one of 'memory' or 'memoryReservation' \
             must be specified.",
        ),
        (
            "web",
            fargate,
            "No Fargate configuration exists for given values: 1024 CPU, 1024 memory. See the \
             Amazon ECS documentation for the valid values.",
        ),
        (
            "web",
            json!({ "taskRoleArn": "arn:aws:s3:::bucket" }),
            "Role is not valid",
        ),
        (
            "web",
            json!({ "proxyConfiguration": { "containerName": "web" } }),
            "This server does not support 'proxyConfiguration'.",
        ),
        (
            "web",
            json!({ "inferenceAccelerators": [{ "deviceName": "a", "deviceType": "b" }] }),
            "This server does not support 'inferenceAccelerators'.",
        ),
    ] {
        let request = request(family, members);
        ecs.refused("RegisterTaskDefinition", request, client, message)
            .await;
    }
    let bad_mode = request("web", json!({ "networkMode": "bridged" }));
    let code = "InvalidParameterException";
    ecs.refused("RegisterTaskDefinition", bad_mode, code, "networkMode")
        .await;
    let missing = json!({ "taskDefinition": "web" });
    let message = "Unable to describe task definition.";
    ecs.refused("DescribeTaskDefinition", missing, client, message)
        .await;
}

#[tokio::test]
async fn revisions_are_never_used_again() {
    let (_server, ecs) = server().await;
    register(&ecs, "web").await;
    register(&ecs, "web").await;
    let named = json!({ "taskDefinition": "web:2" });
    let gone = ecs.ok("DeregisterTaskDefinition", named).await;
    assert_eq!(gone["taskDefinition"]["status"], "INACTIVE");
    assert!(gone["taskDefinition"]["deregisteredAt"].is_f64());
    let newest = ecs
        .ok("DescribeTaskDefinition", json!({ "taskDefinition": "web" }))
        .await;
    assert_eq!(newest["taskDefinition"]["revision"], 1);

    let request = json!({ "taskDefinitions": ["web:1", "web:2", "web:9"] });
    let deleted = ecs.ok("DeleteTaskDefinitions", request).await;
    assert_eq!(
        deleted["taskDefinitions"][0]["status"],
        "DELETE_IN_PROGRESS"
    );
    assert_eq!(
        deleted["failures"],
        json!([
            { "arn": "web:1", "reason": "The specified task definition is still in ACTIVE status. \
                Please deregister the target and try again." },
            { "arn": "web:9", "reason": "The specified task definition does not exist. Specify a \
                valid account, family, revision and try again." },
        ])
    );
    assert_eq!(register(&ecs, "web").await["revision"], 3);

    let client = "ClientException";
    for (name, message) in [
        ("web", "Revision is missing."),
        ("web:9", "The specified task definition does not exist."),
    ] {
        let named = json!({ "taskDefinition": name });
        ecs.refused("DeregisterTaskDefinition", named, client, message)
            .await;
    }
}

#[tokio::test]
async fn listings_have_pages_and_filters() {
    let (_server, ecs) = server().await;
    for family in ["web", "web", "api", "web-old"] {
        register(&ecs, family).await;
    }
    ecs.ok(
        "DeregisterTaskDefinition",
        json!({ "taskDefinition": "web-old:1" }),
    )
    .await;
    let all = async |request: Value, list: &str| {
        let (mut found, mut request) = (Vec::new(), request);
        request["maxResults"] = 1.into();
        let operation = match list {
            "families" => "ListTaskDefinitionFamilies",
            _ => "ListTaskDefinitions",
        };
        loop {
            let page = ecs.ok(operation, request.clone()).await;
            let items = page[list].as_array().expect("a list").clone();
            found.extend(
                items
                    .iter()
                    .map(|one| one.as_str().expect("a text").to_owned()),
            );
            match page.get("nextToken") {
                Some(token) => request["nextToken"] = token.clone(),
                None => return found,
            }
        }
    };
    let arns = |names: &[&str]| -> Vec<String> {
        names
            .iter()
            .map(|name| arn(&format!("task-definition/{name}")))
            .collect()
    };
    let list = "taskDefinitionArns";
    assert_eq!(
        all(json!({}), list).await,
        arns(&["api:1", "web:1", "web:2"])
    );
    let descending = json!({ "sort": "DESC" });
    assert_eq!(
        all(descending, list).await,
        arns(&["web:2", "web:1", "api:1"])
    );
    let family = json!({ "familyPrefix": "web" });
    assert_eq!(all(family, list).await, arns(&["web:1", "web:2"]));
    let inactive = json!({ "status": "INACTIVE" });
    assert_eq!(all(inactive, list).await, arns(&["web-old:1"]));

    assert_eq!(all(json!({}), "families").await, ["api", "web", "web-old"]);
    let prefix = json!({ "familyPrefix": "web" });
    assert_eq!(all(prefix, "families").await, ["web", "web-old"]);
    let active = json!({ "status": "ACTIVE" });
    assert_eq!(all(active, "families").await, ["api", "web"]);
    let inactive = json!({ "status": "INACTIVE" });
    assert_eq!(all(inactive, "families").await, ["web-old"]);
}

#[tokio::test]
async fn tags_are_described_on_request() {
    let (_server, ecs) = server().await;
    let tags = json!([{ "key": "team", "value": "web" }]);
    let registered = ecs
        .ok(
            "RegisterTaskDefinition",
            request("web", json!({ "tags": tags })),
        )
        .await;
    assert_eq!(registered["tags"], tags);
    let named = json!({ "taskDefinition": "web:1", "include": ["TAGS"] });
    assert_eq!(ecs.ok("DescribeTaskDefinition", named).await["tags"], tags);
    let resource = json!({ "resourceArn": arn("task-definition/web:1") });
    assert_eq!(ecs.ok("ListTagsForResource", resource).await["tags"], tags);
}

/// Roles are handed to tasks only by callers who may pass them.
#[tokio::test]
async fn roles_must_be_passed() {
    let (server, _) = server().await;
    let role = |name: &str| format!("arn:aws:iam::{ACCOUNT}:role/{name}");
    let registers = json!({ "Effect": "Allow", "Action": "ecs:RegisterTaskDefinition",
        "Resource": "*" });
    let passes = json!({ "Effect": "Allow", "Action": "iam:PassRole", "Resource": role("web-*"),
        "Condition": { "StringEquals": { "iam:PassedToService": "ecs-tasks.amazonaws.com" } } });
    let policy = json!({ "Version": "2012-10-17", "Statement": [registers, passes] });
    let ann = Ecs::of(&server.aws_user(ACCOUNT, "ann", &policy.to_string()));
    let with = |task: &str, execution: &str| {
        request(
            "web",
            json!({ "taskRoleArn": task, "executionRoleArn": execution }),
        )
    };
    ann.ok(
        "RegisterTaskDefinition",
        with(&role("web-task"), "web-execution"),
    )
    .await;
    for denied in [
        with(&role("admin"), "web-execution"),
        with("web-task", "admin"),
    ] {
        let outcome = ann.call("RegisterTaskDefinition", denied).await;
        let message = format!("perform: iam:PassRole on resource: {}", role("admin"));
        outcome.assert_fault("AccessDeniedException", &message);
    }
}

#[tokio::test]
async fn policies_name_families() {
    let (server, root) = server().await;
    let policy = allow("ecs:*TaskDefinition*", &arn("task-definition/web:*"));
    let ann = Ecs::of(&server.aws_user(ACCOUNT, "ann", &policy));
    register(&ann, "web").await;
    let outcome = ann
        .call("RegisterTaskDefinition", request("api", json!({})))
        .await;
    let message = format!("on resource: {}", arn("task-definition/api:*"));
    outcome.assert_fault("AccessDeniedException", &message);
    root.ok(
        "DeregisterTaskDefinition",
        json!({ "taskDefinition": "web:1" }),
    )
    .await;
    ann.ok(
        "DeleteTaskDefinitions",
        json!({ "taskDefinitions": ["web:1"] }),
    )
    .await;
    let outcome = ann
        .call(
            "DeleteTaskDefinitions",
            json!({ "taskDefinitions": ["api:1"] }),
        )
        .await;
    outcome.assert_fault("AccessDeniedException", "ecs:DeleteTaskDefinitions");
    // Nothing is looked up and decided for revisions that are too many in any case.
    let many: Vec<_> = (1..12).map(|revision| format!("api:{revision}")).collect();
    ann.refused(
        "DeleteTaskDefinitions",
        json!({ "taskDefinitions": many }),
        "InvalidParameterException",
        "At most 10 task definitions can be deleted at once.",
    )
    .await;
}
