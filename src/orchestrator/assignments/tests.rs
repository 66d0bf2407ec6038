//! Reports of agents move tasks forward, and instances get what they should run.

use std::time::Duration;

use wharfinger_base::Ids;
use wharfinger_db::testing::every_engine;
use wharfinger_reconcile::Reconciler as _;

use super::*;
use crate::error::Error;
use crate::model::{
    ClusterDetails, ClusterId, ClusterName, ClusterStatus, Container, DesiredStatus,
    InstanceDetails, LaunchType, Reservation, TaskDefinitionDocument, TaskDefinitionStatus,
    TaskDetails, TaskStatus,
};
use crate::reconcile::InstanceReconciler;
use crate::state_change::{ContainerReport, ReportedStatus, TaskReport};

const START: Timestamp = Timestamp::from_ms(1_000_000_000);
const OWNER: Reporter<'_> = Reporter::Principal("AIDAOWNER");

struct World {
    db: Db,
    clock: Clock,
    assignments: Assignments,
    cluster: Cluster,
    instance: InstanceId,
}

impl World {
    async fn new(db: Db) -> Self {
        let clock = Clock::manual(START);
        let sessions = AgentSessions::default();
        let nodes = Nodes::new(db.clone(), clock.clone(), Ids::default());
        let world = Self {
            assignments: Assignments::new(
                db.clone(),
                clock.clone(),
                sessions,
                nodes,
                ServiceWake::default(),
            ),
            cluster: cluster(),
            instance: InstanceId("i".repeat(32)),
            clock,
            db,
        };
        let (cluster, instance) = (world.cluster.clone(), instance(&world.instance));
        let work = move |tx: &mut Tx<'_>| -> Result<()> {
            store::clusters::insert(tx, &cluster)?;
            store::instances::insert(tx, &instance)?;
            store::task_definitions::insert(tx, &definition(&cluster.name.home))?;
            Ok(())
        };
        world.db.write(work).await.expect("inserted");
        world
    }

    async fn task(&self, name: &str) -> TaskId {
        let task = task(name, &self.instance);
        let (id, instance) = (task.id.clone(), self.instance.clone());
        let work = move |tx: &mut Tx<'_>| -> Result<()> {
            let found = store::instances::by_id(tx, &instance)?.expect("registered");
            let taken = &task.details.reservation;
            assert!(store::instances::take(tx, &instance, found.version, taken)?);
            Ok(store::tasks::insert(tx, &task)?)
        };
        self.db.write(work).await.expect("inserted");
        id
    }

    /// The time passes, with a pass of the reconciler in each of its periods.
    async fn passes(&self, reconciler: &mut InstanceReconciler, time: Duration) {
        let mut left = time;
        loop {
            let step = left.min(InstanceReconciler::EVERY);
            self.clock.advance(step);
            reconciler.pass(self.clock.now()).await.expect("a pass");
            left -= step;
            if left.is_zero() {
                return;
            }
        }
    }

    /// The clock is set.
    fn jump(&self, by_ms: i64) {
        let Clock::Manual(ms) = &self.clock else {
            unreachable!("the clock is set by hand");
        };
        ms.fetch_add(by_ms, std::sync::atomic::Ordering::SeqCst);
    }

    async fn stored(&self, id: &TaskId) -> Task {
        let id = id.clone();
        let read = move |tx: &mut Tx<'_>| store::tasks::by_id(tx, &id);
        let found = self.db.read::<_, _, db::Error>(read).await;
        found.expect("read").expect("a task")
    }

    async fn stored_instance(&self) -> ContainerInstance {
        let found = self
            .assignments
            .instance(&self.cluster, &self.instance)
            .await;
        found.expect("read").expect("registered")
    }

    async fn report(&self, id: &TaskId, status: ReportedStatus) -> Result<()> {
        let report = TaskReport {
            status: Some(status),
            ..TaskReport::default()
        };
        self.assignments
            .report(&self.cluster, id, OWNER, report)
            .await
    }
}

