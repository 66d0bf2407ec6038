//! Tasks: started, stopped, described, listed and protected.

mod explain;
mod launch;
mod listing;
mod new_task;
mod placing;
mod prepared;
mod protection;
mod queue;
mod request;
mod start;
#[cfg(test)]
mod tests;
mod waiting;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

pub use explain::ExplainedPlacement;
pub(crate) use launch::check_network;
pub use launch::{
    Launch, check_expression, check_launch, check_launch_type, check_overrides, check_placement,
    check_platform,
};
pub use listing::TaskFilter;
pub use protection::{Protection, ProtectionFailure};
pub(crate) use request::ServiceGuard;
pub use request::{ClientToken, Placement, StartTasks, StartedTasks};
use wharfinger_base::{Clock, Ids, Timestamp};
use wharfinger_db::{self as db, Db, Tx};

use crate::agent_sessions::AgentSessions;
use crate::error::{Error, Result};
use crate::model::{
    ClusterId, Connectivity, DesiredStatus, InstanceId, Task, TaskId, TaskStatus, TaskStopCode,
};
use crate::nodes::Nodes;
use crate::service_wake::ServiceWake;
use crate::store::{instances, tasks as store};

/// Most characters of a reason that are kept (ECS API reference, `StopTask`).
const MAX_REASON: usize = 1024;

/// How often a change is tried again that lost a race with another one of the same task.
const MAX_ATTEMPTS: usize = 8;

/// Operations on tasks.
#[derive(Clone)]
pub struct Tasks {
    db: Db,
    clock: Clock,
    ids: Ids,
    nodes: Nodes,
    sessions: AgentSessions,
    services: ServiceWake,
    starts: Arc<queue::Queues>,
}

impl Tasks {
    pub(super) fn new(
        db: Db,
        clock: Clock,
        ids: Ids,
        nodes: Nodes,
        sessions: AgentSessions,
        services: ServiceWake,
    ) -> Self {
        Self {
            db,
            clock,
            ids,
            nodes,
            sessions,
            services,
            starts: Arc::default(),
        }
    }

    /// The task of the cluster, if it is known: a stopped one is for a while.
    pub async fn find(&self, cluster: &ClusterId, id: &TaskId) -> Result<Option<Task>> {
        let mut found = self.find_all(cluster, std::slice::from_ref(id)).await?;
        Ok(found.pop().flatten())
    }

    /// The tasks of the cluster with these identifiers, in their order.
    pub async fn find_all(&self, cluster: &ClusterId, ids: &[TaskId]) -> Result<Vec<Option<Task>>> {
        let (cluster, ids) = (cluster.clone(), ids.to_vec());
        let read = move |tx: &mut Tx<'_>| {
            let found = ids.iter().map(|id| {
                let task = store::by_id(tx, id)?;
                Ok(task.filter(|task| task.cluster == cluster))
            });
            found.collect::<db::Result<Vec<_>>>()
        };
        Ok(self.db.get(read).await?)
    }

    /// The same as they are described: those whose agent has no connection are disconnected.
    pub async fn describe(&self, cluster: &ClusterId, ids: &[TaskId]) -> Result<Vec<Option<Task>>> {
        let mut found = self.find_all(cluster, ids).await?;
        let live = |task: &&mut Task| task.last_status != TaskStatus::Stopped;
        let of_tasks = found.iter().flatten();
        let instances: BTreeSet<_> = of_tasks.filter_map(|task| task.instance.clone()).collect();
        let read = move |tx: &mut Tx<'_>| {
            let found = instances.iter().map(|id| instances::by_id(tx, id));
            found.collect::<db::Result<Vec<_>>>()
        };
        let read = self.db.get::<_, _, db::Error>(read).await?;
        let lost = read.into_iter().flatten();
        let lost = lost.filter(|instance| !instance.agent_connected);
        let lost: BTreeMap<_, _> = lost.map(|one| (one.id, one.seen_at)).collect();
        for task in found.iter_mut().flatten().filter(live) {
            let seen_at = task.instance.as_ref().and_then(|id| lost.get(id));
            if let (Some(seen_at), Some(_)) = (seen_at, task.details.connectivity) {
                task.details.connectivity = Some(Connectivity::Disconnected);
                task.details.connectivity_at = Some(*seen_at);
            }
        }
        Ok(found)
    }

    /// Tells a task to stop, and returns it. The first reason stays. A task that no instance has is
    /// stopped at once; any other when its agent reports it.
    ///
    /// # Errors
    /// [`Error::InvalidParameter`] for a task that is not known.
    pub async fn stop(&self, id: &TaskId, code: TaskStopCode, reason: &str) -> Result<Task> {
        let reason: String = reason.chars().take(MAX_REASON).collect();
        let now = self.clock.now();
        let change = move |task: &mut Task| request_stop(task, code, &reason, now);
        let (task, was_changed) = self.change(id, change).await?;
        if was_changed {
            if let Some(instance) = &task.instance {
                self.sessions.wake(instance);
            }
            self.touch_service(&task);
        }
        Ok(task)
    }

    /// Changes a task by a function that tells whether there is something to write. Returns the
    /// task, and whether it was changed.
    async fn change(
        &self,
        id: &TaskId,
        change: impl Fn(&mut Task) -> bool + Clone + Send + 'static,
    ) -> Result<(Task, bool)> {
        for _ in 0..MAX_ATTEMPTS {
            let (id, change) = (id.clone(), change.clone());
            let work = move |tx: &mut Tx<'_>| -> Result<Option<(Task, bool)>> {
                let missing =
                    || Error::InvalidParameter("The referenced task was not found.".to_owned());
                let mut task = store::by_id(tx, &id)?.ok_or_else(missing)?;
                if !change(&mut task) {
                    return Ok(Some((task, false)));
                }
                if !store::update(tx, &task)? {
                    return Ok(None);
                }
                task.version += 1;
                Ok(Some((task, true)))
            };
            if let Some(changed) = self.db.write(work).await? {
                return Ok(changed);
            }
        }
        Err(Error::Index(db::Error::Conflict))
    }

    /// Wakes the agents of instances whose tasks changed. To be called after the commit.
    pub(crate) fn wake_agents(&self, instances: &[InstanceId]) {
        for instance in instances {
            self.sessions.wake(instance);
        }
    }

    /// Tells the reconciler of services that a task changed. To be called after the commit.
    fn touch_service(&self, task: &Task) {
        if let Some(service) = &task.service {
            self.services.touch(service);
        }
    }
}

/// Tells a task to stop; false if it was told before. The first reason stays. A task that no
/// instance has is stopped at once.
pub(crate) fn request_stop(
    task: &mut Task,
    code: TaskStopCode,
    reason: &str,
    now: Timestamp,
) -> bool {
    if task.desired_status == DesiredStatus::Stopped {
        return false;
    }
    task.desired_status = DesiredStatus::Stopped;
    let details = &mut task.details;
    details.stop_code = details.stop_code.or(Some(code));
    details
        .stopped_reason
        .get_or_insert_with(|| reason.to_owned());
    details.stopping_at = Some(now);
    if task.instance.is_none() {
        task.last_status = TaskStatus::Stopped;
        task.stopped_at = Some(now);
        for container in &mut details.containers {
            container.last_status = Some(TaskStatus::Stopped.as_str().to_owned());
        }
    }
    true
}
