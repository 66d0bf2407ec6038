//! What each instance should run, and what its agent reports of that.

mod credentials_ids;
mod image_digests;
mod reports;

use std::sync::Arc;

use quick_cache::sync::Cache;
use wharfinger_base::{Clock, Timestamp};
use wharfinger_db::{self as db, Db, Tx};

use crate::agent_sessions::{AgentSession, AgentSessions};
use crate::error::Result;
use crate::model::{
    AccountRegion, Cluster, ContainerInstance, FamilyRevision, InstanceId, InstanceStatus, Task,
    TaskDefinition, TaskId, TaskStopCode,
};
use crate::nodes::Nodes;
use crate::service_wake::ServiceWake;
use crate::store;
pub use crate::store::assignments::AssignedTask;
pub(crate) use reports::stop_all;
pub use reports::{Reporter, registrant};

/// Instances whose sign of life one transaction records.
const SEEN_BATCH: usize = 500;
/// Instances that one statement of [`Assignments::poll`] reads.
const POLLED: usize = 1_000;
/// Task definitions that are kept in memory: of at most 64 KiB each.
const DEFINITIONS: usize = 256;

/// The assignments of instances. Clones share the sessions.
#[derive(Clone)]
pub struct Assignments {
    db: Db,
    clock: Clock,
    sessions: AgentSessions,
    nodes: Nodes,
    services: ServiceWake,
    definitions: Arc<Cache<DefinitionKey, Arc<TaskDefinition>>>,
}

/// A revision never changes in what is read of it here.
type DefinitionKey = (AccountRegion, FamilyRevision);

/// A task with its definition, for the payload of its agent.
#[derive(Clone, Debug)]
pub struct TaskToRun {
    pub task: Task,
    pub definition: Arc<TaskDefinition>,
}

impl Assignments {
    pub(super) fn new(
        db: Db,
        clock: Clock,
        sessions: AgentSessions,
        nodes: Nodes,
        services: ServiceWake,
    ) -> Self {
        Self {
            db,
            clock,
            sessions,
            nodes,
            services,
            definitions: Arc::new(Cache::new(DEFINITIONS)),
        }
    }

