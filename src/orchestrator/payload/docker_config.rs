//! Docker's structures for the creation of a container: what of a container definition the agent
//! passes on without reading it.
//!
//! Source: Docker Engine API, `ContainerCreate`; ECS developer guide, "Task definition parameters",
//! which names the part of Docker for each member.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};
use wharfinger_ecs_protocol::DockerConfig;

use crate::model::{
    ContainerDefinition, ContainerOverride, Device, HealthCheck, HostEntry, LinuxParameters,
    LogConfiguration, LogDriver, SystemControl, TaskId, Tmpfs, Ulimit,
};

/// The Docker Engine API whose structures these are: the oldest that has all members.
const API_VERSION: &str = "1.25";
const MIB: i64 = 1024 * 1024;
/// Least memory that Docker takes, in MiB.
const MIN_MEMORY_MIB: i64 = 6;
/// Docker gives times in nanoseconds.
const NANOSECONDS: i64 = 1_000_000_000;

/// Docker's structures of a container.
pub(super) fn docker_config(
    definition: &ContainerDefinition,
    overrides: &ContainerOverride,
    task: &TaskId,
) -> DockerConfig {
    DockerConfig {
        version: Some(API_VERSION.to_owned()),
        config: Some(Value::Object(config(definition)).to_string()),
        host_config: Some(Value::Object(host_config(definition, overrides, task)).to_string()),
    }
}

/// A JSON object that leaves out what is not set.
#[derive(Default)]
struct Members(Map<String, Value>);

impl Members {
    fn set(&mut self, name: &str, value: Option<impl Into<Value>>) {
        if let Some(value) = value {
            self.0.insert(name.to_owned(), value.into());
        }
    }

    fn list(&mut self, name: &str, values: Vec<Value>) {
        self.set(name, Some(values).filter(|values| !values.is_empty()));
    }
}

fn texts(list: Option<&[String]>) -> Vec<Value> {
    let list = list.unwrap_or_default();
    list.iter().cloned().map(Value::from).collect()
}

fn config(definition: &ContainerDefinition) -> Map<String, Value> {
    let mut members = Members::default();
    let given = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
    members.set("Hostname", given(&definition.hostname));
    members.set("User", given(&definition.user));
    members.set("WorkingDir", given(&definition.working_directory));
    members.set("NetworkDisabled", definition.disable_networking);
    members.set("OpenStdin", definition.interactive);
    members.set("Tty", definition.pseudo_terminal);
    members.set(
        "Labels",
        definition
            .docker_labels
            .as_ref()
            .map(|labels| json!(labels)),
    );
    // Health checks of images are ignored.
    let check = definition.health_check.as_ref();
    let check = check.map_or_else(|| json!({ "Test": ["NONE"] }), health_check);
    members.set("Healthcheck", Some(check));
    members.0
}

fn health_check(check: &HealthCheck) -> Value {
    let time = |seconds: Option<i32>| i64::from(seconds.unwrap_or(0)) * NANOSECONDS;
    json!({
        "Test": check.command,
        "Interval": time(check.interval),
        "Timeout": time(check.timeout),
        "Retries": check.retries.unwrap_or(0),
        "StartPeriod": time(check.start_period),
    })
}

fn host_config(
    definition: &ContainerDefinition,
    overrides: &ContainerOverride,
    task: &TaskId,
) -> Map<String, Value> {
    let mut members = Members::default();
    let hard = overrides.memory.or(definition.memory).map(i64::from);
    let soft = overrides
        .memory_reservation
        .or(definition.memory_reservation);
    let soft = soft.map(|mib| i64::from(mib).max(MIN_MEMORY_MIB) * MIB);
    members.set("MemoryReservation", soft);
    members.set("Privileged", definition.privileged);
    members.set("ReadonlyRootfs", definition.readonly_root_filesystem);
    members.list("Dns", texts(definition.dns_servers.as_deref()));
    members.list("DnsSearch", texts(definition.dns_search_domains.as_deref()));
    let host = |HostEntry {
                    hostname,
                    ip_address,
                }: &HostEntry| { Value::from(format!("{hostname}:{ip_address}")) };
    members.list(
        "ExtraHosts",
        definition.extra_hosts.iter().flatten().map(host).collect(),
    );
    members.list(
        "SecurityOpt",
        texts(definition.docker_security_options.as_deref()),
    );
    let ulimit =
        |Ulimit {
             name,
             soft_limit,
             hard_limit,
         }: &Ulimit| { json!({ "Name": name, "Soft": soft_limit, "Hard": hard_limit }) };
    members.list(
        "Ulimits",
        definition.ulimits.iter().flatten().map(ulimit).collect(),
    );
    members.set("Sysctls", system_controls(&definition.system_controls));
    if let Some(linux) = &definition.linux_parameters {
        set_linux(&mut members, linux, hard);
    }
    let logs = definition.log_configuration.as_ref();
    let container = definition.name.as_deref().unwrap_or_default();
    members.set(
        "LogConfig",
        logs.map(|logs| log_config(logs, container, task)),
    );
    members.0
}

