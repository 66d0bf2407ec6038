//! Rows of `tasks`.

use wharfinger_base::Timestamp;
use wharfinger_db::{self as db, Row, Tx, params};

use crate::model::{
    ClusterId, DeploymentId, DesiredStatus, FamilyRevision, HealthStatus, InstanceId, ServiceId,
    Task, TaskId,
};
use crate::store::{document, from_document, parsed, row_count};

/// A statement that selects tasks, with conditions as given. [`read`] reads its columns.
macro_rules! select_tasks {
    ($($rest:literal),+ $(,)?) => {
        concat!(
            "SELECT task_id, cluster_id, instance_id, service_id, deployment_id, family, ",
            "revision, task_group, started_by, launch_type, last_status, desired_status, ",
            "created_at, stopped_at, protected_until, version, details FROM tasks ",
            $($rest),+
        )
    };
}

/// The same for tasks that their agents did not report as stopped.
macro_rules! select_unfinished {
    ($condition:literal, $order:literal) => {
        select_tasks!(
            "WHERE ",
            $condition,
            " AND last_status IN ('PROVISIONING', 'PENDING', 'ACTIVATING', 'RUNNING', ",
            "'DEACTIVATING', 'STOPPING', 'DEPROVISIONING') ",
            $order
        )
    };
}

fn read(row: &Row<'_>) -> db::Result<Task> {
    let text = |column: usize| row.optional_text(column).map(str::to_owned);
    let time = |column: usize| row.optional_integer(column).map(Timestamp::from_ms);
    Ok(Task {
        id: TaskId(row.text(0).to_owned()),
        cluster: ClusterId(row.text(1).to_owned()),
        instance: text(2).map(InstanceId),
        service: text(3).map(ServiceId),
        deployment: text(4).map(DeploymentId),
        definition: FamilyRevision {
            family: row.text(5).to_owned(),
            revision: row.integer(6),
        },
        group: row.text(7).to_owned(),
        started_by: text(8),
        launch_type: parsed(row.text(9))?,
        last_status: parsed(row.text(10))?,
        desired_status: parsed(row.text(11))?,
        created_at: Timestamp::from_ms(row.integer(12)),
        stopped_at: time(13),
        protected_until: time(14),
        version: row.integer(15),
        details: from_document(row.text(16))?,
    })
}

/// Inserts a new task.
pub(crate) fn insert(tx: &mut Tx<'_>, task: &Task) -> db::Result<()> {
    tx.execute(
        "INSERT INTO tasks (task_id, cluster_id, instance_id, service_id, deployment_id, family, \
         revision, task_group, started_by, launch_type, last_status, desired_status, created_at, \
         stopped_at, protected_until, version, details, started_at, health, capacity_provider)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, \
         ?19, ?20)",
        params![
            &task.id.0,
            &task.cluster.0,
            task.instance.as_ref().map(|instance| &instance.0),
            task.service.as_ref().map(|service| &service.0),
            task.deployment.as_ref().map(|deployment| &deployment.0),
            &task.definition.family,
            task.definition.revision,
            &task.group,
            task.started_by.as_ref(),
            task.launch_type.as_str(),
            task.last_status.as_str(),
            task.desired_status.as_str(),
            task.created_at,
            task.stopped_at,
            task.protected_until,
            task.version,
            document(&task.details)?,
            task.details.started_at,
            task.details.health_status.map(HealthStatus::as_str),
            task.details.capacity_provider.as_ref()
        ],
    )?;
    Ok(())
}

/// Writes what can change of a task and returns true, or changes nothing and returns false where
/// the row has no longer the version that `task` was read with. The row's version grows by one;
/// `task` keeps the old one.
pub(crate) fn update(tx: &mut Tx<'_>, task: &Task) -> db::Result<bool> {
    let changed = tx.execute(
        "UPDATE tasks SET instance_id = ?3, last_status = ?4, desired_status = ?5, \
         stopped_at = ?6, protected_until = ?7, version = ?2 + 1, details = ?8, started_at = ?9, \
         health = ?10
         WHERE task_id = ?1 AND version = ?2",
        params![
            &task.id.0,
            task.version,
            task.instance.as_ref().map(|instance| &instance.0),
            task.last_status.as_str(),
            task.desired_status.as_str(),
            task.stopped_at,
            task.protected_until,
            document(&task.details)?,
            task.details.started_at,
            task.details.health_status.map(HealthStatus::as_str)
        ],
    )?;
    Ok(changed == 1)
}

