//! PURE: which tasks go first, so that those which stay are spread.

use std::collections::{BTreeMap, BTreeSet};

use crate::deployment::view::{Phase, View};

/// The tasks of one availability zone that may go, by instance.
#[derive(Default)]
struct Zone {
    count: usize,
    /// Instances with a candidate: the number of tasks, and the instance.
    fullest: BTreeSet<(usize, Option<usize>)>,
}

/// Orders `candidates` (places in [`View::tasks`]): the next one is in the availability zone with
/// the most tasks of the service, and there on the instance with the most. Of several on an
/// instance, the last one of `candidates` comes first.
pub(super) fn order(view: &View, candidates: &[usize]) -> Vec<usize> {
    let zone_of = |instance: Option<usize>| {
        let instance = instance.and_then(|instance| view.instances.get(instance));
        instance.and_then(|instance| instance.zone.as_deref())
    };
    let mut by_zone: BTreeMap<Option<&str>, Zone> = BTreeMap::new();
    let mut by_instance: BTreeMap<Option<usize>, usize> = BTreeMap::new();
    for task in view
        .tasks
        .iter()
        .filter(|task| task.phase != Phase::Stopping)
    {
        by_zone.entry(zone_of(task.instance)).or_default().count += 1;
        *by_instance.entry(task.instance).or_default() += 1;
    }
    let mut waiting: BTreeMap<Option<usize>, Vec<usize>> = BTreeMap::new();
    for candidate in candidates {
        let instance = view.tasks[*candidate].instance;
        waiting.entry(instance).or_default().push(*candidate);
    }
    for instance in waiting.keys() {
        let count = by_instance.get(instance).copied().unwrap_or_default();
        let zone = by_zone.entry(zone_of(*instance)).or_default();
        zone.fullest.insert((count, *instance));
    }
    let mut zones: BTreeSet<(usize, Option<&str>)> = by_zone
        .iter()
        .filter(|(_, zone)| !zone.fullest.is_empty())
        .map(|(name, zone)| (zone.count, *name))
        .collect();
    let mut ordered = Vec::with_capacity(candidates.len());
    while let Some((count, name)) = zones.pop_last() {
        let zone = by_zone.entry(name).or_default();
        let Some((tasks, instance)) = zone.fullest.pop_last() else {
            continue;
        };
        let left = waiting.entry(instance).or_default();
        ordered.extend(left.pop());
        if !left.is_empty() {
            zone.fullest.insert((tasks.saturating_sub(1), instance));
        }
        if !zone.fullest.is_empty() {
            zones.insert((count.saturating_sub(1), name));
        }
    }
    ordered
}
