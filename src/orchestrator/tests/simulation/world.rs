//! The simulated world: an index, a control plane on it, hosts and a user.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use wharfinger_base::{Clock, Ids, Timestamp};
use wharfinger_db::Db;
use wharfinger_reconcile::Reconciler;

use crate::model::{
    AccountRegion, Attribute, Capacity, Cluster, ClusterDetails, ClusterName, ContainerInstance,
    DeploymentCircuitBreaker, DeploymentConfiguration, FamilyRevision, InstanceDetails, InstanceId,
    InstanceStatus, PropagateTags, Reservation, SchedulingStrategy, TaskDefinition,
    TaskDefinitionDocument, TaskDefinitionStatus, TaskId, TaskStopCode,
};
use crate::tests::simulation::checks::Seen;
use crate::tests::simulation::host::Host;
use crate::{
    InstanceReconciler, NewService, Orchestrator, ServiceReconciler, ServiceUpdate, WaitingTasks,
    store,
};

pub(super) const SERVICE: &str = "web";
const START: Timestamp = Timestamp::from_ms(1_000_000_000);
const HOSTS: usize = 5;
/// CPU units of a host, and of a task.
pub(super) const HOST_CPU: i64 = 1_000;
pub(super) const TASK_CPU: i64 = 200;

/// Randomness that repeats with its seed.
pub(super) struct Dice(Ids);

impl Dice {
    pub(super) fn new(seed: u64) -> Self {
        Self(Ids::seeded(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) + 7))
    }

    pub(super) fn below(&mut self, count: usize) -> usize {
        let word = u64::from_le_bytes(self.0.bytes());
        usize::try_from(word % count.max(1) as u64).unwrap_or_default()
    }

    /// A number of tasks below `count`.
    fn count(&mut self, count: usize) -> i64 {
        i64::try_from(self.below(count)).unwrap_or_default()
    }

    pub(super) fn one_in(&mut self, count: usize) -> bool {
        self.below(count) == 0
    }

    pub(super) fn choose<T: Clone>(&mut self, set: &BTreeSet<T>) -> Option<T> {
        let place = self.below(set.len());
        set.iter().nth(place).cloned()
    }
}

/// The control plane: one process. It may restart.
struct ControlPlane {
    orchestrator: Orchestrator,
    services: ServiceReconciler,
    waiting: WaitingTasks,
    instances: InstanceReconciler,
}

impl ControlPlane {
    fn start(db: &Db, clock: &Clock, ids: &Ids) -> Self {
        let orchestrator = Orchestrator::new(db, clock, ids);
        Self {
            services: orchestrator.service_reconciler(),
            waiting: orchestrator.waiting_tasks(),
            instances: InstanceReconciler::new(orchestrator.assignments.clone()),
            orchestrator,
        }
    }
}

pub(super) struct World {
    pub(super) db: Db,
    clock: Clock,
    ids: Ids,
    plane: ControlPlane,
    pub(super) cluster: Cluster,
    pub(super) hosts: Vec<Host>,
    definitions: Vec<TaskDefinition>,
    /// Tasks that are not stopped, and those that are.
    pub(super) seen: BTreeMap<TaskId, Seen>,
    pub(super) stopped: BTreeSet<TaskId>,
    pub(super) is_daemon: bool,
    history: Vec<String>,
}

