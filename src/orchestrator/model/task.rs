//! Tasks.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use wharfinger_base::Timestamp;

use crate::model::{
    Attachment, Attribute, ClusterId, Connectivity, Container, DeploymentId, EphemeralStorage,
    FamilyRevision, HealthStatus, InstanceId, LaunchType, NetworkConfiguration,
    PlacementConstraint, PlacementStrategy, Reservation, ServiceId, Tag, TaskId, TaskOverride,
    TaskStopCode, wire_enum,
};

wire_enum! {
    /// The states of a task, in their order; a task never moves back. Agents report only
    /// `PENDING`, `RUNNING` and `STOPPED`.
    pub enum TaskStatus {
        Provisioning = "PROVISIONING",
        Pending = "PENDING",
        Activating = "ACTIVATING",
        Running = "RUNNING",
        Deactivating = "DEACTIVATING",
        Stopping = "STOPPING",
        Deprovisioning = "DEPROVISIONING",
        Stopped = "STOPPED",
    }
}

wire_enum! {
    /// What the control plane wants of a task. It never goes back to running.
    pub enum DesiredStatus {
        Running = "RUNNING",
        Stopped = "STOPPED",
    }
}

/// A task. The control plane writes `desired_status`, reports of the agent `last_status`.
#[derive(Clone, Debug, PartialEq)]
pub struct Task {
    pub id: TaskId,
    pub cluster: ClusterId,
    /// `None` while the task waits for capacity.
    pub instance: Option<InstanceId>,
    pub service: Option<ServiceId>,
    pub deployment: Option<DeploymentId>,
    pub definition: FamilyRevision,
    /// `family:F` or `service:S`, or what the caller named.
    pub group: String,
    pub started_by: Option<String>,
    pub launch_type: LaunchType,
    pub last_status: TaskStatus,
    pub desired_status: DesiredStatus,
    pub created_at: Timestamp,
    pub stopped_at: Option<Timestamp>,
    /// Until when scale-in and deployments leave the task alone.
    pub protected_until: Option<Timestamp>,
    /// Grows with every change.
    pub version: i64,
    pub details: TaskDetails,
}

/// What of a task the index need not search by; one JSON document there.
#[derive(Clone, Debug, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct TaskDetails {
    /// What the task takes of its instance until the agent reports it stopped.
    pub reservation: Reservation,
    pub containers: Vec<Container>,
    pub attachments: Vec<Attachment>,
    pub attributes: Vec<Attribute>,
    pub overrides: TaskOverride,
    pub availability_zone: Option<String>,
    pub capacity_provider: Option<String>,
    pub connectivity: Option<Connectivity>,
    pub connectivity_at: Option<Timestamp>,
    pub cpu: Option<String>,
    pub memory: Option<String>,
    pub enable_execute_command: bool,
    pub health_status: Option<HealthStatus>,
    /// For a Fargate task whose definition or overrides name a size.
    pub ephemeral_storage: Option<EphemeralStorage>,
    pub platform_version: Option<String>,
    pub platform_family: Option<String>,
    pub network_configuration: Option<NetworkConfiguration>,
    pub pull_started_at: Option<Timestamp>,
    pub pull_stopped_at: Option<Timestamp>,
    pub started_at: Option<Timestamp>,
    pub stopping_at: Option<Timestamp>,
    pub execution_stopped_at: Option<Timestamp>,
    pub stop_code: Option<TaskStopCode>,
    pub stopped_reason: Option<String>,
    pub tags: Vec<Tag>,
    /// For a task that waits for capacity: how it is to be placed.
    pub placement_constraints: Vec<PlacementConstraint>,
    pub placement_strategy: Vec<PlacementStrategy>,
    /// The digest that each container's tag had at the first task of the revision.
    pub image_digests: BTreeMap<String, String>,
    /// For a task with roles, from its delivery to an agent.
    pub credentials_ids: Option<CredentialsIds>,
}

/// The names of the credentials of a task's roles. Nobody can guess them: whoever knows one gets
/// the credentials from the agent of the task's instance.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CredentialsIds {
    pub task_role: String,
    pub execution_role: String,
}
