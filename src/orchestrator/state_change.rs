//! What reports of agents make of a task: states only move forward, and a report that comes late or
//! twice changes nothing. PURE.
//!
//! Source: ECS developer guide, "Amazon ECS task lifecycle" and "Stopped tasks error codes".

use wharfinger_base::Timestamp;

use crate::model::{
    Connectivity, Container, DesiredStatus, HealthStatus, KeyValuePair, NetworkBinding,
    NetworkInterface, Task, TaskId, TaskStatus, TaskStopCode,
};

/// Longest text of an agent that is kept of a container or a task, in characters. ECS has the same
/// limit for reasons.
const MAX_TEXT_CHARS: usize = 1_024;
/// Most network bindings that are kept of a container: ECS allows 100 ports.
const MAX_BINDINGS: usize = 100;

/// What agents say about a task of which an essential container did not start.
const FAILED_TO_START: &str = "Task failed to start";

const ATTACHED: &str = "ATTACHED";
const DELETED: &str = "DELETED";
const PRIVATE_ADDRESS: &str = "privateIPv4Address";

/// A state that an agent reports of a task or a container.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ReportedStatus {
    Pending,
    Running,
    Stopped,
}

impl ReportedStatus {
    /// The state of this name. Agents name further states of containers on the way to running,
    /// which are pending ones here.
    pub fn parse(name: &str) -> Option<Self> {
        Some(match name {
            "NONE" | "MANIFEST_PULLED" | "PULLED" | "CREATED" | "PENDING" => Self::Pending,
            "RUNNING" | "RESOURCES_PROVISIONED" => Self::Running,
            "STOPPED" | "DELETED" | "ZOMBIE" => Self::Stopped,
            _ => return None,
        })
    }

    const fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "PENDING",
            Self::Running => "RUNNING",
            Self::Stopped => "STOPPED",
        }
    }
}

/// What an agent reports of a task.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct TaskReport {
    /// `None` for a report of containers alone.
    pub status: Option<ReportedStatus>,
    pub reason: Option<String>,
    pub pull_started_at: Option<Timestamp>,
    pub pull_stopped_at: Option<Timestamp>,
    pub execution_stopped_at: Option<Timestamp>,
    pub containers: Vec<ContainerReport>,
    /// Identifiers or ARNs of attachments, with their states.
    pub attachments: Vec<(String, String)>,
}

/// What an agent reports of a container of a task.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct ContainerReport {
    pub name: String,
    pub status: Option<ReportedStatus>,
    pub exit_code: Option<i32>,
    pub reason: Option<String>,
    pub image_digest: Option<String>,
    pub runtime_id: Option<String>,
    pub network_bindings: Option<Vec<NetworkBinding>>,
}

/// The task as the report leaves it; `None` where it changes nothing.
#[must_use]
pub(crate) fn apply(task: &Task, report: &TaskReport, now: Timestamp) -> Option<Task> {
    if task.last_status == TaskStatus::Stopped || is_old(task, report) {
        return None;
    }
    let mut changed = task.clone();
    // Clocks of agents may be wrong, and clients cannot read times outside these years.
    let credible = |at: Option<Timestamp>| at.map(|at| at.max(Timestamp::from_ms(0)).min(now));
    let details = &mut changed.details;
    details.pull_started_at = details.pull_started_at.or(credible(report.pull_started_at));
    details.pull_stopped_at = details.pull_stopped_at.or(credible(report.pull_stopped_at));
    let stopped_at = credible(report.execution_stopped_at);
    details.execution_stopped_at = details.execution_stopped_at.or(stopped_at);
    for reported in &report.containers {
        let mut containers = details.containers.iter_mut();
        let name = Some(reported.name.as_str());
        if let Some(container) = containers.find(|container| container.name.as_deref() == name) {
            apply_to_container(container, reported);
        }
    }
    for attachment in &mut changed.details.attachments {
        let id = attachment.id.as_deref().unwrap_or_default();
        let mut reported = report.attachments.iter();
        if let Some((_, status)) = reported.find(|(of, _)| names_attachment(of, id)) {
            attachment.status = Some(shortened(status));
        }
    }
    attach_address(&mut changed, report);
    match report.status {
        Some(ReportedStatus::Running) => run(&mut changed, now),
        Some(ReportedStatus::Stopped) => stop(&mut changed, report.reason.as_deref(), now),
        Some(ReportedStatus::Pending) | None => {}
    }
    if changed == *task {
        return None;
    }
    if changed.details.connectivity.is_none() {
        changed.details.connectivity = Some(Connectivity::Connected);
        changed.details.connectivity_at = Some(now);
    }
    Some(changed)
}

