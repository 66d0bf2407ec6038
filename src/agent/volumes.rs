//! The volumes of a task: directories of the host, and Docker volumes.

use std::collections::BTreeMap;

use wharfinger_ecs_protocol::{Task, Volume, VolumeType};

use crate::context::Context;
use crate::labels;
use crate::record::task_id;
use crate::runtime::NewVolume;

impl Context {
    /// Makes the volumes of a task that do not exist yet, and returns what each is for the runtime:
    /// a path or the name of a Docker volume.
    ///
    /// # Errors
    /// A reason as ECS gives it.
    pub(crate) async fn make_volumes(
        &self,
        task: &Task,
    ) -> Result<BTreeMap<String, String>, String> {
        let mut made = BTreeMap::new();
        for volume in &task.volumes {
            let source = self.make_volume(task, volume).await;
            let source = source.map_err(|why| format!("CannotCreateVolumeError: {why}"))?;
            made.insert(volume.name.clone(), source);
        }
        Ok(made)
    }

    async fn make_volume(&self, task: &Task, volume: &Volume) -> Result<String, String> {
        let host = volume
            .host
            .as_ref()
            .and_then(|host| host.source_path.as_deref());
        if let Some(path) = host.filter(|path| !path.is_empty()) {
            return Ok(path.to_owned());
        }
        let docker = volume.docker_volume_configuration.as_ref();
        if volume.kind == VolumeType::Efs || volume.efs_volume_configuration.is_some() {
            return Err("file systems of EFS are not available on this host".to_owned());
        }
        let shared = docker.is_some_and(|docker| docker.scope.as_deref() == Some("shared"));
        let name = if shared {
            volume.name.clone()
        } else {
            task_volume(task, &volume.name)
        };
        if shared && !docker.is_some_and(|docker| docker.autoprovision.unwrap_or(false)) {
            let there = self.runtime.has_volume(&name).await;
            if there.map_err(|error| error.to_string())? {
                return Ok(name);
            }
            return Err(format!("get {name}: no such volume"));
        }
        let mut labels = docker
            .and_then(|docker| docker.labels.clone())
            .unwrap_or_default();
        if !shared {
            labels.insert(labels::TASK_ARN.to_owned(), task.arn.clone());
        }
        let new = NewVolume {
            name: name.clone(),
            driver: docker.and_then(|docker| docker.driver.clone()),
            driver_options: docker
                .and_then(|docker| docker.driver_opts.clone())
                .unwrap_or_default(),
            labels,
        };
        let made = self.runtime.make_volume(new).await;
        made.map(|()| name).map_err(|error| error.to_string())
    }

    /// Removes the volumes that end with their task. Returns whether none is left.
    pub(crate) async fn remove_volumes(&self, task: &Task) -> bool {
        let mut all = true;
        for volume in task.volumes.iter().filter(|volume| ends_with_task(volume)) {
            let name = task_volume(task, &volume.name);
            if let Err(error) = self.runtime.remove_volume(&name).await {
                tracing::warn!(volume = name, %error, "a volume was not removed");
                all = false;
            }
        }
        all
    }
}

fn ends_with_task(volume: &Volume) -> bool {
    let host = volume
        .host
        .as_ref()
        .and_then(|host| host.source_path.as_deref());
    let docker = volume.docker_volume_configuration.as_ref();
    let shared = docker.is_some_and(|docker| docker.scope.as_deref() == Some("shared"));
    host.is_none_or(str::is_empty) && volume.kind != VolumeType::Efs && !shared
}

/// The Docker volume of a volume that is the task's own.
fn task_volume(task: &Task, volume: &str) -> String {
    let family = task.family.as_deref().unwrap_or("task");
    let revision = task.version.as_deref().unwrap_or("0");
    let id = task_id(&task.arn);
    format!("ecs-{family}-{revision}-{volume}-{id}")
}

#[cfg(test)]
mod tests {
    use wharfinger_ecs_protocol::{DockerVolume, HostVolume};

    use super::*;

    #[test]
    fn directories_and_shared_volumes_last_longer_than_their_tasks() {
        let named = |name: &str| Volume {
            name: name.to_owned(),
            ..Volume::default()
        };
        assert!(ends_with_task(&named("own")));
        let directory = Volume {
            host: Some(HostVolume {
                source_path: Some("/srv".to_owned()),
            }),
            ..named("directory")
        };
        assert!(!ends_with_task(&directory));
        let docker = |scope: &str| Volume {
            kind: VolumeType::Docker,
            docker_volume_configuration: Some(DockerVolume {
                scope: Some(scope.to_owned()),
                ..DockerVolume::default()
            }),
            ..named("docker")
        };
        assert!(ends_with_task(&docker("task")));
        assert!(!ends_with_task(&docker("shared")));
    }
}
