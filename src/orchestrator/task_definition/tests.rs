//! The rules of task definitions, each stated with its message.

mod bounds;
mod properties;

use serde_json::{Value, json};

use super::validate;
use crate::model::{TaskDefinitionDocument, home};

fn registered(document: Value) -> Result<Value, String> {
    let document: TaskDefinitionDocument = serde_json::from_value(document).expect("a document");
    let valid = validate(&home(), "web", document).map_err(|error| error.to_string())?;
    Ok(serde_json::to_value(valid).expect("JSON"))
}

/// An object with further or other members.
fn merge(mut object: Value, members: Value) -> Value {
    if let Value::Object(members) = members {
        for (member, value) in members {
            object[member] = value;
        }
    }
    object
}

/// A task of one container with the given members beside those that it must have.
fn with_container(members: Value) -> Value {
    json!({ "containerDefinitions": [container("web", members)] })
}

fn container(name: &str, members: Value) -> Value {
    merge(
        json!({ "name": name, "image": "nginx", "memory": 128 }),
        members,
    )
}

fn with_task(members: Value) -> Value {
    merge(with_container(json!({})), members)
}

fn fargate(members: Value) -> Value {
    merge(
        with_task(json!({
            "networkMode": "awsvpc", "cpu": "256", "memory": "512",
            "requiresCompatibilities": ["FARGATE"],
        })),
        members,
    )
}

const ROLE: &str = "arn:aws:iam::123456789012:role/execution";

#[test]
fn defaults_are_filled_in() {
    let found = registered(with_container(
        json!({ "portMappings": [{ "containerPort": 80 }] }),
    ));
    assert_eq!(
        found.expect("valid"),
        json!({
            "containerDefinitions": [{
                "name": "web", "image": "nginx", "cpu": 0, "memory": 128, "essential": true,
                "portMappings": [{ "containerPort": 80, "hostPort": 0, "protocol": "tcp" }],
                "environment": [], "mountPoints": [], "volumesFrom": [], "systemControls": [],
            }],
            "volumes": [], "requiresAttributes": [], "placementConstraints": [],
            "compatibilities": ["EXTERNAL", "EC2"],
        })
    );
}

#[test]
fn host_ports_follow_the_network_mode() {
    for mode in ["host", "awsvpc"] {
        let mut task = with_container(json!({ "portMappings": [{ "containerPort": 80 }] }));
        task["networkMode"] = mode.into();
        let found = registered(task).expect("valid");
        assert_eq!(
            found["containerDefinitions"][0]["portMappings"][0]["hostPort"],
            80
        );
    }
}

#[test]
fn health_checks_volumes_of_the_host_and_restart_policies_get_defaults() {
    let mut task = with_container(json!({
        "healthCheck": { "command": ["CMD", "true"] },
        "restartPolicy": { "enabled": true },
        "mountPoints": [{ "sourceVolume": "data", "containerPath": "/data" }],
    }));
    task["volumes"] = json!([
        { "name": "data" },
        { "name": "shared", "dockerVolumeConfiguration": { "scope": "shared" } },
        { "name": "own", "dockerVolumeConfiguration": {} },
    ]);
    let found = registered(task).expect("valid");
    let container = &found["containerDefinitions"][0];
    let check = json!({ "command": ["CMD", "true"], "interval": 30, "timeout": 5, "retries": 3 });
    assert_eq!(container["healthCheck"], check);
    assert_eq!(
        container["restartPolicy"],
        json!({ "enabled": true, "restartAttemptPeriod": 300 })
    );
    assert_eq!(
        found["volumes"],
        json!([
            { "name": "data", "host": {} },
            { "name": "shared", "dockerVolumeConfiguration": { "scope": "shared" } },
            { "name": "own", "dockerVolumeConfiguration": {} },
        ])
    );
}

#[test]
fn sizes_are_numbers_and_roles_are_arns() {
    let found = registered(with_task(json!({
        "cpu": "1 vCPU", "memory": "2GB", "taskRoleArn": "web", "executionRoleArn": ROLE,
    })));
    let found = found.expect("valid");
    assert_eq!(
        (&found["cpu"], &found["memory"]),
        (&json!("1024"), &json!("2048"))
    );
    assert_eq!(found["taskRoleArn"], "arn:aws:iam::123456789012:role/web");
    assert_eq!(found["executionRoleArn"], ROLE);
}

