//! Task definitions.

use serde::{Deserialize, Serialize};
use serde_with::skip_serializing_none;
use wharfinger_aws::Arn;
use wharfinger_base::Timestamp;

use crate::model::{
    AccountRegion, Attribute, Compatibility, ContainerDefinition, EphemeralStorage, FamilyRevision,
    IpcMode, NetworkMode, PidMode, ProxyConfiguration, RuntimePlatform, Tag,
    TaskDefinitionPlacementConstraint, TaskDefinitionStatus, Volume,
};

/// A registered revision of a task definition. It never changes but for status and tags.
#[derive(Clone, Debug, PartialEq)]
pub struct TaskDefinition {
    pub home: AccountRegion,
    pub name: FamilyRevision,
    pub status: TaskDefinitionStatus,
    pub registered_at: Timestamp,
    pub deregistered_at: Option<Timestamp>,
    pub delete_requested_at: Option<Timestamp>,
    /// The ARN of the principal that registered it.
    pub registered_by: String,
    pub document: TaskDefinitionDocument,
    pub tags: Vec<Tag>,
}

impl TaskDefinition {
    pub fn arn(&self) -> Arn {
        self.name.arn(&self.home)
    }
}

/// What is described of a task definition besides its name and state, validated and with defaults
/// filled in: in the JSON form of the API, which the index stores.
#[skip_serializing_none]
#[derive(Clone, Debug, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TaskDefinitionDocument {
    pub container_definitions: Vec<ContainerDefinition>,
    pub task_role_arn: Option<String>,
    pub execution_role_arn: Option<String>,
    pub network_mode: Option<NetworkMode>,
    #[serde(default)]
    pub volumes: Vec<Volume>,
    #[serde(default)]
    pub requires_attributes: Vec<Attribute>,
    #[serde(default)]
    pub placement_constraints: Vec<TaskDefinitionPlacementConstraint>,
    #[serde(default)]
    pub compatibilities: Vec<Compatibility>,
    pub requires_compatibilities: Option<Vec<Compatibility>>,
    pub runtime_platform: Option<RuntimePlatform>,
    /// CPU units, as a number: `"1 vCPU"` became `"1024"`.
    pub cpu: Option<String>,
    /// MiB, as a number.
    pub memory: Option<String>,
    pub pid_mode: Option<PidMode>,
    pub ipc_mode: Option<IpcMode>,
    pub proxy_configuration: Option<ProxyConfiguration>,
    pub ephemeral_storage: Option<EphemeralStorage>,
    pub enable_fault_injection: Option<bool>,
}