/// Whether the text is the identifier of the attachment, or an ARN that ends with it.
fn names_attachment(text: &str, id: &str) -> bool {
    !id.is_empty() && text.rsplit('/').next() == Some(id)
}

/// The task that has the attachment with this identifier or ARN, if there is one: the identifier is
/// the task's, written with hyphens.
pub(crate) fn task_of_attachment(text: &str) -> TaskId {
    let id = text.rsplit('/').next().unwrap_or_default();
    TaskId(id.replace('-', ""))
}

/// The task as stopped without its agent, because its instance is gone.
#[must_use]
pub(crate) fn lost(
    task: &Task,
    code: Option<TaskStopCode>,
    reason: &str,
    now: Timestamp,
) -> Option<Task> {
    if task.last_status == TaskStatus::Stopped {
        return None;
    }
    let mut changed = task.clone();
    let details = &mut changed.details;
    if details.stopped_reason.is_none() {
        details.stop_code = code;
        details.stopped_reason = Some(shortened(reason));
    }
    stop(&mut changed, None, now);
    Some(changed)
}

/// The task with the health of its containers, by name; `None` where nothing changes. A task is as
/// healthy as the worst of the containers that count: the essential ones with a health check,
/// whether they are among those that are reported or not.
#[must_use]
pub(crate) fn apply_health(
    task: &Task,
    health: &[(String, HealthStatus)],
    counts: impl Fn(&str) -> bool,
) -> Option<Task> {
    if task.last_status == TaskStatus::Stopped {
        return None;
    }
    let mut changed = task.clone();
    let mut of_task = None;
    for container in &mut changed.details.containers {
        let name = container.name.as_deref().unwrap_or_default();
        if let Some((_, status)) = health.iter().find(|(of, _)| of == name) {
            container.health_status = Some(*status);
        }
        if let Some(status) = container.health_status.filter(|_| counts(name)) {
            of_task = Some(worse(of_task, status));
        }
    }
    changed.details.health_status = of_task.or(changed.details.health_status);
    (changed != *task).then_some(changed)
}

fn worse(known: Option<HealthStatus>, other: HealthStatus) -> HealthStatus {
    match (known, other) {
        (Some(HealthStatus::Unhealthy), _) | (_, HealthStatus::Unhealthy) => {
            HealthStatus::Unhealthy
        }
        (Some(HealthStatus::Unknown), _) | (_, HealthStatus::Unknown) => HealthStatus::Unknown,
        _ => HealthStatus::Healthy,
    }
}

/// Whether the report tells an earlier state than the task has had.
fn is_old(task: &Task, report: &TaskReport) -> bool {
    let reached = if task.details.started_at.is_some() {
        ReportedStatus::Running
    } else {
        ReportedStatus::Pending
    };
    report.status.is_some_and(|status| status < reached)
}

fn run(task: &mut Task, now: Timestamp) {
    task.details.started_at = task.details.started_at.or(Some(now));
    task.last_status = task.last_status.max(TaskStatus::Running);
}

