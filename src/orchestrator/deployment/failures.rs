//! PURE: what failed starts mean: pauses between starts, and the count of the circuit breaker.

use std::time::Duration;

use wharfinger_base::Timestamp;

use crate::deployment::event::Event;
use crate::deployment::plan::{Change, Plan, StopCause};
use crate::deployment::view::{EndCause, EndedTask, Health, Phase, StartHistory, View};
use crate::model::DeploymentRolloutState::InProgress;

/// Failures in a row after which starts wait: at least and at most so many, else the desired count.
const FEWEST_TOLERATED: usize = 3;
const MOST_TOLERATED: usize = 100;

/// The first pause; it doubles with each further round of failures.
const FIRST_PAUSE: Duration = Duration::from_secs(10);

/// The longest pause (ECS developer guide, "Amazon ECS service throttle logic").
const LONGEST_PAUSE: Duration = Duration::from_mins(15);

/// What is known of failures after the ended tasks were considered.
pub(super) struct Failures {
    pub(super) starts: StartHistory,
    /// What counts for the circuit breaker.
    pub(super) failed_tasks: i64,
    healthy_tasks: i64,
}

impl Failures {
    /// Whether starts wait.
    pub(super) fn throttled(&self, now: Timestamp) -> bool {
        // A pause that ends later than any is of a clock that went back since.
        let latest = now.plus(LONGEST_PAUSE);
        (self.starts.throttled_until).is_some_and(|until| until > now && until <= latest)
    }

    /// How many tasks may start at a time: fewer while starts fail.
    pub(super) fn most_starts(&self, desired: usize) -> usize {
        if self.starts.failed == 0 {
            usize::MAX
        } else {
            tolerated(desired)
        }
    }

    /// Records what the circuit breaker counts, with the tasks that the plan stops for their
    /// health.
    pub(super) fn record(&self, view: &View, plan: &mut Plan) {
        let primary = &view.deployments[0];
        let mut failed_tasks = self.failed_tasks;
        if primary.rollout == InProgress {
            let sick = |change: &&Change| {
                matches!(
                    change,
                    Change::Stop {
                        cause: StopCause::Unhealthy,
                        ..
                    }
                )
            };
            failed_tasks += signed(plan.changes.iter().filter(sick).count());
        }
        if (failed_tasks, self.healthy_tasks) != (primary.failed_tasks, primary.healthy_tasks) {
            plan.push(Change::Progress {
                failed_tasks,
                healthy_tasks: self.healthy_tasks,
            });
        }
    }
}

fn tolerated(desired: usize) -> usize {
    desired.clamp(FEWEST_TOLERATED, MOST_TOLERATED)
}

/// Considers the ended tasks.
pub(super) fn consider(view: &View, now: Timestamp, plan: &mut Plan) -> Failures {
    if !view.ended.is_empty() {
        let ended = view.ended.iter().map(|task| task.id.clone());
        plan.push(Change::Considered(ended.collect()));
    }
    let starts = starts(view, now);
    if starts != view.service.starts {
        if starts.throttled_until.is_some_and(|until| until > now)
            && starts.throttled_until != view.service.starts.throttled_until
        {
            plan.push(Change::Event(Event::CannotStart));
        }
        plan.push(Change::Starts(starts));
    }
    let (failed_tasks, healthy_tasks) = breaker_count(view, now);
    Failures {
        starts,
        failed_tasks,
        healthy_tasks,
    }
}

/// Ended tasks of the primary deployment.
fn of_primary(view: &View) -> impl Iterator<Item = &EndedTask> {
    let of_primary = |task: &&EndedTask| task.deployment == Some(0);
    view.ended.iter().filter(of_primary)
}

/// A start that failed: the task ended by itself before it ran.
fn is_failed_start(task: &EndedTask) -> bool {
    !task.has_run && task.cause == EndCause::Itself
}

fn starts(view: &View, now: Timestamp) -> StartHistory {
    let mut starts = view.service.starts;
    let failed = of_primary(view)
        .filter(|task| is_failed_start(task))
        .count();
    let since = |task: &Timestamp| starts.last_failed_at.is_none_or(|failed| *task > failed);
    let runs = view.tasks.iter().any(|task| {
        task.is_primary()
            && task.phase == Phase::Running
            && task.started_at.as_ref().is_some_and(since)
    });
    if runs || of_primary(view).any(|task| task.has_run) {
        starts = StartHistory::default();
    }
    if failed > 0 {
        let tolerated = tolerated(view.service.desired);
        let failed = u32::try_from(failed).unwrap_or(u32::MAX);
        starts.failed = starts.failed.saturating_add(failed);
        starts.last_failed_at = Some(now);
        let rounds = starts.failed as usize / tolerated;
        if rounds > 0 {
            let doublings = u32::try_from(rounds - 1).unwrap_or(u32::MAX);
            let factor = 2_u32.checked_pow(doublings).unwrap_or(u32::MAX);
            let pause = FIRST_PAUSE.saturating_mul(factor).min(LONGEST_PAUSE);
            starts.throttled_until = Some(now.plus(pause));
        }
    }
    starts
}

/// The failures of the primary deployment that count, and how many of its tasks are healthy.
fn breaker_count(view: &View, now: Timestamp) -> (i64, i64) {
    let primary = &view.deployments[0];
    if primary.rollout != InProgress {
        return (primary.failed_tasks, primary.healthy_tasks);
    }
    let resets = view.service.breaker.resets;
    let healthy = view.tasks.iter().filter(|task| {
        let is_live = task.is_primary() && task.phase != Phase::Stopping;
        is_live && view.health(task, now) == Health::Healthy
    });
    let healthy = signed(healthy.count());
    let counts = |task: &&EndedTask| {
        is_failed_start(task) || (!resets && task.has_run && task.cause == EndCause::Itself)
    };
    let new = signed(of_primary(view).filter(counts).count());
    let kept = if resets && healthy > primary.healthy_tasks {
        0
    } else {
        primary.failed_tasks
    };
    (kept.saturating_add(new), healthy)
}

fn signed(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}
