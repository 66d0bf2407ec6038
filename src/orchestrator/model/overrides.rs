//! Overrides of a task.

use serde::{Deserialize, Serialize};
use serde_with::skip_serializing_none;

use crate::model::{EnvironmentFile, EphemeralStorage, KeyValuePair, ResourceRequirement};

/// `TaskOverride` of the service model.
#[skip_serializing_none]
#[derive(Clone, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TaskOverride {
    pub container_overrides: Option<Vec<ContainerOverride>>,
    pub cpu: Option<String>,
    pub execution_role_arn: Option<String>,
    pub memory: Option<String>,
    pub task_role_arn: Option<String>,
    pub ephemeral_storage: Option<EphemeralStorage>,
    /// Refused, unless it is empty.
    #[serde(skip_serializing)]
    pub inference_accelerator_overrides: Option<Vec<serde_json::Value>>,
}

impl TaskOverride {
    /// The override of a container. A request has one at most for each; of more, the first counts
    /// everywhere.
    pub fn of_container(&self, name: Option<&str>) -> Option<&ContainerOverride> {
        let mut all = self.container_overrides.iter().flatten();
        all.find(|one| one.name.as_deref() == name)
    }
}

/// `ContainerOverride` of the service model.
#[skip_serializing_none]
#[derive(Clone, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ContainerOverride {
    pub name: Option<String>,
    pub command: Option<Vec<String>>,
    pub environment: Option<Vec<KeyValuePair>>,
    pub environment_files: Option<Vec<EnvironmentFile>>,
    pub cpu: Option<i32>,
    pub memory: Option<i32>,
    pub memory_reservation: Option<i32>,
    pub resource_requirements: Option<Vec<ResourceRequirement>>,
}
