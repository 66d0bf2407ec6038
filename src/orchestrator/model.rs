//! The types of the orchestrator. Shapes that the ECS API and the index share keep the form of the
//! API.

mod capacity_provider;
mod cluster;
mod container_definition;
mod containers;
mod deployment_configuration;
mod instance;
mod names;
mod overrides;
mod resources;
mod service;
mod settings;
mod task;
mod task_definition;
mod volumes;
mod wire_enum;

pub use capacity_provider::{
    AutoScalingGroupProvider, CapacityProvider, CapacityProviderDetails, CapacityProviderStatus,
    CapacityProviderUpdateStatus, ManagedScaling, Switch,
};
pub use cluster::{Cluster, ClusterDetails, ClusterStatus};
pub use container_definition::{
    ContainerCondition, ContainerDefinition, ContainerDependency, ContainerRestartPolicy, Device,
    EnvironmentFile, FirelensConfiguration, HealthCheck, HostEntry, KernelCapabilities,
    KeyValuePair, LinuxParameters, LogConfiguration, LogDriver, MountPoint, PortMapping,
    RepositoryCredentials, ResourceRequirement, ResourceType, SecretReference, SystemControl,
    Tmpfs, TransportProtocol, Ulimit, VersionConsistency, VolumeFrom,
};
pub use containers::{Attachment, Container, ManagedAgent, NetworkBinding, NetworkInterface};
pub use deployment_configuration::{
    AdvancedConfiguration, CanaryConfiguration, DeploymentAlarms, DeploymentCircuitBreaker,
    DeploymentConfiguration, DeploymentEarlySuccessCriteria, DeploymentLifecycleHook,
    DeploymentLifecycleHookTimeoutConfiguration, DeploymentRolloutState, DeploymentStrategy,
    LinearConfiguration, LoadBalancer, ServiceDeploymentRollbackMonitorsStatus,
    ServiceDeploymentStatus, ServiceRegistry, ThresholdConfiguration, ThresholdType,
};
pub use instance::{Capacity, ContainerInstance, InstanceDetails, InstanceStatus, Reservation};
#[cfg(test)]
pub(crate) use names::home;
pub use names::{
    AccountRegion, ClusterId, ClusterName, DeploymentId, FamilyRevision, InstanceId, ServiceId,
    TaskId, new_hex_id,
};
pub use overrides::{ContainerOverride, TaskOverride};
pub use resources::{
    ClusterConfiguration, ClusterServiceConnectDefaults, ClusterSetting,
    ExecuteCommandConfiguration, ExecuteCommandLogConfiguration, ManagedStorageConfiguration,
    Resource, VersionInfo,
};
pub use service::{
    Deployment, DeploymentDetails, DeploymentRollback, DeploymentStatus, Service, ServiceDetails,
    ServiceEvent, ServiceStatus, ServiceTarget,
};
pub use settings::{
    Attribute, AvailabilityZoneRebalancing, AwsVpcConfiguration, CapacityProviderStrategyItem,
    Compatibility, Connectivity, DeploymentController, DeploymentControllerType, EphemeralStorage,
    HealthStatus, IpcMode, LaunchType, NetworkConfiguration, NetworkMode, PidMode,
    PlacementConstraint, PlacementConstraintType, PlacementStrategy, PlacementStrategyType,
    PropagateTags, ProxyConfiguration, RuntimePlatform, SchedulingStrategy, Tag, TargetType,
    TaskDefinitionPlacementConstraint, TaskDefinitionPlacementConstraintType, TaskDefinitionStatus,
    TaskStopCode,
};
pub use task::{CredentialsIds, DesiredStatus, Task, TaskDetails, TaskStatus};
pub use task_definition::{TaskDefinition, TaskDefinitionDocument};
pub use volumes::{
    DockerVolumeConfiguration, EFSAuthorizationConfig, EFSVolumeConfiguration,
    FSxWindowsFileServerAuthorizationConfig, FSxWindowsFileServerVolumeConfiguration,
    HostVolumeProperties, S3FilesVolumeConfiguration, Volume, VolumeScope,
};
pub use wire_enum::UnknownValue;
use wire_enum::wire_enum;
