//! The messages of the ECS agent protocol: ACS and TCS frames, and container configurations.
//!
//! ACS (agent communication service) and TCS (telemetry) are two websockets between an agent and
//! the control plane. Each text frame is `{"type": T, "message": {…}}`. Source: the Amazon ECS
//! agent 1.105.1, whose agent works with this control plane too.

pub mod acs;
mod connect;
mod container;
mod credentials;
mod frame;
pub mod limits;
mod network;
mod task;
pub mod tcs;
mod volume;

pub use connect::{ACS_PATH, AcsParameters, TCS_PATH, TcsParameters};
pub use container::{
    AsmAuthData, Container, ContainerDependency, DependencyCondition, DockerConfig, EcrAuthData,
    EnvironmentFile, FirelensConfiguration, LinuxParameters, ManagedAgent, MountPoint, PortMapping,
    RegistryAuthentication, RestartPolicy, Secret, VolumeFrom,
};
pub use credentials::{RoleCredentials, RoleType};
pub use frame::FrameError;
pub use network::{ElasticNetworkInterface, Ipv4Address, Ipv6Address};
pub use task::{DesiredStatus, Task, TaskIdentifier};
pub use volume::{DockerVolume, EfsVolume, HostVolume, Volume, VolumeType};
