//! The documents of the metadata endpoint.

use serde_json::{Map, Value, json};
use wharfinger_base::Timestamp;
use wharfinger_ecs_protocol::{Container, DesiredStatus};

use crate::container_config::{docker_labels, log_driver};
use crate::metadata::Endpoints;
use crate::record::{ContainerRecord, TaskRecord};
use crate::view::{ContainerState, Health};

/// A task.
pub(super) fn task_document(endpoints: &Endpoints, record: &TaskRecord) -> Value {
    let containers = record.containers.keys();
    let containers: Vec<_> = containers
        .map(|name| container_document(endpoints, record, name))
        .collect();
    let running = record
        .containers
        .values()
        .all(|one| one.state.is_past_start());
    let mut body = json!({
        "Cluster": endpoints.cluster,
        "TaskARN": record.task.arn,
        "Family": record.task.family,
        "Revision": record.task.version,
        "DesiredStatus": desired(record),
        "KnownStatus": if running { "RUNNING" } else { "PENDING" },
        "AvailabilityZone": endpoints.availability_zone,
        "LaunchType": record.task.launch_type.as_deref().unwrap_or("EC2"),
        "Containers": containers,
    });
    if record.task.cpu.is_some() || record.task.memory.is_some() {
        body["Limits"] = json!({"CPU": record.task.cpu, "Memory": record.task.memory});
    }
    let times = [
        ("PullStartedAt", record.pull_started_at),
        ("PullStoppedAt", record.pull_stopped_at),
        ("ExecutionStoppedAt", record.execution_stopped_at),
    ];
    for (name, time) in times {
        if let Some(time) = time {
            body[name] = json!(time.to_rfc3339());
        }
    }
    if let Some(service) = &record.task.service_name {
        body["ServiceName"] = json!(service);
    }
    body
}

/// A container of a task.
pub(super) fn container_document(endpoints: &Endpoints, record: &TaskRecord, name: &str) -> Value {
    let definition = record.task.containers.iter().find(|one| one.name == name);
    let container = record.containers.get(name);
    let (Some(definition), Some(container)) = (definition, container) else {
        return Value::Null;
    };
    let (log_driver, log_options) = log_driver(definition);
    let mut body = json!({
        "DockerId": container.runtime_id.as_deref().unwrap_or_default(),
        "Name": name,
        "DockerName": container.runtime_name,
        "Image": definition.image,
        "ImageID": container.image_digest.as_deref().unwrap_or_default(),
        "DesiredStatus": desired(record),
        "KnownStatus": status(container.state),
        "Limits": {"CPU": definition.cpu, "Memory": definition.memory},
        "Type": "NORMAL",
        "Labels": labels(endpoints, record, definition),
        "LogDriver": log_driver,
        "RestartCount": container.restarts,
    });
    if let Some(arn) = &definition.container_arn {
        body["ContainerARN"] = json!(arn);
    }
    let mut details = Map::new();
    if !log_options.is_empty() {
        details.insert("LogOptions".to_owned(), json!(log_options));
    }
    if let Some(at) = container.created_at {
        details.insert("CreatedAt".to_owned(), time(at));
    }
    match container.state {
        ContainerState::Running { since } => {
            details.insert("StartedAt".to_owned(), time(since));
        }
        ContainerState::Exited(exit) => {
            details.insert("StartedAt".to_owned(), time(exit.since));
            details.insert("FinishedAt".to_owned(), time(exit.at));
            details.insert("ExitCode".to_owned(), json!(exit.code));
        }
        _ => {}
    }
    if let Value::Object(all) = &mut body {
        all.extend(details);
        all.extend(health(container));
    }
    body["Networks"] = networks(record, container);
    if !container.ports.is_empty() {
        let ports = container.ports.iter().map(|port| {
            json!({
                "ContainerPort": port.container_port,
                "Protocol": port.protocol,
                "HostPort": port.host_port,
                "HostIp": port.bind_ip,
            })
        });
        body["Ports"] = Value::Array(ports.collect());
    }
    body
}

/// The labels of the definition, and those that Amazon's agent sets.
fn labels(endpoints: &Endpoints, record: &TaskRecord, definition: &Container) -> Value {
    let mut labels = docker_labels(definition);
    let own = [
        (crate::labels::CLUSTER, json!(endpoints.cluster)),
        (crate::labels::CONTAINER_NAME, json!(definition.name)),
        (crate::labels::TASK_ARN, json!(record.task.arn)),
        (crate::labels::FAMILY, json!(record.task.family)),
        (crate::labels::REVISION, json!(record.task.version)),
    ];
    labels.extend(own.map(|(name, value)| (name.to_owned(), value)));
    Value::Object(labels)
}

