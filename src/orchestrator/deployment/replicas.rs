//! PURE: starts and stops of a service that keeps a number of tasks.
//!
//! A task is *kept* if it belongs to the primary deployment and may stay where it is. It is
//! *replaced* if it belongs to an older deployment or its instance drains, and *sick* if its health
//! check fails. Replaced tasks go as soon as the lower bound allows; a sick one goes when another
//! task has become healthy, or when only its end makes space for a replacement.

use std::collections::BTreeMap;

use wharfinger_base::Timestamp;

use crate::deployment::bounds::Bounds;
use crate::deployment::event::Event;
use crate::deployment::failures::Failures;
use crate::deployment::plan::{Change, MAX_BATCH, Plan, StopCause};
use crate::deployment::scale_in::order;
use crate::deployment::view::{Health, InstanceRole, Phase, Scheduling, View};
use crate::model::DeploymentRolloutState::Failed;

/// The live tasks of a service by what is to become of them: places in [`View::tasks`].
#[derive(Default)]
struct Classes {
    kept: Vec<(usize, Health)>,
    replaced: Vec<(usize, Health)>,
    sick: Vec<usize>,
    stopping: usize,
}

/// How many tasks may still be stopped without falling below the lower bound.
struct Reserve {
    low: usize,
    /// Tasks that are known to be healthy.
    healthy: usize,
    /// These, and replaced tasks that run and are not known to be unhealthy: until the service has
    /// others, it lives on them.
    serving: usize,
}

impl Reserve {
    /// Takes one task out, if that is allowed.
    fn take(&mut self, health: Health, is_replaced: bool) -> bool {
        let above = |count: usize| count > self.low;
        match health {
            Health::Starting | Health::Unhealthy => true,
            Health::Maturing if !is_replaced => true,
            Health::Maturing if above(self.serving) => {
                self.serving -= 1;
                true
            }
            Health::Healthy if above(self.healthy) && above(self.serving) => {
                self.healthy -= 1;
                self.serving -= 1;
                true
            }
            Health::Maturing | Health::Healthy => false,
        }
    }
}

impl Classes {
    fn of(view: &View, now: Timestamp) -> Self {
        let mut classes = Self::default();
        for (place, task) in view.tasks.iter().enumerate() {
            if task.phase == Phase::Stopping {
                classes.stopping += 1;
                continue;
            }
            let health = view.health(task, now);
            if !task.is_primary() || view.is_draining(task) {
                classes.replaced.push((place, health));
            } else if health == Health::Unhealthy {
                classes.sick.push(place);
            } else {
                classes.kept.push((place, health));
            }
        }
        classes
    }

    fn healthy(&self) -> usize {
        let healthy = |(_, health): &&(usize, Health)| *health == Health::Healthy;
        self.kept.iter().filter(healthy).count()
    }

    fn total(&self) -> usize {
        self.kept.len() + self.replaced.len() + self.sick.len() + self.stopping
    }

    fn reserve(&self, low: usize) -> Reserve {
        let replaced = |wanted: &[Health]| {
            let matches = |(_, health): &&(usize, Health)| wanted.contains(health);
            self.replaced.iter().filter(matches).count()
        };
        let kept = self.healthy();
        Reserve {
            low,
            healthy: kept + replaced(&[Health::Healthy]),
            serving: kept + replaced(&[Health::Healthy, Health::Maturing]),
        }
    }
}

pub(super) fn plan(view: &View, now: Timestamp, failures: &Failures, plan: &mut Plan) {
    let desired = view.service.desired;
    let Bounds { low, high } = view.service.percents.of(desired);
    let classes = Classes::of(view, now);
    let mut reserve = classes.reserve(low);
    if view.deployments[0].rollout == Failed {
        stop_surplus_of_all(view, now, &classes, &mut reserve, plan);
        return;
    }
    let missing = desired.saturating_sub(classes.kept.len());
    let space = high.saturating_sub(classes.total());
    let starts = if failures.throttled(now) {
        0
    } else {
        missing.min(space).min(failures.most_starts(desired))
    };
    plan.again |= starts > MAX_BATCH;
    let batch = starts.min(MAX_BATCH);
    if batch > 0 {
        plan.push(Change::Start {
            count: batch,
            zone: None,
        });
    }
    let mut stops = surplus(view, now, &classes, &mut reserve);
    stops.extend(replaced(view, now, &classes, &mut reserve));
    let sick = sick(&classes, desired, missing > 0 && space == 0);
    let idle = batch == 0 && stops.is_empty() && sick.is_empty();
    if idle && missing > 0 && space == 0 && is_blocked(&classes) {
        plan.push(Change::Event(Event::Blocked));
    }
    plan.stop(view, stops, StopCause::Scaling);
    plan.stop(view, sick, StopCause::Unhealthy);
}

/// Nothing that is under way will change the numbers.
fn is_blocked(classes: &Classes) -> bool {
    let unsettled = |(_, health): &(usize, Health)| *health != Health::Healthy;
    let mut tasks = classes.kept.iter().chain(&classes.replaced);
    classes.stopping == 0 && !classes.replaced.is_empty() && !tasks.any(unsettled)
}

