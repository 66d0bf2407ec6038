//! Instances with tasks, on every engine.

use std::time::Duration;

use wharfinger_base::Timestamp;
use wharfinger_db::testing::every_engine;

use super::*;
use crate::clusters::Clusters;
use crate::identifiers::cluster_name;
use crate::model::{
    AccountRegion, ClusterDetails, DesiredStatus, FamilyRevision, LaunchType, Resource, Task,
    TaskDetails, TaskId,
};

const START: Timestamp = Timestamp::from_ms(1_000_000);

struct World {
    db: Db,
    clock: Clock,
    clusters: Clusters,
    instances: Instances,
    cluster: Cluster,
}

impl World {
    async fn new(db: Db) -> Self {
        let (clock, ids) = (Clock::manual(START), Ids::default());
        let nodes = Nodes::new(db.clone(), clock.clone(), ids.clone());
        let sessions = AgentSessions::default();
        let clusters = Clusters::new(db.clone(), clock.clone(), ids.clone());
        let home = AccountRegion {
            account: "123456789012".parse().expect("an account"),
            region: "us-east-1".parse().expect("a region"),
        };
        let name = cluster_name(&home, Some("web")).expect("a name");
        let cluster = clusters.create(&name, ClusterDetails::default()).await;
        Self {
            instances: Instances::new(
                db.clone(),
                clock.clone(),
                ids,
                sessions,
                nodes,
                ServiceWake::default(),
            ),
            cluster: cluster.expect("a cluster"),
            clusters,
            clock,
            db,
        }
    }

    async fn register(&self) -> InstanceId {
        let integer = |name: &str, value| Resource {
            name: Some(name.to_owned()),
            integer_value: Some(value),
            ..Resource::default()
        };
        let request = Registration {
            total_resources: vec![integer("CPU", 2048), integer("MEMORY", 3900)],
            ..Registration::default()
        };
        let registered = self.instances.register(&self.cluster, None, None, request);
        registered.await.expect("registered").instance.id
    }

    /// A task on the instance in this state, with what it takes.
    async fn task(&self, id: &str, instance: &InstanceId, status: TaskStatus) -> TaskId {
        let reservation = Reservation {
            cpu: 256,
            memory_mib: 128,
            ..Reservation::default()
        };
        let task = Task {
            id: TaskId(id.to_owned()),
            cluster: self.cluster.id.clone(),
            instance: Some(instance.clone()),
            service: None,
            deployment: None,
            definition: FamilyRevision {
                family: "web".to_owned(),
                revision: 1,
            },
            group: "family:web".to_owned(),
            started_by: None,
            launch_type: LaunchType::Ec2,
            last_status: status,
            desired_status: DesiredStatus::Running,
            created_at: START,
            stopped_at: None,
            protected_until: None,
            version: 1,
            details: TaskDetails {
                reservation: reservation.clone(),
                ..TaskDetails::default()
            },
        };
        let (id, instance) = (task.id.clone(), instance.clone());
        let work = move |tx: &mut Tx<'_>| -> Result<()> {
            let version = store::by_id(tx, &instance)?.expect("registered").version;
            assert!(store::take(tx, &instance, version, &reservation)?);
            Ok(tasks::insert(tx, &task)?)
        };
        self.db.write(work).await.expect("inserted");
        id
    }
}

#[tokio::test]
async fn tasks_keep_an_instance_unless_it_is_forced_out() {
    for db in every_engine(crate::MIGRATIONS) {
        let world = World::new(db).await;
        let instance = world.register().await;
        let running = world.task("r", &instance, TaskStatus::Running).await;
        world.task("p", &instance, TaskStatus::Pending).await;
        let found = world
            .instances
            .find(&world.cluster.id, std::slice::from_ref(&instance));
        let found = found.await.expect("found").remove(0).expect("an instance");
        assert_eq!((found.running_tasks, found.pending_tasks), (1, 1));
        assert_eq!(found.instance.remaining().cpu, 2048 - 2 * 256);
        let counts = world
            .clusters
            .counts(&world.cluster.id)
            .await
            .expect("counts");
        let tasks = (counts.running_tasks.ec2, counts.pending_tasks.ec2);
        assert_eq!((counts.instances, tasks), (1, (1, 1)));
        let refused = world
            .instances
            .deregister(&world.cluster.id, &instance, false)
            .await;
        let message = "Found running tasks on the instance.".to_owned();
        assert_eq!(refused, Err(Error::InvalidParameter(message)));
        let deleted = world.clusters.delete(&world.cluster.name).await;
        assert_eq!(deleted, Err(Error::ClusterContainsTasks));
        world.clock.advance(Duration::from_secs(1));
        let gone = world
            .instances
            .deregister(&world.cluster.id, &instance, true)
            .await;
        let gone = gone.expect("deregistered");
        assert_eq!(gone.instance.status, InstanceStatus::Inactive);
        assert_eq!((gone.running_tasks, gone.pending_tasks), (0, 0));
        assert_eq!(gone.instance.reserved, Reservation::default());
        let read = move |tx: &mut Tx<'_>| tasks::by_id(tx, &running);
        let task = world.db.read::<_, _, Error>(move |tx| Ok(read(tx)?)).await;
        let task = task.expect("read").expect("a task");
        assert_eq!(task.last_status, TaskStatus::Stopped);
        assert_eq!(
            task.details.stopped_reason.as_deref(),
            Some("Container instance deregistration forced by user")
        );
        assert_eq!(task.stopped_at, Some(world.clock.now()));
        let deleted = world.clusters.delete(&world.cluster.name).await;
        assert!(deleted.is_ok(), "{deleted:?}");
    }
}

#[tokio::test]
async fn an_instance_belongs_to_one_cluster() {
    for db in every_engine(crate::MIGRATIONS) {
        let world = World::new(db).await;
        let instance = world.register().await;
        let other = ClusterId("other".to_owned());
        let found = world
            .instances
            .find(&other, std::slice::from_ref(&instance))
            .await;
        assert_eq!(found, Ok(vec![None]));
        let changed = world
            .instances
            .set_status(&other, std::slice::from_ref(&instance), true)
            .await;
        assert_eq!(changed, Ok(vec![Err(StateFailure::Missing)]));
        let gone = world.instances.deregister(&other, &instance, true).await;
        assert!(gone.is_err());
        let request = Registration::default();
        let again = world
            .instances
            .register(&world.cluster, Some(instance), None, request);
        assert!(matches!(again.await, Err(Error::InvalidParameter(_))));
    }
}
