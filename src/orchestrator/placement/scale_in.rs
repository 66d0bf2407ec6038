//! Which tasks of a service are stopped first. PURE.
//!
//! Source: ECS developer guide, "Service scheduler" and "Task placement strategies": tasks that are
//! spread leave the fullest zone and instance first, packed ones the instance that has most left.

use std::collections::{BTreeMap, BTreeSet};

use crate::model::Capacity;
use crate::placement::strategies::{MAX_STRATEGIES, Strategies, Strategy};

/// An instance with tasks of a service.
#[derive(Clone, Debug, Default)]
pub(crate) struct Occupied<'a> {
    /// By name; `None` for tasks without an instance that is known.
    pub(crate) attributes: Option<&'a BTreeMap<String, Option<String>>>,
    pub(crate) remaining: Capacity,
    /// All tasks of the service on it, since those that stay count too.
    pub(crate) tasks: usize,
    /// Those that may be stopped, by whatever number the caller has for them; the last one is
    /// stopped first.
    pub(crate) candidates: Vec<usize>,
}

impl<'a> Occupied<'a> {
    fn attribute(&self, name: &str) -> Option<&'a str> {
        self.attributes?.get(name)?.as_deref()
    }
}

/// By what instances of the same attributes are compared, the greatest first. Strategies that look
/// at attributes, or at nothing, have 0.
type Rank = [i64; MAX_STRATEGIES];

/// Instances with the same values of the attributes that are spread over.
struct Bucket {
    /// For each strategy that spreads over an attribute: where the count of the value is.
    values: Vec<usize>,
    occupied: BTreeSet<(Rank, usize)>,
}

/// The candidates in the order in which they are to be stopped, so that those left at any time are
/// placed as the strategies want it. Tasks of a service count as equally large.
pub(crate) fn scale_in_order(
    mut occupied: Vec<Occupied<'_>>,
    strategies: &Strategies,
) -> Vec<usize> {
    let spreads: Vec<(usize, &str)> = strategies
        .iter()
        .enumerate()
        .filter_map(|(position, one)| match one {
            Strategy::SpreadAttribute(name) => Some((position, name.as_str())),
            _ => None,
        })
        .collect();
    let mut counts: Vec<i64> = Vec::new();
    let mut count_of: BTreeMap<(usize, Option<&str>), usize> = BTreeMap::new();
    let mut buckets: BTreeMap<Vec<Option<&str>>, Bucket> = BTreeMap::new();
    for (place, one) in occupied.iter().enumerate() {
        let key = spreads.iter().map(|(_, name)| one.attribute(name));
        let key: Vec<Option<&str>> = key.collect();
        let values: Vec<usize> = spreads
            .iter()
            .zip(&key)
            .map(|((position, _), value)| {
                let next = counts.len();
                let count = *count_of.entry((*position, *value)).or_insert(next);
                if count == next {
                    counts.push(0);
                }
                count
            })
            .collect();
        for value in &values {
            counts[*value] += tasks(one);
        }
        let bucket = buckets.entry(key).or_insert_with(|| Bucket {
            values,
            occupied: BTreeSet::new(),
        });
        if !one.candidates.is_empty() {
            bucket.occupied.insert((rank(strategies, one), place));
        }
    }
    let mut ordered = Vec::new();
    loop {
        let fullest = buckets.values_mut().filter_map(|bucket| {
            let (mut rank, _) = *bucket.occupied.last()?;
            for ((position, _), value) in spreads.iter().zip(&bucket.values) {
                rank[*position] = counts[*value];
            }
            Some((rank, bucket))
        });
        let Some((_, bucket)) = fullest.max_by_key(|(rank, _)| *rank) else {
            return ordered;
        };
        let Some((_, place)) = bucket.occupied.pop_last() else {
            return ordered;
        };
        for value in &bucket.values {
            counts[*value] -= 1;
        }
        let one = &mut occupied[place];
        one.tasks = one.tasks.saturating_sub(1);
        ordered.extend(one.candidates.pop());
        if !one.candidates.is_empty() {
            bucket.occupied.insert((rank(strategies, one), place));
        }
    }
}

