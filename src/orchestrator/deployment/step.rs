//! PURE: the decision about one service.

use wharfinger_base::Timestamp;

use crate::deployment::event::Event;
use crate::deployment::failures::{self, Failures};
use crate::deployment::plan::{Change, Plan, StopCause};
use crate::deployment::view::{Health, Phase, Scheduling, StopRequest, View};
use crate::deployment::{daemon, replicas};
use crate::model::DeploymentRolloutState::{Completed, Failed, InProgress};

/// Decides what is to be done for a service at `now`. Repeated with the changes carried out, it
/// ends: nothing is wanted in a state that is as wanted.
pub(crate) fn step(view: &View, now: Timestamp) -> Plan {
    let mut plan = Plan::default();
    if view.service.is_draining {
        drain(view, &mut plan);
        return plan;
    }
    let Some(primary) = view.deployments.first() else {
        return plan;
    };
    let failures = failures::consider(view, now, &mut plan);
    if primary.rollout == InProgress && ends(view, &failures, &mut plan) {
        plan.again = true;
        return plan;
    }
    let expected = if view.service.scheduling == Scheduling::Daemon {
        daemon::plan(view, now, &failures, &mut plan)
    } else {
        replicas::plan(view, now, &failures, &mut plan);
        view.service.desired
    };
    retire(view, &mut plan);
    settle(view, now, expected, &failures, &mut plan);
    failures.record(view, &mut plan);
    announce_times(view, now, &failures, &mut plan);
    plan
}

/// Stops what is left of a deleted service.
fn drain(view: &View, plan: &mut Plan) {
    let live: Vec<_> = (0..view.tasks.len())
        .filter(|task| view.tasks[*task].phase != Phase::Stopping)
        .collect();
    if live.is_empty() {
        plan.push(Change::Deactivate);
    }
    plan.stop(view, live, StopCause::Scaling);
}

/// Ends the primary deployment where a user requested it or too much failed.
fn ends(view: &View, failures: &Failures, plan: &mut Plan) -> bool {
    let (service, primary) = (&view.service, &view.deployments[0]);
    let breaker = service.breaker;
    let failed = usize::try_from(failures.failed_tasks).unwrap_or_default();
    let triggered = breaker.enabled && failed >= breaker.threshold.of(service.desired);
    let rolls_back = match primary.stop {
        Some(StopRequest::Abort) => false,
        Some(StopRequest::RollBack) => true,
        None if triggered => breaker.rolls_back && !primary.is_rollback,
        None => return false,
    };
    // Before a change after which another deployment is the primary one.
    failures.record(view, plan);
    plan.push(Change::Fail {
        request: primary.stop,
    });
    if primary.stop.is_none() {
        plan.push(Change::Event(Event::Failed(primary.id.clone())));
    }
    if let (true, Some(to)) = (rolls_back, &view.rollback_to) {
        plan.push(Change::RollBack { to: to.clone() });
        plan.push(Change::Event(Event::RollingBack(to.clone())));
    }
    true
}

/// Ends replaced deployments that have no tasks.
fn retire(view: &View, plan: &mut Plan) {
    let mut has_tasks = vec![false; view.deployments.len()];
    for deployment in view.tasks.iter().filter_map(|task| task.deployment) {
        if let Some(known) = has_tasks.get_mut(deployment) {
            *known = true;
        }
    }
    let replaced = view.deployments.iter().zip(has_tasks).skip(1);
    for (deployment, _) in replaced.filter(|(_, has_tasks)| !has_tasks) {
        plan.push(Change::Retire(deployment.id.clone()));
    }
}

/// Completes the deployment, and reports the steady state: exactly the expected tasks exist, all
/// of the primary deployment and healthy.
fn settle(view: &View, now: Timestamp, expected: usize, failures: &Failures, plan: &mut Plan) {
    let primary = &view.deployments[0];
    let settled = view.tasks.len() == expected
        && view.tasks.iter().all(|task| {
            let is_live = task.is_primary() && task.phase == Phase::Running;
            is_live && view.health(task, now) == Health::Healthy && !view.is_draining(task)
        });
    if settled && primary.rollout == InProgress {
        plan.push(Change::Complete);
        plan.push(Change::Event(Event::Completed(primary.id.clone())));
    }
    let steady = settled && primary.rollout != Failed;
    if steady && !view.service.is_steady {
        plan.push(Change::Steady(true));
        plan.push(Change::Event(Event::SteadyState));
    } else if !steady && view.service.is_steady {
        plan.push(Change::Steady(false));
    } else if steady && primary.rollout == Completed && !failures.throttled(now) {
        replicas::rebalance(view, plan);
    }
}

/// Names the next time at which the same view wants something else.
fn announce_times(view: &View, now: Timestamp, failures: &Failures, plan: &mut Plan) {
    for task in &view.tasks {
        if let (Phase::Running, Some(time)) = (task.phase, view.matures_at(task)) {
            plan.look_at(time, now);
        }
        if let Some(time) = task.protected_until {
            plan.look_at(time, now);
        }
    }
    if let Some(time) = failures.starts.throttled_until {
        plan.look_at(time, now);
    }
}
