//! The documents of the metadata endpoint.

use serde_json::{Map, Value, json};
use wharfinger_base::Timestamp;
use wharfinger_ecs_protocol::DesiredStatus;

use crate::container_config::log_driver;
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
        "Labels": {
            crate::labels::CLUSTER: endpoints.cluster,
            crate::labels::CONTAINER_NAME: name,
            crate::labels::TASK_ARN: record.task.arn,
            crate::labels::FAMILY: record.task.family,
            crate::labels::REVISION: record.task.version,
        },
        "LogDriver": log_driver(definition).0,
        "RestartCount": container.restarts,
    });
    if let Some(arn) = &definition.container_arn {
        body["ContainerARN"] = json!(arn);
    }
    let mut details = Map::new();
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
