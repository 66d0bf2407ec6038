//! What decisions about a service read of its `tasks`: single columns, since a service may have
//! tens of thousands.

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

pub(crate) fn unfinished(tx: &mut Tx<'_>, service: &ServiceId) -> db::Result<Vec<UnfinishedTask>> {
    tx.query(
        "SELECT task_id, deployment_id, instance_id, last_status, desired_status,
            protected_until, started_at, health FROM tasks
         WHERE service_id = ?1 AND last_status IN ('PROVISIONING', 'PENDING', 'ACTIVATING',
            'RUNNING', 'DEACTIVATING', 'STOPPING', 'DEPROVISIONING')
         ORDER BY task_id",
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
            })
        },
    )
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
