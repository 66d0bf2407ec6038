//! Decisions compared with those of a search through all instances.

use std::collections::BTreeMap;
use std::sync::Arc;

use proptest::prelude::*;
use wharfinger_base::Timestamp;

use super::strategies::Strategy as Rule;
use super::*;
use crate::model::{
    Attribute, Capacity, ContainerInstance, InstanceDetails, InstanceId, InstanceStatus,
    PlacementStrategy, PlacementStrategyType, Reservation, VersionInfo,
};

/// An active instance with an agent, 1,000 CPU units and 1,000 MiB.
pub(super) fn node(id: &str) -> Node {
    node_with(id, &[])
}

pub(super) fn node_with(id: &str, attributes: &[(&str, &str)]) -> Node {
    let attributes = attributes.iter().map(|(name, value)| Attribute {
        name: (*name).to_owned(),
        value: Some((*value).to_owned()),
        ..Attribute::default()
    });
    let instance = ContainerInstance {
        id: InstanceId(id.to_owned()),
        cluster: crate::model::ClusterId("c".to_owned()),
        status: InstanceStatus::Active,
        registered_at: Timestamp::from_ms(1_600_000_000_000),
        agent_connected: true,
        seen_at: Timestamp::default(),
        version: 1,
        reserved: Reservation::default(),
        details: InstanceDetails {
            registered: Capacity {
                cpu: 1000,
                memory_mib: 1000,
            },
            ec2_instance_id: Some(format!("i-{id}")),
            version_info: VersionInfo {
                agent_version: Some("1.105.1".to_owned()),
                ..VersionInfo::default()
            },
            attributes: attributes.collect(),
            ..InstanceDetails::default()
        },
    };
    Node::new(&instance, BTreeMap::new(), 0)
}

pub(super) fn needs(cpu: i64, memory_mib: i64) -> Needs {
    Needs {
        launch: LaunchKind::Ec2,
        capacity_provider: None,
        reservation: Reservation {
            cpu,
            memory_mib,
            ..Reservation::default()
        },
        gpus: 0,
        attributes: Vec::new(),
        constraints: Vec::new(),
        group: "service:web".to_owned(),
        is_distinct: false,
    }
}

/// The instances that a task may be placed on, by the definition of filters and strategies.
fn oracle(nodes: &[Node], wanted: &Wanted) -> Vec<InstanceId> {
    let needs = &wanted.needs;
    let fits = |node: &&Node| Refusal::all(needs, node).is_empty();
    let mut best: Vec<&Node> = nodes.iter().filter(fits).collect();
    for strategy in wanted.strategies.iter() {
        let score = |node: &Node| -> i64 {
            let tasks = |node: &Node| i64::from(node.tasks_of(&needs.group));
            match strategy {
                Rule::SpreadAttribute(name) => {
                    let value = node.attribute(name).flatten();
                    let alike = nodes
                        .iter()
                        .filter(|other| other.attribute(name).flatten() == value);
                    alike.map(tasks).sum()
                }
                Rule::SpreadInstance => tasks(node),
                Rule::BinpackCpu => node.remaining.cpu - needs.reservation.cpu,
                Rule::BinpackMemory => node.remaining.memory_mib - needs.reservation.memory_mib,
                Rule::Random => 0,
            }
        };
        let least = best.iter().map(|node| score(node)).min();
        best.retain(|node| Some(score(node)) == least);
    }
    best.into_iter().map(|node| node.id.clone()).collect()
}

/// What happens to a cluster.
#[derive(Clone, Debug)]
enum Event {
    Place(usize),
    Put(Node),
    Remove(InstanceId),
}

prop_compose! {
    fn any_node()(
        number in 0..12_u32,
        zone in prop::option::of(0..3_u32),
        rack in 0..4_u32,
        cpu in 0..1000_i64,
        memory in 0..1000_i64,
        port in prop::option::of(8000..8003_u16),
        is_connected in prop::bool::weighted(0.9),
        is_active in prop::bool::weighted(0.9),
        tasks in 0..3_u32,
    ) -> Node {
        let zone = zone.map(|zone| format!("z{zone}"));
        let rack = format!("r{rack}");
        let mut attributes = vec![("rack", rack.as_str())];
        attributes.extend(zone.as_deref().map(|zone| ("ecs.availability-zone", zone)));
        let mut node = node_with(&format!("n{number}"), &attributes);
        node.remaining = Capacity { cpu, memory_mib: memory };
        node.tcp_ports.extend(port);
        node.agent_connected = is_connected;
        if !is_active {
            node.status = InstanceStatus::Draining;
        }
        for _ in 0..tasks {
            node.take(&Reservation::default(), "service:web");
        }
        node
    }
}

fn any_strategies() -> impl proptest::strategy::Strategy<Value = Strategies> {
    use PlacementStrategyType::{Binpack, Random, Spread};
    let one = prop::sample::select(vec![
        (Spread, "attribute:ecs.availability-zone"),
        (Spread, "attribute:rack"),
        (Spread, "instanceId"),
        (Binpack, "cpu"),
        (Binpack, "memory"),
        (Random, ""),
    ]);
    prop::collection::vec(one, 0..4).prop_map(|list| {
        let given = list.into_iter().map(|(kind, field)| PlacementStrategy {
            kind: Some(kind),
            field: Some(field.to_owned()),
        });
        Strategies::parse(&given.collect::<Vec<_>>()).expect("strategies")
    })
}

