//! Containers of tasks as agents get them.

use std::collections::BTreeMap;

use wharfinger_aws::Arn;
use wharfinger_ecs_protocol as protocol;

use crate::model::{
    ContainerCondition, ContainerDefinition, ContainerOverride, EnvironmentFile, LogDriver,
    SecretReference,
};
use crate::payload::docker_config::docker_config;
use crate::payload::registry::authentication;
use crate::payload::{NO_OVERRIDES, TaskParts, execution_role};
use crate::task_definition::secret_provider;

/// A container of the task with the overrides that name it.
pub(super) fn container(
    parts: &TaskParts<'_>,
    definition: &ContainerDefinition,
) -> protocol::Container {
    let name = definition.name.clone().unwrap_or_default();
    let none = ContainerOverride::default();
    let overrides = parts.overrides().of_container(Some(&name));
    let overrides = overrides.unwrap_or(&none);
    let image = definition.image.clone().unwrap_or_default();
    let task = parts.task;
    let made = task
        .details
        .containers
        .iter()
        .find(|one| one.name.as_deref() == Some(&name));
    let checked = definition.health_check.is_some();
    let linux = definition.linux_parameters.as_ref();
    let role = execution_role(task, parts.definition);
    let seconds = |value: Option<i32>| value.and_then(|value| u32::try_from(value).ok());
    protocol::Container {
        image_digest: digest(parts, definition, &name),
        cpu: i64::from(overrides.cpu.or(definition.cpu).unwrap_or(0)),
        memory: i64::from(overrides.memory.or(definition.memory).unwrap_or(0)),
        essential: definition.essential.unwrap_or(true),
        command: overrides
            .command
            .clone()
            .or_else(|| definition.command.clone()),
        entry_point: definition.entry_point.clone(),
        environment: environment(definition, overrides),
        environment_files: environment_files(definition, overrides),
        port_mappings: port_mappings(definition),
        mount_points: mount_points(definition),
        volumes_from: volumes_from(definition),
        links: definition.links.clone().unwrap_or_default(),
        depends_on: depends_on(definition),
        health_check_type: checked.then(|| "docker".to_owned()),
        start_timeout: seconds(definition.start_timeout),
        stop_timeout: seconds(definition.stop_timeout),
        restart_policy: definition
            .restart_policy
            .as_ref()
            .map(|policy| protocol::RestartPolicy {
                enabled: policy.enabled,
                ignored_exit_codes: policy.ignored_exit_codes.clone().unwrap_or_default(),
                restart_attempt_period: seconds(policy.restart_attempt_period),
            }),
        secrets: secrets(parts, definition),
        logs_auth_strategy: logs_auth(definition, role.is_some()),
        registry_authentication: authentication(parts, definition, &image, role.is_some()),
        linux_parameters: linux.map(|linux| protocol::LinuxParameters {
            init_process_enabled: linux.init_process_enabled,
        }),
        container_arn: made.and_then(|made| made.container_arn.clone()),
        overrides: Some(NO_OVERRIDES.to_owned()),
        docker_config: Some(docker_config(definition, overrides, &task.id)),
        name,
        image,
        ..protocol::Container::default()
    }
}

/// The digest that the image had at the first task of the revision, unless each task resolves its
/// tag anew.
fn digest(parts: &TaskParts<'_>, definition: &ContainerDefinition, name: &str) -> Option<String> {
    let digests = &parts.task.details.image_digests;
    let kept = definition.is_resolved_once();
    digests.get(name).filter(|_| kept).cloned()
}

/// The variables of the definition, with those of the overrides added or in their place.
fn environment(
    definition: &ContainerDefinition,
    overrides: &ContainerOverride,
) -> BTreeMap<String, String> {
    let own = definition.environment.iter();
    let variables = own.chain(overrides.environment.iter().flatten());
    let pairs = variables.filter_map(|variable| {
        let value = variable.value.clone().unwrap_or_default();
        variable.name.clone().map(|name| (name, value))
    });
    pairs.collect()
}

