//! The row of a new task.

use wharfinger_base::{Ids, Timestamp};

use crate::model::{
    Attachment, Attribute, ClusterName, Container, ContainerDefinition, ContainerOverride,
    DesiredStatus, HealthStatus, KeyValuePair, LaunchType, NetworkMode, Reservation, Task,
    TaskDetails, TaskId, TaskStatus,
};
use crate::placement::Node;
use crate::tasks::request::StartTasks;

/// The platform version of Fargate tasks where the request names none or `LATEST`.
const PLATFORM_VERSION: &str = "1.4.0";

/// What is decided of a task when it is made.
pub(super) struct Chosen<'a> {
    /// The instance; `None` for a task that waits for capacity.
    pub(super) node: Option<&'a Node>,
    pub(super) capacity_provider: Option<String>,
    pub(super) launch_type: LaunchType,
    pub(super) reservation: Reservation,
}

/// The task that a request makes.
pub(super) fn new_task(
    request: &StartTasks,
    chosen: Chosen<'_>,
    ids: &Ids,
    now: Timestamp,
) -> Task {
    let uuid = ids.ordered_uuid(now);
    let id = TaskId(uuid.simple().to_string());
    let document = &request.definition.document;
    let is_fargate = chosen.launch_type == LaunchType::Fargate;
    let containers = document.container_definitions.iter();
    let containers = containers
        .map(|container| new_container(&request.cluster.name, &id, request, container, ids));
    let platform = is_fargate.then(|| platform_version(request.platform_version.as_deref()));
    let family = document.runtime_platform.as_ref();
    let family = family.and_then(|platform| platform.operating_system_family.clone());
    let reservation = chosen.reservation;
    let own_storage = request.overrides.ephemeral_storage.as_ref();
    let storage = own_storage.or(document.ephemeral_storage.as_ref()).cloned();
    let details = TaskDetails {
        containers: containers.collect(),
        attachments: attachments(request, uuid.to_string()),
        attributes: attributes(chosen.node),
        overrides: request.overrides.clone(),
        availability_zone: chosen.node.and_then(Node::zone).map(str::to_owned),
        capacity_provider: chosen.capacity_provider,
        cpu: Some(reservation.cpu.to_string()),
        memory: Some(reservation.memory_mib.to_string()),
        reservation,
        enable_execute_command: request.enable_execute_command,
        health_status: Some(HealthStatus::Unknown),
        ephemeral_storage: storage.filter(|_| is_fargate),
        platform_version: platform,
        platform_family: is_fargate.then(|| family.unwrap_or_else(|| "Linux".to_owned())),
        network_configuration: request.network_configuration.clone(),
        tags: request.tags.clone(),
        placement_constraints: request.constraints.clone(),
        placement_strategy: request.strategy.clone(),
        image_digests: request.image_digests.clone(),
        ..TaskDetails::default()
    };
    Task {
        id,
        cluster: request.cluster.id.clone(),
        instance: chosen.node.map(|node| node.id.clone()),
        service: request.service.clone(),
        deployment: request.deployment.clone(),
        definition: request.definition.name.clone(),
        group: request.group(),
        started_by: request.started_by.clone(),
        launch_type: chosen.launch_type,
        last_status: match chosen.node {
            Some(_) => TaskStatus::Pending,
            None => TaskStatus::Provisioning,
        },
        desired_status: DesiredStatus::Running,
        created_at: now,
        stopped_at: None,
        protected_until: None,
        version: 1,
        details,
    }
}

/// Gives a task that waited its instance.
pub(super) fn assign(task: &mut Task, node: &Node) {
    task.instance = Some(node.id.clone());
    task.last_status = TaskStatus::Pending;
    task.details.availability_zone = node.zone().map(str::to_owned);
    task.details.attributes = attributes(Some(node));
}

fn platform_version(requested: Option<&str>) -> String {
    match requested {
        None | Some("" | "LATEST") => PLATFORM_VERSION.to_owned(),
        Some(version) => version.to_owned(),
    }
}

fn new_container(
    cluster: &ClusterName,
    task: &TaskId,
    request: &StartTasks,
    definition: &ContainerDefinition,
    ids: &Ids,
) -> Container {
    let own = request.overrides.of_container(definition.name.as_deref());
    let size = |own: Option<i32>, defined: Option<i32>| {
        let size = own.or(defined);
        size.map(|size| size.to_string())
    };
    let own_size = |size: fn(&ContainerOverride) -> Option<i32>| own.and_then(size);
    let container_id = ids.uuid().to_string();
    Container {
        container_arn: Some(cluster.container_arn(task, &container_id).to_string()),
        task_arn: Some(cluster.task_arn(task).to_string()),
        name: definition.name.clone(),
        image: definition.image.clone(),
        last_status: Some(TaskStatus::Pending.as_str().to_owned()),
        network_interfaces: Some(Vec::new()),
        health_status: Some(HealthStatus::Unknown),
        cpu: size(own_size(|own| own.cpu), definition.cpu).or_else(|| Some("0".to_owned())),
        memory: size(own_size(|own| own.memory), definition.memory),
        memory_reservation: size(
            own_size(|own| own.memory_reservation),
            definition.memory_reservation,
        ),
        ..Container::default()
    }
}

/// In the network mode `awsvpc` a task has a network interface, which the agent makes. `id` is the
/// task's own as a UUID, so that reports of the attachment lead to the task.
fn attachments(request: &StartTasks, id: String) -> Vec<Attachment> {
    let mode = request.definition.document.network_mode;
    let configuration = request.network_configuration.as_ref();
    let network = configuration.and_then(|one| one.awsvpc_configuration.as_ref());
    let (Some(NetworkMode::Awsvpc), Some(network)) = (mode, network) else {
        return Vec::new();
    };
    let subnet = network.subnets.first().map(|subnet| KeyValuePair {
        name: Some("subnetId".to_owned()),
        value: Some(subnet.clone()),
    });
    vec![Attachment {
        id: Some(id),
        kind: Some("ElasticNetworkInterface".to_owned()),
        status: Some("PRECREATED".to_owned()),
        details: Some(subnet.into_iter().collect()),
    }]
}

fn attributes(node: Option<&Node>) -> Vec<Attribute> {
    const SHOWN: &str = "ecs.cpu-architecture";
    let value = node.and_then(|node| node.attribute(SHOWN)).flatten();
    let shown = value.map(|value| Attribute {
        name: SHOWN.to_owned(),
        value: Some(value.to_owned()),
        ..Attribute::default()
    });
    shown.into_iter().collect()
}
