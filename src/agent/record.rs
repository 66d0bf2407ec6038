//! What the agent keeps of a task on disk, so that it goes on after a restart.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use wharfinger_base::{Ids, Timestamp};
use wharfinger_ecs_protocol::{DesiredStatus, Task};

use crate::container_config::container_name;
use crate::runtime::PortBinding;
use crate::view::{ContainerState, ContainerView, Health, TaskView, Work};

/// Digits at the end of a container's name, which make it unique on its engine.
const NAME_DIGITS: usize = 20;

/// A task with all that was done for it.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct TaskRecord {
    /// As the control plane sent it, with the newest credentials.
    pub(crate) task: Task,
    pub(crate) desired: DesiredStatus,
    pub(crate) containers: BTreeMap<String, ContainerRecord>,
    #[serde(default)]
    pub(crate) pull_started_at: Option<Timestamp>,
    #[serde(default)]
    pub(crate) pull_stopped_at: Option<Timestamp>,
    /// When the first essential container ended.
    #[serde(default)]
    pub(crate) execution_stopped_at: Option<Timestamp>,
    /// When nothing ran any more.
    #[serde(default)]
    pub(crate) stopped_at: Option<Timestamp>,
    /// The last report that the control plane acknowledged.
    #[serde(default)]
    pub(crate) reported: Option<Value>,
    /// The container whose network namespace all others of the task share, in `awsvpc`.
    #[serde(default)]
    pub(crate) namespace: Option<NamespaceRecord>,
}

/// A container with all that was done for it.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ContainerRecord {
    /// Its name in the runtime, chosen before it is made, so that one whose making was interrupted
    /// is found.
    pub(crate) runtime_name: String,
    #[serde(default)]
    pub(crate) runtime_id: Option<String>,
    pub(crate) state: ContainerState,
    #[serde(default)]
    pub(crate) created_at: Option<Timestamp>,
    #[serde(default)]
    pub(crate) health: Option<Health>,
    /// The image by the name that the runtime knows.
    #[serde(default)]
    pub(crate) image: Option<String>,
    #[serde(default)]
    pub(crate) image_digest: Option<String>,
    /// Why it failed or ended, as ECS says it.
    #[serde(default)]
    pub(crate) reason: Option<String>,
    #[serde(default)]
    pub(crate) ports: Vec<PortBinding>,
    /// Its address in the task's network.
    #[serde(default)]
    pub(crate) address: Option<String>,
    #[serde(default)]
    pub(crate) restarts: u32,
}

/// The container that holds the network namespace of a task.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct NamespaceRecord {
    pub(crate) runtime_name: String,
    #[serde(default)]
    pub(crate) runtime_id: Option<String>,
    #[serde(default)]
    pub(crate) address: Option<String>,
    /// Whether it ended before the task: its address may be given to another one then.
    #[serde(default)]
    pub(crate) has_ended: bool,
}

impl TaskRecord {
    /// The record of a task that has just been assigned.
    pub(crate) fn new(task: Task, ids: &Ids) -> Self {
        let suffix = || ids.text(b"0123456789abcdef", NAME_DIGITS);
        let containers = task.containers.iter().map(|container| {
            let record = ContainerRecord {
                runtime_name: container_name(&task, &container.name, &suffix()),
                runtime_id: None,
                state: ContainerState::Absent,
                created_at: None,
                health: None,
                image: None,
                image_digest: None,
                reason: None,
                ports: Vec::new(),
                address: None,
                restarts: 0,
            };
            (container.name.clone(), record)
        });
        let containers = containers.collect();
        let namespace = (task.network_mode.as_deref() == Some("awsvpc")
            && !task.containers.is_empty())
        .then(|| NamespaceRecord {
            runtime_name: container_name(&task, "network", &suffix()),
            runtime_id: None,
            address: None,
            has_ended: false,
        });
        Self {
            desired: task.desired_status,
            containers,
            pull_started_at: None,
            pull_stopped_at: None,
            execution_stopped_at: None,
            stopped_at: None,
            reported: None,
            namespace,
            task,
        }
    }

    /// The view that decisions are made on.
    pub(crate) fn view(&self, work: &BTreeMap<String, Work>) -> TaskView {
        let containers = self.containers.iter().map(|(name, record)| {
            let view = ContainerView {
                state: record.state,
                work: work.get(name).copied(),
                health: record.health.unwrap_or_default(),
            };
            (name.clone(), view)
        });
        TaskView {
            desired: self.desired,
            containers: containers.collect(),
            has_lost_namespace: self.namespace.as_ref().is_some_and(|one| one.has_ended),
        }
    }

    /// The id in the runtime of the container that holds the network namespace.
    pub(crate) fn namespace_id(&self) -> Option<String> {
        self.namespace.as_ref()?.runtime_id.clone()
    }

    /// The name of the container with this id in the runtime.
    pub(crate) fn container_of(&self, runtime_id: &str) -> Option<&str> {
        let mut all = self.containers.iter();
        let found = all.find(|(_, record)| record.runtime_id.as_deref() == Some(runtime_id));
        found.map(|(name, _)| name.as_str())
    }

    /// The last part of the task's ARN.
    pub(crate) fn id(&self) -> &str {
        task_id(&self.task.arn)
    }
}

/// The last part of a task's ARN.
pub(crate) fn task_id(arn: &str) -> &str {
    arn.rsplit('/').next().unwrap_or(arn)
}
