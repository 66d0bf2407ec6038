//! The simulated world: an index, a control plane on it, hosts and a user.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use wharfinger_base::{Clock, Ids, Timestamp};
use wharfinger_db::Db;
use wharfinger_reconcile::Reconciler;

use crate::model::{
    Attribute, Capacity, Cluster, ClusterDetails, ClusterName, ContainerInstance,
    DeploymentCircuitBreaker, DeploymentConfiguration, DesiredStatus, FamilyRevision,
    InstanceDetails, InstanceId, InstanceStatus, Reservation, SchedulingStrategy, TaskDefinition,
    TaskDefinitionDocument, TaskDefinitionStatus, TaskId, TaskStatus, home,
};
use crate::tests::simulation::dice::Dice;
use crate::tests::simulation::host::Host;
use crate::{InstanceReconciler, NewService, Orchestrator, ServiceReconciler, WaitingTasks, store};

pub(super) const SERVICE: &str = "web";
const START: Timestamp = Timestamp::from_ms(1_700_000_000_000);
/// The clocks of servers differ by less than this.
const MAX_SKEW_MS: usize = 2_000;
const HOSTS: usize = 5;
/// CPU units of a host, and of a task.
pub(super) const HOST_CPU: i64 = 1_000;
pub(super) const TASK_CPU: i64 = 200;

/// A server of the control plane. It may restart.
pub(super) struct Server {
    pub(super) clock: Clock,
    pub(super) orchestrator: Orchestrator,
    services: ServiceReconciler,
    pub(super) waiting: WaitingTasks,
    pub(super) instances: InstanceReconciler,
}

impl Server {
    pub(super) fn start(db: &Db, clock: &Clock, ids: &Ids) -> Self {
        let orchestrator = Orchestrator::new(db, clock, ids);
        Self {
            clock: clock.clone(),
            services: orchestrator.service_reconciler(),
            waiting: orchestrator.waiting_tasks(),
            instances: InstanceReconciler::new(orchestrator.assignments.clone()),
            orchestrator,
        }
    }

    /// One pass of each reconciler.
    pub(super) async fn pass(&mut self) {
        let now = self.clock.now();
        self.instances.pass(now).await.expect("a pass");
        self.waiting.pass(now).await.expect("a pass");
        self.services.pass(now).await.expect("a pass");
    }
}

/// The furthest state of a task that was seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Seen {
    pub(super) last: TaskStatus,
    pub(super) desired: DesiredStatus,
    pub(super) version: i64,
}

pub(super) struct World {
    pub(super) db: Db,
    /// The time that has passed, whatever the clocks say.
    pub(super) elapsed: Duration,
    pub(super) ids: Ids,
    pub(super) servers: Vec<Server>,
    pub(super) cluster: Cluster,
    pub(super) hosts: Vec<Host>,
    pub(super) definitions: Vec<TaskDefinition>,
    /// Tasks that are not stopped, and those that are.
    pub(super) seen: BTreeMap<TaskId, Seen>,
    pub(super) stopped: BTreeSet<TaskId>,
    pub(super) is_daemon: bool,
    pub(super) history: Vec<String>,
}

/// What came of a history.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Outcome {
    pub(super) tasks: BTreeSet<TaskId>,
    pub(super) history: Vec<String>,
    pub(super) elapsed: Duration,
}

fn definition(revision: i64) -> TaskDefinition {
    let document = format!(
        r#"{{"containerDefinitions": [{{"name": "app", "cpu": {TASK_CPU}, "memory": 64}}],
             "compatibilities": ["EC2"]}}"#
    );
    let document: TaskDefinitionDocument = serde_json::from_str(&document).expect("a document");
    TaskDefinition {
        home: home(),
        name: FamilyRevision {
            family: SERVICE.to_owned(),
            revision,
        },
        status: TaskDefinitionStatus::Active,
        registered_at: START,
        deregistered_at: None,
        delete_requested_at: None,
        registered_by: "me".to_owned(),
        document,
        tags: Vec::new(),
    }
}

