//! Which tasks of a service are stopped first. PURE.
//!
//! Source: ECS developer guide, "Service scheduler" and "Task placement strategies": spread tasks
//! leave the fullest zone and instance first, packed ones the instance that has most left. What the
//! guide leaves open: tasks of earlier deployments go before those of the newest, unhealthy before
//! healthy, pending before running.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use wharfinger_base::Timestamp;

use crate::model::{
    Capacity, DeploymentId, HealthStatus, InstanceId, Reservation, Task, TaskId, TaskStatus,
};
use crate::placement::Node;
use crate::placement::index::next_random;
use crate::placement::strategies::{Strategies, Strategy};

/// A task that could be stopped.
#[derive(Clone, Debug)]
pub struct Candidate {
    task: TaskId,
    is_protected: bool,
    /// Which tasks go first, the lowest before others.
    class: u8,
    reservation: Reservation,
    instance: Option<InstanceId>,
    remaining: Capacity,
    attributes: Arc<BTreeMap<String, Option<String>>>,
}

impl Candidate {
    /// A task with its instance, where the newest deployment is `primary`.
    pub fn new(
        task: &Task,
        node: Option<&Node>,
        primary: Option<&DeploymentId>,
        now: Timestamp,
    ) -> Self {
        let is_current = primary.is_none() || task.deployment.as_ref() == primary;
        let is_healthy = task.details.health_status != Some(HealthStatus::Unhealthy);
        let is_running = task.last_status >= TaskStatus::Running;
        Self {
            task: task.id.clone(),
            is_protected: task.protected_until.is_some_and(|until| until > now),
            class: u8::from(is_current) * 4 + u8::from(is_healthy) * 2 + u8::from(is_running),
            reservation: task.details.reservation.clone(),
            instance: task.instance.clone(),
            remaining: node.map(|node| node.remaining).unwrap_or_default(),
            attributes: node
                .map(|node| Arc::clone(&node.attributes))
                .unwrap_or_default(),
        }
    }
}

/// Up to `count` of the tasks, in the order in which they are to be stopped; protected ones never.
/// The candidates are all tasks of the service, since those that stay count for their zones and
/// instances. `seed` decides among equals. Takes time in the order of `count` times the number of
/// tasks.
pub fn choose_for_scale_in(
    candidates: &[Candidate],
    strategies: &Strategies,
    count: usize,
    seed: u64,
) -> Vec<TaskId> {
    let mut random = seed;
    let keys: Vec<Key> = strategies
        .iter()
        .map(|one| Key::new(one, candidates))
        .collect();
    let mut state = State::new(keys, candidates);
    let mut left: Vec<usize> = (0..candidates.len())
        .filter(|one| !candidates[*one].is_protected)
        .collect();
    let mut chosen = Vec::new();
    while chosen.len() < count && !left.is_empty() {
        let class = left.iter().map(|one| candidates[*one].class).min();
        let mut best: Vec<usize> = Vec::new();
        let mut best_rank = Vec::new();
        let of_class = left
            .iter()
            .enumerate()
            .filter(|(_, one)| Some(candidates[**one].class) == class);
        for (position, one) in of_class {
            let rank = state.rank(*one, candidates);
            match rank.cmp(&best_rank) {
                std::cmp::Ordering::Greater => {
                    best_rank = rank;
                    best = vec![position];
                }
                std::cmp::Ordering::Equal => best.push(position),
                std::cmp::Ordering::Less => {}
            }
        }
        random = next_random(random);
        let any = usize::try_from(random % best.len().max(1) as u64).unwrap_or_default();
        let Some(position) = best.get(any) else {
            return chosen;
        };
        let stopped = left.swap_remove(*position);
        state.stop(stopped, candidates);
        chosen.push(candidates[stopped].task.clone());
    }
    chosen
}

/// Reads the value by which tasks are spread.
type ValueOf<'a> = dyn Fn(&Candidate) -> Option<&str> + 'a;

/// By what a strategy compares tasks.
enum Key {
    /// The number of each task's value: the one with more tasks is left first.
    Value(Vec<usize>, Vec<i64>),
    Cpu,
    Memory,
    Nothing,
}

impl Key {
    fn new(strategy: &Strategy, candidates: &[Candidate]) -> Self {
        let value_of: Box<ValueOf<'_>> = match strategy {
            Strategy::SpreadAttribute(name) => {
                Box::new(move |one| one.attributes.get(name).and_then(|value| value.as_deref()))
            }
            Strategy::SpreadInstance => {
                Box::new(|one| one.instance.as_ref().map(|id| id.0.as_str()))
            }
            Strategy::BinpackCpu => return Self::Cpu,
            Strategy::BinpackMemory => return Self::Memory,
            Strategy::Random => return Self::Nothing,
        };
        let mut numbers: HashMap<Option<&str>, usize> = HashMap::new();
        let mut counts = Vec::new();
        let values = candidates.iter().map(|one| {
            let next = numbers.len();
            let number = *numbers.entry(value_of(one)).or_insert(next);
            if number == next {
                counts.push(0);
            }
            counts[number] += 1;
            number
        });
        let values = values.collect();
        Self::Value(values, counts)
    }
}

