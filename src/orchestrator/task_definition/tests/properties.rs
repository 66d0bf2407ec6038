//! Properties of valid task definitions.

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::{ROLE, home};
use crate::model::{Compatibility, TaskDefinitionDocument};
use crate::task_definition::validate;

/// Documents of which many are valid: names that can meet, sizes around the limits.
fn documents() -> impl Strategy<Value = Value> {
    let mode = prop_oneof![
        Just(Value::Null),
        Just(json!("bridge")),
        Just(json!("host")),
        Just(json!("awsvpc")),
        Just(json!("none")),
    ];
    let cpu = prop_oneof![
        Just(Value::Null),
        Just(json!("256")),
        Just(json!(".5 vCPU")),
        Just(json!("1 vcpu")),
    ];
    let memory = prop_oneof![
        Just(Value::Null),
        Just(json!("512")),
        Just(json!("1GB")),
        Just(json!("2048"))
    ];
    let required = prop_oneof![
        Just(Value::Null),
        Just(json!(["EC2"])),
        Just(json!(["FARGATE"])),
        Just(json!(["EXTERNAL", "EC2"])),
    ];
    let role = prop_oneof![
        Just(Value::Null),
        Just(json!("execution")),
        Just(json!(ROLE))
    ];
    let volumes = prop_oneof![
        Just(json!([])),
        Just(json!([{ "name": "data" }])),
        Just(json!([{ "name": "data", "host": { "sourcePath": "/srv" } }])),
        Just(json!([{ "name": "data", "dockerVolumeConfiguration": {} }])),
    ];
    (
        mode,
        cpu,
        memory,
        required,
        role,
        volumes,
        vec(containers(), 1..4),
    )
        .prop_map(
            |(mode, cpu, memory, required, role, volumes, mut containers)| {
                for (position, container) in containers.iter_mut().enumerate() {
                    container["name"] = json!(["a", "b", "c"][position]);
                }
                json!({
                    "networkMode": mode, "cpu": cpu, "memory": memory,
                    "requiresCompatibilities": required, "executionRoleArn": role,
                    "volumes": volumes, "containerDefinitions": containers,
                })
            },
        )
}

fn containers() -> impl Strategy<Value = Value> {
    let mappings = vec(
        (80i32..83, option::of(80i32..83))
            .prop_map(|(container, host)| json!({ "containerPort": container, "hostPort": host })),
        0..2,
    );
    let depends = option::of((
        prop_oneof![Just("a"), Just("b"), Just("c")],
        prop_oneof![Just("START"), Just("COMPLETE"), Just("HEALTHY")],
    ));
    let memory = (option::of(4i32..600), option::of(4i32..600));
    let flags = any::<[bool; 6]>();
    (mappings, depends, memory, flags, 0i32..300).prop_map(
        |(mappings, depends, (memory, reservation), flags, cpu)| {
            let [essential, checked, mounts, logs, secret, restarts] = flags;
            let mut container = json!({
                "image": "nginx", "cpu": cpu, "memory": memory, "memoryReservation": reservation,
                "portMappings": mappings, "essential": essential,
            });
            let depends = depends.map(
                |(name, condition)| json!([{ "containerName": name, "condition": condition }]),
            );
            container["dependsOn"] = json!(depends);
            let options = [
                (
                    checked,
                    "healthCheck",
                    json!({ "command": ["CMD-SHELL", "true"] }),
                ),
                (
                    mounts,
                    "mountPoints",
                    json!([{ "sourceVolume": "data", "containerPath": "/data" }]),
                ),
                (
                    logs,
                    "logConfiguration",
                    json!({ "logDriver": "awslogs", "options": {
                    "awslogs-group": "a", "awslogs-region": "b", "awslogs-stream-prefix": "c" } }),
                ),
                (
                    secret,
                    "secrets",
                    json!([{ "name": "KEY", "valueFrom": "key" }]),
                ),
                (restarts, "restartPolicy", json!({ "enabled": true })),
            ];
            for (present, member, value) in options {
                if present {
                    container[member] = value;
                }
            }
            container
        },
    )
}

fn parsed(document: Value) -> TaskDefinitionDocument {
    serde_json::from_value(document).expect("a document")
}

proptest! {
    /// What a client reads from `DescribeTaskDefinition` it can register again.
    #[test]
    fn what_is_described_registers_to_the_same(document in documents()) {
        if let Ok(once) = validate(&home(), "web", parsed(document)) {
            let described = serde_json::to_value(&once).expect("JSON");
            prop_assert_eq!(validate(&home(), "web", parsed(described)), Ok(once));
        }
    }

    #[test]
    fn what_is_required_is_among_the_compatibilities(document in documents()) {
        if let Ok(valid) = validate(&home(), "web", parsed(document)) {
            for required in valid.requires_compatibilities.iter().flatten() {
                prop_assert!(valid.compatibilities.contains(required));
            }
            prop_assert!(valid.compatibilities.contains(&Compatibility::Ec2));
        }
    }

    /// Containers can be started in some order, and the task ends with one of them.
    #[test]
    fn containers_can_be_started(document in documents()) {
        if let Ok(valid) = validate(&home(), "web", parsed(document)) {
            let containers = &valid.container_definitions;
            prop_assert!(containers.iter().any(|container| container.essential == Some(true)));
            let mut started: Vec<&str> = Vec::new();
            for _ in containers {
                for container in containers {
                    let mut needed = container.depends_on.iter().flatten();
                    if needed.all(|needed| started.contains(&needed.container_name.as_str())) {
                        started.push(container.name.as_deref().expect("a name"));
                    }
                }
            }
            let all = |name: &Option<String>| started.contains(&name.as_deref().expect("a name"));
            prop_assert!(containers.iter().all(|container| all(&container.name)));
        }
    }

    /// Where the task has no memory of its own, every container has.
    #[test]
    fn memory_is_always_bounded_or_reserved(document in documents()) {
        if let Ok(valid) = validate(&home(), "web", parsed(document)) {
            for container in &valid.container_definitions {
                let own = container.memory.or(container.memory_reservation);
                prop_assert!(own.is_some() || valid.memory.is_some());
            }
        }
    }

    #[test]
    fn no_text_as_a_size_panics(cpu in ".{0,12}", memory in "[0-9. ]{0,30}(gb|GB|vCPU)?") {
        let document = json!({ "cpu": cpu, "memory": memory,
            "containerDefinitions": [{ "name": "a", "image": "b" }] });
        let _ = validate(&home(), "web", parsed(document));
    }
}