#[test]
fn attributes_and_compatibilities_follow_from_the_features() {
    let mut task = fargate(json!({ "executionRoleArn": ROLE, "taskRoleArn": ROLE }));
    task["containerDefinitions"][0] = container(
        "web",
        json!({
            "image": "123456789012.dkr.ecr.us-east-1.amazonaws.com/web:1",
            "logConfiguration": { "logDriver": "awslogs", "options": {
                "awslogs-group": "web", "awslogs-region": "us-east-1",
                "awslogs-stream-prefix": "web" } },
            "secrets": [{ "name": "KEY", "valueFrom": "/key" }],
        }),
    );
    let found = registered(task).expect("valid");
    let attributes = found["requiresAttributes"].as_array().expect("a list");
    let names: Vec<_> = attributes
        .iter()
        .map(|one| one["name"].as_str().expect("a name"))
        .collect();
    assert_eq!(
        names,
        [
            "com.amazonaws.ecs.capability.docker-remote-api.1.18",
            "com.amazonaws.ecs.capability.docker-remote-api.1.19",
            "com.amazonaws.ecs.capability.ecr-auth",
            "com.amazonaws.ecs.capability.logging-driver.awslogs",
            "com.amazonaws.ecs.capability.task-iam-role",
            "ecs.capability.execution-role-awslogs",
            "ecs.capability.execution-role-ecr-pull",
            "ecs.capability.secrets.ssm.environment-variables",
            "ecs.capability.task-cpu-mem-limit",
            "ecs.capability.task-eni",
        ]
    );
    assert_eq!(found["compatibilities"], json!(["EC2", "FARGATE"]));
}

fn expect_refusals<const N: usize>(cases: [(Value, &str); N]) {
    for (document, message) in cases {
        assert_eq!(
            registered(document.clone()),
            Err(message.to_owned()),
            "{document}"
        );
    }
}

#[test]
fn names_sizes_and_volumes_have_rules() {
    let at_least = "Invalid setting for container 'web'. At least one of 'memory' or \
                    'memoryReservation' must be specified.";
    expect_refusals([
        (
            json!({ "containerDefinitions": [] }),
            "Container list cannot be empty.",
        ),
        (
            with_container(json!({ "name": "" })),
            "Container.name should not be null or empty.",
        ),
        (
            with_container(json!({ "name": "a b" })),
            "Container.name contains invalid characters.",
        ),
        (
            with_container(json!({ "image": "" })),
            "Container.image should not be null or empty.",
        ),
        (
            with_container(json!({ "image": "a b" })),
            "Container.image contains invalid characters.",
        ),
        (with_container(json!({ "memory": null })), at_least),
        (
            with_task(json!({ "memory": "64" })),
            "The 'memory' setting for container 'web' is greater than for the task.",
        ),
        (
            with_task(json!({ "cpu": "128", "containerDefinitions": [
                container("web", json!({ "cpu": 256 }))] })),
            "The sum of all container 'cpu' values cannot be greater than the value of the task \
             'cpu'.",
        ),
        (
            with_task(json!({ "cpu": "many" })),
            "Invalid 'cpu' setting for task.",
        ),
        (
            with_task(json!({ "placementConstraints": [
                { "type": "memberOf", "expression": "attribute:stack ==" }] })),
            "The cluster query expression 'attribute:stack ==' is not valid: the expression ends \
             too early",
        ),
        (
            with_task(json!({ "taskRoleArn": "arn:aws:ecs:::x" })),
            "Role is not valid",
        ),
        (
            with_container(json!({ "mountPoints": [
                { "sourceVolume": "data", "containerPath": "/data" }] })),
            "Unknown volume 'data'.",
        ),
        (
            with_task(json!({ "volumes": [{ "name": "a", "host": { "sourcePath": "" } }] })),
            "host.sourcePath should not be blank.",
        ),
        (
            with_container(json!({ "volumesFrom": [{ "sourceContainer": "db" }] })),
            "Invalid 'volumesFrom' setting. Unknown container: 'db'.",
        ),
    ]);
}

