//! What decisions about a service read of its `tasks`: single columns, since a service may have
//! tens of thousands.

use std::collections::BTreeMap;

use wharfinger_base::Timestamp;
use wharfinger_db::{self as db, Tx, params};

use crate::model::{
    DeploymentId, DesiredStatus, HealthStatus, InstanceId, ServiceId, TaskId, TaskStatus,
    TaskStopCode,
};
use crate::store::{from_document, parsed, row_count};

/// A task that is not reported as stopped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct UnfinishedTask {
    pub(crate) id: TaskId,
    pub(crate) deployment: Option<DeploymentId>,
    pub(crate) instance: Option<InstanceId>,
    pub(crate) last_status: TaskStatus,
    pub(crate) desired_status: DesiredStatus,
    pub(crate) protected_until: Option<Timestamp>,
    pub(crate) started_at: Option<Timestamp>,
    pub(crate) health: Option<HealthStatus>,
    pub(crate) version: i64,
}

/// What tells whether some task of a service has changed: no task leaves the unfinished ones but as
/// a stopped one that a decision has to consider.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TasksState {
    pub(crate) unfinished: i64,
    /// The sum of the versions of the unfinished tasks, each of which grows with every change.
    pub(crate) versions: i64,
    /// Whether a stopped task was not considered yet.
    pub(crate) has_stopped: bool,
}

/// A task that stopped and was not considered yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct StoppedTask {
    pub(crate) id: TaskId,
    pub(crate) deployment: Option<DeploymentId>,
    pub(crate) started_at: Option<Timestamp>,
    pub(crate) stop_code: Option<TaskStopCode>,
}

/// How many tasks of a deployment are in a state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct StateCount {
    pub(crate) deployment: Option<DeploymentId>,
    pub(crate) status: TaskStatus,
    pub(crate) tasks: i64,
}

/// The service's tasks that are not reported as stopped, in their order. Their index has it all.
pub(crate) fn unfinished(tx: &mut Tx<'_>, service: &ServiceId) -> db::Result<Vec<UnfinishedTask>> {
    let mut found = tx.query(
        "SELECT task_id, deployment_id, instance_id, last_status, desired_status,
            protected_until, started_at, health, version FROM tasks
         WHERE service_id = ?1 AND last_status IN ('PROVISIONING', 'PENDING', 'ACTIVATING',
            'RUNNING', 'DEACTIVATING', 'STOPPING', 'DEPROVISIONING')",
        params![&service.0],
        |row| {
            let time = |column: usize| row.optional_integer(column).map(Timestamp::from_ms);
            Ok(UnfinishedTask {
                id: TaskId(row.text(0).to_owned()),
                deployment: row.optional_text(1).map(|id| DeploymentId(id.to_owned())),
                instance: row.optional_text(2).map(|id| InstanceId(id.to_owned())),
                last_status: parsed(row.text(3))?,
                desired_status: parsed(row.text(4))?,
                protected_until: time(5),
                started_at: time(6),
                health: row.optional_text(7).map(parsed).transpose()?,
                version: row.integer(8),
            })
        },
    )?;
    found.sort_unstable_by(|one, other| one.id.cmp(&other.id));
    Ok(found)
}

/// The state of the service's tasks, without reading them.
pub(crate) fn state(tx: &mut Tx<'_>, service: &ServiceId) -> db::Result<TasksState> {
    let unfinished = tx.query_optional(
        "SELECT COUNT(*), CAST(COALESCE(SUM(version), 0) AS BIGINT) FROM tasks
         WHERE service_id = ?1 AND last_status IN ('PROVISIONING', 'PENDING', 'ACTIVATING',
            'RUNNING', 'DEACTIVATING', 'STOPPING', 'DEPROVISIONING')",
        params![&service.0],
        |row| Ok((row.integer(0), row.integer(1))),
    )?;
    let stopped = tx.query_optional(
        "SELECT 1 FROM tasks
         WHERE service_id = ?1 AND is_considered = 0 AND last_status = 'STOPPED' LIMIT 1",
        params![&service.0],
        |_| Ok(()),
    )?;
    let (unfinished, versions) = unfinished.unwrap_or_default();
    Ok(TasksState {
        unfinished,
        versions,
        has_stopped: stopped.is_some(),
    })
}

/// How many tasks of the service are to run and protected at this time.
pub(crate) fn protected(tx: &mut Tx<'_>, service: &ServiceId, now: Timestamp) -> db::Result<i64> {
    let count = tx.query_optional(
        "SELECT COUNT(*) FROM tasks
         WHERE service_id = ?1 AND last_status IN ('PROVISIONING', 'PENDING', 'ACTIVATING',
            'RUNNING', 'DEACTIVATING', 'STOPPING', 'DEPROVISIONING')
         AND desired_status = 'RUNNING' AND protected_until > ?2",
        params![&service.0, now],
        |row| Ok(row.integer(0)),
    )?;
    Ok(count.unwrap_or_default())
}

/// Numbers of the tasks of a deployment that are to run, by capacity provider.
pub(crate) fn by_provider(
    tx: &mut Tx<'_>,
    service: &ServiceId,
    deployment: &DeploymentId,
) -> db::Result<BTreeMap<String, i64>> {
    let counts = tx.query(
        "SELECT capacity_provider, COUNT(*) FROM tasks
         WHERE service_id = ?1 AND last_status IN ('PROVISIONING', 'PENDING', 'ACTIVATING',
            'RUNNING', 'DEACTIVATING', 'STOPPING', 'DEPROVISIONING')
         AND deployment_id = ?2 AND desired_status = 'RUNNING' AND capacity_provider IS NOT NULL
         GROUP BY capacity_provider",
        params![&service.0, &deployment.0],
        |row| Ok((row.text(0).to_owned(), row.integer(1))),
    )?;
    Ok(counts.into_iter().collect())
}

