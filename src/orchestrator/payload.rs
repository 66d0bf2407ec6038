//! Tasks as agents get them: a task definition, the overrides of one task, and what the control
//! plane decided about it. PURE.
//!
//! Source: the messages that the Amazon ECS agent takes; ECS API reference, `TaskOverride`.

mod container;
mod docker_config;
mod registry;
#[cfg(test)]
mod tests;

pub use registry::Registries;
use wharfinger_ecs_protocol as protocol;

use crate::model::{
    AccountRegion, ClusterName, DesiredStatus, DockerVolumeConfiguration, Task, TaskDefinition,
    TaskOverride, Volume, VolumeScope,
};
use crate::placement::size_of_text;

/// CPU units of one vCPU.
const UNITS_OF_VCPU: f64 = 1024.0;
/// What agents get as overrides: the control plane has applied them.
const NO_OVERRIDES: &str = "{}";

/// A task with what its message is made of.
#[derive(Clone, Copy, Debug)]
pub struct TaskParts<'a> {
    pub cluster: &'a ClusterName,
    pub task: &'a Task,
    pub definition: &'a TaskDefinition,
    /// The service that the task belongs to.
    pub service_name: Option<&'a str>,
    pub registries: &'a Registries,
}

impl TaskParts<'_> {
    fn overrides(&self) -> &TaskOverride {
        &self.task.details.overrides
    }

    fn home(&self) -> &AccountRegion {
        &self.cluster.home
    }
}

/// The task role of a task: that of its overrides, else that of its definition.
pub fn task_role<'a>(task: &'a Task, definition: &'a TaskDefinition) -> Option<&'a str> {
    let overridden = task.details.overrides.task_role_arn.as_deref();
    overridden.or(definition.document.task_role_arn.as_deref())
}

/// The execution role of a task: that of its overrides, else that of its definition.
pub fn execution_role<'a>(task: &'a Task, definition: &'a TaskDefinition) -> Option<&'a str> {
    let overridden = task.details.overrides.execution_role_arn.as_deref();
    overridden.or(definition.document.execution_role_arn.as_deref())
}

/// The task as an agent gets it, without credentials. One that is to stop has no containers.
pub fn payload(parts: &TaskParts<'_>) -> protocol::Task {
    let TaskParts {
        cluster,
        task,
        definition,
        ..
    } = *parts;
    let document = &definition.document;
    let stops = task.desired_status == DesiredStatus::Stopped;
    let base = protocol::Task {
        arn: cluster.task_arn(&task.id).as_str().to_owned(),
        task_cluster_arn: Some(cluster.arn().as_str().to_owned()),
        family: Some(definition.name.family.clone()),
        version: Some(definition.name.revision.to_string()),
        overrides: Some(NO_OVERRIDES.to_owned()),
        ..protocol::Task::default()
    };
    if stops {
        return protocol::Task {
            desired_status: protocol::DesiredStatus::Stopped,
            ..base
        };
    }
    let containers = document.container_definitions.iter();
    let text = |mode: &'static str| mode.to_owned();
    protocol::Task {
        desired_status: protocol::DesiredStatus::Running,
        containers: containers
            .map(|one| container::container(parts, one))
            .collect(),
        volumes: document.volumes.iter().map(volume).collect(),
        network_mode: Some(
            document
                .network_mode
                .map_or("bridge", |mode| mode.as_str())
                .to_owned(),
        ),
        launch_type: Some(task.launch_type.as_str().to_owned()),
        cpu: cpu(parts),
        memory: memory(parts),
        pid_mode: document.pid_mode.map(|mode| text(mode.as_str())),
        ipc_mode: document.ipc_mode.map(|mode| text(mode.as_str())),
        service_name: parts.service_name.map(str::to_owned),
        group: Some(task.group.clone()),
        task_definition_account_id: Some(definition.home.account.as_str().to_owned()),
        ..base
    }
}

/// The limit of the whole task in vCPU.
fn cpu(parts: &TaskParts<'_>) -> Option<f64> {
    let overridden = parts.overrides().cpu.as_deref();
    let text = overridden.or(parts.definition.document.cpu.as_deref())?;
    let units = i32::try_from(size_of_text(text, "vcpu")?).ok()?;
    Some(f64::from(units) / UNITS_OF_VCPU)
}

/// The limit of the whole task in MiB.
fn memory(parts: &TaskParts<'_>) -> Option<i64> {
    let overridden = parts.overrides().memory.as_deref();
    let text = overridden.or(parts.definition.document.memory.as_deref())?;
    size_of_text(text, "gb")
}

fn volume(volume: &Volume) -> protocol::Volume {
    let docker = volume.docker_volume_configuration.as_ref();
    protocol::Volume {
        name: volume.name.clone().unwrap_or_default(),
        kind: match docker {
            Some(_) => protocol::VolumeType::Docker,
            None => protocol::VolumeType::Host,
        },
        host: volume
            .host
            .as_ref()
            .filter(|_| docker.is_none())
            .map(|host| protocol::HostVolume {
                source_path: host.source_path.clone(),
            }),
        docker_volume_configuration: docker.map(docker_volume),
        efs_volume_configuration: None,
    }
}

/// The configuration with the defaults of what it leaves out (ECS API reference,
/// `DockerVolumeConfiguration`).
fn docker_volume(given: &DockerVolumeConfiguration) -> protocol::DockerVolume {
    let scope = given.scope.unwrap_or(VolumeScope::Task);
    let default = (scope == VolumeScope::Shared).then_some(false);
    protocol::DockerVolume {
        scope: Some(scope.as_str().to_owned()),
        autoprovision: given.autoprovision.or(default),
        driver: Some(given.driver.clone().unwrap_or_else(|| "local".to_owned())),
        driver_opts: given.driver_opts.clone(),
        labels: given.labels.clone(),
    }
}