fn system_controls(controls: &[SystemControl]) -> Option<Value> {
    let pairs = controls.iter().filter_map(|control| {
        let value = control.value.clone().unwrap_or_default();
        control
            .namespace
            .clone()
            .map(|namespace| (namespace, value))
    });
    let pairs: BTreeMap<_, _> = pairs.collect();
    (!pairs.is_empty()).then(|| json!(pairs))
}

/// `hard` is the memory of the container in MiB.
fn set_linux(members: &mut Members, linux: &LinuxParameters, hard: Option<i64>) {
    let capabilities = linux.capabilities.clone().unwrap_or_default();
    members.list("CapAdd", texts(capabilities.add.as_deref()));
    members.list("CapDrop", texts(capabilities.drop.as_deref()));
    members.list(
        "Devices",
        linux.devices.iter().flatten().map(device).collect(),
    );
    members.set("Init", linux.init_process_enabled);
    members.set(
        "ShmSize",
        linux.shared_memory_size.map(|mib| i64::from(mib) * MIB),
    );
    let mounts = linux.tmpfs.iter().flatten();
    let mounts: BTreeMap<_, _> = mounts.map(tmpfs).collect();
    members.set("Tmpfs", (!mounts.is_empty()).then(|| json!(mounts)));
    // Docker counts memory and swap together, and swappiness means nothing without swap.
    if let (Some(swap), Some(hard)) = (linux.max_swap, hard) {
        let total = (hard.max(MIN_MEMORY_MIB) + i64::from(swap)) * MIB;
        members.set("MemorySwap", Some(total));
        members.set("MemorySwappiness", linux.swappiness);
    }
}

fn device(device: &Device) -> Value {
    let inside = device.container_path.as_ref().unwrap_or(&device.host_path);
    let permissions = device.permissions.as_deref().unwrap_or_default();
    let allowed = |word: &str| permissions.is_empty() || permissions.iter().any(|one| one == word);
    let letters = [("read", 'r'), ("write", 'w'), ("mknod", 'm')];
    let letters = letters.into_iter().filter(|(word, _)| allowed(word));
    let letters: String = letters.map(|(_, letter)| letter).collect();
    json!({
        "PathOnHost": device.host_path,
        "PathInContainer": inside,
        "CgroupPermissions": letters,
    })
}

fn tmpfs(tmpfs: &Tmpfs) -> (String, String) {
    let mut options = vec![format!("size={}m", tmpfs.size)];
    options.extend(tmpfs.mount_options.iter().flatten().cloned());
    (tmpfs.container_path.clone(), options.join(","))
}

/// The log driver with its options. ECS names the stream of `awslogs` `prefix/container/task`;
/// Docker knows no prefix, and names it after the container where it is told nothing.
fn log_config(logs: &LogConfiguration, container: &str, task: &TaskId) -> Value {
    let mut options = logs.options.clone().unwrap_or_default();
    if logs.log_driver == LogDriver::Awslogs
        && let Some(prefix) = options.remove("awslogs-stream-prefix")
    {
        let stream = format!("{prefix}/{container}/{}", task.0);
        options.insert("awslogs-stream".to_owned(), stream);
    }
    json!({ "Type": logs.log_driver.as_str(), "Config": options })
}
