//! The create request of a container, from what the control plane sent and what this host decides.
//! PURE.
//!
//! Source: ECS developer guide, "Task definition parameters"; the Amazon ECS agent for what it adds
//! to Docker's structures.

mod ports;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};
use wharfinger_ecs_protocol::{Container, Task};

use crate::container_config::ports::port_bindings;
use crate::labels;
use crate::runtime::NewContainer;

/// CPU shares of a container that requests none: the least that the kernel knows.
const MIN_CPU_SHARES: i64 = 2;
/// Least memory of a container that Docker accepts, in bytes.
const MIN_MEMORY_BYTES: i64 = 6 * 1024 * 1024;
/// Output that is kept on this host, in Docker's words: the agent ships it, and reads it again
/// after a restart.
const LOG_FILE_SIZE: &str = "32m";
const LOG_FILES: &str = "3";

/// What this host decides about a container.
#[derive(Clone, Debug, Default)]
pub(crate) struct HostChoices {
    pub(crate) name: String,
    /// The image by the name that the runtime knows.
    pub(crate) image: String,
    /// The name of the cluster and the ARN of the instance, for labels.
    pub(crate) cluster: String,
    pub(crate) instance_arn: String,
    /// The address of the host that published ports are bound to; empty for all.
    pub(crate) bind_ip: String,
    /// Variables of environment files, secrets and the endpoints of the agent. Those of the
    /// definition go before those of files, and secrets and endpoints before both.
    pub(crate) file_environment: BTreeMap<String, String>,
    pub(crate) environment: BTreeMap<String, String>,
    /// Options of the log driver that are secrets.
    pub(crate) log_options: BTreeMap<String, String>,
    /// The Docker volume or the path of the host for each volume of the task.
    pub(crate) volumes: BTreeMap<String, String>,
    /// The names of the task's containers in the runtime.
    pub(crate) siblings: BTreeMap<String, String>,
    /// Docker's network mode.
    pub(crate) network: String,
    /// The cgroup of the task.
    pub(crate) cgroup_parent: Option<String>,
    /// Whether the agent ships the output, so that the engine shall keep it in files.
    pub(crate) ships_output: bool,
}

/// Makes the create request.
///
/// # Errors
/// A Docker configuration that is no JSON object.
pub(crate) fn new_container(
    task: &Task,
    container: &Container,
    host: &HostChoices,
) -> Result<NewContainer, String> {
    let docker = container.docker_config.clone().unwrap_or_default();
    let mut config = object(docker.config.as_deref(), "config")?;
    let mut host_config = object(docker.host_config.as_deref(), "hostConfig")?;
    config.insert("Image".into(), json!(host.image));
    if let Some(command) = container.command.as_ref().filter(|words| !words.is_empty()) {
        config.insert("Cmd".into(), json!(command));
    }
    if let Some(entry_point) = container
        .entry_point
        .as_ref()
        .filter(|words| !words.is_empty())
    {
        config.insert("Entrypoint".into(), json!(entry_point));
    }
    config.insert("Env".into(), json!(environment(container, host)));
    set_labels(&mut config, task, container, host);
    let publishes = !matches!(host.network.as_str(), "host" | "none")
        && !host.network.starts_with("container:");
    if publishes {
        let (exposed, bindings) = port_bindings(&container.port_mappings, &host.bind_ip)?;
        config.insert("ExposedPorts".into(), Value::Object(exposed));
        host_config.insert("PortBindings".into(), Value::Object(bindings));
    }
    if host.network.starts_with("container:") {
        // The namespace has its host name and its hosts file already; Docker refuses others.
        config.remove("Hostname");
        config.remove("Domainname");
        host_config.remove("ExtraHosts");
        host_config.remove("Dns");
        host_config.remove("DnsSearch");
    }
    host_config.insert("NetworkMode".into(), json!(host.network));
    set_resources(&mut host_config, task, container, host);
    let mut binds = strings(&host_config, "Binds");
    binds.extend(mounts(container, host)?);
    host_config.insert("Binds".into(), json!(binds));
    set_siblings(&mut host_config, container, host)?;
    set_namespaces(&mut host_config, task);
    if host.ships_output {
        let log = json!({
            "Type": "json-file",
            "Config": {"max-size": LOG_FILE_SIZE, "max-file": LOG_FILES},
        });
        host_config.insert("LogConfig".into(), log);
    } else if !host.log_options.is_empty() {
        let (driver, mut options) = log_driver(container);
        options.extend(host.log_options.clone());
        let log = json!({"Type": driver, "Config": options});
        host_config.insert("LogConfig".into(), log);
    }
    Ok(NewContainer {
        name: host.name.clone(),
        config,
        host_config,
    })
}

/// The log driver that the control plane requests, with its options.
pub(crate) fn log_driver(container: &Container) -> (String, BTreeMap<String, String>) {
    let text = container.docker_config.as_ref();
    let text = text.and_then(|docker| docker.host_config.as_deref());
    let config = object(text, "hostConfig").unwrap_or_default();
    let log = config.get("LogConfig").cloned().unwrap_or_default();
    let driver = log["Type"].as_str().unwrap_or_default().to_owned();
    let options = serde_json::from_value(log["Config"].clone()).unwrap_or_default();
    (driver, options)
}