fn cluster() -> Cluster {
    Cluster {
        id: ClusterId("c".to_owned()),
        name: ClusterName {
            home: AccountRegion {
                account: "123456789012".parse().expect("an account"),
                region: "us-east-1".parse().expect("a region"),
            },
            name: "web".to_owned(),
        },
        status: ClusterStatus::Active,
        created_at: START,
        details: ClusterDetails::default(),
    }
}

fn instance(id: &InstanceId) -> ContainerInstance {
    ContainerInstance {
        id: id.clone(),
        cluster: ClusterId("c".to_owned()),
        status: InstanceStatus::Active,
        registered_at: START,
        agent_connected: false,
        seen_at: START,
        version: 1,
        reserved: Reservation::default(),
        details: InstanceDetails {
            registered_by: "AIDAOWNER".to_owned(),
            ..InstanceDetails::default()
        },
    }
}

fn name() -> FamilyRevision {
    FamilyRevision {
        family: "web".to_owned(),
        revision: 1,
    }
}

fn definition(home: &AccountRegion) -> TaskDefinition {
    TaskDefinition {
        home: home.clone(),
        name: name(),
        status: TaskDefinitionStatus::Active,
        registered_at: START,
        deregistered_at: None,
        delete_requested_at: None,
        registered_by: "arn".to_owned(),
        document: TaskDefinitionDocument::default(),
        tags: Vec::new(),
    }
}

fn task(id: &str, instance: &InstanceId) -> Task {
    let container = Container {
        name: Some("web".to_owned()),
        ..Container::default()
    };
    Task {
        id: TaskId(id.to_owned()),
        cluster: ClusterId("c".to_owned()),
        instance: Some(instance.clone()),
        service: None,
        deployment: None,
        definition: name(),
        group: "family:web".to_owned(),
        started_by: None,
        launch_type: LaunchType::Ec2,
        last_status: TaskStatus::Pending,
        desired_status: DesiredStatus::Running,
        created_at: START,
        stopped_at: None,
        protected_until: None,
        version: 1,
        details: TaskDetails {
            containers: vec![container],
            reservation: Reservation {
                cpu: 256,
                memory_mib: 64,
                tcp_ports: [80].into(),
                ..Reservation::default()
            },
            ..TaskDetails::default()
        },
    }
}

#[tokio::test]
async fn a_stopped_task_gives_back_what_it_took_once() {
    for db in every_engine(crate::MIGRATIONS) {
        let world = World::new(db).await;
        let id = world.task("t").await;
        assert_eq!(world.stored_instance().await.reserved.cpu, 256);
        world
            .report(&id, ReportedStatus::Running)
            .await
            .expect("reported");
        assert_eq!(world.stored(&id).await.last_status, TaskStatus::Running);
        assert_eq!(world.stored_instance().await.reserved.cpu, 256);
        for _ in 0..2 {
            world
                .report(&id, ReportedStatus::Stopped)
                .await
                .expect("reported");
            world
                .report(&id, ReportedStatus::Running)
                .await
                .expect("a late one is no error");
        }
        let stopped = world.stored(&id).await;
        assert_eq!(stopped.last_status, TaskStatus::Stopped);
        assert_eq!(stopped.stopped_at, Some(START));
        assert_eq!(
            world.stored_instance().await.reserved,
            Reservation::default()
        );
    }
}

#[tokio::test]
async fn only_the_principal_that_registered_an_instance_reports_for_it() {
    let db = Db::memory(crate::MIGRATIONS).expect("an index");
    let world = World::new(db).await;
    let id = world.task("t").await;
    let report = || TaskReport {
        status: Some(ReportedStatus::Running),
        ..TaskReport::default()
    };
    let assignments = &world.assignments;
    let principal = Reporter::Principal("AIDAOTHER");
    let refused = assignments
        .report(&world.cluster, &id, principal, report())
        .await;
    let Err(Error::OtherRegistrant { instance, .. }) = refused else {
        panic!("not refused: {refused:?}");
    };
    assert_eq!(instance, world.instance);
    let other = InstanceId("other".to_owned());
    let refused = assignments
        .report(&world.cluster, &id, Reporter::Instance(&other), report())
        .await;
    assert!(matches!(refused, Err(Error::NotAllowed(_))), "{refused:?}");
    assert_eq!(world.stored(&id).await.last_status, TaskStatus::Pending);
    let unknown = TaskId("none".to_owned());
    let missing = assignments
        .report(&world.cluster, &unknown, OWNER, report())
        .await;
    assert!(
        matches!(missing, Err(Error::InvalidParameter(_))),
        "{missing:?}"
    );
    let administrator = Reporter::Instance(&world.instance);
    let done = assignments
        .report(&world.cluster, &id, administrator, report())
        .await;
    done.expect("reported");
    assert_eq!(world.stored(&id).await.last_status, TaskStatus::Running);
}