fn tasks(one: &Occupied<'_>) -> i64 {
    i64::try_from(one.tasks).unwrap_or(i64::MAX)
}

fn rank(strategies: &Strategies, one: &Occupied<'_>) -> Rank {
    let mut rank = Rank::default();
    for (position, strategy) in strategies.iter().enumerate() {
        rank[position] = match strategy {
            Strategy::SpreadAttribute(_) | Strategy::Random => 0,
            Strategy::SpreadInstance => tasks(one),
            Strategy::BinpackCpu => one.remaining.cpu,
            Strategy::BinpackMemory => one.remaining.memory_mib,
        };
    }
    rank
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::model::{PlacementStrategy, PlacementStrategyType};

    type Attributes = BTreeMap<String, Option<String>>;

    /// The attributes of instances in three zones.
    fn zones() -> [Attributes; 3] {
        ["a", "b", "c"].map(|zone| {
            let name = "ecs.availability-zone".to_owned();
            BTreeMap::from([(name, Some(zone.to_owned()))])
        })
    }

    fn instance<'a>(zone: &'a Attributes, tasks: usize, candidates: &[usize]) -> Occupied<'a> {
        Occupied {
            attributes: Some(zone),
            tasks,
            candidates: candidates.to_vec(),
            ..Occupied::default()
        }
    }

    fn strategies(kind: PlacementStrategyType, field: &str) -> Strategies {
        let one = PlacementStrategy {
            kind: Some(kind),
            field: Some(field.to_owned()),
        };
        Strategies::parse(&[one]).expect("a strategy")
    }

    #[test]
    fn the_fullest_zone_and_instance_lose_tasks_first() {
        let [a, b, _] = &zones();
        let occupied = vec![
            instance(a, 1, &[0]),
            instance(a, 3, &[1, 2]),
            instance(b, 1, &[4]),
        ];
        let order = scale_in_order(occupied, &Strategies::default());
        assert_eq!(order[..2], [2, 1]);
        assert_eq!(order.len(), 4);
    }

    #[test]
    fn packed_tasks_leave_the_emptiest_instance() {
        let [a, ..] = &zones();
        let mut occupied = vec![instance(a, 9, &[0]), instance(a, 1, &[1])];
        occupied[0].remaining.memory_mib = 100;
        occupied[1].remaining.memory_mib = 200;
        let binpack = strategies(PlacementStrategyType::Binpack, "memory");
        assert_eq!(scale_in_order(occupied, &binpack), [1, 0]);
    }

    proptest! {
        #[test]
        fn each_stop_is_in_the_fullest_zone_that_has_a_candidate(
            shape in prop::collection::vec((0..3_usize, 0..4_usize, 0..3_usize), 0..12),
        ) {
            let zones = zones();
            let mut next = 0;
            let (mut zone_of, mut totals, mut left) = (Vec::new(), [0_usize; 3], [0_usize; 3]);
            let occupied = shape.iter().map(|(zone, candidates, others)| {
                let numbers: Vec<usize> = (next..next + candidates).collect();
                next += candidates;
                zone_of.extend(numbers.iter().map(|_| *zone));
                totals[*zone] += candidates + others;
                left[*zone] += candidates;
                instance(&zones[*zone], candidates + others, &numbers)
            });
            let occupied: Vec<_> = occupied.collect();
            let order = scale_in_order(occupied, &Strategies::default());
            prop_assert_eq!(order.len(), next);
            for stopped in order {
                let zone = zone_of[stopped];
                let fullest = (0..3).filter(|one| left[*one] > 0).map(|one| totals[one]).max();
                prop_assert_eq!(Some(totals[zone]), fullest);
                totals[zone] -= 1;
                left[zone] -= 1;
            }
        }
    }
}
