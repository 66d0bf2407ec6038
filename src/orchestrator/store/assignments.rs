//! What the instances should run, as the sessions of their agents request it.

use wharfinger_base::Timestamp;
use wharfinger_db::{self as db, Row, Tx, params};

use crate::model::{DesiredStatus, InstanceId, TaskId};
use crate::store::{parsed, row_count};

/// A task by its identifier, with what is wanted of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AssignedTask {
    pub id: TaskId,
    pub desired: DesiredStatus,
}

/// The tasks of an instance about which its agent may have to be told: those that it did not report
/// as running yet, and those that it is to stop. The condition is that of the index.
pub(crate) fn waiting_of_instance(
    tx: &mut Tx<'_>,
    instance: &InstanceId,
) -> db::Result<Vec<AssignedTask>> {
    tx.query(
        "SELECT task_id, desired_status FROM tasks WHERE instance_id = ?1
         AND (last_status = 'PENDING' OR (desired_status = 'STOPPED' AND last_status <> 'STOPPED'))
         ORDER BY task_id",
        params![&instance.0],
        read,
    )
}

/// Up to `limit` instances after `after`, in their order, that have such tasks.
pub(crate) fn instances_that_wait(
    tx: &mut Tx<'_>,
    after: &str,
    limit: usize,
) -> db::Result<Vec<InstanceId>> {
    tx.query(
        "SELECT DISTINCT instance_id FROM tasks WHERE instance_id > ?1
         AND (last_status = 'PENDING' OR (desired_status = 'STOPPED' AND last_status <> 'STOPPED'))
         ORDER BY instance_id LIMIT ?2",
        params![after, row_count(limit)],
        |row| Ok(InstanceId(row.text(0).to_owned())),
    )
}

/// All tasks of an instance that are not stopped.
pub(crate) fn of_instance(tx: &mut Tx<'_>, instance: &InstanceId) -> db::Result<Vec<AssignedTask>> {
    tx.query(
        "SELECT task_id, desired_status FROM tasks WHERE instance_id = ?1
         AND last_status IN ('PROVISIONING', 'PENDING', 'ACTIVATING', 'RUNNING', 'DEACTIVATING', \
         'STOPPING', 'DEPROVISIONING') ORDER BY task_id",
        params![&instance.0],
        read,
    )
}

/// Records that no agent holds a connection for the instance, unless one gave a sign of life after
/// `last_seen`: on another server. Returns whether that is a change.
pub(crate) fn set_disconnected(
    tx: &mut Tx<'_>,
    instance: &InstanceId,
    last_seen: Timestamp,
) -> db::Result<bool> {
    let changed = tx.execute(
        "UPDATE container_instances SET agent_connected = 0, version = version + 1
         WHERE instance_id = ?1 AND agent_connected = 1 AND seen_at <= ?2",
        params![&instance.0, last_seen],
    )?;
    Ok(changed == 1)
}

/// Whether the agent of the instance began anew and has yet to take the tasks that ran.
pub(crate) fn is_beginning(tx: &mut Tx<'_>, instance: &InstanceId) -> db::Result<bool> {
    let found = tx.query_optional(
        "SELECT is_beginning FROM container_instances WHERE instance_id = ?1",
        params![&instance.0],
        |row| Ok(row.integer(0)),
    )?;
    Ok(found.is_some_and(|value| value != 0))
}

pub(crate) fn set_beginning(
    tx: &mut Tx<'_>,
    instance: &InstanceId,
    begins: bool,
) -> db::Result<()> {
    let sql = "UPDATE container_instances SET is_beginning = ?1 WHERE instance_id = ?2";
    tx.execute(sql, params![i64::from(begins), &instance.0])
        .map(drop)
}

/// Up to `limit` instances without a connection and without a sign of life since `before`, that
/// still have tasks.
pub(crate) fn lost_since(
    tx: &mut Tx<'_>,
    before: Timestamp,
    limit: usize,
) -> db::Result<Vec<InstanceId>> {
    tx.query(
        "SELECT instance_id FROM container_instances i WHERE agent_connected = 0 AND seen_at < ?1
         AND EXISTS (SELECT 1 FROM tasks t WHERE t.instance_id = i.instance_id AND t.last_status
         IN ('PROVISIONING', 'PENDING', 'ACTIVATING', 'RUNNING', 'DEACTIVATING', 'STOPPING',
         'DEPROVISIONING')) ORDER BY instance_id LIMIT ?2",
        params![before, row_count(limit)],
        |row| Ok(InstanceId(row.text(0).to_owned())),
    )
}

fn read(row: &Row<'_>) -> db::Result<AssignedTask> {
    Ok(AssignedTask {
        id: TaskId(row.text(0).to_owned()),
        desired: parsed(row.text(1))?,
    })
}
