//! PURE: starts and stops of a service that keeps a task on each instance.

use wharfinger_base::Timestamp;

use crate::deployment::bounds::Bounds;
use crate::deployment::failures::Failures;
use crate::deployment::plan::{Change, MAX_BATCH, Plan, StopCause};
use crate::deployment::view::{Health, InstanceRole, Phase, TaskFacts, View};
use crate::model::DeploymentRolloutState::Failed;

/// Plans the daemon's tasks; returns how many there should be.
pub(super) fn plan(view: &View, now: Timestamp, failures: &Failures, plan: &mut Plan) -> usize {
    let mut has_task = vec![false; view.instances.len()];
    let mut has_primary = vec![false; view.instances.len()];
    let (mut healthy, mut serving) = (0, 0);
    for task in &view.tasks {
        if let Some(known) = task.instance.and_then(|place| has_task.get_mut(place)) {
            *known = true;
        }
        if task.phase != Phase::Stopping {
            let health = view.health(task, now);
            healthy += usize::from(health == Health::Healthy);
            serving += usize::from(matches!(health, Health::Healthy | Health::Maturing));
        }
    }
    let places = 0..view.instances.len();
    let wanted: Vec<usize> = places
        .filter(|place| match view.instances[*place].role {
            InstanceRole::Usable => true,
            // Nobody knows whether it is lost. It counts while it has a task.
            InstanceRole::Silent => has_task[*place],
            InstanceRole::Draining | InstanceRole::Unfit => false,
        })
        .collect();
    if wanted.len() != view.service.desired {
        plan.push(Change::DesiredCount(wanted.len()));
    }
    let Bounds { low, .. } = view.service.percents.of(wanted.len());
    let failed = view.deployments[0].rollout == Failed;
    let (mut stops, mut sick) = (Vec::new(), Vec::new());
    for (place, task) in view.tasks.iter().enumerate() {
        if task.phase == Phase::Stopping {
            continue;
        }
        let health = view.health(task, now);
        let is_first = task.instance.is_none_or(|instance| {
            let known = has_primary.get_mut(instance);
            known.is_none_or(|known| !task.is_primary() || !std::mem::replace(known, true))
        });
        if must_go(view, task) || !is_first {
            stops.push(place);
        } else if !task.is_primary() {
            let spared = failed || task.is_protected(now);
            let allowed = match health {
                Health::Starting | Health::Unhealthy => true,
                Health::Maturing => serving > low,
                Health::Healthy => serving > low && healthy > low,
            };
            if allowed && !spared {
                serving -= usize::from(matches!(health, Health::Healthy | Health::Maturing));
                healthy -= usize::from(health == Health::Healthy);
                stops.push(place);
            }
        } else if health == Health::Unhealthy && !failed {
            sick.push(place);
        }
    }
    if !failed && !failures.throttled(now) {
        let free = wanted.iter().filter(|place| {
            !has_task[**place] && view.instances[**place].role == InstanceRole::Usable
        });
        let most = failures.most_starts(wanted.len()).min(MAX_BATCH);
        let mut starts: Vec<_> = free
            .map(|place| view.instances[*place].id.clone())
            .collect();
        plan.again |= starts.len() > MAX_BATCH;
        starts.truncate(most);
        if !starts.is_empty() {
            plan.push(Change::StartOn(starts));
        }
    }
    plan.stop(view, stops, StopCause::Scaling);
    plan.stop(view, sick, StopCause::Unhealthy);
    wanted.len()
}

/// Whether the instance has no place for the task. On one that drains, daemons go last.
fn must_go(view: &View, task: &TaskFacts) -> bool {
    view.instance(task)
        .is_some_and(|instance| match instance.role {
            InstanceRole::Usable | InstanceRole::Silent => false,
            InstanceRole::Draining => !instance.has_other_tasks,
            InstanceRole::Unfit => true,
        })
}