/// Removes a task. Its resources must be free already.
pub(crate) fn delete(tx: &mut Tx<'_>, id: &TaskId) -> db::Result<()> {
    let sql = "DELETE FROM tasks WHERE task_id = ?1";
    tx.execute(sql, params![&id.0]).map(drop)
}

pub(crate) fn by_id(tx: &mut Tx<'_>, id: &TaskId) -> db::Result<Option<Task>> {
    let sql = select_tasks!("WHERE task_id = ?1");
    tx.query_optional(sql, params![&id.0], read)
}

/// The tasks of an instance that its agent did not report as stopped yet: those that it should run,
/// and those that it should stop.
pub(crate) fn of_instance(tx: &mut Tx<'_>, instance: &InstanceId) -> db::Result<Vec<Task>> {
    let sql = select_unfinished!("instance_id = ?1", "ORDER BY task_id");
    tx.query(sql, params![&instance.0], read)
}

/// Up to `limit` tasks of a cluster that wait for capacity, the oldest first.
pub(crate) fn waiting(tx: &mut Tx<'_>, cluster: &ClusterId, limit: usize) -> db::Result<Vec<Task>> {
    let sql = select_tasks!(
        "WHERE instance_id IS NULL AND last_status = 'PROVISIONING' AND cluster_id = ?1 ",
        "AND desired_status = 'RUNNING' ORDER BY created_at, task_id LIMIT ?2"
    );
    tx.query(sql, params![&cluster.0, row_count(limit)], read)
}

/// Up to `limit` clusters with tasks that wait for capacity.
pub(crate) fn clusters_with_waiting(tx: &mut Tx<'_>, limit: usize) -> db::Result<Vec<ClusterId>> {
    tx.query(
        "SELECT DISTINCT cluster_id FROM tasks WHERE instance_id IS NULL \
         AND last_status = 'PROVISIONING' AND desired_status = 'RUNNING' \
         ORDER BY cluster_id LIMIT ?1",
        params![row_count(limit)],
        |row| Ok(ClusterId(row.text(0).to_owned())),
    )
}

/// How many tasks of a cluster wait for capacity; counts up to `limit`.
pub(crate) fn count_waiting(
    tx: &mut Tx<'_>,
    cluster: &ClusterId,
    limit: usize,
) -> db::Result<usize> {
    let rows = tx.query(
        "SELECT 1 FROM tasks WHERE instance_id IS NULL AND last_status = 'PROVISIONING' AND \
         cluster_id = ?1 AND desired_status = 'RUNNING' LIMIT ?2",
        params![&cluster.0, row_count(limit)],
        |_| Ok(()),
    )?;
    Ok(rows.len())
}

/// Up to `limit` tasks that stopped before `before`, the oldest first.
pub(crate) fn stopped_before(
    tx: &mut Tx<'_>,
    before: Timestamp,
    limit: usize,
) -> db::Result<Vec<TaskId>> {
    tx.query(
        "SELECT task_id FROM tasks WHERE stopped_at < ?1 ORDER BY stopped_at, task_id LIMIT ?2",
        params![before, row_count(limit)],
        |row| Ok(TaskId(row.text(0).to_owned())),
    )
}

/// How many tasks of one group an instance has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct GroupCount {
    pub(crate) instance: InstanceId,
    pub(crate) group: String,
    pub(crate) tasks: u32,
    /// Those of them that are `PENDING`; the others run or stop.
    pub(crate) pending: u32,
}

/// The unfinished tasks of an instance, counted by group.
pub(crate) fn groups_of_instance(
    tx: &mut Tx<'_>,
    instance: &InstanceId,
) -> db::Result<Vec<GroupCount>> {
    tx.query(
        "SELECT instance_id, task_group, COUNT(*),
            SUM(CASE WHEN last_status = 'PENDING' THEN 1 ELSE 0 END)
         FROM tasks WHERE instance_id = ?1
         AND last_status IN ('PROVISIONING', 'PENDING', 'ACTIVATING', 'RUNNING', 'DEACTIVATING',
            'STOPPING', 'DEPROVISIONING')
         GROUP BY instance_id, task_group ORDER BY task_group",
        params![&instance.0],
        |row| Ok(read_count(row)),
    )
}

