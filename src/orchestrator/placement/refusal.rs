//! Why a task cannot be placed on an instance. PURE.

use crate::model::InstanceStatus;
use crate::placement::{LaunchKind, Needs, Node};

/// Most host ports that an instance can reserve, with those of the host (ECS API reference,
/// `PortMapping`: "up to 100 reserved ports at a time").
const MAX_PORTS: usize = 100;

/// A reason, in the order in which they are looked for: a later one is a closer match.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Refusal {
    /// The instance is not there.
    Missing,
    /// The instance takes no tasks: it drains or is gone.
    Inactive,
    /// Instances of this kind or of this capacity provider are not for the task.
    Kind,
    /// No agent is connected.
    Agent,
    /// The instance lacks an attribute that the task definition requires.
    Attribute,
    MemberOf,
    DistinctInstance,
    Gpu,
    Cpu,
    Memory,
    Ports,
}

impl Refusal {
    /// As in `failures[].reason` of the API.
    pub fn reason(self) -> &'static str {
        match self {
            Self::Missing => "MISSING",
            Self::Inactive => "INACTIVE",
            Self::Kind => "LOCATION",
            Self::Agent => "AGENT",
            Self::Attribute => "ATTRIBUTE",
            Self::MemberOf => "MemberOf placement constraint unsatisfied.",
            Self::DistinctInstance => "DistinctInstance placement constraint unsatisfied.",
            Self::Gpu => "RESOURCE:GPU",
            Self::Cpu => "RESOURCE:CPU",
            Self::Memory => "RESOURCE:MEMORY",
            Self::Ports => "RESOURCE:PORTS",
        }
    }

    /// As in an event of a service, after "The closest matching (container-instance ID) ".
    pub fn in_event(self) -> String {
        match self {
            Self::Cpu => "has insufficient CPU units available.".to_owned(),
            Self::Memory => "has insufficient memory available.".to_owned(),
            Self::Ports => "is already using a port required by your task.".to_owned(),
            Self::Attribute => "is missing an attribute required by your task.".to_owned(),
            _ => format!("encountered error \"{}\".", self.reason()),
        }
    }

    /// The first reason against the instance.
    pub(super) fn of(needs: &Needs, node: &Node) -> Option<Self> {
        Self::of_static(needs, node).or_else(|| Self::of_dynamic(needs, node))
    }

    /// All reasons against the instance.
    pub fn all(needs: &Needs, node: &Node) -> Vec<Self> {
        let checks = STATIC_CHECKS.iter().chain(DYNAMIC_CHECKS);
        let mut found: Vec<Self> = checks
            .filter(|(_, passes)| !passes(needs, node))
            .map(|(refusal, _)| *refusal)
            .collect();
        found.sort_unstable();
        found.dedup();
        found
    }

    /// The first reason that stays until the instance itself is changed.
    pub(super) fn of_static(needs: &Needs, node: &Node) -> Option<Self> {
        first(STATIC_CHECKS, needs, node)
    }

    /// The first reason that other tasks or a connection of the agent may remove.
    pub(super) fn of_dynamic(needs: &Needs, node: &Node) -> Option<Self> {
        first(DYNAMIC_CHECKS, needs, node)
    }

    /// Whether the instance counts as one that the task could run on, so that the refusal is told.
    pub(super) fn is_told(self) -> bool {
        !matches!(self, Self::Inactive | Self::Kind)
    }
}

/// A reason and the check that must pass lest it is given.
type Check = (Refusal, fn(&Needs, &Node) -> bool);

const STATIC_CHECKS: &[Check] = &[
    (Refusal::Inactive, |_, node| {
        node.status == InstanceStatus::Active
    }),
    (Refusal::Kind, |needs, node| is_of_kind(needs, node)),
    (Refusal::Attribute, |needs, node| {
        needs
            .attributes
            .iter()
            .all(|(name, value)| match (node.attribute(name), value) {
                (None, _) => false,
                (Some(_), None) => true,
                (Some(found), Some(value)) => found == Some(value),
            })
    }),
    (Refusal::MemberOf, |needs, node| {
        let mut constraints = needs.constraints.iter();
        constraints.all(|expression| !expression.is_static() || expression.matches(node))
    }),
];

const DYNAMIC_CHECKS: &[Check] = &[
    (Refusal::Agent, |_, node| node.agent_connected),
    (Refusal::MemberOf, |needs, node| {
        let mut constraints = needs.constraints.iter();
        constraints.all(|expression| expression.is_static() || expression.matches(node))
    }),
    (Refusal::DistinctInstance, |needs, node| {
        !needs.is_distinct || node.tasks_of(&needs.group) == 0
    }),
    // No instance registers GPUs here.
    (Refusal::Gpu, |needs, _| needs.gpus == 0),
    (Refusal::Cpu, |needs, node| {
        needs.reservation.cpu <= node.remaining.cpu
    }),
    (Refusal::Memory, |needs, node| {
        needs.reservation.memory_mib <= node.remaining.memory_mib
    }),
    (Refusal::Ports, |needs, node| {
        let wanted = &needs.reservation;
        let count = wanted.tcp_ports.len() + wanted.udp_ports.len();
        count == 0
            || (wanted.tcp_ports.is_disjoint(&node.tcp_ports)
                && wanted.udp_ports.is_disjoint(&node.udp_ports)
                && count + node.tcp_ports.len() + node.udp_ports.len() <= MAX_PORTS)
    }),
];

fn first(checks: &[Check], needs: &Needs, node: &Node) -> Option<Refusal> {
    let mut failed = checks.iter().filter(|(_, passes)| !passes(needs, node));
    failed.next().map(|(refusal, _)| *refusal)
}

fn is_of_kind(needs: &Needs, node: &Node) -> bool {
    let is_external = node.attribute("ecs.capability.external").is_some();
    let fits_launch = match needs.launch {
        LaunchKind::Ec2 => !node.is_fargate && !is_external,
        LaunchKind::External => !node.is_fargate && is_external,
        LaunchKind::Fargate => node.is_fargate,
        LaunchKind::FargateAnywhere => true,
    };
    let provider = &needs.capacity_provider;
    fits_launch && (provider.is_none() || *provider == node.capacity_provider)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_in_events_read_as_those_of_ecs() {
        for (refusal, expected) in [
            (Refusal::Cpu, "has insufficient CPU units available."),
            (Refusal::Memory, "has insufficient memory available."),
            (
                Refusal::Ports,
                "is already using a port required by your task.",
            ),
            (
                Refusal::Attribute,
                "is missing an attribute required by your task.",
            ),
            (Refusal::Agent, "encountered error \"AGENT\"."),
            (Refusal::Gpu, "encountered error \"RESOURCE:GPU\"."),
        ] {
            assert_eq!(refusal.in_event(), expected);
        }
    }
}
