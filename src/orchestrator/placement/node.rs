//! What placement knows of a container instance. PURE.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use wharfinger_base::Timestamp;

use crate::model::{Capacity, ContainerInstance, InstanceId, InstanceStatus, Reservation};

/// The attribute that holds the availability zone of an instance.
pub(super) const ZONE: &str = "ecs.availability-zone";

/// A snapshot of a container instance with the tasks on it.
#[derive(Clone, Debug, PartialEq)]
pub struct Node {
    pub id: InstanceId,
    /// The version of the instance's row that the snapshot was made of.
    pub version: i64,
    pub status: InstanceStatus,
    pub agent_connected: bool,
    pub is_fargate: bool,
    pub capacity_provider: Option<String>,
    pub ec2_instance_id: Option<String>,
    pub agent_version: Option<String>,
    pub registered_at: Timestamp,
    /// What is left for further tasks.
    pub remaining: Capacity,
    /// Host ports that are taken, by tasks or by the host.
    pub tcp_ports: BTreeSet<u16>,
    pub udp_ports: BTreeSet<u16>,
    /// By name.
    attributes: Arc<BTreeMap<String, Option<String>>>,
    /// The tasks on the instance by group, each at least one.
    groups: BTreeMap<String, u32>,
    pub(super) pending_tasks: u32,
}

impl Node {
    /// The instance, with the numbers of its unfinished tasks by group and of those of them that
    /// are pending.
    pub fn new(
        instance: &ContainerInstance,
        groups: BTreeMap<String, u32>,
        pending_tasks: u32,
    ) -> Self {
        let details = &instance.details;
        let attributes = details
            .attributes
            .iter()
            .map(|attribute| (attribute.name.clone(), attribute.value.clone()));
        let Reservation {
            tcp_ports,
            udp_ports,
            ..
        } = &instance.reserved;
        Self {
            id: instance.id.clone(),
            version: instance.version,
            status: instance.status,
            agent_connected: instance.agent_connected,
            is_fargate: details.is_fargate,
            capacity_provider: details.capacity_provider.clone(),
            ec2_instance_id: details.ec2_instance_id.clone(),
            agent_version: details.version_info.agent_version.clone(),
            registered_at: instance.registered_at,
            remaining: instance.remaining(),
            tcp_ports: tcp_ports.union(&details.host_tcp_ports).copied().collect(),
            udp_ports: udp_ports.union(&details.host_udp_ports).copied().collect(),
            attributes: Arc::new(attributes.collect()),
            groups,
            pending_tasks,
        }
    }

    /// The value of an attribute: `Some(None)` for one without a value.
    pub fn attribute(&self, name: &str) -> Option<Option<&str>> {
        self.attributes.get(name).map(Option::as_deref)
    }

    /// All attributes by name.
    pub(crate) fn attributes(&self) -> Arc<BTreeMap<String, Option<String>>> {
        Arc::clone(&self.attributes)
    }

    /// The availability zone.
    pub fn zone(&self) -> Option<&str> {
        self.attribute(ZONE).flatten()
    }

    /// The groups of the tasks on the instance.
    pub fn groups(&self) -> impl Iterator<Item = &str> {
        self.groups.keys().map(String::as_str)
    }

    /// How many tasks of the group are on the instance.
    pub fn tasks_of(&self, group: &str) -> u32 {
        self.groups.get(group).copied().unwrap_or_default()
    }

    /// How many tasks are on the instance and not pending.
    pub(super) fn running_tasks(&self) -> i64 {
        let all: u32 = self.groups.values().sum();
        i64::from(all.saturating_sub(self.pending_tasks))
    }

    /// Adds a task of a group.
    pub(super) fn take(&mut self, reservation: &Reservation, group: &str) {
        self.remaining.cpu -= reservation.cpu;
        self.remaining.memory_mib -= reservation.memory_mib;
        self.tcp_ports.extend(&reservation.tcp_ports);
        self.udp_ports.extend(&reservation.udp_ports);
        self.pending_tasks += 1;
        match self.groups.get_mut(group) {
            Some(tasks) => *tasks += 1,
            None => {
                self.groups.insert(group.to_owned(), 1);
            }
        }
    }

    /// Whether what `Refusal::of_static` looks at is the same in both.
    pub(super) fn is_statically_equal(&self, other: &Self) -> bool {
        self.status == other.status
            && self.is_fargate == other.is_fargate
            && self.capacity_provider == other.capacity_provider
            && self.ec2_instance_id == other.ec2_instance_id
            && self.agent_version == other.agent_version
            && self.registered_at == other.registered_at
            && self.attributes == other.attributes
    }
}