#[tokio::test]
async fn an_agent_waits_for_what_it_was_not_told() {
    for db in every_engine(crate::MIGRATIONS) {
        let world = World::new(db).await;
        let (first, second) = (world.task("t1").await, world.task("t2").await);
        let assignments = &world.assignments;
        let assigned = |id: &TaskId, desired| AssignedTask {
            id: id.clone(),
            desired,
        };
        let running = DesiredStatus::Running;
        let both = [assigned(&first, running), assigned(&second, running)];
        let waiting = || async { assignments.waiting(&world.instance).await.expect("read") };
        assert_eq!(waiting().await, both);
        world
            .report(&first, ReportedStatus::Running)
            .await
            .expect("reported");
        assert_eq!(waiting().await, [assigned(&second, running)]);
        assert_eq!(
            assignments.manifest(&world.instance).await.expect("read"),
            both
        );

        let mut stop = world.stored(&first).await;
        stop.desired_status = DesiredStatus::Stopped;
        let work = move |tx: &mut Tx<'_>| store::tasks::update(tx, &stop);
        assert!(
            world
                .db
                .write::<_, _, db::Error>(work)
                .await
                .expect("written")
        );
        let stopped = DesiredStatus::Stopped;
        assert_eq!(
            waiting().await,
            [assigned(&first, stopped), assigned(&second, running)]
        );

        let home = &world.cluster.name.home;
        let ids = [second.clone(), TaskId("none".to_owned())];
        let found = assignments
            .tasks(home, &world.instance, &ids)
            .await
            .expect("read");
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].task.id, second);
        assert_eq!(found[0].definition.name, name());
    }
}

/// Such a task must not end the connections of its agent again and again.
#[tokio::test]
async fn a_task_without_its_definition_is_stopped_and_the_others_run() {
    let world = World::new(Db::memory(crate::MIGRATIONS).expect("an index")).await;
    let (id, mut broken) = (world.task("t1").await, task("t2", &world.instance));
    broken.definition.revision = 2;
    let stored = broken.clone();
    let work = move |tx: &mut Tx<'_>| store::tasks::insert(tx, &stored);
    let inserted = world.db.write::<_, _, db::Error>(work).await;
    inserted.expect("inserted");
    let health = vec![("web".to_owned(), crate::model::HealthStatus::Healthy)];
    let reported = world.assignments.report_health(
        &world.cluster,
        &broken.id,
        Reporter::Instance(&world.instance),
        health,
    );
    reported.await.expect("taken");
    let (home, ids) = (&world.cluster.name.home, [broken.id.clone(), id.clone()]);
    let found = world.assignments.tasks(home, &world.instance, &ids).await;
    let found = found.expect("read");
    let found: Vec<_> = found.iter().map(|found| &found.task.id).collect();
    assert_eq!(found, [&id]);
    let stopped = world.stored(&broken.id).await;
    assert_eq!(stopped.last_status, TaskStatus::Stopped);
    assert_eq!(
        stopped.details.stopped_reason.as_deref(),
        Some("The task definition web:2 is missing.")
    );
    assert_eq!(
        stopped.details.stop_code,
        Some(TaskStopCode::TaskFailedToStart)
    );
}