#[test]
fn ports_and_dependencies_have_rules() {
    let ports = |mode: &str, mappings: Value| {
        let mut task = with_container(json!({ "portMappings": mappings }));
        task["networkMode"] = mode.into();
        task
    };
    let two = |first: Value, second: Value| {
        let containers = [container("web", first), container("db", second)];
        json!({ "containerDefinitions": containers })
    };
    expect_refusals([
        (
            ports("bridge", json!([{ "hostPort": 80 }])),
            "Invalid 'containerPort' setting for container 'web'.",
        ),
        (
            ports("awsvpc", json!([{ "containerPort": 80, "hostPort": 8080 }])),
            "When networkMode=awsvpc, the host ports and container ports in port mappings must \
             match.",
        ),
        (
            ports(
                "bridge",
                json!([
                    { "containerPort": 80, "hostPort": 3000 },
                    { "containerPort": 81, "hostPort": 3000 }
                ]),
            ),
            "TCP host port '3000' is mapped multiple times in task.",
        ),
        (
            two(
                json!({ "links": ["db"] }),
                json!({ "links": ["web:alias"] }),
            ),
            "Container links should not have a cycle",
        ),
        (
            two(
                json!({ "dependsOn": [{ "containerName": "db", "condition": "SUCCESS" }] }),
                json!({}),
            ),
            "A dependency container with SUCCESS or COMPLETE condition cannot be an essential \
             container",
        ),
        (
            two(
                json!({ "dependsOn": [{ "containerName": "db", "condition": "START" }] }),
                json!({ "dependsOn": [{ "containerName": "web", "condition": "START" }] }),
            ),
            "Container dependencies should not have a cycle",
        ),
        (
            two(
                json!({ "links": ["db"] }),
                json!({ "volumesFrom": [{ "sourceContainer": "web" }] }),
            ),
            "Container dependencies should not have a cycle",
        ),
    ]);
}

#[test]
fn logs_secrets_and_networks_have_rules() {
    let awslogs = |options: Value| {
        with_container(json!({
            "logConfiguration": { "logDriver": "awslogs", "options": options }
        }))
    };
    expect_refusals([
        (
            awslogs(json!({ "awslogs-group": "a", "awslogs-region": "b", "log_key": "c" })),
            "Log driver awslogs disallows options: log_key",
        ),
        (
            awslogs(json!({})),
            "Log driver awslogs requires options: awslogs-region, awslogs-group",
        ),
        (
            awslogs(json!({ "awslogs-group": "a", "awslogs-region": "b",
                "awslogs-create-group": "false" })),
            "Log driver awslogs option 'awslogs-create-group' should only be set to 'true', else \
             omit option.",
        ),
        (
            with_container(json!({ "secrets": [{ "name": "A", "valueFrom": "a" }] })),
            "When you are specifying container secrets, you must also specify a value for \
             'executionRoleArn'.",
        ),
        (
            with_container(json!({ "logConfiguration": { "logDriver": "splunk",
                "secretOptions": [{ "name": "splunk-token", "valueFrom": "a" }] } })),
            "When you are specifying container secrets, you must also specify a value for \
             'executionRoleArn'.",
        ),
        (
            with_container(json!({ "environment": [{ "name": "A", "value": "a" }],
                "secrets": [{ "name": "A", "valueFrom": "a" }] })),
            "The secret name must be unique and not shared with any new or existing environment \
             variables set on the container, such as 'A'.",
        ),
        (
            with_container(json!({ "repositoryCredentials": { "credentialsParameter": "a" } })),
            "Private repository authentication requires that the task definition specify a value \
             for executionRoleArn.",
        ),
        (
            with_task(json!({ "networkMode": "awsvpc", "containerDefinitions": [
                container("web", json!({ "links": ["web"] }))] })),
            "Links are not supported when networkMode=awsvpc.",
        ),
        (
            with_task(json!({ "volumes": [
                { "name": "a", "efsVolumeConfiguration": { "fileSystemId": "fs-1" } }] })),
            "This server does not support EFS volumes.",
        ),
    ]);
}

