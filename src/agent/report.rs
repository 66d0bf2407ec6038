//! What the control plane is told of a task: the input of `SubmitTaskStateChange`. PURE.
//!
//! Source: ECS API reference; the reports of the Amazon ECS agent.

use serde_json::{Value, json};
use wharfinger_base::Timestamp;

use crate::record::{ContainerRecord, TaskRecord};
use crate::step::{Step, StopCause, TaskStatus};
use crate::view::ContainerState;

/// Longest reason, in characters (ECS API reference).
const MAX_REASON_CHARS: usize = 1024;

/// The report of a task as it stands; `None` for one that has not come far enough.
pub(crate) fn report(record: &TaskRecord, step: &Step, cluster: &str) -> Option<Value> {
    let status = match step.status {
        TaskStatus::Pending if step.cause.is_none() => return pending(record, cluster),
        TaskStatus::Pending => return None,
        TaskStatus::Running => "RUNNING",
        TaskStatus::Stopped => "STOPPED",
    };
    let stopped = step.status == TaskStatus::Stopped;
    let containers: Vec<Value> = record
        .containers
        .iter()
        .filter_map(|(name, container)| container_report(record, name, container, stopped))
        .collect();
    let mut body = json!({
        "cluster": cluster,
        "task": record.task.arn,
        "status": status,
        "containers": containers,
    });
    if let Some(reason) = reason(step.cause) {
        body["reason"] = json!(reason);
    }
    let times = [
        ("pullStartedAt", record.pull_started_at),
        ("pullStoppedAt", record.pull_stopped_at),
        ("executionStoppedAt", record.execution_stopped_at),
    ];
    for (name, time) in times {
        if let Some(time) = time {
            body[name] = json!(Timestamp::as_epoch_seconds(time));
        }
    }
    Some(body)
}

/// The digests of the images of a task that has not started yet, once all are known that will be.
fn pending(record: &TaskRecord, cluster: &str) -> Option<Value> {
    let mut containers = record.containers.values();
    let is_known =
        |one: &ContainerRecord| one.image_digest.is_some() || one.state != ContainerState::Absent;
    if !containers.all(is_known) {
        return None;
    }
    let containers = record.containers.iter().filter_map(|(name, container)| {
        let digest = container.image_digest.as_ref()?;
        Some(json!({"containerName": name, "status": "PENDING", "imageDigest": digest}))
    });
    let containers: Vec<_> = containers.collect();
    if containers.is_empty() {
        return None;
    }
    let mut body = json!({
        "cluster": cluster,
        "task": record.task.arn,
        "status": "PENDING",
        "containers": containers,
    });
    if let Some(time) = record.pull_started_at {
        body["pullStartedAt"] = json!(time.as_epoch_seconds());
    }
    Some(body)
}

/// What ECS says about the end of a task; nothing where the control plane wanted it and knows why.
fn reason(cause: Option<StopCause>) -> Option<&'static str> {
    match cause? {
        StopCause::Requested => None,
        StopCause::EssentialExited => Some("Essential container in task exited"),
        StopCause::FailedToStart => Some("Task failed to start"),
    }
}

fn container_report(
    record: &TaskRecord,
    name: &str,
    container: &ContainerRecord,
    stopped: bool,
) -> Option<Value> {
    let status = match container.state {
        ContainerState::Running { .. } => "RUNNING",
        ContainerState::Exited(_) | ContainerState::Failed => "STOPPED",
        _ if stopped => "STOPPED",
        _ => return None,
    };
    let mut body = json!({"containerName": name, "status": status});
    if let ContainerState::Exited(exit) = container.state {
        body["exitCode"] = json!(exit.code);
    }
    let texts = [
        ("runtimeId", &container.runtime_id),
        ("imageDigest", &container.image_digest),
    ];
    for (member, text) in texts {
        if let Some(text) = text.as_ref().filter(|text| !text.is_empty()) {
            body[member] = json!(text);
        }
    }
    if let Some(reason) = &container.reason {
        let reason: String = reason.chars().take(MAX_REASON_CHARS).collect();
        body["reason"] = json!(reason);
    }
    let bindings = bindings(record, name, container);
    if !bindings.is_empty() {
        body["networkBindings"] = json!(bindings);
    }
    Some(body)
}

/// The published ports; in the network mode `host` the ports of the definition, and in `awsvpc` the
/// address of the task.
fn bindings(record: &TaskRecord, name: &str, container: &ContainerRecord) -> Vec<Value> {
    let definition = record.task.containers.iter().find(|one| one.name == name);
    let mappings = definition.map_or(&[][..], |one| &one.port_mappings);
    let mode = record.task.network_mode.as_deref();
    match mode {
        Some("host" | "awsvpc") => {
            let address = match mode {
                Some("host") => Some("0.0.0.0"),
                _ => container.address.as_deref(),
            };
            let Some(address) = address else {
                return Vec::new();
            };
            let ports = mappings.iter().filter_map(|mapping| {
                mapping.container_port.map(|port| {
                    let protocol = mapping.protocol.as_deref().unwrap_or("tcp");
                    binding(address, port, port, protocol)
                })
            });
            let mut all: Vec<_> = ports.collect();
            if all.is_empty() && mode == Some("awsvpc") {
                all.push(json!({"bindIP": address}));
            }
            all
        }
        _ => {
            let ports = container.ports.iter();
            let ports = ports.map(|port| {
                binding(
                    &port.bind_ip,
                    port.container_port,
                    port.host_port,
                    &port.protocol,
                )
            });
            ports.collect()
        }
    }
}

