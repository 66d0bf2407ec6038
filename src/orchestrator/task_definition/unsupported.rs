//! Features of ECS that no agent of this server carries out. A task definition that has one
//! is refused, so that no task runs without what its definition promises.

use crate::model::{IpcMode, LogDriver, PidMode, ResourceType, TaskDefinitionDocument};
use crate::task_definition::error::Checked;
use crate::task_definition::error::{InvalidTaskDefinition, refuse};

pub(super) fn refuse_feature(feature: &str) -> InvalidTaskDefinition {
    refuse(format!("This server does not support {feature}."))
}

pub(super) fn check(document: &TaskDefinitionDocument) -> Checked {
    let mut found = Vec::new();
    let mut note = |present: bool, feature: &'static str| {
        if present {
            found.push(feature);
        }
    };
    note(
        document.proxy_configuration.is_some(),
        "'proxyConfiguration'",
    );
    note(
        document.pid_mode == Some(PidMode::Task),
        "the pidMode 'task'",
    );
    note(
        document.ipc_mode == Some(IpcMode::Task),
        "the ipcMode 'task'",
    );
    note(
        document.enable_fault_injection == Some(true),
        "'enableFaultInjection'",
    );
    let family = document.runtime_platform.as_ref();
    let family = family.and_then(|platform| platform.operating_system_family.as_deref());
    note(
        family.is_some_and(|family| family != "LINUX"),
        "operating systems other than LINUX",
    );
    for volume in &document.volumes {
        note(volume.efs_volume_configuration.is_some(), "EFS volumes");
        note(
            volume.s3files_volume_configuration.is_some(),
            "S3 Files volumes",
        );
        let fsx = &volume.fsx_windows_file_server_volume_configuration;
        note(fsx.is_some(), "FSx for Windows File Server volumes");
        note(
            volume.configured_at_launch == Some(true),
            "volumes that are configured at launch",
        );
    }
    for container in &document.container_definitions {
        note(container.firelens_configuration.is_some(), "FireLens");
        let driver = container.log_configuration.as_ref();
        let driver = driver.map(|logs| logs.log_driver);
        // The agent sends these logs itself, and no option of it is a secret.
        note(
            driver == Some(LogDriver::Awslogs) && container.log_secrets().next().is_some(),
            "secret options of the log driver 'awslogs'",
        );
        note(driver == Some(LogDriver::Awsfirelens), "FireLens");
        let specs = container.credential_specs.iter().flatten();
        let options = container.docker_security_options.iter().flatten();
        let gmsa = options.filter(|option| option.starts_with("credentialspec:"));
        note(
            specs.chain(gmsa).next().is_some(),
            "credential specifications (gMSA)",
        );
        for requirement in container.resource_requirements.iter().flatten() {
            note(
                true,
                match requirement.kind {
                    ResourceType::Gpu => "GPUs",
                    ResourceType::InferenceAccelerator => "inference accelerators",
                    ResourceType::NeuronDevice => "Neuron devices",
                },
            );
        }
    }
    found
        .first()
        .map_or(Ok(()), |feature| Err(refuse_feature(feature)))
}