/// The labels of the container's definition.
pub(crate) fn docker_labels(container: &Container) -> Map<String, Value> {
    let text = container.docker_config.as_ref();
    let text = text.and_then(|docker| docker.config.as_deref());
    let config = object(text, "config").unwrap_or_default();
    let labels = config.get("Labels").and_then(Value::as_object);
    labels.cloned().unwrap_or_default()
}

/// `ecs-<family>-<revision>-<container>-<suffix>` in the characters that Docker takes.
pub(crate) fn container_name(task: &Task, container: &str, suffix: &str) -> String {
    let family = task.family.as_deref().unwrap_or("task");
    let revision = task.version.as_deref().unwrap_or("0");
    let name = format!("ecs-{family}-{revision}-{container}-{suffix}");
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-');
    name.chars()
        .map(|c| if allowed(c) { c } else { '-' })
        .collect()
}

fn object(text: Option<&str>, what: &str) -> Result<Map<String, Value>, String> {
    let text = text.filter(|text| !text.is_empty()).unwrap_or("{}");
    match serde_json::from_str(text) {
        Ok(Value::Object(object)) => Ok(object),
        Ok(Value::Null) => Ok(Map::new()),
        _ => Err(format!("the {what} of the container is not a JSON object")),
    }
}

fn strings(object: &Map<String, Value>, key: &str) -> Vec<String> {
    let value = object.get(key).cloned().unwrap_or_default();
    serde_json::from_value(value).unwrap_or_default()
}

/// `NAME=value`, sorted by name.
fn environment(container: &Container, host: &HostChoices) -> Vec<String> {
    let mut all = host.file_environment.clone();
    all.extend(container.environment.clone());
    all.extend(host.environment.clone());
    all.into_iter()
        .map(|(name, value)| format!("{name}={value}"))
        .collect()
}

fn set_labels(
    config: &mut Map<String, Value>,
    task: &Task,
    container: &Container,
    host: &HostChoices,
) {
    let mut all = match config.remove("Labels") {
        Some(Value::Object(labels)) => labels,
        _ => Map::new(),
    };
    let text = |value: &Option<String>| value.clone().unwrap_or_default();
    let own = [
        (labels::CLUSTER, host.cluster.clone()),
        (labels::CONTAINER_NAME, container.name.clone()),
        (labels::TASK_ARN, task.arn.clone()),
        (labels::FAMILY, text(&task.family)),
        (labels::REVISION, text(&task.version)),
        (labels::INSTANCE, host.instance_arn.clone()),
    ];
    all.extend(own.map(|(name, value)| (name.to_owned(), json!(value))));
    config.insert("Labels".into(), Value::Object(all));
}

fn set_resources(
    host_config: &mut Map<String, Value>,
    task: &Task,
    container: &Container,
    host: &HostChoices,
) {
    let shares = container.cpu.max(MIN_CPU_SHARES);
    host_config.insert("CpuShares".into(), json!(shares));
    let mut memory = Some(container.memory).filter(|mib| *mib > 0);
    match &host.cgroup_parent {
        Some(parent) => {
            host_config.insert("CgroupParent".into(), json!(parent));
        }
        // The size of the task, as far as one container can exceed it.
        None => {
            memory = memory.or(task.memory.filter(|mib| *mib > 0));
            if let Some(cpus) = task.cpu.filter(|cpus| *cpus > 0.0) {
                #[expect(
                    clippy::cast_possible_truncation,
                    reason = "a task has some hundred CPUs at most"
                )]
                let nano = (cpus * 1e9) as i64;
                host_config.insert("NanoCpus".into(), json!(nano));
            }
        }
    }
    if let Some(mib) = memory {
        let bytes = mib.saturating_mul(1024 * 1024).max(MIN_MEMORY_BYTES);
        host_config.insert("Memory".into(), json!(bytes));
    }
}

/// `source:path[:ro]` of each mount point.
fn mounts(container: &Container, host: &HostChoices) -> Result<Vec<String>, String> {
    let mounts = container.mount_points.iter().map(|point| {
        let volume = &point.source_volume;
        let Some(source) = host.volumes.get(volume) else {
            return Err(format!("the task has no volume {volume}"));
        };
        let mode = if point.read_only { ":ro" } else { "" };
        Ok(format!("{source}:{}{mode}", point.container_path))
    });
    mounts.collect()
}

fn set_siblings(
    host_config: &mut Map<String, Value>,
    container: &Container,
    host: &HostChoices,
) -> Result<(), String> {
    let sibling = |name: &str| {
        let found = host.siblings.get(name).cloned();
        found.ok_or_else(|| format!("the task has no container {name}"))
    };
    let mut from = Vec::new();
    for volumes in &container.volumes_from {
        let mode = if volumes.read_only { ":ro" } else { "" };
        from.push(format!("{}{mode}", sibling(&volumes.source_container)?));
    }
    host_config.insert("VolumesFrom".into(), json!(from));
    let mut links = Vec::new();
    for link in &container.links {
        let (name, alias) = link.split_once(':').unwrap_or((link, link));
        links.push(format!("{}:{alias}", sibling(name)?));
    }
    host_config.insert("Links".into(), json!(links));
    Ok(())
}

fn set_namespaces(host_config: &mut Map<String, Value>, task: &Task) {
    if task.pid_mode.as_deref() == Some("host") {
        host_config.insert("PidMode".into(), json!("host"));
    }
    if let Some(mode @ ("host" | "none")) = task.ipc_mode.as_deref() {
        host_config.insert("IpcMode".into(), json!(mode));
    }
}
