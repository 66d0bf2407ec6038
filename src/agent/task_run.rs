//! Runs one task: decides, acts, watches, keeps its record and reports it, until its containers are
//! removed.

mod actions;
mod apply;
mod attend;

use std::collections::BTreeMap;
use std::net::TcpListener;
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use tokio::task::{AbortHandle, JoinSet};
use wharfinger_base::Timestamp;
use wharfinger_ecs_protocol::DesiredStatus;

use crate::backoff::Backoff;
use crate::context::Context;
use crate::images::{PullError, PulledImage, ResolvedImage};
use crate::inbox::{Inbox, Messages};
use crate::plan::TaskPlan;
use crate::record::{NamespaceRecord, TaskRecord};
use crate::report::report;
use crate::roles::TaskRoles;
use crate::runtime::Inspection;
use crate::shown::{Shown, Snapshot};
use crate::step::{Action, Step, TaskStatus, step};
use crate::task_run::attend::Attendance;
use crate::view::{ContainerState, Work};

/// A task that is run.
pub(crate) struct TaskRun {
    context: Arc<Context>,
    inbox: Arc<Inbox>,
    record: TaskRecord,
    plan: TaskPlan,
    work: BTreeMap<String, Work>,
    pulls: BTreeMap<String, AbortHandle>,
    under_way: JoinSet<Outcome>,
    /// Whether a report is on its way. The next one waits for it, so that reports arrive in order.
    submitting: bool,
    /// The record as it lies on the disk.
    saved: Vec<u8>,
    shown: Arc<Shown>,
    roles: Arc<TaskRoles>,
    attendance: Attendance,
}

/// The end of something that was under way.
enum Outcome {
    Resolved(String, Result<ResolvedImage, PullError>),
    Pulled(String, Result<PulledImage, PullError>),
    Created(String, Result<Created, String>),
    Started(String, Result<Started, String>),
    Stopped(String, Result<Inspection, String>),
    /// `None` for a container that is not there any more.
    Inspected(String, Option<Inspection>),
    /// The same of the container that holds the network namespace.
    InspectedNamespace(Option<Inspection>),
    /// The control plane knows this report, or will never take it.
    Submitted(Value),
}

/// A container that was made.
struct Created {
    runtime_id: String,
    namespace: Option<NamespaceRecord>,
    /// Listens in the namespace.
    listener: Option<TcpListener>,
}

/// A container that was started.
struct Started {
    seen: Inspection,
    /// Listens in its namespace.
    listener: Option<TcpListener>,
}

impl TaskRun {
    pub(crate) fn new(
        context: Arc<Context>,
        inbox: Arc<Inbox>,
        shown: Arc<Shown>,
        record: TaskRecord,
    ) -> Self {
        Self {
            plan: TaskPlan::of(&record.task),
            context,
            inbox,
            record,
            work: BTreeMap::new(),
            pulls: BTreeMap::new(),
            under_way: JoinSet::new(),
            submitting: false,
            saved: Vec::new(),
            shown,
            roles: Arc::default(),
            attendance: Attendance::default(),
        }
    }

    /// Runs the task until it has ended, the control plane knows it, and its containers are
    /// removed. May be dropped at any time: a later run goes on where this one was.
    pub(crate) async fn run(mut self) {
        self.roles.set(&self.record.task);
        self.reply_on_host();
        self.resume().await;
        if !self.plan.is_resolvable() {
            self.fail_all();
        }
        loop {
            let now = self.context.clock.now();
            let step = step(&self.plan, &self.record.view(&self.work), now);
            self.note_times(&step, now);
            for action in &step.actions {
                self.perform(action);
            }
            self.save().await;
            self.shown.set(Snapshot::of(&self.record, &step));
            self.submit(&step);
            let ended = step.status == TaskStatus::Stopped && !self.submitting;
            if ended && self.under_way.is_empty() {
                break;
            }
            // Abandoned pulls need no outcome to be looked at again.
            if step
                .actions
                .iter()
                .any(|action| matches!(action, Action::Abandon(_) | Action::Fail(..)))
            {
                continue;
            }
            tokio::select! {
                Some(outcome) = self.under_way.join_next() => {
                    if let Ok(outcome) = outcome {
                        self.apply(outcome);
                    }
                }
                messages = self.inbox.take() => self.take(messages),
                () = until(step.wake_at, now) => {}
            }
        }
        self.context
            .host_endpoints
            .served
            .remove(&self.record.task.arn);
        self.attendance.end().await;
        self.context.end_namespace(&self.record).await;
        self.clean_up().await;
    }

