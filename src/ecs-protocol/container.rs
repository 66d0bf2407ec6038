//! Containers of tasks, as payloads bring them.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_with::skip_serializing_none;

/// A container. Health checks, log configuration, ulimits, capabilities, user and labels are in
/// `docker_config`.
#[skip_serializing_none]
#[derive(Clone, Debug, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Container {
    pub name: String,
    pub image: String,
    /// The digest that the control plane chose for the image's tag.
    pub image_digest: Option<String>,
    /// CPU units, 1,024 for a core.
    pub cpu: i64,
    /// The hard limit in MiB; 0 for none.
    pub memory: i64,
    pub essential: bool,
    pub command: Option<Vec<String>>,
    pub entry_point: Option<Vec<String>>,
    pub environment: BTreeMap<String, String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub environment_files: Vec<EnvironmentFile>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub port_mappings: Vec<PortMapping>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub mount_points: Vec<MountPoint>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub volumes_from: Vec<VolumeFrom>,
    /// `name` or `name:alias`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub links: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub depends_on: Vec<ContainerDependency>,
    /// `docker` where Docker runs the health check of `docker_config`.
    pub health_check_type: Option<String>,
    /// In seconds: how long dependent containers wait for this one.
    pub start_timeout: Option<u32>,
    /// In seconds: from the request to stop to the kill.
    pub stop_timeout: Option<u32>,
    pub restart_policy: Option<RestartPolicy>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub secrets: Vec<Secret>,
    /// `ExecutionRole` where log drivers use the execution role's credentials.
    pub logs_auth_strategy: Option<String>,
    pub registry_authentication: Option<RegistryAuthentication>,
    pub linux_parameters: Option<LinuxParameters>,
    pub firelens_configuration: Option<FirelensConfiguration>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub managed_agents: Vec<ManagedAgent>,
    pub container_arn: Option<String>,
    /// A JSON document: `{}`, because the control plane applies overrides.
    pub overrides: Option<String>,
    pub docker_config: Option<DockerConfig>,
}

/// Docker's structures for the creation of a container. Command, environment, image, mounts, ports
/// and resources are added by the agent.
#[skip_serializing_none]
#[derive(Clone, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct DockerConfig {
    /// The version of the Docker Engine API, such as `1.29`.
    pub version: Option<String>,
    /// `Config` as a JSON text.
    pub config: Option<String>,
    /// `HostConfig` as a JSON text.
    pub host_config: Option<String>,
}

#[skip_serializing_none]
#[derive(Clone, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PortMapping {
    pub container_port: Option<u16>,
    /// 0 for one that the host chooses.
    pub host_port: Option<u16>,
    /// `tcp` or `udp`.
    pub protocol: Option<String>,
    pub name: Option<String>,
    /// `first-last`, in place of `container_port`.
    pub container_port_range: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct MountPoint {
    pub source_volume: String,
    pub container_path: String,
    pub read_only: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct VolumeFrom {
    pub source_container: String,
    pub read_only: bool,
}

/// The states of another container that a container can wait for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum DependencyCondition {
    /// Amazon's agent knows it for its own containers.
    Create,
    Start,
    Complete,
    Success,
    Healthy,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ContainerDependency {
    pub container_name: String,
    pub condition: DependencyCondition,
}

/// When a container is started again inside of its task.
#[derive(Clone, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct RestartPolicy {
    pub enabled: bool,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub ignored_exit_codes: Vec<i32>,
    /// In seconds: a container that ran for less is not started again.
    pub restart_attempt_period: Option<u32>,
}

/// A file of `NAME=value` lines.
#[derive(Clone, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct EnvironmentFile {
    pub value: String,
    #[serde(rename = "type")]
    pub kind: String,
}

/// A secret that the agent fetches with the credentials of the execution role.
#[skip_serializing_none]
#[derive(Clone, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Secret {
    /// The environment variable.
    pub name: String,
    /// The name or ARN of a parameter, or the ARN of a secret.
    pub value_from: String,
    pub region: Option<String>,
    /// `ssm` or `asm`.
    pub provider: Option<String>,
    /// `ENVIRONMENT_VARIABLE`, or `MOUNT_POINT` for a file.
    #[serde(rename = "type")]
    pub kind: Option<String>,
    /// `CONTAINER`, or `LOG_DRIVER` for an option of the log driver.
    pub target: Option<String>,
    pub container_path: Option<String>,
}

/// How the agent signs in to the registry of an image.
#[skip_serializing_none]
#[derive(Clone, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct RegistryAuthentication {
    /// `ecr` or `asm`.
    #[serde(rename = "type")]
    pub kind: String,
    pub ecr_auth_data: Option<EcrAuthData>,
    pub asm_auth_data: Option<AsmAuthData>,
}

#[skip_serializing_none]
#[derive(Clone, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct EcrAuthData {
    /// The account of the registry.
    pub registry_id: String,
    pub region: String,
    /// The address of the ECR API; the default one of AWS without.
    pub endpoint_override: Option<String>,
    /// Whether the token is requested with the credentials of the execution role, or those of the
    /// instance.
    pub use_execution_role: bool,
}

#[skip_serializing_none]
#[derive(Clone, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct AsmAuthData {
    /// The ARN of a secret with user name and password.
    pub credentials_parameter: String,
    pub region: String,
}

#[skip_serializing_none]
#[derive(Clone, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct LinuxParameters {
    pub init_process_enabled: Option<bool>,
}

#[skip_serializing_none]
#[derive(Clone, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct FirelensConfiguration {
    #[serde(rename = "type")]
    pub kind: String,
    pub options: Option<BTreeMap<String, String>>,
}

/// A program that the agent runs inside of a container, such as that of ECS Exec.
#[derive(Clone, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ManagedAgent {
    pub name: String,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub properties: BTreeMap<String, String>,
}
