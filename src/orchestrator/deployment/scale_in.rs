//! PURE: which tasks go first, so that those which stay are placed as the service wants it.

use std::collections::BTreeMap;

use crate::deployment::view::{Phase, View};
use crate::placement::{Occupied, scale_in_order};

/// Orders `candidates` (places in [`View::tasks`]) by the strategies of the service: by default,
/// the next one is in the availability zone with the most tasks of the service, and there on the
/// instance with the most. Of several on an instance, the last one of `candidates` comes first.
pub(super) fn order(view: &View, candidates: &[usize]) -> Vec<usize> {
    let mut occupied: BTreeMap<Option<usize>, Occupied<'_>> = BTreeMap::new();
    let all = view.tasks.iter();
    for task in all.filter(|task| task.phase != Phase::Stopping) {
        let place = occupied.entry(task.instance).or_insert_with(|| {
            let instance = task.instance.and_then(|place| view.instances.get(place));
            let mut found = Occupied::default();
            if let Some(instance) = instance {
                found.attributes = Some(&*instance.attributes);
                found.remaining = instance.remaining;
            }
            found
        });
        place.tasks += 1;
    }
    for candidate in candidates {
        let instance = view.tasks[*candidate].instance;
        let place = occupied.entry(instance).or_default();
        place.candidates.push(*candidate);
    }
    scale_in_order(occupied.into_values().collect(), &view.service.strategies)
}