#[tokio::test]
async fn a_session_connects_its_instance_and_wakes_for_other_servers_changes() {
    for db in every_engine(crate::MIGRATIONS) {
        let world = World::new(db).await;
        let assignments = &world.assignments;
        let session = assignments
            .connect(&world.instance)
            .await
            .expect("connected");
        let session = session.expect("registered");
        assert!(world.stored_instance().await.agent_connected);
        assert_eq!(assignments.poll().await.expect("polled"), 0);
        world.task("t").await;
        assert_eq!(assignments.poll().await.expect("polled"), 1);
        assert_eq!(session.event().await, crate::SessionEvent::Changed);

        let newer = assignments
            .connect(&world.instance)
            .await
            .expect("connected");
        assignments.disconnect(session).await.expect("ended");
        assert!(world.stored_instance().await.agent_connected);
        assignments
            .disconnect(newer.expect("registered"))
            .await
            .expect("ended");
        assert!(!world.stored_instance().await.agent_connected);
        let unknown = InstanceId("none".to_owned());
        assert!(assignments.connect(&unknown).await.expect("read").is_none());
    }
}

#[tokio::test]
async fn every_server_knows_that_an_agent_has_yet_to_take_its_tasks() {
    for db in every_engine(crate::MIGRATIONS) {
        let world = World::new(db).await;
        let (assignments, instance) = (&world.assignments, &world.instance);
        let is_beginning = async || assignments.is_beginning(instance).await.expect("reads");
        assert!(!is_beginning().await);
        let version = world.stored_instance().await.version;
        let noted = assignments.note_beginning(instance, true).await;
        noted.expect("written");
        assert!(is_beginning().await);
        assert_eq!(world.stored_instance().await.version, version);
        let noted = assignments.note_beginning(instance, false).await;
        noted.expect("written");
        assert!(!is_beginning().await);
    }
}

#[tokio::test]
async fn silence_ends_a_connection_and_then_the_tasks_of_the_instance() {
    for db in every_engine(crate::MIGRATIONS) {
        let world = World::new(db).await;
        let id = world.task("t").await;
        let assignments = &world.assignments;
        let session = assignments
            .connect(&world.instance)
            .await
            .expect("connected");
        let session = session.expect("registered");
        let mut reconciler = InstanceReconciler::new(assignments.clone());
        let mut after = async |time: Duration| world.passes(&mut reconciler, time).await;
        after(Duration::ZERO).await;
        for _ in 0..20 {
            session.note_seen(world.clock.now());
            after(Duration::from_secs(30)).await;
        }
        assert!(world.stored_instance().await.agent_connected);
        // The server was cut off as well: nothing records the end of the session.
        after(Duration::from_secs(70)).await;
        let silent = world.stored_instance().await;
        assert!(!silent.agent_connected && silent.version > 1);
        assert_eq!(world.stored(&id).await.last_status, TaskStatus::Pending);
        after(Duration::from_mins(2)).await;
        let stopped = world.stored(&id).await;
        assert_eq!(stopped.last_status, TaskStatus::Stopped);
        let reason = stopped.details.stopped_reason.expect("a reason");
        assert!(reason.starts_with("Host EC2 (instance ") && reason.ends_with(" terminated."));
        assert_eq!(
            world.stored_instance().await.reserved,
            Reservation::default()
        );
    }
}

#[tokio::test]
async fn a_jump_of_the_clock_is_no_silence_and_does_not_hide_any() {
    const HOUR: i64 = 60 * 60 * 1_000;
    let forwards = every_engine(crate::MIGRATIONS)
        .into_iter()
        .map(|db| (db, HOUR));
    let backwards = every_engine(crate::MIGRATIONS)
        .into_iter()
        .map(|db| (db, -HOUR));
    for (db, jump) in forwards.chain(backwards) {
        let world = World::new(db).await;
        let id = world.task("t").await;
        let session = world.assignments.connect(&world.instance).await;
        let session = session.expect("connected").expect("registered");
        let mut reconciler = InstanceReconciler::new(world.assignments.clone());
        for _ in 0..10 {
            session.note_seen(world.clock.now());
            world.passes(&mut reconciler, Duration::from_secs(30)).await;
        }
        world.jump(jump);
        for _ in 0..10 {
            world.passes(&mut reconciler, Duration::from_secs(30)).await;
            let instance = world.stored_instance().await;
            assert!(instance.agent_connected, "a jump of {jump} ms");
            session.note_seen(world.clock.now());
        }
        assert_eq!(world.stored(&id).await.last_status, TaskStatus::Pending);
        world
            .passes(&mut reconciler, Duration::from_secs(100))
            .await;
        assert!(!world.stored_instance().await.agent_connected);
        world.passes(&mut reconciler, Duration::from_secs(85)).await;
        let stopped = world.stored(&id).await.last_status;
        assert_eq!(stopped, TaskStatus::Stopped, "a jump of {jump} ms");
    }
}

