//! What a task needs of a container instance. PURE.

use std::sync::Arc;

use crate::model::{
    ContainerDefinition, ContainerOverride, LaunchType, NetworkMode, PlacementConstraint,
    PlacementConstraintType, PortMapping, Reservation, ResourceType, TaskDefinitionDocument,
    TaskOverride, TransportProtocol,
};
use crate::placement::{Expression, QueryError};

/// CPU units of a virtual CPU, and MiB of a GB as task definitions mean it.
const UNITS: f64 = 1024.0;

/// Which kinds of instances a task may run on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum LaunchKind {
    Ec2,
    External,
    /// Instances that serve Fargate tasks only.
    Fargate,
    /// All instances, as the cluster has none for Fargate.
    FargateAnywhere,
}

/// What a task needs. Tasks with equal needs can run on the same instances.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Needs {
    pub launch: LaunchKind,
    /// The capacity provider that the instance must belong to.
    pub capacity_provider: Option<String>,
    pub reservation: Reservation,
    pub gpus: u32,
    /// Attributes that the task definition requires, with their values where it names some.
    pub(super) attributes: Vec<(String, Option<String>)>,
    /// `memberOf`, of the task definition and of the request.
    pub(super) constraints: Vec<Arc<Expression>>,
    pub group: String,
    /// `distinctInstance`: no other task of the group is on the instance.
    pub is_distinct: bool,
}

impl Needs {
    /// The needs of a task of this definition.
    ///
    /// # Errors
    /// A `memberOf` constraint whose expression is not valid, with the expression.
    pub fn of(
        definition: &TaskDefinitionDocument,
        overrides: &TaskOverride,
        group: &str,
        launch: LaunchKind,
        constraints: &[PlacementConstraint],
    ) -> Result<Self, (String, QueryError)> {
        let of_definition = definition.placement_constraints.iter();
        let of_request = constraints
            .iter()
            .filter(|constraint| constraint.kind == Some(PlacementConstraintType::MemberOf));
        let texts = of_definition
            .map(|constraint| constraint.expression.as_deref())
            .chain(of_request.map(|constraint| constraint.expression.as_deref()));
        let expressions = texts.map(|text| {
            let text = text.unwrap_or_default();
            let parsed = Expression::parse(text);
            parsed.map(Arc::new).map_err(|why| (text.to_owned(), why))
        });
        let attributes = definition.requires_attributes.iter();
        let is_distinct = |constraint: &PlacementConstraint| {
            constraint.kind == Some(PlacementConstraintType::DistinctInstance)
        };
        Ok(Self {
            launch,
            capacity_provider: None,
            reservation: reservation(definition, overrides),
            gpus: gpus(definition, overrides),
            attributes: attributes
                .map(|attribute| (attribute.name.clone(), attribute.value.clone()))
                .collect(),
            constraints: expressions.collect::<Result<_, _>>()?,
            group: group.to_owned(),
            is_distinct: constraints.iter().any(is_distinct),
        })
    }
}

impl Needs {
    /// Whether a constraint looks at the tasks or the connection of an instance.
    pub(crate) fn looks_at_tasks(&self) -> bool {
        let mut constraints = self.constraints.iter();
        constraints.any(|expression| !expression.is_static())
    }

    /// About how much memory the expressions take, in bytes.
    pub(super) fn expression_bytes(&self) -> usize {
        let expressions = self.constraints.iter();
        expressions.map(|expression| expression.bytes()).sum()
    }
}

impl LaunchKind {
    /// The instances for a launch type, in a cluster with instances for Fargate or without.
    pub fn of(launch_type: LaunchType, has_fargate_instances: bool) -> Self {
        match launch_type {
            LaunchType::Ec2 | LaunchType::ManagedInstances => Self::Ec2,
            LaunchType::External => Self::External,
            LaunchType::Fargate if has_fargate_instances => Self::Fargate,
            LaunchType::Fargate => Self::FargateAnywhere,
        }
    }
}

