//! A container instance as responses show it.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use serde_with::skip_serializing_none;
use wharfinger_orchestrator::DescribedInstance;
use wharfinger_orchestrator::model::{
    Attribute, Capacity, ClusterName, ContainerInstance, Resource, Tag, VersionInfo,
};

use crate::views::EpochSeconds;

/// `ContainerInstanceField` of the service model: what a request wants to see besides.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub(super) enum InstanceField {
    Tags,
    ContainerInstanceHealth,
}

/// `ContainerInstance` of the service model.
#[skip_serializing_none]
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct InstanceView {
    container_instance_arn: String,
    ec2_instance_id: Option<String>,
    capacity_provider_name: Option<String>,
    version: i64,
    version_info: VersionInfo,
    remaining_resources: Vec<Resource>,
    registered_resources: Vec<Resource>,
    status: &'static str,
    status_reason: Option<String>,
    agent_connected: bool,
    running_tasks_count: i64,
    pending_tasks_count: i64,
    attributes: Vec<Attribute>,
    registered_at: EpochSeconds,
    /// Always empty: network interfaces are not attached to instances here.
    attachments: [(); 0],
    tags: Vec<Tag>,
    health_status: Option<HealthView>,
}

/// `ContainerInstanceHealthStatus` of the service model.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct HealthView {
    overall_status: &'static str,
    /// Agents' reports of the container runtime are not kept.
    details: [(); 0],
}

impl InstanceView {
    pub(super) fn of(
        cluster: &ClusterName,
        described: DescribedInstance,
        fields: &[InstanceField],
    ) -> Self {
        let instance = described.instance;
        let (remaining_resources, registered_resources) = resources(&instance);
        let details = instance.details;
        let has = |field| fields.contains(&field);
        Self {
            container_instance_arn: cluster.instance_arn(&instance.id).to_string(),
            ec2_instance_id: details.ec2_instance_id,
            capacity_provider_name: details.capacity_provider,
            version: instance.version,
            version_info: details.version_info,
            remaining_resources,
            registered_resources,
            status: instance.status.as_str(),
            status_reason: details.status_reason,
            agent_connected: instance.agent_connected,
            running_tasks_count: described.running_tasks,
            pending_tasks_count: described.pending_tasks,
            attributes: details.attributes,
            registered_at: instance.registered_at.into(),
            attachments: [],
            tags: if has(InstanceField::Tags) {
                details.tags
            } else {
                Vec::new()
            },
            health_status: has(InstanceField::ContainerInstanceHealth).then_some(HealthView {
                overall_status: "INSUFFICIENT_DATA",
                details: [],
            }),
        }
    }
}

/// What is left for further tasks, with the ports that are taken, and what was registered.
fn resources(instance: &ContainerInstance) -> (Vec<Resource>, Vec<Resource>) {
    let details = &instance.details;
    let (tcp, udp) = (&details.host_tcp_ports, &details.host_udp_ports);
    let taken_tcp = tcp.union(&instance.reserved.tcp_ports).copied().collect();
    let taken_udp = udp.union(&instance.reserved.udp_ports).copied().collect();
    (
        listed(instance.remaining(), &taken_tcp, &taken_udp),
        listed(details.registered, tcp, udp),
    )
}

fn listed(capacity: Capacity, tcp: &BTreeSet<u16>, udp: &BTreeSet<u16>) -> Vec<Resource> {
    let integer = |name: &str, value: i64| Resource {
        name: Some(name.to_owned()),
        kind: Some("INTEGER".to_owned()),
        double_value: Some(0.0),
        long_value: Some(0),
        integer_value: i32::try_from(value).ok(),
        string_set_value: None,
    };
    let ports = |name: &str, ports: &BTreeSet<u16>| Resource {
        name: Some(name.to_owned()),
        kind: Some("STRINGSET".to_owned()),
        double_value: Some(0.0),
        long_value: Some(0),
        integer_value: Some(0),
        string_set_value: Some(ports.iter().map(u16::to_string).collect()),
    };
    vec![
        integer("CPU", capacity.cpu),
        integer("MEMORY", capacity.memory_mib),
        ports("PORTS", tcp),
        ports("PORTS_UDP", udp),
    ]
}