fn read_count(row: &Row<'_>) -> GroupCount {
    let count = |column: usize| u32::try_from(row.integer(column)).unwrap_or(u32::MAX);
    GroupCount {
        instance: InstanceId(row.text(0).to_owned()),
        group: row.text(1).to_owned(),
        tasks: count(2),
        pending: count(3),
    }
}

/// Which tasks a listing is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum TaskScope {
    Cluster,
    Instance(InstanceId),
    Service(ServiceId),
    Family(String),
    StartedBy(String),
}

/// Up to `limit` tasks of the scope with identifiers after `after`, in their order.
pub(crate) fn page(
    tx: &mut Tx<'_>,
    cluster: &ClusterId,
    scope: &TaskScope,
    desired: DesiredStatus,
    after: &str,
    limit: usize,
) -> db::Result<Vec<Task>> {
    let desired = desired.as_str();
    let limit = row_count(limit);
    let (sql, value) = match scope {
        TaskScope::Cluster => {
            let sql = select_tasks!(
                "WHERE cluster_id = ?1 AND desired_status = ?2 AND task_id > ?3 ",
                "ORDER BY task_id LIMIT ?4"
            );
            return tx.query(sql, params![&cluster.0, desired, after, limit], read);
        }
        TaskScope::Instance(instance) => (
            select_tasks!(
                "WHERE cluster_id = ?1 AND desired_status = ?2 AND task_id > ?3 ",
                "AND instance_id = ?5 ORDER BY task_id LIMIT ?4"
            ),
            &instance.0,
        ),
        TaskScope::Service(service) => (
            select_tasks!(
                "WHERE cluster_id = ?1 AND desired_status = ?2 AND task_id > ?3 ",
                "AND service_id = ?5 ORDER BY task_id LIMIT ?4"
            ),
            &service.0,
        ),
        TaskScope::Family(family) => (
            select_tasks!(
                "WHERE cluster_id = ?1 AND desired_status = ?2 AND task_id > ?3 ",
                "AND family = ?5 ORDER BY task_id LIMIT ?4"
            ),
            family,
        ),
        TaskScope::StartedBy(starter) => (
            select_tasks!(
                "WHERE cluster_id = ?1 AND desired_status = ?2 AND task_id > ?3 ",
                "AND started_by = ?5 ORDER BY task_id LIMIT ?4"
            ),
            starter,
        ),
    };
    tx.query(sql, params![&cluster.0, desired, after, limit, value], read)
}

#[cfg(test)]
pub(crate) mod tests {
    use wharfinger_db::testing::every_engine;

    use super::*;
    use crate::model::{LaunchType, TaskDetails, TaskStatus};

    pub(crate) fn task(id: &str) -> Task {
        Task {
            id: TaskId(id.to_owned()),
            cluster: ClusterId("c".to_owned()),
            instance: Some(InstanceId("i".to_owned())),
            service: None,
            deployment: None,
            definition: FamilyRevision {
                family: "web".to_owned(),
                revision: 2,
            },
            group: "family:web".to_owned(),
            started_by: None,
            launch_type: LaunchType::Ec2,
            last_status: TaskStatus::Pending,
            desired_status: DesiredStatus::Running,
            created_at: Timestamp::from_ms(5),
            stopped_at: None,
            protected_until: None,
            version: 1,
            details: TaskDetails {
                cpu: Some("256".to_owned()),
                ..TaskDetails::default()
            },
        }
    }

