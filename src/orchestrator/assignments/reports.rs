//! What agents report of tasks, and tasks that stop without their agent.

use std::collections::BTreeMap;
use std::sync::Arc;

use wharfinger_base::Timestamp;
use wharfinger_db::{self as db, Tx};
use wharfinger_iam::Caller;

use crate::assignments::{Assignments, definition_of, image_digests};
use crate::error::{Error, Result};
use crate::model::{Cluster, HealthStatus, InstanceId, Task, TaskId, TaskStatus, TaskStopCode};
use crate::state_change::{self, TaskReport};
use crate::store;

/// Attachments of one report. A task has at most one, and agents report each by itself.
const MAX_ATTACHMENTS: usize = 100;

/// Whom a report comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reporter<'a> {
    /// A principal by its unique id: it may report for the instances that it registered.
    Principal(&'a str),
    /// Whoever was found to be allowed to report for an instance: its agent on a connection that
    /// was authorised, or an administrator.
    Instance(&'a InstanceId),
}

/// Whom a report must come from, as a transaction checks it.
enum Allowed {
    Principal(String),
    Instance(InstanceId),
}

impl From<Reporter<'_>> for Allowed {
    fn from(reporter: Reporter<'_>) -> Self {
        match reporter {
            Reporter::Principal(principal) => Self::Principal(principal.to_owned()),
            Reporter::Instance(instance) => Self::Instance(instance.clone()),
        }
    }
}

/// What a caller is known by as the one that registered an instance: a user or a role by its unique
/// id, with all sessions of the role, and the root by its account.
#[must_use]
pub fn registrant(caller: &Caller) -> &str {
    caller.unique_id().unwrap_or_else(|| caller.user_id())
}

impl Assignments {
    /// The tasks of the cluster with these attachments, by identifier or ARN, each with the states
    /// that are reported of its own.
    ///
    /// # Errors
    /// [`Error::InvalidParameter`] for too many.
    pub async fn of_attachments(
        &self,
        cluster: &Cluster,
        reported: &[(String, String)],
    ) -> Result<Vec<(TaskId, Vec<(String, String)>)>> {
        if reported.len() > MAX_ATTACHMENTS {
            return Err(Error::InvalidParameter(format!(
                "At most {MAX_ATTACHMENTS} attachments can be reported at once."
            )));
        }
        let mut by_task: BTreeMap<TaskId, Vec<(String, String)>> = BTreeMap::new();
        for one in reported {
            let id = state_change::task_of_attachment(&one.0);
            if !id.0.bytes().all(|byte| byte.is_ascii_hexdigit()) {
                continue;
            }
            by_task.entry(id).or_default().push(one.clone());
        }
        let cluster = cluster.id.clone();
        let read = move |tx: &mut Tx<'_>| {
            let mut found = Vec::new();
            for (id, reported) in &by_task {
                let task = store::tasks::by_id(tx, id)?;
                if task.is_some_and(|task| task.cluster == cluster) {
                    found.push((id.clone(), reported.clone()));
                }
            }
            Ok(found)
        };
        Ok(self.db.read::<_, _, db::Error>(read).await?)
    }

    /// Records what an agent reports of a task.
    ///
    /// # Errors
    /// [`Error::InvalidParameter`] for a task that is not known, which agents do not repeat;
    /// [`Error::OtherRegistrant`] for a principal that did not register the task's instance;
    /// [`Error::NotAllowed`] for a task of another instance or of none.
    pub async fn report(
        &self,
        cluster: &Cluster,
        id: &TaskId,
        reporter: Reporter<'_>,
        report: TaskReport,
    ) -> Result<()> {
        let now = self.clock.now();
        let (home, definitions) = (cluster.name.home.clone(), Arc::clone(&self.definitions));
        let change = move |tx: &mut Tx<'_>, task: &Task| {
            let changed = state_change::apply(task, &report, now);
            if let Some(changed) = &changed {
                let definition = |tx: &mut Tx<'_>| definition_of(tx, &definitions, &home, task);
                image_digests::keep(tx, changed, definition)?;
            }
            Ok(changed)
        };
        self.change(cluster, id, reporter, change).await
    }

    /// Records the health of a task's containers, by name.
    ///
    /// # Errors
    /// As [`Assignments::report`].
    pub async fn report_health(
        &self,
        cluster: &Cluster,
        id: &TaskId,
        reporter: Reporter<'_>,
        health: Vec<(String, HealthStatus)>,
    ) -> Result<()> {
        let (home, definitions) = (cluster.name.home.clone(), Arc::clone(&self.definitions));
        let change = move |tx: &mut Tx<'_>, task: &Task| {
            let definition = definition_of(tx, &definitions, &home, task)?;
            let containers = definition
                .iter()
                .flat_map(|one| &one.document.container_definitions);
            let counts = |name: &str| {
                let mut containers = containers.clone();
                let found = containers.find(|one| one.name.as_deref() == Some(name));
                found.is_some_and(|one| one.essential.unwrap_or(true) && one.health_check.is_some())
            };
            Ok(state_change::apply_health(task, &health, counts))
        };
        self.change(cluster, id, reporter, change).await
    }

    /// Stops a task that its agent cannot be told to run, such as one whose role cannot be assumed.
    pub async fn fail(&self, id: &TaskId, reason: &str) -> Result<()> {
        let (id, reason, now) = (id.clone(), reason.to_owned(), self.clock.now());
        let work = move |tx: &mut Tx<'_>| -> Result<Option<(TaskStatus, Task)>> {
            let Some(task) = store::tasks::by_id(tx, &id)? else {
                return Ok(None);
            };
            let code = Some(TaskStopCode::TaskFailedToStart);
            let Some(stopped) = state_change::lost(&task, code, &reason, now) else {
                return Ok(None);
            };
            write(tx, &task, &stopped)?;
            Ok(Some((task.last_status, stopped)))
        };
        if let Some((status_before, stopped)) = self.db.write(work).await? {
            self.note(status_before, &stopped);
        }
        Ok(())
    }

    async fn change(
        &self,
        cluster: &Cluster,
        id: &TaskId,
        reporter: Reporter<'_>,
        change: impl Fn(&mut Tx<'_>, &Task) -> Result<Option<Task>> + Send + Sync + 'static,
    ) -> Result<()> {
        let (cluster, id) = (cluster.id.clone(), id.clone());
        let allowed = Allowed::from(reporter);
        let work = move |tx: &mut Tx<'_>| -> Result<Option<(TaskStatus, Task)>> {
            let task = store::tasks::by_id(tx, &id)?;
            let task = task.filter(|task| task.cluster == cluster);
            let task = task.ok_or_else(|| unknown_task(&id))?;
            check_reporter(tx, &task, &allowed)?;
            let Some(changed) = change(tx, &task)? else {
                return Ok(None);
            };
            write(tx, &task, &changed)?;
            Ok(Some((task.last_status, changed)))
        };
        if let Some((status_before, changed)) = self.db.write(work).await? {
            self.note(status_before, &changed);
        }
        Ok(())
    }

    /// Tells placement and the reconciler of services that a task changed.
    fn note(&self, status_before: TaskStatus, changed: &Task) {
        match &changed.instance {
            Some(instance) if changed.last_status == TaskStatus::Stopped => {
                self.nodes.note(instance);
            }
            Some(instance) if changed.last_status != status_before => {
                self.nodes.note_counts(instance);
            }
            _ => {}
        }
        if let Some(service) = &changed.service {
            self.services.touch(service);
        }
    }
}