/// Kept tasks above the desired count. Those that do not serve yet go first, unless zones are kept
/// in balance: then a task that starts in an emptier zone is what balances them.
fn surplus(view: &View, now: Timestamp, classes: &Classes, reserve: &mut Reserve) -> Vec<usize> {
    let mut left = classes.kept.len().saturating_sub(view.service.desired);
    if left == 0 {
        return Vec::new();
    }
    let health: BTreeMap<usize, Health> = classes.kept.iter().copied().collect();
    let free = |(place, _): &&(usize, Health)| !view.tasks[*place].is_protected(now);
    let places = |wanted: &[Health]| -> Vec<usize> {
        let kept = classes.kept.iter().filter(free);
        let kept = kept.filter(|(_, health)| wanted.contains(health));
        kept.map(|(place, _)| *place).collect()
    };
    let classes = [Health::Healthy, Health::Maturing, Health::Starting];
    let candidates = if view.service.scheduling == Scheduling::BalancedReplicas {
        // The last one on an instance goes first.
        order(view, &classes.map(|health| places(&[health])).concat())
    } else {
        let first = classes.iter().rev();
        first
            .flat_map(|health| order(view, &places(&[*health])))
            .collect()
    };
    let mut stops = Vec::new();
    for place in candidates {
        if left == 0 || !reserve.take(health[&place], false) {
            break;
        }
        left -= 1;
        stops.push(place);
    }
    stops
}

/// Replaced tasks that the lower bound lets go.
fn replaced(view: &View, now: Timestamp, classes: &Classes, reserve: &mut Reserve) -> Vec<usize> {
    let mut stops = Vec::new();
    for wanted in [
        Health::Starting,
        Health::Unhealthy,
        Health::Maturing,
        Health::Healthy,
    ] {
        let of_class = classes.replaced.iter().filter(|(place, health)| {
            let task = &view.tasks[*place];
            // An instance that drains spares nothing.
            let spared = task.is_protected(now) && !view.is_draining(task);
            *health == wanted && !spared
        });
        let places: Vec<_> = of_class.map(|(place, _)| *place).collect();
        let allowed = order(view, &places).into_iter();
        stops.extend(allowed.take_while(|_| reserve.take(wanted, true)));
    }
    stops
}

/// Sick tasks that are replaced already, or the one whose end makes space.
fn sick(classes: &Classes, desired: usize, lacks_space: bool) -> Vec<usize> {
    let awaited = desired.saturating_sub(classes.healthy());
    let surplus = classes.sick.len().saturating_sub(awaited);
    let starting = |(_, health): &(usize, Health)| *health != Health::Healthy;
    let waits = classes.stopping > 0 || classes.kept.iter().any(starting);
    let count = if surplus == 0 && lacks_space && !waits {
        1
    } else {
        surplus
    };
    classes.sick.iter().take(count).copied().collect()
}

/// After a failed deployment nothing is replaced, but a lower desired count is respected: by tasks
/// that serve nobody, then by those of the failed deployment.
fn stop_surplus_of_all(
    view: &View,
    now: Timestamp,
    classes: &Classes,
    reserve: &mut Reserve,
    plan: &mut Plan,
) {
    let mut live: Vec<_> = classes
        .kept
        .iter()
        .chain(&classes.replaced)
        .copied()
        .collect();
    live.extend(classes.sick.iter().map(|place| (*place, Health::Unhealthy)));
    let left = live.len().saturating_sub(view.service.desired);
    live.retain(|(place, _)| !view.tasks[*place].is_protected(now));
    live.sort_by_key(|(place, health)| {
        let serves = matches!(health, Health::Healthy | Health::Maturing);
        (serves, !view.tasks[*place].is_primary(), *place)
    });
    let mut stops = Vec::new();
    for (place, health) in live {
        if stops.len() < left && reserve.take(health, !view.tasks[place].is_primary()) {
            stops.push(place);
        }
    }
    plan.stop(view, stops, StopCause::Scaling);
}

/// Starts a task in the emptiest availability zone if the fullest one has two more. A later
/// decision stops the surplus one in the fullest.
pub(super) fn rebalance(view: &View, plan: &mut Plan) {
    if view.service.scheduling != Scheduling::BalancedReplicas {
        return;
    }
    let usable = view.instances.iter();
    let usable = usable.filter(|instance| instance.role == InstanceRole::Usable);
    let zones = usable.filter_map(|instance| instance.zone.as_deref());
    let mut counts: BTreeMap<&str, usize> = zones.map(|zone| (zone, 0)).collect();
    let instances = view.tasks.iter().filter_map(|task| view.instance(task));
    for zone in instances.filter_map(|instance| instance.zone.as_deref()) {
        // A zone without a usable instance has tasks to give, and takes none.
        *counts.entry(zone).or_default() += 1;
    }
    let takes = |zone: &str| {
        let mut instances = view.instances.iter();
        instances.any(|instance| {
            instance.role == InstanceRole::Usable && instance.zone.as_deref() == Some(zone)
        })
    };
    let emptiest = counts.iter().filter(|(zone, _)| takes(zone));
    let Some((zone, least)) = emptiest.min_by_key(|(_, count)| **count) else {
        return;
    };
    let most = counts.values().max().copied().unwrap_or_default();
    let Bounds { high, .. } = view.service.percents.of(view.service.desired);
    if most < *least + 2 || view.tasks.len() >= high {
        return;
    }
    let zones = counts
        .iter()
        .map(|(zone, count)| ((*zone).to_owned(), *count));
    plan.push(Change::Event(Event::Unbalanced(zones.collect())));
    plan.push(Change::Start {
        count: 1,
        zone: Some((*zone).to_owned()),
    });
}