fn stop(task: &mut Task, reason: Option<&str>, now: Timestamp) {
    task.last_status = TaskStatus::Stopped;
    task.desired_status = DesiredStatus::Stopped;
    task.stopped_at = Some(now);
    let details = &mut task.details;
    // A task that ends at once may be reported once only; an exit code says that it ran.
    let has_run = details.started_at.is_some()
        || (details.containers.iter()).any(|container| container.exit_code.is_some())
            && reason != Some(FAILED_TO_START);
    details.stopping_at = details.stopping_at.or(Some(now));
    details.execution_stopped_at = details.execution_stopped_at.or(Some(now));
    if details.stopped_reason.is_none() {
        let (code, usual) = if has_run {
            let code = TaskStopCode::EssentialContainerExited;
            (code, "Essential container in task exited")
        } else {
            (TaskStopCode::TaskFailedToStart, FAILED_TO_START)
        };
        let reason = reason.filter(|reason| !reason.is_empty());
        details.stop_code = details.stop_code.or(Some(code));
        details.stopped_reason = Some(shortened(reason.unwrap_or(usual)));
    }
    for container in &mut details.containers {
        container.last_status = Some(ReportedStatus::Stopped.as_str().to_owned());
    }
    for attachment in &mut details.attachments {
        attachment.status = Some(DELETED.to_owned());
    }
}

fn apply_to_container(container: &mut Container, reported: &ContainerReport) {
    let known = container.last_status.as_deref();
    let known = known.and_then(ReportedStatus::parse);
    // Restarts inside of a task are not reported: a stopped container stays stopped.
    if known > reported.status {
        return;
    }
    if let Some(status) = reported.status {
        container.last_status = Some(status.as_str().to_owned());
    }
    container.exit_code = reported.exit_code.or(container.exit_code);
    let reason = reported
        .reason
        .as_deref()
        .filter(|reason| !reason.is_empty());
    container.reason = reason.map(shortened).or_else(|| container.reason.take());
    let keep = |new: &Option<String>, old: &mut Option<String>| {
        let new = new.as_deref().filter(|new| !new.is_empty());
        *old = new.map(shortened).or_else(|| old.take());
    };
    keep(&reported.image_digest, &mut container.image_digest);
    keep(&reported.runtime_id, &mut container.runtime_id);
    if let Some(bindings) = &reported.network_bindings {
        let short = |text: &Option<String>| text.as_deref().map(shortened);
        let bindings = bindings.iter().take(MAX_BINDINGS);
        let bindings = bindings.map(|binding| NetworkBinding {
            bind_ip: short(&binding.bind_ip),
            container_port_range: short(&binding.container_port_range),
            host_port_range: short(&binding.host_port_range),
            ..binding.clone()
        });
        container.network_bindings = Some(bindings.collect());
    }
}

/// In the network mode `awsvpc` the agent reports the address of the task's network interface as
/// the one that its containers' ports are bound to.
fn attach_address(task: &mut Task, report: &TaskReport) {
    let details = &mut task.details;
    if details.network_configuration.is_none() {
        return;
    }
    let bindings = report.containers.iter();
    let mut bindings = bindings.flat_map(|container| container.network_bindings.iter().flatten());
    let address = bindings.find_map(|binding| {
        let address = binding.bind_ip.as_deref()?.parse::<std::net::Ipv4Addr>();
        address.ok().filter(|address| !address.is_unspecified())
    });
    let Some(address) = address.map(|address| address.to_string()) else {
        return;
    };
    let Some(attachment) = details.attachments.first_mut() else {
        return;
    };
    attachment.status = Some(ATTACHED.to_owned());
    let values = attachment.details.get_or_insert_default();
    let is_address = |pair: &KeyValuePair| pair.name.as_deref() == Some(PRIVATE_ADDRESS);
    match values.iter_mut().find(|pair| is_address(pair)) {
        Some(pair) => pair.value = Some(address.clone()),
        None => values.push(KeyValuePair {
            name: Some(PRIVATE_ADDRESS.to_owned()),
            value: Some(address.clone()),
        }),
    }
    for container in &mut details.containers {
        container.network_interfaces = Some(vec![NetworkInterface {
            attachment_id: attachment.id.clone(),
            private_ipv4_address: Some(address.clone()),
            ipv6_address: None,
        }]);
        // ECS shows interfaces in place of bindings here.
        container.network_bindings = Some(Vec::new());
    }
}

/// A text of an agent with its largest size.
fn shortened(text: &str) -> String {
    text.chars().take(MAX_TEXT_CHARS).collect()
}

#[cfg(test)]
mod tests;
