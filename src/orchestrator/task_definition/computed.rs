//! What follows from a task definition: the attributes that an instance must have, and the launch
//! types that can run it. Source: ECS developer guide, "Attributes" and "Launch type
//! compatibility"; the capabilities that Amazon's agent registers.

use std::collections::BTreeSet;

use crate::model::{
    Attribute, Compatibility, ContainerDefinition, NetworkMode, TaskDefinitionDocument, VolumeScope,
};
use crate::task_definition::names::is_ecr_image;
use crate::task_definition::secrets::secret_provider;
use crate::task_definition::{fargate, logging, network};

/// The prefix of the capabilities of early agents.
const EARLY: &str = "com.amazonaws.ecs.capability.";
/// The prefix of the later ones.
const LATER: &str = "ecs.capability.";

/// Fills in the attributes and compatibilities of a valid task definition.
pub(super) fn fill(document: &mut TaskDefinitionDocument) {
    document.requires_attributes = required(document);
    document.compatibilities = compatibilities(document);
}

fn compatibilities(document: &TaskDefinitionDocument) -> Vec<Compatibility> {
    let mut found = Vec::new();
    if network::check_external(document).is_ok() {
        found.push(Compatibility::External);
    }
    found.push(Compatibility::Ec2);
    if fargate::check(document).is_ok() {
        found.push(Compatibility::Fargate);
    }
    found
}

/// A set of names of attributes that grows.
#[derive(Default)]
struct Names(BTreeSet<String>);

impl Names {
    fn early(&mut self, needed: bool, name: &str) {
        if needed {
            self.0.insert(format!("{EARLY}{name}"));
        }
    }

    fn later(&mut self, needed: bool, name: &str) {
        if needed {
            self.0.insert(format!("{LATER}{name}"));
        }
    }
}

fn required(document: &TaskDefinitionDocument) -> Vec<Attribute> {
    let mut names = Names::default();
    let host_network = document.network_mode == Some(NetworkMode::Host);
    let task_role = document.task_role_arn.is_some();
    names.early(task_role && !host_network, "task-iam-role");
    names.early(task_role && host_network, "task-iam-role-network-host");
    names.later(
        document.network_mode == Some(NetworkMode::Awsvpc),
        "task-eni",
    );
    let sized = document.cpu.is_some() || document.memory.is_some();
    names.later(sized, "task-cpu-mem-limit");
    for volume in &document.volumes {
        if let Some(docker) = &volume.docker_volume_configuration {
            // Docker takes its own driver where the name is empty.
            let driver = docker.driver.as_deref().filter(|name| !name.is_empty());
            let driver = driver.unwrap_or("local");
            names.later(true, &format!("docker-plugin.{driver}"));
            names.early(
                docker.scope == Some(VolumeScope::Shared),
                "docker-remote-api.1.25",
            );
        }
    }
    for container in &document.container_definitions {
        require(&mut names, container, document.execution_role_arn.is_some());
    }
    let attribute = |name: String| Attribute {
        name,
        ..Attribute::default()
    };
    let mut attributes: Vec<_> = names.0.into_iter().map(attribute).collect();
    let platform = document.runtime_platform.as_ref();
    if let Some(architecture) = platform.and_then(|platform| platform.cpu_architecture.as_deref()) {
        attributes.push(Attribute {
            name: "ecs.cpu-architecture".to_owned(),
            value: Some(architecture.to_ascii_lowercase()),
            ..Attribute::default()
        });
    }
    attributes
}

fn require(names: &mut Names, container: &ContainerDefinition, has_role: bool) {
    names.early(container.privileged == Some(true), "privileged-container");
    let ecr = is_ecr_image(container.image.as_deref().unwrap_or_default());
    names.early(ecr, "ecr-auth");
    names.later(ecr && has_role, "execution-role-ecr-pull");
    names.early(ecr, "docker-remote-api.1.19");
    names.early(
        container.memory_reservation.is_some(),
        "docker-remote-api.1.21",
    );
    names.early(
        container.ulimits.iter().flatten().next().is_some(),
        "docker-remote-api.1.18",
    );
    let labels = container.docker_labels.as_ref();
    names.early(
        labels.is_some_and(|labels| !labels.is_empty()),
        "docker-remote-api.1.18",
    );
    let linux = container.linux_parameters.as_ref();
    let init = linux.is_some_and(|linux| linux.init_process_enabled == Some(true));
    names.early(init, "docker-remote-api.1.25");
    if let Some(logs) = &container.log_configuration {
        names.0.insert(logging::capability(logs.log_driver));
        names.early(true, "docker-remote-api.1.18");
        let awslogs = logs.log_driver == crate::model::LogDriver::Awslogs;
        names.early(awslogs, "docker-remote-api.1.19");
        names.later(awslogs && has_role, "execution-role-awslogs");
    }
    let checked = container.health_check.is_some();
    names.later(checked, "container-health-check");
    names.early(checked, "docker-remote-api.1.24");
    let ordered =
        container.depends_on.iter().flatten().next().is_some() || container.start_timeout.is_some();
    names.later(ordered, "container-ordering");
    let restarts = container
        .restart_policy
        .as_ref()
        .is_some_and(|policy| policy.enabled);
    names.later(restarts, "container-restart-policy");
    let ranges = |mapping: &crate::model::PortMapping| mapping.container_port_range.is_some();
    names.later(
        container.port_mappings.iter().any(ranges),
        "container-port-range",
    );
    for secret in container.secrets.iter().flatten() {
        let provider = secret_provider(&secret.value_from);
        names.later(true, &format!("secrets.{provider}.environment-variables"));
    }
    for secret in container.log_secrets() {
        let provider = secret_provider(&secret.value_from);
        names.later(true, &format!("secrets.{provider}.bootstrap.log-driver"));
    }
    names.later(
        container
            .environment_files
            .iter()
            .flatten()
            .next()
            .is_some(),
        "env-files.s3",
    );
    let private = container.repository_credentials.is_some();
    names.later(private, "private-registry-authentication.secretsmanager");
}
