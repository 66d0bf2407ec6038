//! Tasks in an index, on instances without agents.

mod guards;

use std::collections::{BTreeMap, BTreeSet};

use wharfinger_base::{Clock, Ids, Timestamp};
use wharfinger_db::testing::every_engine;
use wharfinger_db::{self as db, Db, Tx};

use super::*;
use crate::Orchestrator;
use crate::model::{
    Capacity, CapacityProviderStrategyItem, Cluster, ClusterDetails, ClusterName,
    ContainerInstance, FamilyRevision, InstanceDetails, InstanceId, InstanceStatus, LaunchType,
    PlacementConstraint, PlacementConstraintType, Reservation, ServiceId, TaskDefinition,
    TaskDefinitionDocument, TaskDefinitionStatus, TaskOverride, home,
};
use crate::placement::{Refusal, Unplaced};
use crate::store;

struct World {
    db: Db,
    orchestrator: Orchestrator,
    cluster: Cluster,
}

const NOW: Timestamp = Timestamp::from_ms(1_000_000);

impl World {
    async fn on(db: Db) -> Self {
        let orchestrator = server(&db);
        let name = ClusterName {
            home: home(),
            name: "c".to_owned(),
        };
        let clusters = &orchestrator.clusters;
        let made = clusters.create(&name, ClusterDetails::default()).await;
        made.expect("a cluster");
        let associate = |details: &mut ClusterDetails| {
            details.capacity_providers = vec!["spot".to_owned(), "base".to_owned()];
        };
        let cluster = clusters.update(&name, associate).await;
        Self {
            db,
            orchestrator,
            cluster: cluster.expect("a cluster"),
        }
    }

    async fn write<T: Send + 'static>(
        &self,
        work: impl Fn(&mut Tx<'_>) -> db::Result<T> + Send + 'static,
    ) -> T {
        self.db.write(work).await.expect("the statements run")
    }

    /// Adds an instance with 1,000 CPU units and 1,000 MiB whose agent is connected.
    async fn add(&self, id: &str, provider: Option<&str>) {
        let instance = ContainerInstance {
            id: InstanceId(id.to_owned()),
            cluster: self.cluster.id.clone(),
            status: InstanceStatus::Active,
            registered_at: NOW,
            agent_connected: true,
            seen_at: NOW,
            version: 1,
            reserved: Reservation::default(),
            details: InstanceDetails {
                registered: Capacity {
                    cpu: 1000,
                    memory_mib: 1000,
                },
                capacity_provider: provider.map(str::to_owned),
                ..InstanceDetails::default()
            },
        };
        self.write(move |tx| store::instances::insert(tx, &instance))
            .await;
    }

    async fn instance(&self, id: &str) -> ContainerInstance {
        let id = InstanceId(id.to_owned());
        let found = self.write(move |tx| store::instances::by_id(tx, &id)).await;
        found.expect("the instance is there")
    }

    fn request(&self, count: usize) -> StartTasks {
        StartTasks {
            cluster: self.cluster.clone(),
            definition: definition(
                r#"{"containerDefinitions": [{"name": "app", "cpu": 300, "memory": 100}],
                    "compatibilities": ["EC2", "EXTERNAL"]}"#,
            ),
            placement: Placement::Chosen(count),
            launch: Launch::Type(LaunchType::Ec2),
            group: None,
            service: None,
            deployment: None,
            started_by: None,
            overrides: TaskOverride::default(),
            constraints: Vec::new(),
            strategy: Vec::new(),
            platform_version: None,
            network_configuration: None,
            enable_execute_command: false,
            tags: Vec::new(),
            image_digests: BTreeMap::new(),
            token: None,
            guard: None,
        }
    }

    async fn start(&self, request: StartTasks) -> StartedTasks {
        let started = self.orchestrator.tasks.start(request).await;
        started.expect("the request is valid")
    }

    async fn unfinished(&self, instance: &str) -> usize {
        let id = InstanceId(instance.to_owned());
        let tasks = self.write(move |tx| store::tasks::of_instance(tx, &id));
        tasks.await.len()
    }
}

/// A server on the index.
fn server(db: &Db) -> Orchestrator {
    Orchestrator::new(db, &Clock::manual(NOW), &Ids::default())
}