/// What a task takes of its instance: the sizes of the task where it has some, else the sums over
/// its containers (the reserved memory of one that has it, else its limit), and static host ports.
fn reservation(definition: &TaskDefinitionDocument, overrides: &TaskOverride) -> Reservation {
    let override_of =
        |container: &ContainerDefinition| overrides.of_container(container.name.as_deref());
    let sum = |size: &dyn Fn(&ContainerDefinition, Option<&ContainerOverride>) -> Option<i32>| {
        let containers = definition.container_definitions.iter();
        let sizes = containers.map(|one| size(one, override_of(one)).unwrap_or_default());
        sizes.map(|size| i64::from(size.max(0))).sum::<i64>()
    };
    let task_size = |own: &Option<String>, definition: &Option<String>, unit: &str| {
        let text = own.as_deref().or(definition.as_deref())?;
        size_of_text(text, unit)
    };
    let cpu = task_size(&overrides.cpu, &definition.cpu, "vcpu");
    let memory = task_size(&overrides.memory, &definition.memory, "gb");
    let mut reservation = Reservation {
        cpu: cpu.unwrap_or_else(|| {
            sum(&|container, own| own.and_then(|own| own.cpu).or(container.cpu))
        }),
        memory_mib: memory.unwrap_or_else(|| {
            sum(&|container, own| {
                let reserved = own.and_then(|own| own.memory_reservation);
                let limit = own.and_then(|own| own.memory);
                let reserved = reserved.or(container.memory_reservation);
                reserved.or(limit).or(container.memory)
            })
        }),
        ..Reservation::default()
    };
    let mode = definition.network_mode.unwrap_or(NetworkMode::Bridge);
    for container in &definition.container_definitions {
        for mapping in &container.port_mappings {
            let ports = match mapping.protocol {
                Some(TransportProtocol::Udp) => &mut reservation.udp_ports,
                _ => &mut reservation.tcp_ports,
            };
            ports.extend(host_ports(mode, mapping));
        }
    }
    reservation
}

/// The host ports that a mapping always takes. For others the host chooses a port at the start.
fn host_ports(mode: NetworkMode, mapping: &PortMapping) -> Vec<u16> {
    let port = |number: Option<i32>| {
        let number = number.and_then(|number| u16::try_from(number).ok());
        number.filter(|number| *number != 0)
    };
    match (mode, mapping.container_port_range.as_deref()) {
        (NetworkMode::Awsvpc | NetworkMode::None, _) | (NetworkMode::Bridge, Some(_)) => Vec::new(),
        (NetworkMode::Bridge, None) => port(mapping.host_port).into_iter().collect(),
        (NetworkMode::Host, None) => {
            let port = port(mapping.container_port).or(port(mapping.host_port));
            port.into_iter().collect()
        }
        (NetworkMode::Host, Some(range)) => {
            let bounds = range.split_once('-').unwrap_or((range, range));
            match (bounds.0.parse::<u16>(), bounds.1.parse::<u16>()) {
                (Ok(first), Ok(last)) => (first..=last).collect(),
                _ => Vec::new(),
            }
        }
    }
}

fn gpus(definition: &TaskDefinitionDocument, overrides: &TaskOverride) -> u32 {
    let of_containers = definition.container_definitions.iter().map(|container| {
        let own = overrides.of_container(container.name.as_deref());
        let own = own.and_then(|own| own.resource_requirements.as_ref());
        let required = own.or(container.resource_requirements.as_ref());
        let gpus = required.into_iter().flatten();
        gpus.filter(|one| one.kind == ResourceType::Gpu)
            .filter_map(|one| one.value.as_deref()?.parse::<u32>().ok())
            .fold(0, u32::saturating_add)
    });
    // More than any instance has, wherever the sum is too large.
    of_containers.fold(0, u32::saturating_add)
}

