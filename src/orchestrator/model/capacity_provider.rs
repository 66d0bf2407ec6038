//! Capacity providers.

use serde::{Deserialize, Serialize};
use serde_with::skip_serializing_none;
use wharfinger_base::Timestamp;

use crate::model::{AccountRegion, Tag, wire_enum};

wire_enum! {
    /// `CapacityProviderStatus` of the service model, as far as they occur: providers are made and
    /// deleted at once.
    pub enum CapacityProviderStatus {
        Active = "ACTIVE",
        Inactive = "INACTIVE",
    }
}

wire_enum! {
    /// `CapacityProviderUpdateStatus` of the service model, as far as they occur.
    pub enum CapacityProviderUpdateStatus {
        UpdateComplete = "UPDATE_COMPLETE",
        DeleteComplete = "DELETE_COMPLETE",
        DeleteFailed = "DELETE_FAILED",
    }
}

wire_enum! {
    /// `ManagedScalingStatus`, `ManagedTerminationProtection` and `ManagedDraining` of the service
    /// model.
    pub enum Switch {
        Enabled = "ENABLED",
        Disabled = "DISABLED",
    }
}

/// A capacity provider: a name under which instances are chosen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CapacityProvider {
    pub home: AccountRegion,
    pub name: String,
    pub status: CapacityProviderStatus,
    pub created_at: Timestamp,
    pub details: CapacityProviderDetails,
}

/// What `CreateCapacityProvider` sets; one JSON document in the index.
#[derive(Clone, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct CapacityProviderDetails {
    pub auto_scaling_group: Option<AutoScalingGroupProvider>,
    pub update_status: Option<CapacityProviderUpdateStatus>,
    pub update_status_reason: Option<String>,
    pub tags: Vec<Tag>,
}

/// `AutoScalingGroupProvider` of the service model.
#[skip_serializing_none]
#[derive(Clone, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AutoScalingGroupProvider {
    pub auto_scaling_group_arn: String,
    pub managed_scaling: Option<ManagedScaling>,
    pub managed_termination_protection: Option<Switch>,
    pub managed_draining: Option<Switch>,
}

/// `ManagedScaling` of the service model.
#[skip_serializing_none]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ManagedScaling {
    pub status: Option<Switch>,
    pub target_capacity: Option<i32>,
    pub minimum_scaling_step_size: Option<i32>,
    pub maximum_scaling_step_size: Option<i32>,
    pub instance_warmup_period: Option<i32>,
}