fn definition(document: &str) -> TaskDefinition {
    let document: TaskDefinitionDocument = serde_json::from_str(document).expect("a document");
    TaskDefinition {
        home: home(),
        name: FamilyRevision {
            family: "web".to_owned(),
            revision: 3,
        },
        status: TaskDefinitionStatus::Active,
        registered_at: NOW,
        deregistered_at: None,
        delete_requested_at: None,
        registered_by: "arn:aws:iam::123456789012:root".to_owned(),
        document,
        tags: Vec::new(),
    }
}

fn refused(unplaced: Option<Unplaced>) -> Vec<(String, Refusal)> {
    match unplaced {
        Some(Unplaced::Refused(all)) => all
            .into_iter()
            .map(|(instance, refusal)| (instance.0, refusal))
            .collect(),
        other => panic!("no refusals: {other:?}"),
    }
}

#[tokio::test]
async fn tasks_take_resources_until_none_are_left() {
    for db in every_engine(crate::MIGRATIONS) {
        let world = World::on(db).await;
        let none = world.start(world.request(1)).await;
        assert_eq!(none.tasks, []);
        assert_eq!(none.unplaced, Some(Unplaced::NoInstances));
        // No server was told of the instances: before a refusal it looks for them.
        world.add("a", None).await;
        world.add("b", None).await;
        let started = world.start(world.request(8)).await;
        assert_eq!(started.tasks.len(), 6);
        let expected = [
            ("a".to_owned(), Refusal::Cpu),
            ("b".to_owned(), Refusal::Cpu),
        ];
        assert_eq!(refused(started.unplaced), expected);
        for id in ["a", "b"] {
            let instance = world.instance(id).await;
            assert_eq!(instance.reserved.cpu, 900);
            assert_eq!(instance.reserved.memory_mib, 300);
            assert_eq!(instance.version, 2);
            assert_eq!(world.unfinished(id).await, 3);
        }
        let task = &started.tasks[0];
        let tasks = &world.orchestrator.tasks;
        let found = tasks.find(&world.cluster.id, &task.id).await;
        assert_eq!(found.expect("reads").as_ref(), Some(task));
        assert_eq!(task.last_status, TaskStatus::Pending);
        assert_eq!(task.group, "family:web");
        assert_eq!(task.details.cpu.as_deref(), Some("300"));
        assert_eq!(task.details.containers.len(), 1);
    }
}

