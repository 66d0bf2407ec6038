//! Clusters.

use serde::{Deserialize, Serialize};
use wharfinger_base::Timestamp;

use crate::model::{
    CapacityProviderStrategyItem, ClusterConfiguration, ClusterId, ClusterName,
    ClusterServiceConnectDefaults, ClusterSetting, Tag, wire_enum,
};

wire_enum! {
    /// The states of a cluster. An inactive one is described for a while after its deletion.
    pub enum ClusterStatus {
        Active = "ACTIVE",
        Inactive = "INACTIVE",
    }
}

/// A cluster.
#[derive(Clone, Debug, PartialEq)]
pub struct Cluster {
    pub id: ClusterId,
    pub name: ClusterName,
    pub status: ClusterStatus,
    pub created_at: Timestamp,
    pub details: ClusterDetails,
}

/// What `CreateCluster` and `UpdateCluster` set; one JSON document in the index.
#[derive(Clone, Debug, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ClusterDetails {
    pub settings: Vec<ClusterSetting>,
    pub configuration: Option<ClusterConfiguration>,
    pub capacity_providers: Vec<String>,
    pub default_capacity_provider_strategy: Vec<CapacityProviderStrategyItem>,
    pub service_connect_defaults: Option<ClusterServiceConnectDefaults>,
    pub tags: Vec<Tag>,
    /// When the cluster became inactive.
    pub ended_at: Option<Timestamp>,
}