fn home() -> AccountRegion {
    AccountRegion {
        account: "123456789012".parse().expect("an account"),
        region: "us-east-1".parse().expect("a region"),
    }
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
        let (clock, ids) = (Clock::manual(START), Ids::seeded(seed));
        let plane = ControlPlane::start(&db, &clock, &ids);
        let name = ClusterName {
            home: home(),
            name: "c".to_owned(),
        };
        let clusters = &plane.orchestrator.clusters;
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
        let made = plane
            .orchestrator
            .services
            .create(&cluster, &definitions[0], new)
            .await;
        made.expect("a service");
        Self {
            db,
            clock,
            ids,
            plane,
            cluster,
            hosts,
            definitions,
            seen: BTreeMap::new(),
            stopped: BTreeSet::new(),
            is_daemon,
            history: Vec::new(),
        }
    }

    pub(super) fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// One event, as the dice fall.
    pub(super) async fn happens(&mut self, dice: &mut Dice) {
        let place = dice.below(self.hosts.len());
        let event = dice.below(40);
        self.history.push(format!("{event} on host {place}"));
        match event {
            0..=9 => self.reconcile().await,
            10..=15 => {
                for place in 0..self.hosts.len() {
                    self.sync(place, true, dice).await;
                }
            }
            16..=23 => {
                let assignments = &self.plane.orchestrator.assignments;
                for host in &mut self.hosts {
                    host.report(assignments, &self.cluster, dice).await;
                }
            }
            24..=27 => self
                .clock
                .advance(Duration::from_secs(1 + dice.below(20) as u64)),
            28 => self
                .clock
                .advance(Duration::from_secs(60 + dice.below(300) as u64)),
            29 => self.hosts[place].crash(dice),
            30 => self.hosts[place].power_off(),
            31 | 32 => self.hosts[place].is_on = true,
            33 => self.hosts[place].is_cut = true,
            34 => self.hosts[place].is_cut = false,
            35 => self.update(dice, false).await,
            36 => self.update(dice, true).await,
            37 => {
                let draining = dice.one_in(2);
                self.set_draining(place, draining).await;
            }
            38 => self.stop_any(dice).await,
            _ => {
                self.plane = ControlPlane::start(&self.db, &self.clock, &self.ids);
                for host in &mut self.hosts {
                    host.session = None;
                }
            }
        }
    }

    async fn reconcile(&mut self) {
        let now = self.now();
        let before = self.unfinished().await;
        self.plane.instances.pass(now).await.expect("a pass");
        self.plane.waiting.pass(now).await.expect("a pass");
        self.plane.services.pass(now).await.expect("a pass");
        self.check_bound(before).await;
    }

    async fn sync(&mut self, place: usize, failing: bool, dice: &mut Dice) {
        let now = self.now();
        let assignments = &self.plane.orchestrator.assignments;
        self.hosts[place]
            .sync(assignments, failing, dice, now)
            .await;
    }

    /// The user changes the service.
    async fn update(&mut self, dice: &mut Dice, deploys: bool) {
        let update = ServiceUpdate {
            desired_count: (!deploys && !self.is_daemon).then(|| dice.count(9)),
            force_new_deployment: deploys,
            ..ServiceUpdate::default()
        };
        let definition = &self.definitions[dice.below(self.definitions.len())];
        let services = &self.plane.orchestrator.services;
        let updated = services
            .update(&self.cluster, SERVICE, definition, update)
            .await;
        updated.expect("a service");
    }

    async fn set_draining(&mut self, place: usize, draining: bool) {
        let ids = [self.hosts[place].id.clone()];
        let instances = &self.plane.orchestrator.instances;
        let set = instances.set_status(&self.cluster.id, &ids, draining).await;
        set.expect("it is set");
    }

    async fn stop_any(&mut self, dice: &mut Dice) {
        let tasks: BTreeSet<TaskId> = self.seen.keys().cloned().collect();
        if let Some(id) = dice.choose(&tasks) {
            let code = TaskStopCode::UserInitiated;
            let stopped = self
                .plane
                .orchestrator
                .tasks
                .stop(&id, code, "by the user")
                .await;
            stopped.expect("it is known");
        }
    }

    /// Nothing goes wrong any more. The service must come to what is wanted.
    pub(super) async fn calm(&mut self) {
        let mut dice = Dice::new(0);
        for place in 0..self.hosts.len() {
            self.hosts[place].is_on = true;
            self.hosts[place].is_cut = false;
            self.set_draining(place, false).await;
        }
        for _ in 0..200 {
            self.reconcile().await;
            for place in 0..self.hosts.len() {
                self.sync(place, false, &mut dice).await;
                let assignments = &self.plane.orchestrator.assignments;
                self.hosts[place]
                    .report_all(assignments, &self.cluster)
                    .await;
            }
            self.check().await;
            self.clock.advance(Duration::from_secs(10));
            if self.is_as_wanted().await {
                return;
            }
        }
        let description = self.describe().await;
        panic!("never as wanted: {:?}\n{description:#?}", self.history);
    }

    pub(super) async fn describe(&self) -> crate::ServiceDescription {
        let services = &self.plane.orchestrator.services;
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
        launch_type: None,
        capacity_provider_strategy: Vec::new(),
        platform_version: None,
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
        placement_constraints: Vec::new(),
        placement_strategy: Vec::new(),
        network_configuration: None,
        health_check_grace_period_seconds: None,
        scheduling_strategy: if is_daemon {
            SchedulingStrategy::Daemon
        } else {
            SchedulingStrategy::Replica
        },
        availability_zone_rebalancing: None,
        enable_ecs_managed_tags: false,
        propagate_tags: PropagateTags::None,
        enable_execute_command: false,
        tags: Vec::new(),
        created_by: "me".to_owned(),
    }
}