prop_compose! {
    fn any_wanted()(
        cpu in 0..400_i64,
        memory in 0..400_i64,
        port in prop::option::of(8000..8003_u16),
        is_distinct in any::<bool>(),
        constraint in prop::option::of(prop::sample::select(vec![
            "attribute:rack in [r0, r1]",
            "attribute:rack =~ 'r[12]'",
            "not(task:group == service:web)",
            "runningTasksCount < 2 or attribute:rack == r3",
        ])),
        strategies in any_strategies(),
    ) -> Arc<Wanted> {
        let mut needs = needs(cpu, memory);
        needs.reservation.tcp_ports.extend(port);
        needs.is_distinct = is_distinct;
        let expression = constraint.map(|text| Expression::parse(text).expect("an expression"));
        needs.constraints.extend(expression.map(Arc::new));
        Arc::new(Wanted { needs, strategies })
    }
}

fn any_event() -> impl proptest::strategy::Strategy<Value = Event> {
    prop_oneof![
        6 => (0..3_usize).prop_map(Event::Place),
        3 => any_node().prop_map(Event::Put),
        1 => (0..12_u32).prop_map(|number| Event::Remove(InstanceId(format!("n{number}")))),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn a_decision_is_legal_and_best_and_a_refusal_is_true(
        wanted in prop::collection::vec(any_wanted(), 3),
        nodes in prop::collection::vec(any_node(), 0..12),
        events in prop::collection::vec(any_event(), 1..60),
        seed in any::<u64>(),
    ) {
        let mut cluster = ClusterNodes::new(seed);
        for node in nodes {
            cluster.put(node);
        }
        for event in events {
            match event {
                Event::Put(node) => cluster.put(node),
                Event::Remove(id) => cluster.remove(&id),
                Event::Place(which) => {
                    let before: Vec<Node> = cluster.nodes().cloned().collect();
                    let wanted = &wanted[which];
                    let best = oracle(&before, wanted);
                    match cluster.place(wanted) {
                        Ok(id) => {
                            prop_assert!(best.contains(&id), "{id:?} is not among {best:?}");
                            let old = before.iter().find(|node| node.id == id);
                            let old = old.expect("it is known");
                            let new = cluster.get(&id).expect("it is known");
                            let reservation = &wanted.needs.reservation;
                            let left = old.remaining.cpu - reservation.cpu;
                            prop_assert_eq!(new.remaining.cpu, left);
                            let tasks = |node: &Node| node.tasks_of("service:web");
                            prop_assert_eq!(tasks(new), tasks(old) + 1);
                            prop_assert!(new.tcp_ports.is_superset(&reservation.tcp_ports));
                        }
                        Err(unplaced) => {
                            prop_assert_eq!(best, Vec::<InstanceId>::new());
                            let told = match &unplaced {
                                Unplaced::NoInstances => Vec::new(),
                                Unplaced::Refused(all) => all.clone(),
                            };
                            for node in &before {
                                let first = Refusal::of(&wanted.needs, node).expect("a reason");
                                let is_listed = told.contains(&(node.id.clone(), first));
                                prop_assert_eq!(is_listed, first.is_told());
                            }
                        }
                    }
                }
            }
        }
    }
}

#[test]
fn equal_instances_are_taken_in_any_order_that_a_seed_repeats() {
    let wanted = Arc::new(Wanted {
        needs: needs(10, 10),
        strategies: Strategies::default(),
    });
    let first_choices = |seed| {
        let mut cluster = ClusterNodes::new(seed);
        for number in 0..20 {
            cluster.put(node(&format!("n{number}")));
        }
        let chosen = (0..5).map(|_| cluster.place(&wanted).expect("it fits"));
        chosen.collect::<Vec<_>>()
    };
    assert_eq!(first_choices(1), first_choices(1));
    let distinct: std::collections::BTreeSet<_> = (0..40).map(first_choices).collect();
    assert!(distinct.len() > 10);
}

#[test]
fn fargate_tasks_have_instances_of_their_own_where_there_are_some() {
    let mut cluster = ClusterNodes::new(1);
    cluster.put(node("a"));
    assert!(!cluster.has_fargate_instances());
    let mut fargate = node("f");
    fargate.is_fargate = true;
    cluster.put(fargate);
    assert!(cluster.has_fargate_instances());
    let mut needs = needs(1, 1);
    needs.launch = LaunchKind::Fargate;
    let wanted = |needs: &Needs| {
        Arc::new(Wanted {
            needs: needs.clone(),
            strategies: Strategies::default(),
        })
    };
    assert_eq!(
        cluster.place(&wanted(&needs)),
        Ok(InstanceId("f".to_owned()))
    );
    needs.launch = LaunchKind::External;
    assert_eq!(cluster.place(&wanted(&needs)), Err(Unplaced::NoInstances));
    cluster.remove(&InstanceId("f".to_owned()));
    assert!(!cluster.has_fargate_instances());
}

#[test]
fn an_instance_can_be_taken_only_where_the_task_fits() {
    let mut cluster = ClusterNodes::new(1);
    cluster.put(node("a"));
    let id = InstanceId("a".to_owned());
    let missing = InstanceId("b".to_owned());
    let needs = needs(600, 600);
    assert_eq!(cluster.take(&id, &needs), Ok(()));
    assert_eq!(cluster.take(&id, &needs), Err(Refusal::Cpu));
    assert_eq!(cluster.take(&missing, &needs), Err(Refusal::Missing));
    let refused = cluster.get(&id).map(|node| Refusal::all(&needs, node));
    assert_eq!(refused, Some(vec![Refusal::Cpu, Refusal::Memory]));
}