fn networks(record: &TaskRecord, container: &ContainerRecord) -> Value {
    let mode = record.task.network_mode.as_deref().unwrap_or("bridge");
    let addresses: Vec<_> = container.address.iter().collect();
    json!([{"NetworkMode": mode, "IPv4Addresses": addresses}])
}

fn health(container: &ContainerRecord) -> Option<(String, Value)> {
    let word = match container.health? {
        Health::Unknown => return None,
        Health::Healthy => "HEALTHY",
        Health::Unhealthy => "UNHEALTHY",
    };
    Some(("Health".to_owned(), json!({"status": word})))
}

const fn desired(record: &TaskRecord) -> &'static str {
    match record.desired {
        DesiredStatus::Running => "RUNNING",
        DesiredStatus::Stopped => "STOPPED",
    }
}

const fn status(state: ContainerState) -> &'static str {
    match state {
        ContainerState::Absent => "NONE",
        ContainerState::Pulled => "PULLED",
        ContainerState::Created => "CREATED",
        ContainerState::Running { .. } => "RUNNING",
        ContainerState::Exited(_) | ContainerState::Failed => "STOPPED",
    }
}

fn time(at: Timestamp) -> Value {
    json!(at.to_rfc3339())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use wharfinger_base::{Clock, Ids};
    use wharfinger_ecs_protocol::{DockerConfig, Task};

    use super::*;
    use crate::runtime::tests::simulated::Simulated;

    /// The members of the example in the ECS developer guide, "Amazon ECS task metadata endpoint
    /// version 4", as far as they are known of a task on the bridge.
    #[test]
    fn a_container_is_described_as_amazons_agent_does() {
        let host_config = json!({"LogConfig": {"Type": "awslogs", "Config": {
            "awslogs-group": "/ecs/metadata", "awslogs-stream": "ecs/curl/1"}}});
        let web = Container {
            name: "curl".to_owned(),
            image: "curl:latest".to_owned(),
            cpu: 10,
            memory: 128,
            docker_config: Some(DockerConfig {
                config: Some(json!({"Labels": {"team": "web"}}).to_string()),
                host_config: Some(host_config.to_string()),
                ..DockerConfig::default()
            }),
            ..Container::default()
        };
        let task = Task {
            arn: "arn:task".to_owned(),
            family: Some("curltest".to_owned()),
            version: Some("24".to_owned()),
            containers: vec![web],
            ..Task::default()
        };
        let mut record = TaskRecord::new(task, &Ids::seeded(1));
        let curl = record.containers.get_mut("curl").expect("a container");
        curl.created_at = Some(Timestamp::from_ms(1_000));
        curl.state = ContainerState::Running {
            since: Timestamp::from_ms(2_000),
        };
        let endpoints = Endpoints {
            cluster: "default".to_owned(),
            availability_zone: "us-east-1a".to_owned(),
            runtime: Arc::new(Simulated::new(Clock::default())),
            roles: Arc::default(),
            shown: Arc::default(),
            share: Arc::default(),
            tags: None,
        };
        let body = container_document(&endpoints, &record, "curl");
        assert_eq!(
            body["Labels"],
            json!({
                "team": "web",
                "com.amazonaws.ecs.cluster": "default",
                "com.amazonaws.ecs.container-name": "curl",
                "com.amazonaws.ecs.task-arn": "arn:task",
                "com.amazonaws.ecs.task-definition-family": "curltest",
                "com.amazonaws.ecs.task-definition-version": "24",
            })
        );
        assert_eq!(body["CreatedAt"], json!("1970-01-01T00:00:01Z"));
        assert_eq!(body["StartedAt"], json!("1970-01-01T00:00:02Z"));
        assert_eq!(body["Limits"], json!({"CPU": 10, "Memory": 128}));
        assert_eq!(body["LogDriver"], "awslogs");
        let options = json!({
            "awslogs-group": "/ecs/metadata", "awslogs-stream": "ecs/curl/1"});
        assert_eq!(body["LogOptions"], options);
        let task = task_document(&endpoints, &record);
        assert_eq!(task["Containers"][0], body);
        assert_eq!(
            (&task["Revision"], &task["KnownStatus"]),
            (&json!("24"), &json!("RUNNING"))
        );
    }
}
