//! Task definitions that shall be deleted: they go when nothing runs them any more.

use std::time::Duration;

use wharfinger_base::Timestamp;
use wharfinger_db::{Db, Tx};
use wharfinger_reconcile::{Pass, Reconciler};

use crate::error::Result;
use crate::services::history;
use crate::store::task_definition_uses::{self as uses, Deleting};
use crate::store::task_definitions;

/// Task definitions that one read takes.
const AT_ONCE: usize = 100;

/// Deletes task definitions whose deletion was requested, once no task and no service has them.
pub struct TaskDefinitionCleanup(Db);

impl TaskDefinitionCleanup {
    #[must_use]
    pub fn new(db: &Db) -> Self {
        Self(db.clone())
    }
}

impl Reconciler for TaskDefinitionCleanup {
    const NAME: &'static str = "task-definitions";
    const EVERY: Duration = Duration::from_mins(1);

    async fn pass(&mut self, _now: Timestamp) -> anyhow::Result<Pass> {
        let (mut pass, mut after) = (Pass::default(), None::<Deleting>);
        loop {
            let start = after.clone();
            let read = move |tx: &mut Tx<'_>| uses::deleting(tx, start.as_ref(), AT_ONCE);
            let found = self.0.read(read).await?;
            let Some(last) = found.last() else {
                return Ok(pass);
            };
            after = Some(last.clone());
            for one in found {
                pass.seen += 1;
                // The search is long in an account with many services: others write meanwhile.
                let deleting = one.clone();
                let look = move |tx: &mut Tx<'_>| is_unused(tx, &deleting);
                if !self.0.read(look).await? {
                    continue;
                }
                let step = move |tx: &mut Tx<'_>| delete_unused(tx, &one);
                if self.0.write(step).await? {
                    pass.done += 1;
                }
            }
        }
    }
}

/// Deletes a task definition unless it is used. Returns whether it was deleted.
fn delete_unused(tx: &mut Tx<'_>, one: &Deleting) -> Result<bool> {
    if !is_unused(tx, one)? {
        return Ok(false);
    }
    task_definitions::delete(tx, &one.home, &one.name)?;
    Ok(true)
}

/// Whether nothing has a task definition, and no deployment under way may be rolled back to it.
fn is_unused(tx: &mut Tx<'_>, one: &Deleting) -> Result<bool> {
    if uses::is_used(tx, &one.home, &one.name)? {
        return Ok(false);
    }
    for service in uses::deploying(tx, &one.home)? {
        let to = history::rollback_to(tx, &one.home, &service)?;
        if to.is_some_and(|to| to.details.target.task_definition.as_ref() == Some(&one.name)) {
            return Ok(false);
        }
    }
    Ok(true)
}

#[cfg(test)]
mod tests {
    use wharfinger_db::testing::every_engine;

    use super::*;
    use crate::model::home;
    use crate::model::{
        Cluster, ClusterDetails, ClusterId, ClusterName, ClusterStatus, DesiredStatus,
        FamilyRevision, LaunchType, Task, TaskDefinition, TaskDefinitionDocument,
        TaskDefinitionStatus, TaskDetails, TaskId, TaskStatus,
    };
    use crate::reconcile::services::ServiceReconciler;
    use crate::services::ServiceUpdate;
    use crate::services::tests::{NOW, World, new_service};
    use crate::store::{clusters, tasks};

    fn name(revision: i64) -> FamilyRevision {
        FamilyRevision {
            family: "web".to_owned(),
            revision,
        }
    }

    fn definition(revision: i64, status: TaskDefinitionStatus) -> TaskDefinition {
        let requested = status == TaskDefinitionStatus::DeleteInProgress;
        TaskDefinition {
            home: home(),
            name: name(revision),
            status,
            registered_at: Timestamp::from_ms(1),
            deregistered_at: None,
            delete_requested_at: requested.then(|| Timestamp::from_ms(2)),
            registered_by: String::new(),
            document: TaskDefinitionDocument::default(),
            tags: Vec::new(),
        }
    }