#[tokio::test]
async fn a_server_that_just_started_knows_nothing_of_silence() {
    let db = Db::memory(crate::MIGRATIONS).expect("an index");
    let world = World::new(db).await;
    let id = world.task("t").await;
    drop(
        world
            .assignments
            .connect(&world.instance)
            .await
            .expect("connected"),
    );
    world.clock.advance(Duration::from_hours(1));
    let mut reconciler = InstanceReconciler::new(world.assignments.clone());
    reconciler.pass(world.clock.now()).await.expect("a pass");
    assert!(world.stored_instance().await.agent_connected);
    assert_eq!(world.stored(&id).await.last_status, TaskStatus::Pending);
}

#[tokio::test]
async fn credentials_keep_their_names_and_failed_tasks_say_why() {
    let db = Db::memory(crate::MIGRATIONS).expect("an index");
    let world = World::new(db).await;
    let (id, ids) = (world.task("t").await, wharfinger_base::Ids::seeded(1));
    let assignments = &world.assignments;
    let task = world.stored(&id).await;
    let first = assignments
        .credentials_ids(&task, &ids)
        .await
        .expect("written");
    let again = assignments
        .credentials_ids(&task, &ids)
        .await
        .expect("read");
    assert!(first.is_some() && first == again);
    assignments
        .fail(&id, "ECS was unable to assume the role")
        .await
        .expect("stopped");
    let stopped = world.stored(&id).await;
    assert_eq!(
        stopped.details.stop_code,
        Some(TaskStopCode::TaskFailedToStart)
    );
    let task = stopped.clone();
    assert_eq!(
        assignments
            .credentials_ids(&task, &ids)
            .await
            .expect("read"),
        first
    );
}

#[tokio::test]
async fn attachments_are_found_by_the_end_of_their_arn() {
    let db = Db::memory(crate::MIGRATIONS).expect("an index");
    let world = World::new(db).await;
    let id = world.task("0123456789abcdef0123456789abcdef").await;
    let mut task = world.stored(&id).await;
    task.details.attachments = vec![crate::model::Attachment {
        id: Some("01234567-89ab-cdef-0123-456789abcdef".to_owned()),
        ..crate::model::Attachment::default()
    }];
    let work = move |tx: &mut Tx<'_>| store::tasks::update(tx, &task);
    assert!(
        world
            .db
            .write::<_, _, db::Error>(work)
            .await
            .expect("written")
    );
    let reported = [
        (
            "arn:aws:ecs:us-east-1:123456789012:attachment/01234567-89ab-cdef-0123-456789abcdef"
                .to_owned(),
            "ATTACHED".to_owned(),
        ),
        (
            "arn:aws:ecs:us-east-1:123456789012:attachment/other".to_owned(),
            "ATTACHED".to_owned(),
        ),
    ];
    let found = world
        .assignments
        .of_attachments(&world.cluster, &reported)
        .await;
    let found = found.expect("read");
    assert_eq!(found, [(id.clone(), vec![reported[0].clone()])]);
    let report = TaskReport {
        attachments: found[0].1.clone(),
        containers: vec![ContainerReport::default()],
        ..TaskReport::default()
    };
    let done = world
        .assignments
        .report(&world.cluster, &id, OWNER, report)
        .await;
    done.expect("reported");
    let many = vec![reported[0].clone(); 101];
    let refused = world
        .assignments
        .of_attachments(&world.cluster, &many)
        .await;
    assert!(matches!(refused, Err(Error::InvalidParameter(_))));
    let attachments = world.stored(&id).await.details.attachments;
    assert_eq!(attachments[0].status.as_deref(), Some("ATTACHED"));
}
