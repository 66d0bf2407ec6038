//! Volumes of tasks.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_with::skip_serializing_none;

/// The kinds of volumes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum VolumeType {
    /// A directory of the host, or an anonymous volume of the task.
    #[default]
    Host,
    Docker,
    Efs,
}

/// A volume that containers mount by its name.
#[skip_serializing_none]
#[derive(Clone, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Volume {
    pub name: String,
    #[serde(rename = "type")]
    pub kind: VolumeType,
    pub host: Option<HostVolume>,
    pub docker_volume_configuration: Option<DockerVolume>,
    pub efs_volume_configuration: Option<EfsVolume>,
}

/// A directory of the host; without a path an anonymous volume that ends with the task.
#[skip_serializing_none]
#[derive(Clone, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct HostVolume {
    pub source_path: Option<String>,
}

/// A volume of the Docker Engine.
#[skip_serializing_none]
#[derive(Clone, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct DockerVolume {
    /// `task` or `shared`.
    pub scope: Option<String>,
    /// Whether a shared volume is made if it does not exist.
    pub autoprovision: Option<bool>,
    pub driver: Option<String>,
    pub driver_opts: Option<BTreeMap<String, String>>,
    pub labels: Option<BTreeMap<String, String>>,
}

/// A file system of EFS.
#[skip_serializing_none]
#[derive(Clone, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct EfsVolume {
    pub file_system_id: Option<String>,
    pub root_directory: Option<String>,
}
