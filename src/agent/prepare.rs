//! Makes the containers of a task with all that they need, and removes them.

use wharfinger_ecs_protocol::Task;

use crate::blocking::blocking;
use crate::container_config::{HostChoices, new_container};
use crate::context::Context;
use crate::logs::log_target;
use crate::metadata;
use crate::network::Namespace;
use crate::record::TaskRecord;
use crate::runtime::{Inspection, RuntimeError};
use crate::task_cgroup;

/// How ECS begins the reason of a container that did not start.
pub(crate) const START_FAILED: &str = "CannotStartContainerError: Error response from daemon";

impl Context {
    /// Makes a container and returns its id, and the task's network namespace.
    ///
    /// # Errors
    /// A reason as ECS gives it.
    pub(crate) async fn create_container(
        &self,
        record: &TaskRecord,
        name: &str,
    ) -> Result<(String, Option<Namespace>), String> {
        let failed = |why: String| format!("CannotCreateContainerError: {why}");
        let task = &record.task;
        let definition = task.containers.iter().find(|one| one.name == name);
        let (Some(definition), Some(container)) = (definition, record.containers.get(name)) else {
            return Err(failed(format!("the task has no container {name}")));
        };
        let (network, namespace) = self.network(record).await?;
        let volumes = self.make_volumes(task).await?;
        let siblings = record.containers.iter();
        let siblings = siblings.map(|(name, one)| (name.clone(), one.runtime_name.clone()));
        let mut choices = HostChoices {
            name: container.runtime_name.clone(),
            image: container.image.clone().unwrap_or(definition.image.clone()),
            cluster: self.cluster.clone(),
            instance_arn: self.instance_arn.clone(),
            bind_ip: self.bind_ip.map(|ip| ip.to_string()).unwrap_or_default(),
            file_environment: self.environment_files(task, definition).await?,
            environment: self.secrets(task, definition).await?,
            log_options: self.log_secrets(task, definition).await?,
            volumes,
            siblings: siblings.collect(),
            network,
            cgroup_parent: self.cgroup(task).await,
            ships_output: log_target(task, definition).is_some(),
        };
        metadata::add_variables(&mut choices, record, &self.host_endpoints.base);
        let new = new_container(task, definition, &choices).map_err(failed)?;
        let mut created = self.runtime.create(new.clone()).await;
        if let Err(RuntimeError::Missing(_)) = created {
            // Somebody has removed the image since it was pulled.
            let mut wanted = definition.clone();
            let digest = container.image_digest.clone();
            wanted.image_digest = digest.or(wanted.image_digest);
            let found = self.resolve(task, &wanted).await;
            let found = found.map_err(|error| error.to_string())?;
            let pulled = self.images.pull(found).await;
            pulled.map_err(|error| error.to_string())?;
            created = self.runtime.create(new).await;
        }
        match created {
            Ok(id) => Ok((id, namespace)),
            Err(error @ RuntimeError::TimedOut(_)) => Err(format!(
                "DockerTimeoutError: Could not transition to created; {error}"
            )),
            Err(error) => Err(failed(format!("Error response from daemon: {error}"))),
        }
    }

    /// The control group of a task that has a size. Without one, each container is limited to the
    /// size of the task.
    async fn cgroup(&self, task: &Task) -> Option<String> {
        if !self.engine_is_local {
            return None;
        }
        let (sized, driver) = (task.clone(), self.cgroup_driver.clone());
        match blocking(move || task_cgroup::make(&sized, &driver)).await {
            Ok(cgroup) => cgroup,
            Err(error) => {
                let task = &task.arn;
                tracing::warn!(task, %error, "the size of the task limits each container instead");
                None
            }
        }
    }

    /// Starts a container and returns how it looks then.
    ///
    /// # Errors
    /// A reason as ECS gives it.
    pub(crate) async fn start_container(&self, id: &str) -> Result<Inspection, String> {
        if let Err(error) = self.runtime.start(id).await {
            return Err(match error {
                RuntimeError::TimedOut(_) => {
                    format!("DockerTimeoutError: Could not transition to started; {error}")
                }
                error => format!("{START_FAILED}: {error}"),
            });
        }
        let seen = self.runtime.inspect(id).await;
        seen.map_err(|error| format!("CannotInspectContainerError: {error}"))
    }

    /// Removes all that was made for a task, and then its record. Returns whether nothing is left;
    /// else this is to be called again.
    pub(crate) async fn remove_task(&self, record: &TaskRecord) -> bool {
        let mut all = true;
        let containers = record.containers.values().map(|one| &one.runtime_name);
        let namespace = record.namespace.iter().map(|one| &one.runtime_name);
        for name in containers.chain(namespace) {
            if let Err(error) = self.runtime.remove(name).await {
                tracing::warn!(container = name, %error, "a container was not removed");
                all = false;
            }
        }
        // A container that stays is seen again after a restart, and its log is sent from there.
        if !all {
            return false;
        }
        for container in record.containers.values() {
            let removed = self.state.remove_log_position(&container.runtime_name);
            if let Err(error) = removed.await {
                tracing::warn!(%error, "a position in a log was not removed");
                all = false;
            }
        }
        all &= self.remove_volumes(&record.task).await;
        let task = record.task.clone();
        if let Err(error) = blocking(move || task_cgroup::remove(&task)).await {
            tracing::warn!(task = record.task.arn, %error, "a control group was not removed");
            all = false;
        }
        // The record tells a later run what there is to be removed.
        if !all {
            return false;
        }
        let removed = self.state.remove_task(record.id()).await;
        if let Err(error) = &removed {
            tracing::warn!(task = record.task.arn, %error, "the record of a task was not removed");
        }
        removed.is_ok()
    }

    /// Ends the network namespace of a task whose containers have ended. One that stays is removed
    /// with the containers.
    pub(crate) async fn end_namespace(&self, record: &TaskRecord) {
        if let Some(namespace) = &record.namespace {
            let name = &namespace.runtime_name;
            if let Err(error) = self.runtime.remove(name).await {
                tracing::warn!(container = name, %error, "a network namespace was not removed");
            }
        }
    }
}