    #[tokio::test]
    async fn a_task_is_read_as_it_was_written() {
        for db in every_engine(crate::MIGRATIONS) {
            let check = db.write(|tx| -> db::Result<()> {
                let mut first = task("t1");
                insert(tx, &first)?;
                assert_eq!(by_id(tx, &first.id)?, Some(first.clone()));
                assert_eq!(by_id(tx, &TaskId("t2".to_owned()))?, None);

                first.last_status = TaskStatus::Stopped;
                first.desired_status = DesiredStatus::Stopped;
                first.stopped_at = Some(Timestamp::from_ms(9));
                assert!(update(tx, &first)?);
                assert!(!update(tx, &first)?, "the version has moved on");
                first.version = 2;
                assert_eq!(by_id(tx, &first.id)?, Some(first.clone()));
                let at = |ms| Timestamp::from_ms(ms);
                assert_eq!(stopped_before(tx, at(9), 10)?, []);
                assert_eq!(stopped_before(tx, at(10), 10)?, [first.id.clone()]);

                delete(tx, &first.id)?;
                assert_eq!(by_id(tx, &first.id)?, None);
                Ok(())
            });
            check.await.expect("the statements run");
        }
    }

    #[tokio::test]
    async fn tasks_are_found_by_what_they_belong_to() {
        for db in every_engine(crate::MIGRATIONS) {
            let check = db.write(|tx| -> db::Result<()> {
                let service = ServiceId("s".to_owned());
                let mut tasks = ["t1", "t2", "t3"].map(task);
                tasks[0].last_status = TaskStatus::Running;
                tasks[1].service = Some(service.clone());
                tasks[1].started_by = Some("ecs-svc/1".to_owned());
                tasks[2].service = Some(service.clone());
                tasks[2].last_status = TaskStatus::Stopped;
                tasks[2].desired_status = DesiredStatus::Stopped;
                tasks[2].stopped_at = Some(Timestamp::from_ms(7));
                tasks.iter().try_for_each(|task| insert(tx, task))?;
                let [first, second, _stopped] = tasks;

                let instance = InstanceId("i".to_owned());
                let both = [first, second];
                assert_eq!(of_instance(tx, &instance)?, both);
                let groups = groups_of_instance(tx, &instance)?;
                assert_eq!(
                    groups,
                    [GroupCount {
                        instance: instance.clone(),
                        group: "family:web".to_owned(),
                        tasks: 2,
                        pending: 1,
                    }]
                );

                let cluster = ClusterId("c".to_owned());
                let mut list = |scope, desired, after| {
                    let found = page(tx, &cluster, &scope, desired, after, 10)?;
                    db::Result::Ok(found.into_iter().map(|task| task.id.0).collect::<Vec<_>>())
                };
                let running = DesiredStatus::Running;
                assert_eq!(list(TaskScope::Cluster, running, "")?, ["t1", "t2"]);
                assert_eq!(list(TaskScope::Cluster, running, "t1")?, ["t2"]);
                let stopped = DesiredStatus::Stopped;
                assert_eq!(list(TaskScope::Cluster, stopped, "")?, ["t3"]);
                let scope = TaskScope::Service(service.clone());
                assert_eq!(list(scope, running, "")?, ["t2"]);
                assert_eq!(
                    list(TaskScope::Instance(instance), running, "")?,
                    ["t1", "t2"]
                );
                let scope = TaskScope::Family("web".to_owned());
                assert_eq!(list(scope, running, "")?, ["t1", "t2"]);
                let scope = TaskScope::StartedBy("ecs-svc/1".to_owned());
                assert_eq!(list(scope, running, "")?, ["t2"]);
                Ok(())
            });
            check.await.expect("the statements run");
        }
    }

    #[tokio::test]
    async fn tasks_without_an_instance_wait_in_the_order_of_their_age() {
        for db in every_engine(crate::MIGRATIONS) {
            let check = db.write(|tx| -> db::Result<()> {
                let mut tasks = ["t1", "t2", "t3"].map(task);
                for (task, created) in tasks.iter_mut().zip([9, 4, 6]) {
                    task.instance = None;
                    task.last_status = TaskStatus::Provisioning;
                    task.created_at = Timestamp::from_ms(created);
                }
                tasks[2].desired_status = DesiredStatus::Stopped;
                tasks.iter().try_for_each(|task| insert(tx, task))?;
                let [first, second, _] = tasks;
                let cluster = ClusterId("c".to_owned());
                assert_eq!(waiting(tx, &cluster, 9)?, [second.clone(), first]);
                assert_eq!(waiting(tx, &cluster, 1)?, [second]);
                Ok(())
            });
            check.await.expect("the statements run");
        }
    }
}