    /// Looks at what an earlier run made.
    async fn resume(&mut self) {
        let names: Vec<(String, String)> = self
            .record
            .containers
            .iter()
            .filter(|(_, one)| {
                matches!(
                    one.state,
                    ContainerState::Pulled
                        | ContainerState::Created
                        | ContainerState::Running { .. }
                )
            })
            .map(|(name, one)| (name.clone(), one.runtime_name.clone()))
            .collect();
        for (name, runtime_name) in names {
            let seen = self.context.inspect(&runtime_name).await;
            let was_made = !matches!(
                self.record.containers.get(&name).map(|one| one.state),
                Some(ContainerState::Pulled)
            );
            if let Some(seen) = &seen {
                let listening = self.context.listen_in_container(&self.record.task, seen);
                let listener = listening.await;
                self.reply_on(Some(&name), listener);
            }
            if seen.is_some() || was_made {
                self.apply(Outcome::Inspected(name, seen));
            }
        }
        if let Some(id) = self.record.namespace_id() {
            let seen = self.context.inspect(&id).await;
            self.apply(Outcome::InspectedNamespace(seen));
        }
        self.attend_again().await;
    }

    /// Takes what others say.
    fn take(&mut self, messages: Messages) {
        if messages.stop {
            self.record.desired = DesiredStatus::Stopped;
        }
        if let Some(credentials) = messages.application {
            self.record.task.role_credentials = Some(credentials);
        }
        if let Some(credentials) = messages.execution {
            self.record.task.execution_role_credentials = Some(credentials);
        }
        self.roles.set(&self.record.task);
        let namespace = self.record.namespace_id();
        if let Some(id) = namespace
            && (messages.look_at_all || messages.changed.contains(&id))
        {
            self.look_at_namespace(id);
        }
        let changed = messages.changed.iter();
        let changed = changed.filter_map(|id| self.record.container_of(id));
        let mut names: Vec<String> = changed.map(ToOwned::to_owned).collect();
        if messages.look_at_all {
            let all = self.record.containers.iter();
            let running = all.filter(|(_, one)| one.state.is_running());
            names.extend(running.map(|(name, _)| name.clone()));
        }
        for name in names {
            self.look_at(&name);
        }
    }

    /// Notes when pulls began and ended, and when the task's end began.
    fn note_times(&mut self, step: &Step, now: Timestamp) {
        let record = &mut self.record;
        if step
            .actions
            .iter()
            .any(|action| matches!(action, Action::Pull(_)))
        {
            record.pull_started_at.get_or_insert(now);
        }
        let mut states = record.containers.values().map(|one| one.state);
        if record.pull_started_at.is_some() && states.all(|state| state != ContainerState::Absent) {
            record.pull_stopped_at.get_or_insert(now);
        }
        if step.cause.is_some() {
            record.execution_stopped_at.get_or_insert(now);
        }
        if step.status == TaskStatus::Stopped {
            record.stopped_at.get_or_insert(now);
        }
    }

    /// Sends what the control plane does not know yet.
    fn submit(&mut self, step: &Step) {
        let Some(body) = report(&self.record, step, &self.context.cluster) else {
            return;
        };
        if self.submitting || self.record.reported.as_ref() == Some(&body) {
            return;
        }
        self.submitting = true;
        let context = Arc::clone(&self.context);
        self.under_way.spawn(async move {
            context.submit(&body).await;
            Outcome::Submitted(body)
        });
    }

    /// Stores the record if it has changed.
    async fn save(&mut self) {
        let text = serde_json::to_vec(&self.record).unwrap_or_default();
        if text != self.saved {
            self.context.save(self.record.id(), text.clone()).await;
            self.saved = text;
        }
    }

    /// Removes the containers of the ended task after a while.
    async fn clean_up(self) {
        let context = &self.context;
        let stopped = self.record.stopped_at.unwrap_or_default();
        let now = context.clock.now();
        let wait = stopped.plus(context.cleanup_wait).since(now);
        tokio::time::sleep(wait).await;
        let mut backoff = Backoff::of_removals(context.ids.clone());
        while !context.remove_task(&self.record).await {
            backoff.wait().await;
        }
    }
}

/// Waits until a time; for ever without one.
async fn until(time: Option<Timestamp>, now: Timestamp) {
    match time {
        Some(time) => tokio::time::sleep(time.since(now) + Duration::from_millis(1)).await,
        None => std::future::pending().await,
    }
}
