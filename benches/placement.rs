//! Measures placement decisions on 10,000 container instances, on one thread and in memory.
//!
//! `cargo bench --package wharfinger-orchestrator --bench placement`; the targets are 200,000
//! decisions a second for a zone spread and then packed, and 20,000 with a regular expression.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::sync::Arc;
use std::time::{Duration, Instant};

use wharfinger_base::Timestamp;
use wharfinger_orchestrator::model::{
    Attribute, Capacity, ClusterId, ContainerInstance, InstanceDetails, InstanceId, InstanceStatus,
    LaunchType, PlacementConstraint, PlacementConstraintType, PlacementStrategy,
    PlacementStrategyType, Reservation, TaskDefinitionDocument, TaskOverride, VersionInfo,
};
use wharfinger_orchestrator::placement::{
    ClusterNodes, LaunchKind, Needs, Node, Strategies, Wanted,
};

const INSTANCES: usize = 10_000;
const ZONES: [&str; 3] = ["us-east-1a", "us-east-1b", "us-east-1c"];
const TYPES: [&str; 5] = [
    "m5.large",
    "m5.xlarge",
    "c5.2xlarge",
    "r5.large",
    "t3.micro",
];
const REGEX: &str = "attribute:ecs.instance-type =~ 'm5\\..*|c5\\.[0-9]+xlarge'";
/// Other load on the machine disturbs some rounds, but not the fastest one.
const ROUNDS: usize = 5;

/// What is measured: a name, the constraint if there is one, how many services take turns, and the
/// number of decisions in a round.
const ROWS: &[(&str, Option<&str>, usize, usize)] = &[
    ("zone spread, then memory packed", None, 1, 200_000),
    ("the same, 40 services in turns", None, 40, 200_000),
    (
        "the same with a regular expression",
        Some(REGEX),
        1,
        100_000,
    ),
    (
        "the same with an expression about tasks",
        Some("not(task:group == service:other) and runningTasksCount < 1000"),
        1,
        100_000,
    ),
];

fn main() -> std::io::Result<()> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{INSTANCES} instances in {} zones", ZONES.len())?;
    for (name, constraint, services, decisions) in ROWS {
        let rounds = (0..ROUNDS).map(|_| steady(*constraint, *services, *decisions));
        let fastest = rounds.min().unwrap_or_default();
        let rate = rate(*decisions, fastest);
        writeln!(out, "{name}: {rate:.0} decisions/s")?;
    }
    let first = (0..ROUNDS).map(first_decision).min().unwrap_or_default();
    writeln!(out, "first decision of a new regular expression: {first:?}")?;
    let refused = (0..ROUNDS).map(refusal).min().unwrap_or_default();
    writeln!(out, "refusal with the reason of each instance: {refused:?}")?;
    Ok(())
}

#[expect(clippy::cast_precision_loss, reason = "a rate is an estimate")]
fn rate(decisions: usize, time: Duration) -> f64 {
    decisions as f64 / time.as_secs_f64()
}

/// Decisions one after the other, after the first of each service.
fn steady(constraint: Option<&str>, services: usize, decisions: usize) -> Duration {
    let mut cluster = cluster();
    let wanted: Vec<Arc<Wanted>> = (0..services)
        .map(|service| wanted(constraint, &format!("service:s{service}"), 100))
        .collect();
    for one in &wanted {
        cluster.place(one).expect("there is capacity");
    }
    let started = Instant::now();
    for number in 0..decisions {
        let placed = cluster.place(&wanted[number % services]);
        placed.expect("there is capacity");
    }
    started.elapsed()
}

/// A decision by an expression that was never used before.
fn first_decision(_round: usize) -> Duration {
    let mut cluster = cluster();
    let wanted = wanted(Some(REGEX), "service:s", 100);
    let started = Instant::now();
    cluster.place(&wanted).expect("there is capacity");
    started.elapsed()
}

/// A task that is too large for all instances.
fn refusal(_round: usize) -> Duration {
    let mut cluster = cluster();
    let wanted = wanted(None, "service:s", 1_000_000);
    assert!(cluster.place(&wanted).is_err());
    let started = Instant::now();
    assert!(cluster.place(&wanted).is_err());
    started.elapsed()
}

fn cluster() -> ClusterNodes {
    let mut cluster = ClusterNodes::new(7);
    for number in 0..INSTANCES {
        cluster.put(node(number));
    }
    cluster
}

/// An instance of 16 cores, with as many attributes as an agent registers.
fn node(number: usize) -> Node {
    let attribute = |name: &str, value: Option<&str>| Attribute {
        name: name.to_owned(),
        value: value.map(str::to_owned),
        ..Attribute::default()
    };
    let mut attributes = vec![
        attribute("ecs.availability-zone", Some(ZONES[number % ZONES.len()])),
        attribute("ecs.instance-type", Some(TYPES[number % TYPES.len()])),
    ];
    for capability in 0..40 {
        let name = format!("com.amazonaws.ecs.capability.{capability}");
        attributes.push(attribute(&name, None));
    }
    let instance = ContainerInstance {
        id: InstanceId(format!("{number:032x}")),
        cluster: ClusterId("c".to_owned()),
        status: InstanceStatus::Active,
        registered_at: Timestamp::from_ms(1_700_000_000_000),
        agent_connected: true,
        seen_at: Timestamp::default(),
        version: 1,
        reserved: Reservation::default(),
        details: InstanceDetails {
            registered: Capacity {
                cpu: 16 * 1024,
                memory_mib: 64 * 1024,
            },
            version_info: VersionInfo::default(),
            attributes,
            ..InstanceDetails::default()
        },
    };
    Node::new(&instance, BTreeMap::new(), 0)
}

/// Tasks that require 10 of the instances' attributes.
fn wanted(constraint: Option<&str>, group: &str, cpu: i32) -> Arc<Wanted> {
    let required: Vec<_> = (0..10)
        .map(|number| format!(r#"{{"name": "com.amazonaws.ecs.capability.{number}"}}"#))
        .collect();
    let document = format!(
        r#"{{"containerDefinitions": [{{"name": "app", "cpu": {cpu}, "memory": 128}}],
            "requiresAttributes": [{}]}}"#,
        required.join(",")
    );
    let document: TaskDefinitionDocument = serde_json::from_str(&document).expect("a document");
    let constraints: Vec<PlacementConstraint> = constraint
        .map(|expression| PlacementConstraint {
            kind: Some(PlacementConstraintType::MemberOf),
            expression: Some(expression.to_owned()),
        })
        .into_iter()
        .collect();
    let strategy = |kind, field: &str| PlacementStrategy {
        kind: Some(kind),
        field: Some(field.to_owned()),
    };
    let strategies = [
        strategy(
            PlacementStrategyType::Spread,
            "attribute:ecs.availability-zone",
        ),
        strategy(PlacementStrategyType::Binpack, "memory"),
    ];
    let kind = LaunchKind::of(LaunchType::Ec2, false);
    let overrides = TaskOverride::default();
    Arc::new(Wanted {
        needs: Needs::of(&document, &overrides, group, kind, &constraints).expect("needs"),
        strategies: Strategies::parse(&strategies).expect("strategies"),
    })
}
