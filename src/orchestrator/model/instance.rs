//! Container instances and their resources.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use wharfinger_base::Timestamp;

use crate::model::{Attribute, ClusterId, InstanceId, Tag, VersionInfo, wire_enum};

wire_enum! {
    /// The states of a container instance.
    pub enum InstanceStatus {
        Registering = "REGISTERING",
        Active = "ACTIVE",
        Draining = "DRAINING",
        Deregistering = "DEREGISTERING",
        Inactive = "INACTIVE",
    }
}

/// A container instance.
#[derive(Clone, Debug, PartialEq)]
pub struct ContainerInstance {
    pub id: InstanceId,
    pub cluster: ClusterId,
    pub status: InstanceStatus,
    pub registered_at: Timestamp,
    /// Whether an agent holds a connection. Tasks are placed only where it does.
    pub agent_connected: bool,
    /// The last sign of life of the agent.
    pub seen_at: Timestamp,
    /// Grows with every change; placement compares it when it takes resources.
    pub version: i64,
    /// What the tasks on the instance take, from their start until the agent reports them stopped.
    pub reserved: Reservation,
    pub details: InstanceDetails,
}

impl ContainerInstance {
    /// What is left for further tasks. Nothing is below zero.
    pub fn remaining(&self) -> Capacity {
        let Capacity { cpu, memory_mib } = self.details.registered;
        Capacity {
            cpu: (cpu - self.reserved.cpu).max(0),
            memory_mib: (memory_mib - self.reserved.memory_mib).max(0),
        }
    }

    /// The value of an attribute: `Some(None)` for one without a value.
    pub fn attribute(&self, name: &str) -> Option<Option<&str>> {
        let attributes = &self.details.attributes;
        let found = attributes.iter().find(|attribute| attribute.name == name);
        found.map(|attribute| attribute.value.as_deref())
    }
}

/// CPU units (1,024 for a core) and memory in MiB.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Capacity {
    pub cpu: i64,
    pub memory_mib: i64,
}

/// What tasks take of an instance.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Reservation {
    pub cpu: i64,
    pub memory_mib: i64,
    /// Host ports, without those that the instance reserved itself.
    pub tcp_ports: BTreeSet<u16>,
    pub udp_ports: BTreeSet<u16>,
}

impl Reservation {
    /// Adds what `other` takes.
    pub fn take(&mut self, other: &Self) {
        self.cpu += other.cpu;
        self.memory_mib += other.memory_mib;
        self.tcp_ports.extend(&other.tcp_ports);
        self.udp_ports.extend(&other.udp_ports);
    }

    /// Removes what `other` took.
    pub fn release(&mut self, other: &Self) {
        self.cpu -= other.cpu;
        self.memory_mib -= other.memory_mib;
        self.tcp_ports
            .retain(|port| !other.tcp_ports.contains(port));
        self.udp_ports
            .retain(|port| !other.udp_ports.contains(port));
    }
}

/// What the agent registered; one JSON document in the index.
#[derive(Clone, Debug, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct InstanceDetails {
    pub registered: Capacity,
    /// Ports that the host itself uses.
    pub host_tcp_ports: BTreeSet<u16>,
    pub host_udp_ports: BTreeSet<u16>,
    pub ec2_instance_id: Option<String>,
    pub capacity_provider: Option<String>,
    /// Whether the instance serves Fargate tasks and is not shown to users.
    pub is_fargate: bool,
    pub version_info: VersionInfo,
    /// Built-in, capability and custom attributes, by name.
    pub attributes: Vec<Attribute>,
    pub status_reason: Option<String>,
    pub tags: Vec<Tag>,
    /// The unique id of the IAM principal that registered the instance, and may act for it.
    pub registered_by: String,
}
