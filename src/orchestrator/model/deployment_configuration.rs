//! How a service deploys and is reached.

use serde::{Deserialize, Serialize};
use serde_with::skip_serializing_none;

use crate::model::wire_enum;

/// `DeploymentConfiguration` of the service model.
#[skip_serializing_none]
#[derive(Clone, Debug, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DeploymentConfiguration {
    pub deployment_circuit_breaker: Option<DeploymentCircuitBreaker>,
    pub maximum_percent: Option<i32>,
    pub minimum_healthy_percent: Option<i32>,
    pub alarms: Option<DeploymentAlarms>,
    pub strategy: Option<DeploymentStrategy>,
    pub bake_time_in_minutes: Option<i32>,
    pub lifecycle_hooks: Option<Vec<DeploymentLifecycleHook>>,
    pub linear_configuration: Option<LinearConfiguration>,
    pub canary_configuration: Option<CanaryConfiguration>,
    pub early_success_criteria: Option<DeploymentEarlySuccessCriteria>,
}

/// `DeploymentCircuitBreaker` of the service model.
#[skip_serializing_none]
#[derive(Clone, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DeploymentCircuitBreaker {
    pub enable: bool,
    pub rollback: bool,
    pub reset_on_healthy_task: Option<bool>,
    pub threshold_configuration: Option<ThresholdConfiguration>,
}

/// `ThresholdConfiguration` of the service model.
#[skip_serializing_none]
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ThresholdConfiguration {
    #[serde(rename = "type")]
    pub kind: ThresholdType,
    pub value: i32,
}

wire_enum! {
    /// `ThresholdType` of the service model.
    pub enum ThresholdType {
        Count = "COUNT",
        BoundedPercent = "BOUNDED_PERCENT",
        UnboundedPercent = "UNBOUNDED_PERCENT",
    }
}

/// `DeploymentAlarms` of the service model.
#[skip_serializing_none]
#[derive(Clone, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DeploymentAlarms {
    pub alarm_names: Vec<String>,
    pub rollback: bool,
    pub enable: bool,
}

wire_enum! {
    /// `DeploymentStrategy` of the service model.
    pub enum DeploymentStrategy {
        Rolling = "ROLLING",
        BlueGreen = "BLUE_GREEN",
        Linear = "LINEAR",
        Canary = "CANARY",
    }
}

/// `DeploymentLifecycleHook` of the service model.
#[skip_serializing_none]
#[derive(Clone, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DeploymentLifecycleHook {
    pub target_type: Option<String>,
    pub hook_target_arn: Option<String>,
    pub role_arn: Option<String>,
    pub lifecycle_stages: Option<Vec<String>>,
    pub hook_details: Option<serde_json::Value>,
    pub timeout_configuration: Option<DeploymentLifecycleHookTimeoutConfiguration>,
}

/// `DeploymentLifecycleHookTimeoutConfiguration` of the service model.
#[skip_serializing_none]
#[derive(Clone, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DeploymentLifecycleHookTimeoutConfiguration {
    pub timeout_in_minutes: Option<i32>,
    pub action: Option<String>,
}

/// `LinearConfiguration` of the service model.
#[skip_serializing_none]
#[derive(Clone, Debug, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LinearConfiguration {
    pub step_percent: Option<f64>,
    pub step_bake_time_in_minutes: Option<i32>,
}

/// `CanaryConfiguration` of the service model.
#[skip_serializing_none]
#[derive(Clone, Debug, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CanaryConfiguration {
    pub canary_percent: Option<f64>,
    pub canary_bake_time_in_minutes: Option<i32>,
}

/// `DeploymentEarlySuccessCriteria` of the service model.
#[skip_serializing_none]
#[derive(Clone, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DeploymentEarlySuccessCriteria {
    pub enable: bool,
    pub healthy_percent: Option<i32>,
    pub source_service_revision_cleanup: Option<String>,
}

/// `LoadBalancer` of the service model.
#[skip_serializing_none]
#[derive(Clone, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LoadBalancer {
    pub target_group_arn: Option<String>,
    pub load_balancer_name: Option<String>,
    pub container_name: Option<String>,
    pub container_port: Option<i32>,
    pub advanced_configuration: Option<AdvancedConfiguration>,
}

/// `AdvancedConfiguration` of the service model.
#[skip_serializing_none]
#[derive(Clone, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AdvancedConfiguration {
    pub alternate_target_group_arn: Option<String>,
    pub production_listener_rule: Option<String>,
    pub test_listener_rule: Option<String>,
    pub role_arn: Option<String>,
}

/// `ServiceRegistry` of the service model.
#[skip_serializing_none]
#[derive(Clone, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ServiceRegistry {
    pub registry_arn: Option<String>,
    pub port: Option<i32>,
    pub container_name: Option<String>,
    pub container_port: Option<i32>,
}

wire_enum! {
    /// `DeploymentRolloutState` of the service model.
    pub enum DeploymentRolloutState {
        Completed = "COMPLETED",
        Failed = "FAILED",
        InProgress = "IN_PROGRESS",
    }
}

wire_enum! {
    /// `ServiceDeploymentStatus` of the service model.
    pub enum ServiceDeploymentStatus {
        Pending = "PENDING",
        Successful = "SUCCESSFUL",
        Stopped = "STOPPED",
        StopRequested = "STOP_REQUESTED",
        InProgress = "IN_PROGRESS",
        RollbackRequested = "ROLLBACK_REQUESTED",
        RollbackInProgress = "ROLLBACK_IN_PROGRESS",
        RollbackSuccessful = "ROLLBACK_SUCCESSFUL",
        RollbackFailed = "ROLLBACK_FAILED",
    }
}

impl ServiceDeploymentStatus {
    /// Whether the deployment has not ended.
    pub const fn is_under_way(self) -> bool {
        match self {
            Self::Pending
            | Self::InProgress
            | Self::StopRequested
            | Self::RollbackRequested
            | Self::RollbackInProgress => true,
            Self::Successful | Self::Stopped | Self::RollbackSuccessful | Self::RollbackFailed => {
                false
            }
        }
    }
}

wire_enum! {
    /// `ServiceDeploymentRollbackMonitorsStatus` of the service model.
    pub enum ServiceDeploymentRollbackMonitorsStatus {
        Triggered = "TRIGGERED",
        Monitoring = "MONITORING",
        MonitoringComplete = "MONITORING_COMPLETE",
        Disabled = "DISABLED",
    }
}

impl ServiceDeploymentRollbackMonitorsStatus {
    /// The state after the deployment has ended without failures that trigger anything.
    #[must_use]
    pub const fn ended(self) -> Self {
        match self {
            Self::Monitoring => Self::MonitoringComplete,
            Self::Triggered | Self::MonitoringComplete | Self::Disabled => self,
        }
    }
}