/// How full zones and instances are while tasks are chosen.
struct State {
    keys: Vec<Key>,
    remaining: HashMap<InstanceId, Capacity>,
}

impl State {
    fn new(keys: Vec<Key>, candidates: &[Candidate]) -> Self {
        let remaining = candidates
            .iter()
            .filter_map(|one| Some((one.instance.clone()?, one.remaining)));
        Self {
            keys,
            remaining: remaining.collect(),
        }
    }

    /// A task with a greater rank is stopped before.
    fn rank(&self, one: usize, candidates: &[Candidate]) -> Vec<i64> {
        let candidate = &candidates[one];
        let remaining = candidate
            .instance
            .as_ref()
            .and_then(|instance| self.remaining.get(instance));
        let remaining = remaining.copied().unwrap_or_default();
        let ranks = self.keys.iter().map(|key| match key {
            Key::Value(values, counts) => counts[values[one]],
            Key::Cpu => remaining.cpu + candidate.reservation.cpu,
            Key::Memory => remaining.memory_mib + candidate.reservation.memory_mib,
            Key::Nothing => 0,
        });
        // One more, so that no rank equals that of an empty list.
        ranks.chain([0]).collect()
    }

    fn stop(&mut self, one: usize, candidates: &[Candidate]) {
        for key in &mut self.keys {
            if let Key::Value(values, counts) = key {
                counts[values[one]] -= 1;
            }
        }
        let candidate = &candidates[one];
        let instance = candidate.instance.as_ref();
        if let Some(remaining) = instance.and_then(|id| self.remaining.get_mut(id)) {
            remaining.cpu += candidate.reservation.cpu;
            remaining.memory_mib += candidate.reservation.memory_mib;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{PlacementStrategy, PlacementStrategyType};

    fn candidate(task: &str, zone: &str, instance: &str) -> Candidate {
        let zone = ("ecs.availability-zone".to_owned(), Some(zone.to_owned()));
        Candidate {
            task: TaskId(task.to_owned()),
            is_protected: false,
            class: 7,
            reservation: Reservation {
                memory_mib: 10,
                ..Reservation::default()
            },
            instance: Some(InstanceId(instance.to_owned())),
            remaining: Capacity::default(),
            attributes: Arc::new(BTreeMap::from([zone])),
        }
    }

    fn choose(candidates: &[Candidate], strategies: &Strategies, count: usize) -> Vec<String> {
        let mut first = None;
        for seed in 0..8 {
            let chosen = choose_for_scale_in(candidates, strategies, count, seed);
            let mut chosen: Vec<String> = chosen.into_iter().map(|task| task.0).collect();
            chosen.sort();
            let first = first.get_or_insert_with(|| chosen.clone());
            assert_eq!(*first, chosen, "the expectation has no ties");
        }
        first.unwrap_or_default()
    }

    #[test]
    fn the_fullest_zone_and_instance_lose_tasks_first() {
        let mut tasks = vec![
            candidate("a1", "a", "i1"),
            candidate("a2", "a", "i2"),
            candidate("a3", "a", "i2"),
            candidate("b1", "b", "i3"),
        ];
        tasks[1].is_protected = true;
        let default = Strategies::default();
        assert_eq!(choose(&tasks, &default, 1), ["a3"]);
        assert_eq!(choose(&tasks, &default, 9), ["a1", "a3", "b1"]);
    }

    #[test]
    fn earlier_deployments_go_before_zones_count() {
        let mut tasks = vec![
            candidate("a1", "a", "i1"),
            candidate("a2", "a", "i2"),
            candidate("b1", "b", "i3"),
        ];
        tasks[2].class = 3;
        assert_eq!(choose(&tasks, &Strategies::default(), 1), ["b1"]);
    }

    #[test]
    fn packed_tasks_leave_the_emptiest_instance() {
        let mut tasks = vec![candidate("a", "z", "i1"), candidate("b", "z", "i2")];
        tasks[0].remaining.memory_mib = 100;
        tasks[1].remaining.memory_mib = 200;
        let binpack = PlacementStrategy {
            kind: Some(PlacementStrategyType::Binpack),
            field: Some("memory".to_owned()),
        };
        let binpack = Strategies::parse(&[binpack]).expect("a strategy");
        assert_eq!(choose(&tasks, &binpack, 1), ["b"]);
    }
}
