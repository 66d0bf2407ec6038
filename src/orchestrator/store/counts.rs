//! Numbers of tasks, services and instances.

use wharfinger_db::{self as db, Tx, params};

use crate::model::{
    CapacityProviderStrategyItem, ClusterId, InstanceId, LaunchType, ServiceStatus, TaskStatus,
};
use crate::store::{from_document, parsed};

/// Tasks of a cluster in a state that are started in a way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TaskCount {
    pub(crate) status: TaskStatus,
    pub(crate) launch_type: LaunchType,
    pub(crate) count: i64,
}

/// Numbers of a cluster's tasks that are not stopped, by state and launch type.
pub(crate) fn tasks_of_cluster(tx: &mut Tx<'_>, cluster: &ClusterId) -> db::Result<Vec<TaskCount>> {
    tx.query(
        "SELECT last_status, launch_type, COUNT(*) FROM tasks
         WHERE cluster_id = ?1 AND desired_status IN ('RUNNING', 'STOPPED')
         AND last_status <> 'STOPPED' GROUP BY last_status, launch_type",
        params![&cluster.0],
        |row| {
            Ok(TaskCount {
                status: parsed(row.text(0))?,
                launch_type: parsed(row.text(1))?,
                count: row.integer(2),
            })
        },
    )
}

/// Numbers of an instance's tasks that are not stopped, by state.
pub(crate) fn tasks_of_instance(
    tx: &mut Tx<'_>,
    instance: &InstanceId,
) -> db::Result<Vec<(TaskStatus, i64)>> {
    tx.query(
        "SELECT last_status, COUNT(*) FROM tasks WHERE instance_id = ?1
         AND last_status IN ('PROVISIONING', 'PENDING', 'ACTIVATING', 'RUNNING', 'DEACTIVATING', \
         'STOPPING', 'DEPROVISIONING') GROUP BY last_status",
        params![&instance.0],
        |row| Ok((parsed(row.text(0))?, row.integer(1))),
    )
}

/// What is read of a service's `details`.
#[derive(serde::Deserialize)]
struct Details {
    target: Target,
}

#[derive(serde::Deserialize)]
#[serde(rename_all = "camelCase")]
struct Target {
    launch_type: Option<LaunchType>,
}

/// The states and launch types of a cluster's services that are not inactive. A service with a
/// capacity provider strategy counts as one of EC2.
pub(crate) fn services_of_cluster(
    tx: &mut Tx<'_>,
    cluster: &ClusterId,
) -> db::Result<Vec<(ServiceStatus, LaunchType)>> {
    tx.query(
        "SELECT status, details FROM services WHERE cluster_id = ?1 AND status <> 'INACTIVE'",
        params![&cluster.0],
        |row| {
            let Details { target } = from_document(row.text(1))?;
            let launch_type = target.launch_type.unwrap_or(LaunchType::Ec2);
            Ok((parsed(row.text(0))?, launch_type))
        },
    )
}

/// Active and draining instances of a cluster.
pub(crate) fn instances_of_cluster(tx: &mut Tx<'_>, cluster: &ClusterId) -> db::Result<i64> {
    let count = tx.query_optional(
        "SELECT COUNT(*) FROM container_instances
         WHERE cluster_id = ?1 AND status IN ('ACTIVE', 'DRAINING')",
        params![&cluster.0],
        |row| Ok(row.integer(0)),
    )?;
    Ok(count.unwrap_or_default())
}

/// What is read of the `details` of services.
#[derive(serde::Deserialize)]
struct Strategies {
    target: Strategy,
}

#[derive(serde::Deserialize)]
#[serde(rename_all = "camelCase")]
struct Strategy {
    capacity_provider_strategy: Vec<CapacityProviderStrategyItem>,
}

/// Whether a service or a task of the cluster that has not ended uses the capacity provider.
pub(crate) fn uses_capacity_provider(
    tx: &mut Tx<'_>,
    cluster: &ClusterId,
    provider: &str,
) -> db::Result<bool> {
    let of_services = tx.query(
        "SELECT details FROM services WHERE cluster_id = ?1 AND status <> 'INACTIVE'",
        params![&cluster.0],
        |row| {
            let Strategies { target } = from_document(row.text(0))?;
            let mut items = target.capacity_provider_strategy.into_iter();
            Ok(items.any(|item| item.capacity_provider == provider))
        },
    )?;
    if of_services.contains(&true) {
        return Ok(true);
    }
    let of_tasks = tx.query_optional(
        "SELECT 1 FROM tasks WHERE cluster_id = ?1 AND desired_status IN ('RUNNING', 'STOPPED')
         AND last_status <> 'STOPPED' AND capacity_provider = ?2 LIMIT 1",
        params![&cluster.0, provider],
        |_| Ok(()),
    )?;
    Ok(of_tasks.is_some())
}