    fn task(last_status: TaskStatus) -> Task {
        Task {
            id: TaskId("t".to_owned()),
            cluster: ClusterId("c".to_owned()),
            instance: None,
            service: None,
            deployment: None,
            definition: name(1),
            group: "family:web".to_owned(),
            started_by: None,
            launch_type: LaunchType::Ec2,
            last_status,
            desired_status: DesiredStatus::Running,
            created_at: Timestamp::from_ms(1),
            stopped_at: None,
            protected_until: None,
            version: 1,
            details: TaskDetails::default(),
        }
    }

    /// The revisions that are left.
    async fn left(db: &Db) -> Vec<i64> {
        let read = |tx: &mut Tx<'_>| -> Result<Vec<i64>> {
            let mut left = Vec::new();
            for revision in 1..=3 {
                let found = task_definitions::by_name(tx, &home(), &name(revision))?;
                left.extend(found.map(|_| revision));
            }
            Ok(left)
        };
        db.read(read).await.expect("the index works")
    }

    #[tokio::test]
    async fn what_a_task_has_stays_until_it_stops() {
        for db in every_engine(crate::MIGRATIONS) {
            let write = db.write(|tx| -> Result<()> {
                let name = ClusterName {
                    home: home(),
                    name: "demo".to_owned(),
                };
                let cluster = Cluster {
                    id: ClusterId("c".to_owned()),
                    name,
                    status: ClusterStatus::Active,
                    created_at: Timestamp::from_ms(1),
                    details: ClusterDetails::default(),
                };
                clusters::insert(tx, &cluster)?;
                let deleting = TaskDefinitionStatus::DeleteInProgress;
                task_definitions::insert(tx, &definition(1, deleting))?;
                task_definitions::insert(tx, &definition(2, deleting))?;
                let inactive = TaskDefinitionStatus::Inactive;
                task_definitions::insert(tx, &definition(3, inactive))?;
                tasks::insert(tx, &task(TaskStatus::Running))?;
                Ok(())
            });
            write.await.expect("the index works");
            let mut cleanup = TaskDefinitionCleanup::new(&db);
            let now = Timestamp::from_ms(3);
            let pass = cleanup.pass(now).await.expect("a pass");
            assert_eq!((pass.seen, pass.done), (2, 1));
            assert_eq!(left(&db).await, [1, 3]);
            let stop = db.write(|tx| -> Result<()> {
                assert!(tasks::update(tx, &task(TaskStatus::Stopped))?);
                Ok(())
            });
            stop.await.expect("the index works");
            let pass = cleanup.pass(now).await.expect("a pass");
            assert_eq!((pass.seen, pass.done), (1, 1));
            assert_eq!(left(&db).await, [3]);
        }
    }

    #[tokio::test]
    async fn what_a_deployment_may_be_rolled_back_to_stays_until_that_is_complete() {
        for db in every_engine(crate::MIGRATIONS) {
            let world = World::on(db.clone()).await;
            let mut new = new_service();
            new.desired_count = Some(0);
            world.create(new).await.expect("a service");
            let mut services = world.orchestrator.service_reconciler();
            let complete = async |services: &mut ServiceReconciler| {
                while services.pass(NOW).await.expect("a pass").again {}
            };
            complete(&mut services).await;
            let scaled = ServiceUpdate {
                desired_count: Some(1),
                ..ServiceUpdate::default()
            };
            let second = Some(&world.definitions[1]);
            let updated = world.update(second, scaled).await;
            complete(&mut services).await;
            let delete = db.write(|tx| {
                task_definitions::delete(tx, &home(), &name(1))?;
                let requested = definition(1, TaskDefinitionStatus::DeleteInProgress);
                task_definitions::insert(tx, &requested)
            });
            delete.await.expect("the index works");
            let mut cleanup = TaskDefinitionCleanup::new(&db);
            let pass = cleanup.pass(NOW).await.expect("a pass");
            assert_eq!((pass.seen, pass.done), (1, 0), "{updated:?}");
            let none = ServiceUpdate {
                desired_count: Some(0),
                ..ServiceUpdate::default()
            };
            world.update(None, none).await;
            complete(&mut services).await;
            let pass = cleanup.pass(NOW).await.expect("a pass");
            assert_eq!((pass.seen, pass.done), (1, 1));
        }
    }
}
