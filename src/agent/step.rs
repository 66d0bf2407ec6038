//! What is to be done next for a task, from what it shall be and what it is. PURE.
//!
//! Source: ECS developer guide, "Container dependency", "Container timeouts", "Container restart
//! policy"; the behaviour of the Amazon ECS agent where these say nothing.

mod dependencies;
#[cfg(test)]
mod tests;

use wharfinger_base::Timestamp;
use wharfinger_ecs_protocol::DesiredStatus;

use crate::plan::{ContainerPlan, TaskPlan};
use crate::step::dependencies::{Outcome, outcome};
use crate::view::{ContainerState, ContainerView, Exit, TaskView, Work};

/// The next actions for a task, and its status.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Step {
    pub(crate) actions: Vec<Action>,
    /// When to look again although nothing has happened: a wait ends then.
    pub(crate) wake_at: Option<Timestamp>,
    pub(crate) status: TaskStatus,
    /// Why the task ends, if it does.
    pub(crate) cause: Option<StopCause>,
}

/// Something to do for a container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    Pull(String),
    Create(String),
    Start(String),
    /// Start a container that ended once more.
    Restart(String),
    /// Send the stop signal, and kill the container after its time limit.
    Stop(String),
    /// Give up a pull.
    Abandon(String),
    /// Do not start a container: what it depends on cannot come about any more.
    Fail(String, Unresolvable),
}

/// Why a dependency cannot come about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Unresolvable {
    /// The other container is not what the condition needs, and will not be.
    Impossible { on: String, condition: &'static str },
    /// The other container took longer than its start timeout.
    TimedOut { on: String, condition: &'static str },
}

/// The status of a task as agents report it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum TaskStatus {
    Pending,
    Running,
    Stopped,
}

/// Why a task ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum StopCause {
    /// The control plane wants it.
    Requested,
    /// An essential container ended.
    EssentialExited,
    /// An essential container could not be started.
    FailedToStart,
}

/// Decides what to do next.
pub(crate) fn step(plan: &TaskPlan, view: &TaskView, now: Timestamp) -> Step {
    let cause = stop_cause(plan, view);
    let mut wake_at = None;
    let actions = if cause.is_some() {
        stopping(plan, view)
    } else {
        running(plan, view, now, &mut wake_at)
    };
    Step {
        actions,
        wake_at,
        status: status(view, cause.is_some()),
        cause,
    }
}

fn stop_cause(plan: &TaskPlan, view: &TaskView) -> Option<StopCause> {
    if view.desired == DesiredStatus::Stopped {
        return Some(StopCause::Requested);
    }
    let essential = plan.containers.iter().filter(|one| one.essential);
    let states = essential.filter_map(|one| {
        let state = view.containers.get(&one.name)?.state;
        Some((one, state))
    });
    // The container that holds the namespace is as essential as any.
    let mut cause = view
        .has_lost_namespace
        .then_some(StopCause::EssentialExited);
    for (container, state) in states {
        match state {
            ContainerState::Failed => return Some(StopCause::FailedToStart),
            ContainerState::Exited(exit) if !restarts(container, &exit) => {
                cause = Some(StopCause::EssentialExited);
            }
            _ => {}
        }
    }
    cause
}

/// Whether a container that ended so is started again while its task runs.
fn restarts(container: &ContainerPlan, exit: &Exit) -> bool {
    container.restart.as_ref().is_some_and(|rule| {
        !rule.ignored_exit_codes.contains(&exit.code) && exit.at.since(exit.since) >= rule.period
    })
}

fn status(view: &TaskView, stopping: bool) -> TaskStatus {
    let mut containers = view.containers.values();
    if stopping && view.containers.values().all(is_settled) {
        return TaskStatus::Stopped;
    }
    if containers.all(|one| one.state.is_past_start()) {
        TaskStatus::Running
    } else {
        TaskStatus::Pending
    }
}

/// Whether nothing of the container runs and nothing is being done for it.
fn is_settled(container: &ContainerView) -> bool {
    container.work.is_none() && !container.state.is_running()
}

/// The next actions of a task that shall run.
fn running(
    plan: &TaskPlan,
    view: &TaskView,
    now: Timestamp,
    wake_at: &mut Option<Timestamp>,
) -> Vec<Action> {
    let mut actions = Vec::new();
    for container in &plan.containers {
        let Some(seen) = view.containers.get(&container.name) else {
            continue;
        };
        if seen.work.is_some() {
            continue;
        }
        let name = container.name.clone();
        match seen.state {
            ContainerState::Absent => actions.push(Action::Pull(name)),
            ContainerState::Pulled if may_be_created(container, view) => {
                actions.push(Action::Create(name));
            }
            ContainerState::Created => match outcome(plan, container, view, now) {
                Outcome::Met => actions.push(Action::Start(name)),
                Outcome::Never(why) => actions.push(Action::Fail(name, why)),
                Outcome::Waiting(until) => {
                    *wake_at = [*wake_at, until].into_iter().flatten().min();
                }
            },
            ContainerState::Exited(exit) if restarts(container, &exit) => {
                actions.push(Action::Restart(name));
            }
            // What it would be created with is not there and never will be.
            ContainerState::Pulled if lacks_predecessor(container, view) => {
                let on = container.create_after.iter();
                let on = on.map(String::as_str).collect::<Vec<_>>().join(", ");
                let condition = "CREATE";
                actions.push(Action::Fail(
                    name,
                    Unresolvable::Impossible { on, condition },
                ));
            }
            _ => {}
        }
    }
    actions
}

fn may_be_created(container: &ContainerPlan, view: &TaskView) -> bool {
    container.create_after.iter().all(|name| {
        let other = view.containers.get(name).map(|other| other.state);
        !matches!(
            other,
            None | Some(ContainerState::Absent | ContainerState::Pulled | ContainerState::Failed)
        )
    })
}

fn lacks_predecessor(container: &ContainerPlan, view: &TaskView) -> bool {
    container.create_after.iter().any(|name| {
        let other = view.containers.get(name).map(|other| other.state);
        matches!(other, None | Some(ContainerState::Failed))
    })
}

/// The next actions of a task that ends: a container is stopped when everything that depends on it
/// has ended.
fn stopping(plan: &TaskPlan, view: &TaskView) -> Vec<Action> {
    let mut actions = Vec::new();
    let mut live = Vec::new();
    for container in &plan.containers {
        let Some(seen) = view.containers.get(&container.name) else {
            continue;
        };
        if seen.work == Some(Work::Pull) {
            actions.push(Action::Abandon(container.name.clone()));
        } else if !is_settled(seen) {
            live.push((container, seen));
        }
    }
    let dependants_live = |name: &str| {
        let depends = |one: &ContainerPlan| one.depends_on.iter().any(|other| other.on == name);
        live.iter().any(|(one, _)| one.name != name && depends(one))
    };
    let mut free: Vec<_> = live
        .iter()
        .filter(|(one, _)| !dependants_live(&one.name))
        .collect();
    if free.is_empty() {
        // Only a cycle leaves none, and a task must end all the same.
        free = live.iter().collect();
    }
    for (container, seen) in free {
        // One that is being started is stopped when it has started.
        if seen.work.is_none() {
            actions.push(Action::Stop(container.name.clone()));
        }
    }
    actions
}