/// A size as task definitions and overrides write it: a number of CPU units or MiB, or a number of
/// vCPU or GB with that `unit` after it.
pub(crate) fn size_of_text(text: &str, unit: &str) -> Option<i64> {
    let text = text.trim().to_ascii_lowercase();
    match text.strip_suffix(unit) {
        None => text.parse().ok(),
        Some(number) => {
            let number: f64 = number.trim().parse().ok()?;
            let units = number * UNITS;
            #[expect(
                clippy::cast_possible_truncation,
                reason = "the range is checked, fractions of a unit mean nothing"
            )]
            let units = (0.0..1e12).contains(&units).then_some(units as i64);
            units
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn definition(json: &str) -> TaskDefinitionDocument {
        serde_json::from_str(json).expect("a task definition")
    }

    #[test]
    fn containers_are_summed_where_the_task_has_no_size() {
        let definition = definition(
            r#"{"containerDefinitions": [
                {"name": "a", "cpu": 100, "memory": 300, "memoryReservation": 200},
                {"name": "b", "cpu": 28, "memory": 64}
            ]}"#,
        );
        let found = reservation(&definition, &TaskOverride::default());
        assert_eq!((found.cpu, found.memory_mib), (128, 264));
        let overrides = TaskOverride {
            container_overrides: Some(vec![ContainerOverride {
                name: Some("b".to_owned()),
                cpu: Some(50),
                memory: Some(128),
                ..ContainerOverride::default()
            }]),
            ..TaskOverride::default()
        };
        let found = reservation(&definition, &overrides);
        assert_eq!((found.cpu, found.memory_mib), (150, 328));
    }

    #[test]
    fn sizes_of_the_task_come_before_those_of_its_containers() {
        let definition = definition(
            r#"{"cpu": "256", "memory": "512",
                "containerDefinitions": [{"name": "a", "cpu": 100, "memory": 300}]}"#,
        );
        let found = reservation(&definition, &TaskOverride::default());
        assert_eq!((found.cpu, found.memory_mib), (256, 512));
        let overrides = TaskOverride {
            cpu: Some(".5 vCPU".to_owned()),
            memory: Some("1GB".to_owned()),
            ..TaskOverride::default()
        };
        let found = reservation(&definition, &overrides);
        assert_eq!((found.cpu, found.memory_mib), (512, 1024));
        assert_eq!(size_of_text("much", "gb"), None);
        assert_eq!(size_of_text("1e300 GB", "gb"), None);
    }

    #[test]
    fn gpus_beyond_all_bounds_are_as_many_as_can_be_counted() {
        let definition = definition(r#"{"containerDefinitions": [{"name": "a"}]}"#);
        let gpu = r#"{"type": "GPU", "value": "4000000000"}"#;
        let overrides = format!(
            r#"{{"containerOverrides": [{{"name": "a", "resourceRequirements": [{gpu}, {gpu}]}}]}}"#
        );
        let overrides = serde_json::from_str(&overrides).expect("overrides");
        assert_eq!(gpus(&definition, &overrides), u32::MAX);
    }

    #[test]
    fn only_static_host_ports_are_reserved() {
        let text = r#"{"networkMode": "MODE", "containerDefinitions": [{"name": "a",
            "portMappings": [
            {"containerPort": 80, "hostPort": 8080, "protocol": "tcp"},
            {"containerPort": 53, "hostPort": 53, "protocol": "udp"},
            {"containerPort": 81, "hostPort": 0},
            {"containerPortRange": "7000-7002"}
        ]}]}"#;
        let ports = |mode| {
            let definition = definition(&text.replace("MODE", mode));
            let found = reservation(&definition, &TaskOverride::default());
            let all = found.tcp_ports.into_iter().chain(found.udp_ports);
            all.collect::<Vec<_>>()
        };
        assert_eq!(ports("bridge"), [8080, 53]);
        assert_eq!(ports("host"), [80, 81, 7000, 7001, 7002, 53]);
        assert!(ports("awsvpc").is_empty());
        assert!(ports("none").is_empty());
    }
}