/// Stops all tasks of an instance without its agent, because it is gone.
pub(crate) fn stop_all(
    tx: &mut Tx<'_>,
    instance: &InstanceId,
    code: Option<TaskStopCode>,
    reason: &str,
    now: Timestamp,
) -> Result<usize> {
    let tasks = store::tasks::of_instance(tx, instance)?;
    for task in &tasks {
        if let Some(stopped) = state_change::lost(task, code, reason, now) {
            write(tx, task, &stopped)?;
        }
    }
    Ok(tasks.len())
}

fn unknown_task(id: &TaskId) -> Error {
    Error::InvalidParameter(format!("Could not find the task {}.", id.0))
}

/// Checks that a report comes from whom it must come from.
fn check_reporter(tx: &mut Tx<'_>, task: &Task, allowed: &Allowed) -> Result<()> {
    const MESSAGE: &str =
        "Only the principal that registered the container instance of a task may report for it.";
    let not_allowed = || Err(Error::NotAllowed(MESSAGE.to_owned()));
    let Some(instance) = &task.instance else {
        return not_allowed();
    };
    let principal = match allowed {
        Allowed::Instance(own) if own == instance => return Ok(()),
        Allowed::Instance(_) => return not_allowed(),
        Allowed::Principal(principal) => principal,
    };
    let registered_by = store::instances::registered_by(tx, instance)?;
    if registered_by.is_some_and(|registered_by| registered_by == *principal) {
        return Ok(());
    }
    Err(Error::OtherRegistrant {
        instance: instance.clone(),
        message: MESSAGE,
    })
}

/// Writes a task as it was changed, and gives back what it took when it stopped.
pub(super) fn write(tx: &mut Tx<'_>, before: &Task, changed: &Task) -> Result<()> {
    // Read in this transaction: another change in between makes the transaction run again.
    if !store::tasks::update(tx, changed)? {
        return Err(Error::Index(db::Error::Conflict));
    }
    let stops = changed.last_status == TaskStatus::Stopped;
    if let (true, Some(instance)) = (
        stops && before.last_status != TaskStatus::Stopped,
        &changed.instance,
    ) {
        store::instances::release(tx, instance, &changed.details.reservation)?;
    }
    Ok(())
}