#[tokio::test]
async fn resources_that_another_server_released_are_found() {
    for db in every_engine(crate::MIGRATIONS) {
        let world = World::on(db).await;
        world.add("a", None).await;
        let started = world.start(world.request(3)).await;
        assert_eq!(started.tasks.len(), 3);
        let task = started.tasks[0].clone();
        world
            .write(move |tx| {
                let mut task = task.clone();
                let instance = InstanceId("a".to_owned());
                store::instances::release(tx, &instance, &task.details.reservation)?;
                task.last_status = TaskStatus::Stopped;
                store::tasks::update(tx, &task).map(drop)
            })
            .await;
        let started = world.start(world.request(1)).await;
        assert_eq!(started.tasks.len(), 1);
        assert_eq!(world.unfinished("a").await, 3);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn servers_that_race_never_take_more_than_there_is() {
    for db in every_engine(crate::MIGRATIONS) {
        let world = World::on(db).await;
        for id in ["a", "b", "c"] {
            world.add(id, None).await;
        }
        let servers = [
            world.orchestrator.clone(),
            server(&world.db),
            server(&world.db),
        ];
        let mut requests = Vec::new();
        for number in 0..30 {
            let tasks = servers[number % servers.len()].tasks.clone();
            let request = world.request(1);
            requests.push(tokio::spawn(async move { tasks.start(request).await }));
        }
        let (mut started, mut refused) = (0, 0);
        for request in requests {
            match request.await.expect("no panic") {
                Ok(outcome) => {
                    started += outcome.tasks.len();
                    refused += usize::from(outcome.unplaced.is_some());
                }
                // Lost too many races; nothing was stored.
                Err(error) => {
                    assert!(error.is_unavailable(), "{error:?}");
                    refused += 1;
                }
            }
        }
        assert_eq!(started + refused, 30);
        let mut stored = 0;
        for id in ["a", "b", "c"] {
            let (tasks, instance) = (world.unfinished(id).await, world.instance(id).await);
            assert!(tasks <= 3);
            assert_eq!(
                instance.reserved.cpu,
                300 * i64::try_from(tasks).expect("few")
            );
            stored += tasks;
        }
        assert_eq!(stored, started);
        assert_eq!(stored, 9);
    }
}

#[tokio::test]
async fn a_client_token_starts_tasks_once() {
    for db in every_engine(crate::MIGRATIONS) {
        let world = World::on(db).await;
        world.add("a", None).await;
        let request = |fingerprint: &str| {
            let mut request = world.request(1);
            request.token = Some(ClientToken {
                operation: "RunTask",
                token: "t".to_owned(),
                request: fingerprint.to_owned(),
            });
            request
        };
        let (first, second) =
            tokio::join!(world.start(request("one")), world.start(request("one")));
        assert_eq!(first, second);
        assert_eq!(first, world.start(request("one")).await);
        assert_eq!(world.unfinished("a").await, 1);
        let other = world.orchestrator.tasks.start(request("two")).await;
        let arn = world.cluster.name.task_arn(&first.tasks[0].id);
        let Err(Error::Conflict { resource_ids, .. }) = other else {
            panic!("no conflict: {other:?}");
        };
        assert_eq!(resource_ids, [arn.to_string()]);
    }
}

#[tokio::test]
async fn tasks_on_named_instances_say_what_each_lacks() {
    for db in every_engine(crate::MIGRATIONS) {
        let world = World::on(db).await;
        world.add("a", None).await;
        let mut request = world.request(0);
        request.definition.document.container_definitions[0].cpu = Some(600);
        let ids = ["a", "a", "b"].map(|id| InstanceId(id.to_owned()));
        request.placement = Placement::On(ids.to_vec());
        let started = world.start(request).await;
        assert_eq!(started.tasks.len(), 1);
        let expected = [
            ("a".to_owned(), Refusal::Cpu),
            ("b".to_owned(), Refusal::Missing),
        ];
        assert_eq!(refused(started.unplaced), expected);
    }
}

#[tokio::test]
async fn tasks_of_capacity_providers_wait_for_capacity() {
    for db in every_engine(crate::MIGRATIONS) {
        let world = World::on(db).await;
        world.add("a", Some("base")).await;
        let item = |name: &str, base, weight| CapacityProviderStrategyItem {
            capacity_provider: name.to_owned(),
            base: Some(base),
            weight: Some(weight),
        };
        let items = [item("base", 1, 0), item("spot", 0, 1)];
        let mut request = world.request(2);
        let details = &world.cluster.details;
        request.launch = Launch::of(details, None, &items).expect("a strategy");
        let definition = request.definition.clone();
        world
            .write(move |tx| store::task_definitions::insert(tx, &definition))
            .await;
        let started = world.start(request).await;
        assert_eq!(started.unplaced, None);
        let provider = |task: &Task| task.details.capacity_provider.clone().unwrap_or_default();
        let [placed, waiting] = &started.tasks[..] else {
            panic!("two tasks: {started:?}");
        };
        assert_eq!(
            (provider(placed), placed.last_status),
            ("base".to_owned(), TaskStatus::Pending)
        );
        assert_eq!(waiting.last_status, TaskStatus::Provisioning);
        assert_eq!(
            (provider(waiting), waiting.instance.clone()),
            ("spot".to_owned(), None)
        );

        let tasks = &world.orchestrator.tasks;
        assert_eq!(tasks.place_waiting(&world.cluster).await, Ok(0));
        world.add("b", Some("spot")).await;
        tasks.nodes.note(&InstanceId("b".to_owned()));
        assert_eq!(tasks.place_waiting(&world.cluster).await, Ok(1));
        assert_eq!(tasks.place_waiting(&world.cluster).await, Ok(0));
        let found = tasks
            .find(&world.cluster.id, &waiting.id)
            .await
            .expect("reads");
        let found = found.expect("it is there");
        assert_eq!(found.instance, Some(InstanceId("b".to_owned())));
        assert_eq!(found.last_status, TaskStatus::Pending);
        assert_eq!(world.instance("b").await.reserved.cpu, 300);
    }
}

#[tokio::test]
async fn the_first_reason_to_stop_stays() {
    for db in every_engine(crate::MIGRATIONS) {
        let world = World::on(db).await;
        world.add("a", None).await;
        let started = world.start(world.request(1)).await;
        let tasks = &world.orchestrator.tasks;
        let id = &started.tasks[0].id;
        let user = TaskStopCode::UserInitiated;
        let stopping = tasks.stop(id, user, "enough").await.expect("it stops");
        assert_eq!(stopping.desired_status, DesiredStatus::Stopped);
        assert_eq!(stopping.last_status, TaskStatus::Pending);
        assert_eq!(stopping.version, 2);
        let again = tasks.stop(id, user, "again").await.expect("it stops");
        assert_eq!(again, stopping);
        assert_eq!(again.details.stopped_reason.as_deref(), Some("enough"));
        assert_eq!(again.details.stop_code, Some(user));
        let missing = tasks.stop(&TaskId("none".to_owned()), user, "").await;
        assert!(matches!(missing, Err(Error::InvalidParameter(_))));
    }
}

#[tokio::test]
async fn a_distinct_instance_has_one_task_of_the_group() {
    for db in every_engine(crate::MIGRATIONS) {
        let world = World::on(db).await;
        world.add("a", None).await;
        world.add("b", None).await;
        let mut request = world.request(3);
        request.constraints = vec![PlacementConstraint {
            kind: Some(PlacementConstraintType::DistinctInstance),
            expression: None,
        }];
        let started = world.start(request).await;
        let instances = started.tasks.iter().map(|task| task.instance.clone());
        assert_eq!(instances.collect::<BTreeSet<_>>().len(), 2);
        let reasons = refused(started.unplaced).into_iter().map(|(_, why)| why);
        assert!(
            reasons
                .into_iter()
                .all(|why| why == Refusal::DistinctInstance)
        );
    }
}

#[tokio::test]
async fn listings_have_pages() {
    for db in every_engine(crate::MIGRATIONS) {
        let world = World::on(db).await;
        world.add("a", None).await;
        let mut request = world.request(3);
        request.started_by = Some("me".to_owned());
        let started = world.start(request).await;
        let mut ids: Vec<_> = started.tasks.iter().map(|task| task.id.clone()).collect();
        ids.sort();
        let tasks = &world.orchestrator.tasks;
        let mut filter = TaskFilter {
            desired: DesiredStatus::Running,
            instance: None,
            service: None,
            family: Some("web".to_owned()),
            started_by: Some("me".to_owned()),
            launch_type: Some(LaunchType::Ec2),
        };
        let cluster = &world.cluster.id;
        let first = tasks.list(cluster, &filter, "", 2).await.expect("a page");
        assert_eq!(first.items, ids[..2]);
        let after = first.next.expect("more follow");
        let second = tasks
            .list(cluster, &filter, &after, 2)
            .await
            .expect("a page");
        assert_eq!((&second.items[..], second.next), (&ids[2..], None));
        filter.launch_type = Some(LaunchType::Fargate);
        let none = tasks.list(cluster, &filter, "", 2).await.expect("a page");
        assert_eq!((none.items, none.next), (vec![], None));
    }
}

#[tokio::test]
async fn only_tasks_of_services_are_protected() {
    for db in every_engine(crate::MIGRATIONS) {
        let world = World::on(db).await;
        world.add("a", None).await;
        let mut request = world.request(1);
        let alone = world.start(request.clone()).await.tasks.remove(0);
        request.service = Some(ServiceId("s".to_owned()));
        let served = world.start(request).await.tasks.remove(0);
        let ids = [alone.id, served.id, TaskId("none".to_owned())];
        let tasks = &world.orchestrator.tasks;
        let on = tasks
            .protect(&world.cluster.id, &ids, Protection::On(None))
            .await;
        let until = |task: &Result<Task, ProtectionFailure>| {
            task.as_ref()
                .map(|task| task.protected_until)
                .map_err(|why| *why)
        };
        let hours = std::time::Duration::from_hours(2);
        let on: Vec<_> = on.expect("reads").iter().map(until).collect();
        let missing = Err(ProtectionFailure::Missing);
        let expected = [
            Err(ProtectionFailure::NotValid),
            Ok(Some(NOW.plus(hours))),
            missing,
        ];
        assert_eq!(on, expected);
        let off = tasks
            .protect(&world.cluster.id, &ids[1..2], Protection::Off)
            .await;
        let off: Vec<_> = off.expect("reads").iter().map(until).collect();
        assert_eq!(off, [Ok(None)]);
    }
}
