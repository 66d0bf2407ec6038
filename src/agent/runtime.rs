//! What runs containers: a Docker Engine, or a simulation of one in tests.

mod docker;
#[cfg(test)]
pub(crate) mod tests;

use std::collections::BTreeMap;
use std::time::Duration;

use async_trait::async_trait;
pub(crate) use docker::Docker;
use futures_util::stream::BoxStream;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use wharfinger_base::{Secret, Timestamp};

use crate::view::Health;

/// Why the runtime did not do what it was requested.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RuntimeError {
    /// There is no such container, image, network or volume.
    #[error("{0}")]
    Missing(String),
    /// The runtime refuses, with its own words.
    #[error("{0}")]
    Refused(String),
    /// The registry refuses access, in the words of the runtime.
    #[error("{0}")]
    Unauthorized(String),
    #[error("the container runtime cannot be reached: {0}")]
    Unreachable(String),
    #[error("timed out after waiting {}s", .0.as_secs())]
    TimedOut(Duration),
    /// The configuration of a container cannot be read.
    #[error("{0}")]
    Invalid(String),
}

/// What the host has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct HostInfo {
    pub(crate) cpus: i64,
    pub(crate) memory_bytes: i64,
    /// As the kernel names it: `x86_64`, `aarch64`.
    pub(crate) architecture: String,
    /// The version of the runtime.
    pub(crate) version: String,
    /// Minor version of the Docker Engine API: 41 for 1.41.
    pub(crate) api_minor: u32,
    /// Whether task cgroups can be made below the root of the cgroup file system.
    pub(crate) cgroup_driver: String,
    /// Whether the engine runs on the host of the agent, so that its processes and control groups
    /// are those that the agent sees.
    pub(crate) is_local: bool,
}

/// A user of a registry.
#[derive(Clone, Debug)]
pub(crate) struct RegistryLogin {
    pub(crate) username: String,
    pub(crate) password: Secret<String>,
}

/// A container to be made, in the form of Docker's create request.
#[derive(Clone, Debug, Default)]
pub(crate) struct NewContainer {
    pub(crate) name: String,
    /// `Config` of the Docker Engine API.
    pub(crate) config: Map<String, Value>,
    /// `HostConfig` of the Docker Engine API.
    pub(crate) host_config: Map<String, Value>,
}

/// A container as the runtime sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Inspection {
    pub(crate) id: String,
    pub(crate) running: bool,
    pub(crate) exit_code: i64,
    pub(crate) killed_for_memory: bool,
    /// What the runtime says about a failed start.
    pub(crate) error: String,
    /// `None` for one that never started.
    pub(crate) started_at: Option<Timestamp>,
    pub(crate) finished_at: Option<Timestamp>,
    pub(crate) health: Health,
    pub(crate) ports: Vec<PortBinding>,
    /// The address of the container on each of its networks, by their names.
    pub(crate) addresses: BTreeMap<String, String>,
    /// The first process, as the host counts; `None` for one that does not run.
    pub(crate) pid: Option<i32>,
}

/// A port of a container that is reached through the host.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct PortBinding {
    pub(crate) bind_ip: String,
    pub(crate) container_port: u16,
    pub(crate) host_port: u16,
    /// `tcp` or `udp`.
    pub(crate) protocol: String,
}

/// A container of which something has changed. What, an inspection tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ContainerEvent {
    pub(crate) id: String,
    pub(crate) labels: BTreeMap<String, String>,
}

/// A container in a listing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ListedContainer {
    pub(crate) id: String,
    pub(crate) labels: BTreeMap<String, String>,
}

/// A piece of a container's output.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct LogPiece {
    /// The stream that it was written to.
    pub(crate) is_stderr: bool,
    /// When it was written, and the bytes: `2026-01-01T00:00:00.000000000Z text`.
    pub(crate) bytes: bytes::Bytes,
}

/// What the runtime measures of a container, in Docker's form: twice, a second apart.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Samples {
    pub(crate) before: Value,
    pub(crate) newest: Value,
}

/// A volume to be made.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct NewVolume {
    pub(crate) name: String,
    pub(crate) driver: Option<String>,
    pub(crate) driver_options: BTreeMap<String, String>,
    pub(crate) labels: BTreeMap<String, String>,
}

/// Runs containers. Every method may be called again after a failure.
#[async_trait]
pub(crate) trait ContainerRuntime: Send + Sync + 'static {
    async fn info(&self) -> Result<HostInfo, RuntimeError>;

    /// Pulls an image and returns its digest (`sha256:…`), if the runtime tells it.
    async fn pull(
        &self,
        image: &str,
        login: Option<&RegistryLogin>,
    ) -> Result<Option<String>, RuntimeError>;

    /// The digest (`sha256:…`) that the registry has for an image now. Nothing is pulled.
    async fn resolve(
        &self,
        image: &str,
        login: Option<&RegistryLogin>,
    ) -> Result<String, RuntimeError>;

    /// The digests by which an image that is there is known under its name (`sha256:…`).
    async fn local_digests(&self, image: &str) -> Result<Vec<String>, RuntimeError>;

    /// Removes an image that no container uses.
    async fn remove_image(&self, image: &str) -> Result<(), RuntimeError>;

    /// Loads an image from a tar archive of its root file system, and returns its id.
    async fn import_image(
        &self,
        name: &str,
        archive: Vec<u8>,
        entry_point: &str,
    ) -> Result<String, RuntimeError>;

    /// Makes a container and returns its id. One of the same name, which an earlier call made
    /// without a reply, is used.
    async fn create(&self, container: NewContainer) -> Result<String, RuntimeError>;

    async fn start(&self, id: &str) -> Result<(), RuntimeError>;

    /// Sends the stop signal, and kills the container after `timeout`. Returns when it has ended.
    async fn stop(&self, id: &str, timeout: Duration) -> Result<(), RuntimeError>;

    /// Removes a container with its anonymous volumes, also a running one. A missing one is fine.
    async fn remove(&self, id: &str) -> Result<(), RuntimeError>;

    /// The container of this id or name.
    ///
    /// # Errors
    /// [`RuntimeError::Missing`] where there is none.
    async fn inspect(&self, id: &str) -> Result<Inspection, RuntimeError>;

    /// All containers with this label, `name=value`, also those that ended.
    async fn list(&self, label: &str) -> Result<Vec<ListedContainer>, RuntimeError>;

    /// Changes of containers that have this label, since a time (whole seconds count). The stream
    /// ends when the connection does.
    fn events(&self, label: &str, since: Timestamp) -> BoxStream<'static, ContainerEvent>;

    /// The output of a container since a time (whole seconds count), then what follows until it
    /// ends.
    fn logs(
        &self,
        id: &str,
        since: Timestamp,
    ) -> BoxStream<'static, Result<LogPiece, RuntimeError>>;

    /// Measures a container that runs.
    async fn stats(&self, id: &str) -> Result<Samples, RuntimeError>;

    /// Makes a volume unless it exists.
    async fn make_volume(&self, volume: NewVolume) -> Result<(), RuntimeError>;

    /// Whether there is a volume of this name.
    async fn has_volume(&self, name: &str) -> Result<bool, RuntimeError>;

    /// Removes a volume. A missing one is fine.
    async fn remove_volume(&self, name: &str) -> Result<(), RuntimeError>;

    /// Makes a bridge network unless it exists.
    async fn make_network(
        &self,
        name: &str,
        labels: BTreeMap<String, String>,
    ) -> Result<(), RuntimeError>;
}
