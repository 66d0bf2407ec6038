//! Services, their deployments, revisions and events.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use wharfinger_base::Timestamp;

use crate::model::{
    AvailabilityZoneRebalancing, CapacityProviderStrategyItem, ClusterId, DeploymentConfiguration,
    DeploymentController, DeploymentId, DeploymentRolloutState, FamilyRevision, LaunchType,
    LoadBalancer, NetworkConfiguration, PlacementConstraint, PlacementStrategy, PropagateTags,
    SchedulingStrategy, ServiceDeploymentRollbackMonitorsStatus, ServiceDeploymentStatus,
    ServiceId, ServiceRegistry, Tag, wire_enum,
};

wire_enum! {
    /// The states of a service.
    pub enum ServiceStatus {
        Active = "ACTIVE",
        Draining = "DRAINING",
        Inactive = "INACTIVE",
    }
}

/// A service.
#[derive(Clone, Debug, PartialEq)]
pub struct Service {
    pub id: ServiceId,
    pub cluster: ClusterId,
    pub name: String,
    pub status: ServiceStatus,
    pub desired_count: i64,
    pub created_at: Timestamp,
    /// Grows with every change; reconcilers write only what they compared.
    pub version: i64,
    pub details: ServiceDetails,
}

impl Service {
    /// Whether it keeps a number of tasks, not one on each instance.
    pub fn is_replicas(&self) -> bool {
        self.details.scheduling_strategy == SchedulingStrategy::Replica
    }
}

/// What `CreateService` and `UpdateService` set; one JSON document in the index.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ServiceDetails {
    pub created_by: String,
    pub scheduling_strategy: SchedulingStrategy,
    pub deployment_controller: DeploymentController,
    pub deployment_configuration: DeploymentConfiguration,
    pub placement_constraints: Vec<PlacementConstraint>,
    pub placement_strategy: Vec<PlacementStrategy>,
    pub health_check_grace_period_seconds: Option<i32>,
    pub availability_zone_rebalancing: AvailabilityZoneRebalancing,
    pub enable_ecs_managed_tags: bool,
    pub propagate_tags: PropagateTags,
    pub enable_execute_command: bool,
    pub role_arn: Option<String>,
    pub tags: Vec<Tag>,
    /// What a new deployment would run; each deployment keeps its own.
    pub target: ServiceTarget,
    /// Starts that failed in a row, when the last one did, and until when the next one waits.
    pub failed_starts: u32,
    pub last_failed_at: Option<Timestamp>,
    pub throttled_until: Option<Timestamp>,
    /// Whether the steady state was reported since the last change.
    pub is_steady: bool,
    /// When the service became inactive.
    pub ended_at: Option<Timestamp>,
}

/// What a deployment runs: the snapshot that a service revision keeps.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ServiceTarget {
    /// `None` where task sets or a code deployment name it.
    pub task_definition: Option<FamilyRevision>,
    pub launch_type: Option<LaunchType>,
    pub capacity_provider_strategy: Vec<CapacityProviderStrategyItem>,
    pub platform_version: Option<String>,
    pub platform_family: Option<String>,
    pub network_configuration: Option<NetworkConfiguration>,
    pub load_balancers: Vec<LoadBalancer>,
    pub service_registries: Vec<ServiceRegistry>,
}

wire_enum! {
    /// The part of a deployment in its service. An inactive one is shown as a service deployment
    /// only.
    pub enum DeploymentStatus {
        Primary = "PRIMARY",
        Active = "ACTIVE",
        Inactive = "INACTIVE",
    }
}

/// A deployment of a service: `deployments[]` of a service, and a service deployment.
#[derive(Clone, Debug, PartialEq)]
pub struct Deployment {
    pub id: DeploymentId,
    pub service: ServiceId,
    pub status: DeploymentStatus,
    pub created_at: Timestamp,
    pub version: i64,
    pub details: DeploymentDetails,
}

/// The course of a deployment; one JSON document in the index.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DeploymentDetails {
    pub target: ServiceTarget,
    /// The id in the ARN of the service deployment.
    pub service_deployment_id: String,
    /// The 19 digits in the ARN of the service revision.
    pub revision_id: String,
    /// The digests of the revision's images by container, as its first task resolved their tags.
    #[serde(default)]
    pub image_digests: BTreeMap<String, String>,
    /// The revisions that it replaces.
    pub source_revision_ids: Vec<String>,
    pub desired_count: i64,
    /// Failures that count for the circuit breaker.
    pub failed_tasks: i64,
    /// How many tasks were healthy when they were counted last.
    pub healthy_tasks: i64,
    pub rollout_state: DeploymentRolloutState,
    pub rollout_state_reason: String,
    pub deployment_status: ServiceDeploymentStatus,
    pub status_reason: Option<String>,
    pub circuit_breaker: ServiceDeploymentRollbackMonitorsStatus,
    pub started_at: Option<Timestamp>,
    pub finished_at: Option<Timestamp>,
    pub stopped_at: Option<Timestamp>,
    pub updated_at: Timestamp,
    /// For a deployment that was rolled back: why, when and to which revision.
    pub rollback: Option<DeploymentRollback>,
    /// For a deployment that brings back an earlier revision: the one that it undoes. It is no
    /// service deployment of its own.
    pub undoes: Option<DeploymentId>,
}

/// The return to an earlier revision.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DeploymentRollback {
    pub reason: String,
    pub started_at: Timestamp,
    pub revision_id: String,
}

/// An event of a service, as `DescribeServices` shows the newest 100.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServiceEvent {
    pub id: String,
    pub created_at: Timestamp,
    pub message: String,
}