fn binding(address: &str, container_port: u16, host_port: u16, protocol: &str) -> Value {
    json!({
        "bindIP": address,
        "containerPort": container_port,
        "hostPort": host_port,
        "protocol": protocol,
    })
}

#[cfg(test)]
mod tests {
    use wharfinger_base::Ids;
    use wharfinger_ecs_protocol::{Container, PortMapping, Task};

    use super::*;
    use crate::runtime::PortBinding;
    use crate::view::Exit;

    fn record(network_mode: &str) -> TaskRecord {
        let web = Container {
            name: "web".to_owned(),
            port_mappings: vec![PortMapping {
                container_port: Some(80),
                ..PortMapping::default()
            }],
            ..Container::default()
        };
        let task = Task {
            arn: "arn:task".to_owned(),
            network_mode: Some(network_mode.to_owned()),
            containers: vec![web],
            ..Task::default()
        };
        TaskRecord::new(task, &Ids::seeded(1))
    }

    fn step(status: TaskStatus, cause: Option<StopCause>) -> Step {
        Step {
            actions: Vec::new(),
            wake_at: None,
            status,
            cause,
        }
    }

    fn web(record: &mut TaskRecord) -> &mut ContainerRecord {
        record.containers.get_mut("web").expect("it is there")
    }

    #[test]
    fn nothing_is_reported_before_everything_has_started() {
        let record = record("bridge");
        assert_eq!(
            report(&record, &step(TaskStatus::Pending, None), "demo"),
            None
        );
    }

    #[test]
    fn digests_are_reported_before_the_start_once_all_are_known() {
        let mut record = record("bridge");
        let second = web(&mut record).clone();
        record.containers.insert("side".to_owned(), second);
        web(&mut record).image_digest = Some("sha256:cd".to_owned());
        let pending = step(TaskStatus::Pending, None);
        assert_eq!(report(&record, &pending, "demo"), None);
        let side = record.containers.get_mut("side").expect("it is there");
        // The runtime does not tell that of this one.
        side.state = ContainerState::Pulled;
        let expected = json!({
            "cluster": "demo",
            "task": "arn:task",
            "status": "PENDING",
            "containers": [{
                "containerName": "web",
                "status": "PENDING",
                "imageDigest": "sha256:cd",
            }],
        });
        assert_eq!(report(&record, &pending, "demo"), Some(expected));
        let ending = step(TaskStatus::Pending, Some(StopCause::Requested));
        assert_eq!(report(&record, &ending, "demo"), None);
    }

    #[test]
    fn a_running_task_reports_ports_and_digests() {
        let mut record = record("bridge");
        record.pull_started_at = Some(Timestamp::from_ms(1_500));
        let container = web(&mut record);
        container.state = ContainerState::Running {
            since: Timestamp::from_ms(2_000),
        };
        container.runtime_id = Some("ab".to_owned());
        container.image_digest = Some("sha256:cd".to_owned());
        container.ports = vec![PortBinding {
            bind_ip: "127.0.0.1".to_owned(),
            container_port: 80,
            host_port: 32_768,
            protocol: "tcp".to_owned(),
        }];
        let body = report(&record, &step(TaskStatus::Running, None), "demo");
        let expected = json!({
            "cluster": "demo",
            "task": "arn:task",
            "status": "RUNNING",
            "pullStartedAt": 1.5,
            "containers": [{
                "containerName": "web",
                "status": "RUNNING",
                "runtimeId": "ab",
                "imageDigest": "sha256:cd",
                "networkBindings": [{
                    "bindIP": "127.0.0.1",
                    "containerPort": 80,
                    "hostPort": 32_768,
                    "protocol": "tcp",
                }],
            }],
        });
        assert_eq!(body, Some(expected));
    }

    #[test]
    fn an_ended_task_reports_exit_codes_and_reasons() {
        let mut record = record("none");
        let at = Timestamp::from_ms(0);
        web(&mut record).state = ContainerState::Exited(Exit {
            code: 137,
            since: at,
            at,
        });
        web(&mut record).reason = Some("x".repeat(2_000));
        let ended = step(TaskStatus::Stopped, Some(StopCause::EssentialExited));
        let body = report(&record, &ended, "demo").expect("a report");
        assert_eq!(body["reason"], "Essential container in task exited");
        assert_eq!(body["containers"][0]["exitCode"], 137);
        let reason = body["containers"][0]["reason"].as_str();
        assert_eq!(reason.map(str::len), Some(1_024));
    }

    #[test]
    fn containers_that_never_ran_are_stopped_with_their_task() {
        let record = record("bridge");
        let ended = step(TaskStatus::Stopped, Some(StopCause::Requested));
        let body = report(&record, &ended, "demo").expect("a report");
        assert_eq!(body.get("reason"), None);
        assert_eq!(body["containers"][0]["status"], "STOPPED");
        assert_eq!(body["containers"][0].get("exitCode"), None);
    }

    #[test]
    fn host_and_awsvpc_bind_the_ports_of_the_definition() {
        let running = ContainerState::Running {
            since: Timestamp::from_ms(0),
        };
        for (mode, address) in [("host", "0.0.0.0"), ("awsvpc", "172.20.0.5")] {
            let mut record = record(mode);
            web(&mut record).state = running;
            web(&mut record).address = Some("172.20.0.5".to_owned());
            let body = report(&record, &step(TaskStatus::Running, None), "demo");
            let binding = &body.expect("a report")["containers"][0]["networkBindings"][0];
            assert_eq!(binding["bindIP"], address);
            assert_eq!(binding["hostPort"], 80);
        }
    }
}
