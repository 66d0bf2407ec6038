//! Tasks as responses show them.

use serde::Serialize;
use serde_with::skip_serializing_none;
use wharfinger_orchestrator::model::{
    Attachment, Attribute, ClusterName, Connectivity, Container, ContainerOverride, DesiredStatus,
    EphemeralStorage, HealthStatus, LaunchType, Tag, Task, TaskOverride, TaskStatus, TaskStopCode,
};

use crate::views::EpochSeconds;

/// The storage of a Fargate task that names no size (ECS developer guide, "Fargate task ephemeral
/// storage").
const FARGATE_STORAGE: EphemeralStorage = EphemeralStorage { size_in_gib: 20 };

/// `Task` of the service model.
#[skip_serializing_none]
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct TaskView {
    attachments: Vec<Attachment>,
    attributes: Vec<Attribute>,
    availability_zone: Option<String>,
    capacity_provider_name: Option<String>,
    cluster_arn: String,
    connectivity: Option<Connectivity>,
    connectivity_at: Option<EpochSeconds>,
    container_instance_arn: Option<String>,
    containers: Vec<Container>,
    cpu: Option<String>,
    created_at: EpochSeconds,
    desired_status: DesiredStatus,
    enable_execute_command: bool,
    execution_stopped_at: Option<EpochSeconds>,
    group: String,
    health_status: Option<HealthStatus>,
    inference_accelerators: Vec<()>,
    last_status: TaskStatus,
    launch_type: LaunchType,
    memory: Option<String>,
    overrides: OverridesView,
    platform_version: Option<String>,
    platform_family: Option<String>,
    pull_started_at: Option<EpochSeconds>,
    pull_stopped_at: Option<EpochSeconds>,
    started_at: Option<EpochSeconds>,
    started_by: Option<String>,
    stop_code: Option<TaskStopCode>,
    stopped_at: Option<EpochSeconds>,
    stopped_reason: Option<String>,
    stopping_at: Option<EpochSeconds>,
    tags: Vec<Tag>,
    task_arn: String,
    task_definition_arn: String,
    version: i64,
    ephemeral_storage: Option<EphemeralStorage>,
    /// The same: `Task` names it twice.
    fargate_ephemeral_storage: Option<EphemeralStorage>,
}

/// `TaskOverride` of the service model, with an entry for each container.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct OverridesView {
    inference_accelerator_overrides: Vec<()>,
    #[serde(flatten)]
    overrides: TaskOverride,
}

impl TaskView {
    /// The task, with its tags or an empty list in their place.
    pub(super) fn of(cluster: &ClusterName, task: &Task, with_tags: bool) -> Self {
        let details = &task.details;
        let is_fargate = task.launch_type == LaunchType::Fargate;
        // Fargate has no instances that are shown.
        let instance = task.instance.as_ref().filter(|_| !is_fargate);
        let time = |time: Option<wharfinger_base::Timestamp>| time.map(EpochSeconds::from);
        let storage = details.ephemeral_storage.clone().unwrap_or(FARGATE_STORAGE);
        let storage = is_fargate.then_some(storage);
        Self {
            attachments: details.attachments.clone(),
            attributes: details.attributes.clone(),
            availability_zone: details.availability_zone.clone(),
            capacity_provider_name: details.capacity_provider.clone(),
            cluster_arn: cluster.arn().to_string(),
            connectivity: details.connectivity,
            connectivity_at: time(details.connectivity_at),
            container_instance_arn: instance.map(|id| cluster.instance_arn(id).to_string()),
            containers: details.containers.clone(),
            cpu: details.cpu.clone(),
            created_at: task.created_at.into(),
            desired_status: task.desired_status,
            enable_execute_command: details.enable_execute_command,
            execution_stopped_at: time(details.execution_stopped_at),
            group: task.group.clone(),
            health_status: details.health_status,
            inference_accelerators: Vec::new(),
            last_status: task.last_status,
            launch_type: task.launch_type,
            memory: details.memory.clone(),
            overrides: OverridesView::of(task),
            platform_version: details.platform_version.clone(),
            platform_family: details.platform_family.clone(),
            pull_started_at: time(details.pull_started_at),
            pull_stopped_at: time(details.pull_stopped_at),
            started_at: time(details.started_at),
            started_by: task.started_by.clone(),
            stop_code: details.stop_code,
            stopped_at: time(task.stopped_at),
            stopped_reason: details.stopped_reason.clone(),
            stopping_at: time(details.stopping_at),
            tags: if with_tags {
                details.tags.clone()
            } else {
                Vec::new()
            },
            task_arn: cluster.task_arn(&task.id).to_string(),
            task_definition_arn: task.definition.arn(&cluster.home).to_string(),
            version: task.version,
            ephemeral_storage: storage.clone(),
            fargate_ephemeral_storage: storage,
        }
    }
}

impl OverridesView {
    fn of(task: &Task) -> Self {
        let given = &task.details.overrides;
        let containers = task.details.containers.iter().map(|container| {
            let own = given.of_container(container.name.as_deref());
            own.cloned().unwrap_or_else(|| ContainerOverride {
                name: container.name.clone(),
                ..ContainerOverride::default()
            })
        });
        Self {
            inference_accelerator_overrides: Vec::new(),
            overrides: TaskOverride {
                container_overrides: Some(containers.collect()),
                ..task.details.overrides.clone()
            },
        }
    }
}
