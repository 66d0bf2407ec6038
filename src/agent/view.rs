//! What the agent has seen of a task's containers.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use wharfinger_base::Timestamp;
use wharfinger_ecs_protocol::DesiredStatus;

/// A task as it stands.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub(crate) struct TaskView {
    pub(crate) desired: DesiredStatus,
    /// Each container of the plan, by name.
    pub(crate) containers: BTreeMap<String, ContainerView>,
    /// Whether the container that holds the network namespace has ended.
    pub(crate) has_lost_namespace: bool,
}

/// A container as it stands.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub(crate) struct ContainerView {
    pub(crate) state: ContainerState,
    /// What the agent is doing with it at the moment.
    pub(crate) work: Option<Work>,
    pub(crate) health: Health,
}

/// How far a container has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum ContainerState {
    /// Nothing has been done for it.
    #[default]
    Absent,
    /// Its image is there.
    Pulled,
    Created,
    Running {
        since: Timestamp,
    },
    Exited(Exit),
    /// It never ran, and will not.
    Failed,
}

/// How a container ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Exit {
    pub(crate) code: i64,
    /// When it was started the last time.
    pub(crate) since: Timestamp,
    pub(crate) at: Timestamp,
}

/// What the agent does with a container.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Work {
    Pull,
    Create,
    Start,
    Stop,
}

/// What a container's health check says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Health {
    /// There is no check, or it has not decided yet.
    #[default]
    Unknown,
    Healthy,
    Unhealthy,
}

impl ContainerState {
    /// Whether the container has started, successfully or not, so that the task need not wait for
    /// it.
    pub(crate) const fn is_past_start(self) -> bool {
        matches!(self, Self::Running { .. } | Self::Exited(_) | Self::Failed)
    }

    pub(crate) const fn is_running(self) -> bool {
        matches!(self, Self::Running { .. })
    }
}
