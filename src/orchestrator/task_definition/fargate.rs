//! The rules of tasks on Fargate. Source: ECS developer guide, "Task definition differences for
//! Fargate".

use crate::model::{ContainerDefinition, LogDriver, NetworkMode, PidMode, TaskDefinitionDocument};
use crate::task_definition::error::Checked;
use crate::task_definition::error::refuse;
use crate::task_definition::names::is_ecr_image;
use crate::task_definition::sizes::is_fargate_size;

/// Longest `stopTimeout` and `startTimeout` in seconds.
const MAX_TIMEOUT: i32 = 120;

/// Checks whether a task definition with its defaults can run on Fargate.
pub(super) fn check(document: &TaskDefinitionDocument) -> Checked {
    if document.network_mode != Some(NetworkMode::Awsvpc) {
        // The quotation marks are those of ECS.
        return Err(refuse("Fargate only supports network mode ‘awsvpc’."));
    }
    let size = |text: &Option<String>, setting: &str| {
        let text = text.as_deref().and_then(|text| text.parse::<u32>().ok());
        text.ok_or_else(|| {
            refuse(format!(
                "Fargate requires that '{setting}' be defined at the task level."
            ))
        })
    };
    let cpu = size(&document.cpu, "cpu")?;
    let memory = size(&document.memory, "memory")?;
    if !is_fargate_size(cpu, memory) {
        return Err(refuse(format!(
            "No Fargate configuration exists for given values: {cpu} CPU, {memory} memory. See the \
             Amazon ECS documentation for the valid values."
        )));
    }
    if document.ipc_mode.is_some() {
        return Err(refuse(
            "Tasks using the Fargate launch type do not support ipcMode.",
        ));
    }
    if document.pid_mode == Some(PidMode::Host) {
        return Err(refuse(
            "Tasks using the Fargate launch type do not support pidMode 'host'.",
        ));
    }
    if !document.placement_constraints.is_empty() {
        return Err(refuse(
            "Tasks using the Fargate launch type do not support placement constraints.",
        ));
    }
    for volume in &document.volumes {
        if volume
            .host
            .as_ref()
            .is_some_and(|host| host.source_path.is_some())
        {
            return Err(refuse(
                "Fargate compatible task definitions do not support sourcePath",
            ));
        }
        if volume.docker_volume_configuration.is_some() {
            return Err(refuse(
                "Fargate compatible task definitions do not support dockerVolumeConfiguration",
            ));
        }
    }
    for container in &document.container_definitions {
        check_container(container, document.execution_role_arn.is_some())?;
    }
    Ok(())
}

fn check_container(container: &ContainerDefinition, has_role: bool) -> Checked {
    let no = |what: &str| {
        Err(refuse(format!(
            "Fargate compatible task definitions do not support {what}"
        )))
    };
    if container.privileged == Some(true) {
        return no("privileged");
    }
    if container
        .docker_security_options
        .iter()
        .flatten()
        .next()
        .is_some()
    {
        return no("dockerSecurityOptions");
    }
    if let Some(linux) = &container.linux_parameters {
        if linux.devices.iter().flatten().next().is_some() {
            return no("devices");
        }
        if linux.shared_memory_size.is_some() {
            return no("sharedMemorySize");
        }
        if linux.tmpfs.iter().flatten().next().is_some() {
            return no("tmpfs");
        }
        if linux.max_swap.is_some() || linux.swappiness.is_some() {
            return no("swap");
        }
        let added = linux
            .capabilities
            .iter()
            .flat_map(|all| all.add.iter().flatten());
        if let Some(capability) = added.into_iter().find(|name| *name != "SYS_PTRACE") {
            return no(&format!("the added capability {capability}"));
        }
    }
    for timeout in [container.start_timeout, container.stop_timeout] {
        if timeout.is_some_and(|seconds| seconds > MAX_TIMEOUT) {
            return no("timeouts of more than 120 seconds");
        }
    }
    if let Some(logs) = &container.log_configuration {
        let driver = logs.log_driver;
        if !matches!(
            driver,
            LogDriver::Awslogs | LogDriver::Splunk | LogDriver::Awsfirelens
        ) {
            return Err(refuse(format!(
                "{driver} is not a valid log driver. Must be one of [awslogs,splunk,awsfirelens]"
            )));
        }
        if driver == LogDriver::Awslogs {
            if !has_role {
                return Err(refuse(
                    "Fargate requires task definition to have execution role ARN to support log \
                     driver awslogs.",
                ));
            }
            let prefix = logs.options.as_ref();
            if prefix.is_none_or(|options| !options.contains_key("awslogs-stream-prefix")) {
                return Err(refuse(
                    "Log driver awslogs requires options: awslogs-stream-prefix",
                ));
            }
        }
    }
    if is_ecr_image(container.image.as_deref().unwrap_or_default()) && !has_role {
        return Err(refuse(
            "Fargate requires task definition to have execution role ARN to support ECR images.",
        ));
    }
    Ok(())
}
