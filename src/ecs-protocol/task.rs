//! Tasks, as payloads bring them.

use serde::{Deserialize, Serialize};
use serde_with::skip_serializing_none;

use crate::{Container, ElasticNetworkInterface, RoleCredentials, Volume};

/// What the control plane wants of a task. It never goes back to running.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum DesiredStatus {
    #[default]
    #[serde(rename = "RUNNING")]
    Running,
    #[serde(rename = "STOPPED")]
    Stopped,
}

/// A task. One to be stopped has no containers; an agent that does not know it reports it as
/// stopped.
#[skip_serializing_none]
#[derive(Clone, Debug, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Task {
    pub arn: String,
    pub task_cluster_arn: Option<String>,
    pub family: Option<String>,
    /// The revision of the task definition, as text.
    pub version: Option<String>,
    pub desired_status: DesiredStatus,
    /// A JSON document: `{}`, because the control plane applies overrides.
    pub overrides: Option<String>,
    pub containers: Vec<Container>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub volumes: Vec<Volume>,
    /// Those of the task role.
    pub role_credentials: Option<RoleCredentials>,
    pub execution_role_credentials: Option<RoleCredentials>,
    /// `bridge`, `host`, `awsvpc` or `none`. In `awsvpc`, an agent that chooses the address itself
    /// reports it as `bindIP` of a network binding of each container.
    pub network_mode: Option<String>,
    /// `EC2`, `FARGATE` or `EXTERNAL`.
    pub launch_type: Option<String>,
    /// In vCPU: the limit of the whole task.
    pub cpu: Option<f64>,
    /// In MiB: the limit of the whole task.
    pub memory: Option<i64>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub elastic_network_interfaces: Vec<ElasticNetworkInterface>,
    /// `host` or `task`.
    pub pid_mode: Option<String>,
    /// `host`, `task` or `none`.
    pub ipc_mode: Option<String>,
    pub service_name: Option<String>,
    pub group: Option<String>,
    pub task_definition_account_id: Option<String>,
    pub enable_fault_injection: Option<bool>,
}

/// A task by name.
#[derive(Clone, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct TaskIdentifier {
    pub task_arn: String,
    pub task_cluster_arn: String,
    pub desired_status: DesiredStatus,
}