#[test]
fn secrets_of_log_drivers_need_an_agent_that_knows_them() {
    let logs = json!({ "logDriver": "splunk",
        "secretOptions": [{ "name": "splunk-token", "valueFrom": "/splunk" }] });
    let task = with_container(json!({ "logConfiguration": logs }));
    let found = registered(merge(task, json!({ "executionRoleArn": ROLE }))).expect("valid");
    let needed = json!({ "name": "ecs.capability.secrets.ssm.bootstrap.log-driver" });
    let attributes = found["requiresAttributes"].as_array().expect("a list");
    assert!(attributes.contains(&needed), "{attributes:?}");
}

#[test]
fn a_volume_without_a_driver_needs_the_local_one() {
    for driver in [json!(null), json!(""), json!("local")] {
        let volume = json!({ "name": "a", "dockerVolumeConfiguration": { "driver": driver } });
        let task = with_container(json!({}));
        let found = registered(merge(task, json!({ "volumes": [volume] }))).expect("valid");
        let needed = json!({ "name": "ecs.capability.docker-plugin.local" });
        let attributes = found["requiresAttributes"].as_array().expect("a list");
        assert!(attributes.contains(&needed), "{driver}: {attributes:?}");
    }
}

#[test]
fn environment_files_are_objects_of_s3() {
    let with_file = |value: &str| {
        let file = json!({ "value": value, "type": "s3" });
        let task = with_container(json!({ "environmentFiles": [file] }));
        merge(task, json!({ "executionRoleArn": ROLE }))
    };
    for key in [".env", "prod.env", "web/.env"] {
        let valid = with_file(&format!("arn:aws:s3:::settings/{key}"));
        assert!(registered(valid).is_ok(), "{key}");
    }
    let message = "Invalid setting for container 'web'. An environment file must be the ARN of an \
                   object in Amazon S3 that ends in .env.";
    expect_refusals(
        [
            "arn:aws:s3:::settings/prod.txt",
            "arn:aws:s3:::evil.example#/prod.env",
            "arn:aws:s3:::evil.example:80/prod.env",
            "arn:aws:s3:::../prod.env",
            "arn:aws:s3:us-east-1::settings/prod.env",
            "https://settings/prod.env",
        ]
        .map(|value| (with_file(value), message)),
    );
}

#[test]
fn each_broken_rule_of_fargate_has_its_message() {
    let logs = json!({ "logDriver": "json-file" });
    let awslogs = json!({ "logDriver": "awslogs", "options": {
        "awslogs-group": "a", "awslogs-region": "b", "awslogs-stream-prefix": "c" } });
    let with =
        |members: Value| fargate(json!({ "containerDefinitions": [container("web", members)] }));
    expect_refusals([
        (
            fargate(json!({ "networkMode": "bridge" })),
            "Fargate only supports network mode ‘awsvpc’.",
        ),
        (
            fargate(json!({ "cpu": null })),
            "Fargate requires that 'cpu' be defined at the task level.",
        ),
        (
            fargate(json!({ "cpu": "1024", "memory": "1024" })),
            "No Fargate configuration exists for given values: 1024 CPU, 1024 memory. See the \
             Amazon ECS documentation for the valid values.",
        ),
        (
            fargate(json!({ "ipcMode": "host" })),
            "Tasks using the Fargate launch type do not support ipcMode.",
        ),
        (
            fargate(json!({ "volumes": [{ "name": "a", "host": { "sourcePath": "/a" } }] })),
            "Fargate compatible task definitions do not support sourcePath",
        ),
        (
            with(json!({ "logConfiguration": logs })),
            "json-file is not a valid log driver. Must be one of [awslogs,splunk,awsfirelens]",
        ),
        (
            with(json!({ "logConfiguration": awslogs })),
            "Fargate requires task definition to have execution role ARN to support log driver \
             awslogs.",
        ),
        (
            with(json!({ "image": "123456789012.dkr.ecr.us-east-1.amazonaws.com/web" })),
            "Fargate requires task definition to have execution role ARN to support ECR images.",
        ),
    ]);
}
