//! PURE: the changes that a decision wants.

use wharfinger_base::Timestamp;

use crate::deployment::event::Event;
use crate::deployment::view::{Phase, StartHistory, StopRequest, View};
use crate::model::{DeploymentId, InstanceId, TaskId};

/// Most tasks that one decision starts, and most that it stops: a transaction of so many takes some
/// tens of milliseconds, and a user of the index waits no longer than that.
pub(super) const MAX_BATCH: usize = 1_000;

/// Why a task is stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum StopCause {
    /// The service needs fewer tasks, or others.
    Scaling,
    /// Its container health check failed.
    Unhealthy,
}

/// One change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    /// Starts tasks of the primary deployment, in one availability zone if it names one.
    Start {
        count: usize,
        zone: Option<String>,
    },
    /// Starts a task of the primary deployment on each of these instances.
    StartOn(Vec<InstanceId>),
    Stop {
        task: TaskId,
        cause: StopCause,
    },
    /// These ended tasks are considered by this decision.
    Considered(Vec<TaskId>),
    Starts(StartHistory),
    /// What the circuit breaker counts of the primary deployment.
    Progress {
        failed_tasks: i64,
        healthy_tasks: i64,
    },
    /// The primary deployment is complete.
    Complete,
    /// The primary deployment failed, or was stopped on request.
    Fail {
        request: Option<StopRequest>,
    },
    /// A new deployment brings back what this one ran.
    RollBack {
        to: DeploymentId,
    },
    /// A replaced deployment has no tasks any more.
    Retire(DeploymentId),
    /// Whether the service is in its steady state.
    Steady(bool),
    /// A daemon service wants this many tasks.
    DesiredCount(usize),
    /// A deleted service has nothing left to stop.
    Deactivate,
    Event(Event),
}

/// What is to be done, and when to look again if nothing happens before.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Plan {
    pub(crate) changes: Vec<Change>,
    pub(crate) next: Option<Timestamp>,
    /// The bounds of a batch left something to do.
    pub(crate) again: bool,
}

impl Plan {
    pub(super) fn push(&mut self, change: Change) {
        self.changes.push(change);
    }

    /// Wants a look at `time`, if that is to come.
    pub(super) fn look_at(&mut self, time: Timestamp, now: Timestamp) {
        if time > now && self.next.is_none_or(|next| time < next) {
            self.next = Some(time);
        }
    }

    /// Plans to stop tasks (places in [`View::tasks`]) and reports it.
    pub(super) fn stop(&mut self, view: &View, tasks: Vec<usize>, cause: StopCause) {
        let (mut running, mut pending) = (Vec::new(), 0);
        self.again |= tasks.len() > MAX_BATCH;
        for task in tasks.into_iter().take(MAX_BATCH) {
            let task = &view.tasks[task];
            if cause == StopCause::Unhealthy {
                self.push(Change::Event(Event::Unhealthy(task.id.clone())));
            }
            if task.phase == Phase::Running {
                running.push(task.id.clone());
            } else {
                pending += 1;
            }
            let task = task.id.clone();
            self.push(Change::Stop { task, cause });
        }
        if !running.is_empty() {
            self.push(Change::Event(Event::StoppedRunning(running)));
        }
        if pending > 0 {
            self.push(Change::Event(Event::StoppedPending(pending)));
        }
    }
}