    /// Begins the session of an instance's agent, after which tasks are placed there; `None` for an
    /// instance that is deregistered. A session that it had here is told to end.
    pub async fn connect(&self, instance: &InstanceId) -> Result<Option<AgentSession>> {
        let (id, now) = (instance.clone(), self.clock.now());
        // Begun first, so that no wake-up is lost.
        let session = self.sessions.begin(instance, now);
        let work = move |tx: &mut Tx<'_>| -> Result<bool> {
            let found = store::instances::by_id(tx, &id)?;
            if found.is_none_or(|found| found.status == InstanceStatus::Inactive) {
                return Ok(false);
            }
            store::instances::set_connected(tx, &id, true, now)?;
            Ok(true)
        };
        let is_active = self.db.write(work).await?;
        self.note_instance(instance);
        Ok(is_active.then_some(session))
    }

    /// Whether the agent of an instance began anew and has yet to take the tasks that ran, which
    /// are told on its next connection too, whatever server that is to.
    pub async fn is_beginning(&self, instance: &InstanceId) -> Result<bool> {
        let id = instance.clone();
        let read = move |tx: &mut Tx<'_>| store::assignments::is_beginning(tx, &id);
        Ok(self.db.get::<_, _, db::Error>(read).await?)
    }

    /// Records the same.
    pub async fn note_beginning(&self, instance: &InstanceId, begins: bool) -> Result<()> {
        let id = instance.clone();
        let work = move |tx: &mut Tx<'_>| store::assignments::set_beginning(tx, &id, begins);
        Ok(self.db.write::<_, _, db::Error>(work).await?)
    }

    pub(crate) fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// Ends a session. The instance gets no further tasks until its agent connects again, unless it
    /// has done so already.
    pub async fn disconnect(&self, session: AgentSession) -> Result<()> {
        if session.is_replaced() {
            return Ok(());
        }
        let (id, last_seen) = (session.instance().clone(), session.last_seen());
        drop(session);
        let instance = id.clone();
        let work = move |tx: &mut Tx<'_>| store::assignments::set_disconnected(tx, &id, last_seen);
        self.db.write(work).await?;
        self.note_instance(&instance);
        Ok(())
    }

    /// The instance of the cluster, also an inactive one.
    pub async fn instance(
        &self,
        cluster: &Cluster,
        id: &InstanceId,
    ) -> Result<Option<ContainerInstance>> {
        let (cluster, id) = (cluster.id.clone(), id.clone());
        let read = move |tx: &mut Tx<'_>| store::instances::by_id(tx, &id);
        let found = self.db.get::<_, _, db::Error>(read).await?;
        Ok(found.filter(|found| found.cluster == cluster))
    }

    /// The agents that hold a connection to this server.
    #[must_use]
    pub fn session_count(&self) -> usize {
        self.sessions.count()
    }

    /// Records the signs of life that agents gave to this server since the last call.
    pub(crate) async fn record_seen(&self, now: Timestamp) -> Result<()> {
        let seen = self.sessions.take_seen(now);
        for batch in seen.chunks(SEEN_BATCH) {
            let batch = batch.to_vec();
            let work = move |tx: &mut Tx<'_>| {
                let mut batch = batch.iter();
                batch.try_for_each(|(id, at)| {
                    store::instances::set_connected(tx, id, true, *at).map(drop)
                })
            };
            self.db.write::<_, (), db::Error>(work).await?;
        }
        Ok(())
    }

    /// Records signs of life after `latest`, which are of a clock that went back, as of `now`:
    /// else the silence of an agent is not noticed until the clock is there again.
    pub(crate) async fn correct_seen(&self, now: Timestamp, latest: Timestamp) -> Result<()> {
        let work = move |tx: &mut Tx<'_>| store::instances::correct_seen(tx, now, latest);
        Ok(self.db.write::<_, _, db::Error>(work).await?)
    }

    /// Wakes the sessions of this server whose instances have tasks that wait for their agent:
    /// for changes that other servers made.
    pub(crate) async fn poll(&self) -> Result<usize> {
        if self.sessions.count() == 0 {
            return Ok(0);
        }
        let (mut after, mut found) = (String::new(), 0);
        loop {
            let from = after.clone();
            let read =
                move |tx: &mut Tx<'_>| store::assignments::instances_that_wait(tx, &from, POLLED);
            let waiting = self.db.read::<_, _, db::Error>(read).await?;
            for instance in &waiting {
                self.sessions.wake(instance);
            }
            found += waiting.len();
            match waiting.last() {
                Some(last) if waiting.len() == POLLED => after.clone_from(&last.0),
                _ => return Ok(found),
            }
        }
    }

    /// Records that up to `limit` agents without a sign of life since `before` have no connection;
    /// returns how many. Those that this server hears are not among them, whatever is recorded.
    pub(crate) async fn disconnect_silent(&self, before: Timestamp, limit: usize) -> Result<usize> {
        let sessions = self.sessions.clone();
        let work = move |tx: &mut Tx<'_>| -> Result<Vec<ContainerInstance>> {
            let mut silent = store::instances::silent_since(tx, before, limit)?;
            silent.retain(|instance| !sessions.is_heard(&instance.id, before));
            for instance in &silent {
                store::assignments::set_disconnected(tx, &instance.id, before)?;
            }
            Ok(silent)
        };
        let silent = self.db.write(work).await?;
        for instance in &silent {
            self.note_instance(&instance.id);
        }
        Ok(silent.len())
    }

    /// Stops the tasks of up to `limit` instances without a connection since `before`; returns how
    /// many instances there were.
    pub(crate) async fn stop_lost(&self, before: Timestamp, limit: usize) -> Result<usize> {
        let read = move |tx: &mut Tx<'_>| store::assignments::lost_since(tx, before, limit);
        let lost = self.db.read::<_, _, db::Error>(read).await?;
        let now = self.clock.now();
        for id in &lost {
            let lost = id.clone();
            let work = move |tx: &mut Tx<'_>| -> Result<usize> {
                let id = &lost;
                let Some(instance) = store::instances::by_id(tx, id)? else {
                    return Ok(0);
                };
                if instance.agent_connected || instance.seen_at >= before {
                    return Ok(0);
                }
                let host = instance
                    .details
                    .ec2_instance_id
                    .unwrap_or_else(|| id.0.clone());
                let reason = format!("Host EC2 (instance {host}) terminated.");
                let code = Some(TaskStopCode::TerminationNotice);
                stop_all(tx, id, code, &reason, now)
            };
            let stopped = self.db.write(work).await?;
            self.note_instance(id);
            tracing::warn!(instance = id.0, tasks = stopped, "an instance is lost");
        }
        Ok(lost.len())
    }

    /// Tells placement and services that an instance changed. To be called after the commit.
    fn note_instance(&self, instance: &InstanceId) {
        self.nodes.note(instance);
        self.services.touch_all();
    }

    /// The tasks of an instance about which its agent may have to be told.
    pub async fn waiting(&self, instance: &InstanceId) -> Result<Vec<AssignedTask>> {
        let id = instance.clone();
        let read = move |tx: &mut Tx<'_>| store::assignments::waiting_of_instance(tx, &id);
        Ok(self.db.get::<_, _, db::Error>(read).await?)
    }

    /// All tasks of an instance that are not stopped.
    pub async fn manifest(&self, instance: &InstanceId) -> Result<Vec<AssignedTask>> {
        let id = instance.clone();
        let read = move |tx: &mut Tx<'_>| store::assignments::of_instance(tx, &id);
        Ok(self.db.get::<_, _, db::Error>(read).await?)
    }

    /// Those of the tasks that the instance still has, with their definitions. A task without its
    /// definition cannot be run, and is stopped.
    pub async fn tasks(
        &self,
        home: &AccountRegion,
        instance: &InstanceId,
        ids: &[TaskId],
    ) -> Result<Vec<TaskToRun>> {
        let (home, instance, ids) = (home.clone(), instance.clone(), ids.to_vec());
        let definitions = Arc::clone(&self.definitions);
        let read = move |tx: &mut Tx<'_>| -> Result<(Vec<TaskToRun>, Vec<Task>)> {
            let (mut found, mut undefined) = (Vec::with_capacity(ids.len()), Vec::new());
            for id in &ids {
                let task = store::tasks::by_id(tx, id)?;
                let Some(task) = task.filter(|task| is_of(task, &instance)) else {
                    continue;
                };
                match definition_of(tx, &definitions, &home, &task)? {
                    Some(definition) => found.push(TaskToRun { task, definition }),
                    None => undefined.push(task),
                }
            }
            Ok((found, undefined))
        };
        let (found, undefined) = self.db.get(read).await?;
        for task in undefined {
            let reason = format!("The task definition {} is missing.", task.definition);
            tracing::warn!(task = task.id.0, reason, "a task cannot be run");
            self.fail(&task.id, &reason).await?;
        }
        Ok(found)
    }

    /// Forgets the task definitions that are kept in memory, because all data was deleted.
    pub(crate) fn forget_definitions(&self) {
        self.definitions.clear();
    }
}

fn is_of(task: &Task, instance: &InstanceId) -> bool {
    task.instance.as_ref() == Some(instance)
}

/// The definition of a task. It exists for as long as the task does, but for damage to the index.
fn definition_of(
    tx: &mut Tx<'_>,
    known: &Cache<DefinitionKey, Arc<TaskDefinition>>,
    home: &AccountRegion,
    task: &Task,
) -> Result<Option<Arc<TaskDefinition>>> {
    let key = (home.clone(), task.definition.clone());
    if let Some(definition) = known.get(&key) {
        return Ok(Some(definition));
    }
    let found = store::task_definitions::by_name(tx, home, &task.definition)?;
    let found = found.map(Arc::new);
    if let Some(definition) = &found {
        known.insert(key, Arc::clone(definition));
    }
    Ok(found)
}

#[cfg(test)]
mod tests;
