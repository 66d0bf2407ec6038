//! A cluster as responses show it.

use serde::{Deserialize, Serialize};
use serde_with::skip_serializing_none;
use wharfinger_orchestrator::model::{
    CapacityProviderStrategyItem, Cluster, ClusterConfiguration, ClusterServiceConnectDefaults,
    ClusterSetting, KeyValuePair, Tag,
};
use wharfinger_orchestrator::{ClusterCounts, LaunchCounts};

/// `ClusterField` of the service model: what a request wants to see besides.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub(super) enum ClusterField {
    Attachments,
    Configurations,
    Settings,
    Statistics,
    Tags,
}

impl ClusterField {
    /// What the operations that change a cluster show.
    pub(super) const ALL_BUT_STATISTICS: [Self; 3] =
        [Self::Configurations, Self::Settings, Self::Tags];
}

/// `Cluster` of the service model.
#[skip_serializing_none]
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ClusterView {
    cluster_arn: String,
    cluster_name: String,
    configuration: Option<ClusterConfiguration>,
    status: &'static str,
    registered_container_instances_count: i64,
    running_tasks_count: i64,
    pending_tasks_count: i64,
    active_services_count: i64,
    statistics: Vec<KeyValuePair>,
    tags: Vec<Tag>,
    settings: Vec<ClusterSetting>,
    capacity_providers: Vec<String>,
    default_capacity_provider_strategy: Vec<CapacityProviderStrategyItem>,
    /// Always empty: only managed scaling of Amazon's Auto Scaling groups attaches something.
    attachments: Option<[(); 0]>,
    service_connect_defaults: Option<ClusterServiceConnectDefaults>,
}

impl ClusterView {
    pub(super) fn of(cluster: &Cluster, counts: &ClusterCounts, fields: &[ClusterField]) -> Self {
        let has = |field| fields.contains(&field);
        let details = cluster.details.clone();
        Self {
            cluster_arn: cluster.name.arn().to_string(),
            cluster_name: cluster.name.name.clone(),
            configuration: details
                .configuration
                .filter(|_| has(ClusterField::Configurations)),
            status: cluster.status.as_str(),
            registered_container_instances_count: counts.instances,
            running_tasks_count: counts.running_tasks.total(),
            pending_tasks_count: counts.pending_tasks.total(),
            active_services_count: counts.active_services.total(),
            statistics: if has(ClusterField::Statistics) {
                statistics(counts)
            } else {
                Vec::new()
            },
            tags: if has(ClusterField::Tags) {
                details.tags
            } else {
                Vec::new()
            },
            settings: if has(ClusterField::Settings) {
                details.settings
            } else {
                Vec::new()
            },
            capacity_providers: details.capacity_providers,
            default_capacity_provider_strategy: details.default_capacity_provider_strategy,
            attachments: has(ClusterField::Attachments).then_some([]),
            service_connect_defaults: details.service_connect_defaults,
        }
    }
}

/// Numbers by launch type, under the names that AWS gives them.
fn statistics(counts: &ClusterCounts) -> Vec<KeyValuePair> {
    let groups: [(&str, &str, &LaunchCounts); 4] = [
        ("running", "TasksCount", &counts.running_tasks),
        ("pending", "TasksCount", &counts.pending_tasks),
        ("active", "ServiceCount", &counts.active_services),
        ("draining", "ServiceCount", &counts.draining_services),
    ];
    let mut all = Vec::new();
    for (state, what, counts) in groups {
        for (launch_type, count) in [
            ("EC2", counts.ec2),
            ("Fargate", counts.fargate),
            ("External", counts.external),
            ("ManagedInstances", counts.managed_instances),
        ] {
            all.push(KeyValuePair {
                name: Some(format!("{state}{launch_type}{what}")),
                value: Some(count.to_string()),
            });
        }
    }
    all
}