/// Overrides replace the files of the definition.
fn environment_files(
    definition: &ContainerDefinition,
    overrides: &ContainerOverride,
) -> Vec<protocol::EnvironmentFile> {
    let files = overrides
        .environment_files
        .as_ref()
        .or(definition.environment_files.as_ref());
    let file = |file: &EnvironmentFile| protocol::EnvironmentFile {
        value: file.value.clone(),
        kind: file.kind.clone(),
    };
    files.into_iter().flatten().map(file).collect()
}

fn port_mappings(definition: &ContainerDefinition) -> Vec<protocol::PortMapping> {
    let port = |value: Option<i32>| value.and_then(|value| u16::try_from(value).ok());
    let mappings = definition.port_mappings.iter();
    let mappings = mappings.map(|mapping| protocol::PortMapping {
        container_port: port(mapping.container_port),
        host_port: port(mapping.host_port),
        protocol: mapping
            .protocol
            .map(|protocol| protocol.as_str().to_owned()),
        name: mapping.name.clone(),
        container_port_range: mapping.container_port_range.clone(),
    });
    mappings.collect()
}

fn mount_points(definition: &ContainerDefinition) -> Vec<protocol::MountPoint> {
    let mounts = definition.mount_points.iter();
    let mounts = mounts.map(|mount| protocol::MountPoint {
        source_volume: mount.source_volume.clone().unwrap_or_default(),
        container_path: mount.container_path.clone().unwrap_or_default(),
        read_only: mount.read_only.unwrap_or(false),
    });
    mounts.collect()
}

fn volumes_from(definition: &ContainerDefinition) -> Vec<protocol::VolumeFrom> {
    let sources = definition.volumes_from.iter();
    let sources = sources.map(|from| protocol::VolumeFrom {
        source_container: from.source_container.clone().unwrap_or_default(),
        read_only: from.read_only.unwrap_or(false),
    });
    sources.collect()
}

fn depends_on(definition: &ContainerDefinition) -> Vec<protocol::ContainerDependency> {
    let dependencies = definition.depends_on.iter().flatten();
    let dependencies = dependencies.map(|dependency| protocol::ContainerDependency {
        container_name: dependency.container_name.clone(),
        condition: match dependency.condition {
            ContainerCondition::Start => protocol::DependencyCondition::Start,
            ContainerCondition::Complete => protocol::DependencyCondition::Complete,
            ContainerCondition::Success => protocol::DependencyCondition::Success,
            ContainerCondition::Healthy => protocol::DependencyCondition::Healthy,
        },
    });
    dependencies.collect()
}

/// The secrets of the container and of the options of its log driver.
fn secrets(parts: &TaskParts<'_>, definition: &ContainerDefinition) -> Vec<protocol::Secret> {
    let own_region = parts.home().region.as_str();
    let secret = |target: &str, SecretReference { name, value_from }: &SecretReference| {
        let arn: Option<Arn> = value_from.parse().ok();
        let region = arn
            .as_ref()
            .map(Arn::region)
            .filter(|region| !region.is_empty());
        protocol::Secret {
            name: name.clone(),
            value_from: value_from.clone(),
            region: Some(region.unwrap_or(own_region).to_owned()),
            provider: Some(secret_provider(value_from).to_owned()),
            kind: Some("ENVIRONMENT_VARIABLE".to_owned()),
            target: Some(target.to_owned()),
            container_path: None,
        }
    };
    let variables = definition.secrets.iter().flatten();
    let options = definition.log_secrets();
    variables
        .map(|one| secret("CONTAINER", one))
        .chain(options.map(|one| secret("LOG_DRIVER", one)))
        .collect()
}

/// Logs are written with the execution role where there is one.
fn logs_auth(definition: &ContainerDefinition, has_role: bool) -> Option<String> {
    let logs = definition.log_configuration.as_ref();
    let awslogs = logs.is_some_and(|logs| logs.log_driver == LogDriver::Awslogs);
    (awslogs && has_role).then(|| "ExecutionRole".to_owned())
}