/// What is read of a stopped task's `details`.
#[derive(serde::Deserialize)]
#[serde(rename_all = "camelCase")]
struct Details {
    stop_code: Option<TaskStopCode>,
}

/// Up to `limit` stopped tasks of the service that no decision considered yet.
pub(crate) fn stopped(
    tx: &mut Tx<'_>,
    service: &ServiceId,
    limit: usize,
) -> db::Result<Vec<StoppedTask>> {
    tx.query(
        "SELECT task_id, deployment_id, started_at, details FROM tasks
         WHERE service_id = ?1 AND is_considered = 0 AND last_status = 'STOPPED'
         ORDER BY task_id LIMIT ?2",
        params![&service.0, row_count(limit)],
        |row| {
            let Details { stop_code } = from_document(row.text(3))?;
            Ok(StoppedTask {
                id: TaskId(row.text(0).to_owned()),
                deployment: row.optional_text(1).map(|id| DeploymentId(id.to_owned())),
                started_at: row.optional_integer(2).map(Timestamp::from_ms),
                stop_code,
            })
        },
    )
}

/// Records that a decision considered the stopped task. That is no change of the task.
pub(crate) fn set_considered(tx: &mut Tx<'_>, task: &TaskId) -> db::Result<()> {
    let sql = "UPDATE tasks SET is_considered = 1 WHERE task_id = ?1";
    tx.execute(sql, params![&task.0]).map(drop)
}

/// Numbers of the service's tasks that are not stopped.
pub(crate) fn counts(tx: &mut Tx<'_>, service: &ServiceId) -> db::Result<Vec<StateCount>> {
    tx.query(
        "SELECT deployment_id, last_status, COUNT(*) FROM tasks
         WHERE service_id = ?1 AND last_status IN ('PROVISIONING', 'PENDING', 'ACTIVATING',
            'RUNNING', 'DEACTIVATING', 'STOPPING', 'DEPROVISIONING')
         GROUP BY deployment_id, last_status",
        params![&service.0],
        |row| {
            Ok(StateCount {
                deployment: row.optional_text(0).map(|id| DeploymentId(id.to_owned())),
                status: parsed(row.text(1))?,
                tasks: row.integer(2),
            })
        },
    )
}

#[cfg(test)]
mod tests {
    use wharfinger_db::testing::every_engine;

    use super::*;
    use crate::model::Task;
    use crate::store::tasks;
    use crate::store::tasks::tests::task;

    /// A running task of the service `s` and the deployment `d`.
    fn of_service(id: &str, provider: &str) -> Task {
        let mut task = task(id);
        task.service = Some(ServiceId("s".to_owned()));
        task.deployment = Some(DeploymentId("d".to_owned()));
        task.last_status = TaskStatus::Running;
        task.details.capacity_provider = Some(provider.to_owned());
        task
    }

    #[tokio::test]
    async fn the_state_changes_with_every_change_of_a_task() {
        for db in every_engine(crate::MIGRATIONS) {
            let check = db.write(|tx| -> db::Result<()> {
                let service = ServiceId("s".to_owned());
                let none = state(tx, &service)?;
                assert_eq!((none.unfinished, none.versions), (0, 0));
                for id in ["t1", "t2"] {
                    tasks::insert(tx, &of_service(id, "spot"))?;
                }
                let before = state(tx, &service)?;
                assert_eq!((before.unfinished, before.has_stopped), (2, false));
                let mut second = of_service("t2", "spot");
                second.details.health_status = Some(HealthStatus::Unhealthy);
                assert!(tasks::update(tx, &second)?);
                let changed = state(tx, &service)?;
                assert_eq!(changed.versions, before.versions + 1);
                let found = unfinished(tx, &service)?;
                assert_eq!(
                    found.iter().map(|task| task.version).sum::<i64>(),
                    changed.versions
                );
                second.version += 1;
                second.last_status = TaskStatus::Stopped;
                assert!(tasks::update(tx, &second)?);
                let stopped = state(tx, &service)?;
                assert_eq!((stopped.unfinished, stopped.has_stopped), (1, true));
                set_considered(tx, &second.id)?;
                assert!(!state(tx, &service)?.has_stopped);
                Ok(())
            });
            check.await.expect("the statements run");
        }
    }

    #[tokio::test]
    async fn tasks_that_are_to_run_are_counted_by_provider() {
        for db in every_engine(crate::MIGRATIONS) {
            let check = db.write(|tx| -> db::Result<()> {
                for (id, provider) in [("t1", "spot"), ("t2", "spot"), ("t3", "base")] {
                    tasks::insert(tx, &of_service(id, provider))?;
                }
                let mut stopping = of_service("t4", "spot");
                stopping.desired_status = DesiredStatus::Stopped;
                tasks::insert(tx, &stopping)?;
                let mut other = of_service("t5", "spot");
                other.deployment = Some(DeploymentId("e".to_owned()));
                tasks::insert(tx, &other)?;
                let (service, deployment) = (ServiceId("s".to_owned()), "d".to_owned());
                let counts = by_provider(tx, &service, &DeploymentId(deployment))?;
                let expected = [("base".to_owned(), 1), ("spot".to_owned(), 2)];
                assert_eq!(counts, BTreeMap::from(expected));
                Ok(())
            });
            check.await.expect("the statements run");
        }
    }
}
