//! Volumes, and where containers mount them.

use std::collections::BTreeSet;

use crate::model::{HostVolumeProperties, TaskDefinitionDocument, Volume, VolumeScope};
use crate::task_definition::error::Checked;
use crate::task_definition::error::refuse;
use crate::task_definition::names;

/// Checks the volumes and fills in the host of those that name no configuration. A configuration of
/// Docker stays as it was given, as ECS shows it.
pub(super) fn complete(volumes: &mut [Volume]) -> Checked {
    let mut found = BTreeSet::new();
    for volume in volumes {
        let name = volume.name.clone().unwrap_or_default();
        names::check(&name, "Volume.name")?;
        if let Some(docker) = &volume.docker_volume_configuration {
            if volume
                .host
                .as_ref()
                .is_some_and(|host| host.source_path.is_some())
            {
                return Err(refuse(format!(
                    "Volume '{name}' cannot have both 'host' and 'dockerVolumeConfiguration'."
                )));
            }
            if docker.scope != Some(VolumeScope::Shared) && docker.autoprovision == Some(false) {
                return Err(refuse(
                    "When 'scope' parameter is 'task', 'autoprovision' must either not be \
                     specified or set to 'True'.",
                ));
            }
        } else {
            let host = volume
                .host
                .get_or_insert_with(HostVolumeProperties::default);
            if let Some(path) = host.source_path.as_deref() {
                if path.trim().is_empty() {
                    return Err(refuse("host.sourcePath should not be blank."));
                }
                // A colon would end the path in the binds of Docker.
                if !names::is_absolute(path) || path.contains(':') {
                    return Err(refuse("host.sourcePath should be an absolute path."));
                }
            }
        }
        if !found.insert(name.clone()) {
            return Err(refuse(format!("Duplicate volume name '{name}'.")));
        }
    }
    Ok(())
}

/// Checks that containers mount volumes that exist.
pub(super) fn check_mounts(document: &TaskDefinitionDocument) -> Checked {
    let volumes = document.volumes.iter();
    let volumes: BTreeSet<_> = volumes
        .filter_map(|volume| volume.name.as_deref())
        .collect();
    let containers = document.container_definitions.iter();
    for mount in containers.flat_map(|container| &container.mount_points) {
        let source = mount.source_volume.as_deref();
        if !source.is_some_and(|source| volumes.contains(source)) {
            let source = source.unwrap_or("null");
            return Err(refuse(format!("Unknown volume '{source}'.")));
        }
    }
    Ok(())
}