fn instance(cluster: &Cluster, number: usize) -> ContainerInstance {
    let zone = ["a", "b", "c"][number % 3];
    ContainerInstance {
        id: InstanceId(format!("{number:032}")),
        cluster: cluster.id.clone(),
        status: InstanceStatus::Active,
        registered_at: START,
        agent_connected: false,
        seen_at: START,
        version: 1,
        reserved: Reservation::default(),
        details: InstanceDetails {
            registered: Capacity {
                cpu: HOST_CPU,
                memory_mib: 1_000,
            },
            attributes: vec![Attribute {
                name: "ecs.availability-zone".to_owned(),
                value: Some(zone.to_owned()),
                ..Attribute::default()
            }],
            ..InstanceDetails::default()
        },
    }
}

impl World {
    pub(super) async fn new(seed: u64, dice: &mut Dice) -> Self {
        let db = Db::memory(crate::MIGRATIONS).expect("an index");
        let ids = Ids::seeded(seed);
        let count = 1 + dice.below(2);
        let servers: Vec<_> = (0..count)
            .map(|_| {
                let skew = Duration::from_millis(dice.below(MAX_SKEW_MS) as u64);
                Server::start(&db, &Clock::manual(START.plus(skew)), &ids)
            })
            .collect();
        let orchestrator = &servers[0].orchestrator;
        let name = ClusterName {
            home: home(),
            name: "c".to_owned(),
        };
        let clusters = &orchestrator.clusters;
        let cluster = clusters
            .create(&name, ClusterDetails::default())
            .await
            .expect("a cluster");
        let definitions: Vec<_> = (1..=3).map(definition).collect();
        let instances: Vec<_> = (0..HOSTS)
            .map(|number| instance(&cluster, number))
            .collect();
        let hosts = instances
            .iter()
            .map(|instance| Host::new(instance.id.clone()))
            .collect();
        let stored = definitions.clone();
        let write = db.write(move |tx| {
            stored
                .iter()
                .try_for_each(|one| store::task_definitions::insert(tx, one))?;
            instances
                .iter()
                .try_for_each(|one| store::instances::insert(tx, one))
        });
        write.await.expect("the statements run");
        let is_daemon = dice.one_in(4);
        let new = new_service(is_daemon, dice);
        let made = orchestrator
            .services
            .create(&cluster, &definitions[0], new)
            .await;
        made.expect("a service");
        Self {
            db,
            elapsed: Duration::ZERO,
            ids,
            servers,
            cluster,
            hosts,
            definitions,
            seen: BTreeMap::new(),
            stopped: BTreeSet::new(),
            is_daemon,
            history: Vec::new(),
        }
    }

    pub(super) async fn describe(&self) -> crate::ServiceDescription {
        let services = &self.servers[0].orchestrator.services;
        let found = services
            .describe(&self.cluster, vec![SERVICE.to_owned()])
            .await;
        let found = found.expect("reads").pop().flatten();
        found.expect("the service is there")
    }
}

fn new_service(is_daemon: bool, dice: &mut Dice) -> NewService {
    let bounds = [(100, 200), (50, 100), (0, 100), (50, 150), (100, 150)];
    let (least, most) = bounds[dice.below(bounds.len())];
    let breaker = dice.one_in(2);
    NewService {
        name: SERVICE.to_owned(),
        desired_count: (!is_daemon).then(|| dice.count(8)),
        deployment_configuration: DeploymentConfiguration {
            deployment_circuit_breaker: Some(DeploymentCircuitBreaker {
                enable: breaker,
                // A deployment that fails for good would be the end of a history.
                rollback: breaker,
                ..DeploymentCircuitBreaker::default()
            }),
            minimum_healthy_percent: (!is_daemon).then_some(least),
            maximum_percent: (!is_daemon).then_some(most),
            ..DeploymentConfiguration::default()
        },
        scheduling_strategy: if is_daemon {
            SchedulingStrategy::Daemon
        } else {
            SchedulingStrategy::Replica
        },
        created_by: "me".to_owned(),
        ..NewService::default()
    }
}
