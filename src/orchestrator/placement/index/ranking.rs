//! The instances that a task of certain needs fits on, in the order of its strategies.
//!
//! Instances are held in buckets by the values of the attributes that the strategies spread over,
//! so by zone in the common case. Within a bucket they differ only in what an instance knows by
//! itself, and stand in a tree in that order. A decision compares the first of each bucket.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use crate::placement::index::next_random;
use crate::placement::index::slots::{Slot, Slots};
use crate::placement::strategies::{MAX_STRATEGIES, Strategy};
use crate::placement::{Node, Refusal, Wanted};

/// The values by which instances of a bucket are compared, one for each strategy. Strategies that
/// look at the bucket, or at nothing, have 0.
type Rank = [i64; MAX_STRATEGIES];

/// An instance in the tree of its bucket. The number after the rank is drawn at random, so that
/// instances of the same rank are taken in any order.
type Ranked = (Rank, u32, Slot);

/// What the ranking knows of a slot.
#[derive(Clone, Debug, Default)]
struct Entry {
    /// The state of the static part that `passes` is about.
    static_stamp: u64,
    passes: bool,
    bucket: usize,
    /// The tasks of the group on the instance, as they were added to the counts.
    tasks: i64,
    ranked: Option<Ranked>,
}

/// Instances with the same values of the attributes that are spread over.
#[derive(Debug)]
struct Bucket {
    /// For each strategy that spreads over an attribute: where the count of the value is.
    values: Vec<usize>,
    fitting: BTreeSet<Ranked>,
}

/// A ranking of all instances of a cluster for tasks of the same needs and strategies.
#[derive(Debug)]
pub(super) struct Ranking {
    wanted: Arc<Wanted>,
    entries: Vec<Entry>,
    buckets: Vec<Bucket>,
    bucket_of: HashMap<Vec<Option<String>>, usize>,
    /// The tasks of the group by value, for each strategy that spreads over an attribute.
    counts: Vec<Vec<i64>>,
    count_of: Vec<HashMap<Option<String>, usize>>,
    /// The change of the instances up to which the ranking is current.
    pub(super) seen: u64,
    random: u64,
}

impl Ranking {
    /// A ranking of all instances. `seed` decides among equals.
    pub(super) fn new(wanted: Arc<Wanted>, slots: &Slots, seed: u64) -> Self {
        let strategies = wanted.strategies.iter();
        let spreads = strategies
            .filter(|one| matches!(one, Strategy::SpreadAttribute(_)))
            .count();
        let mut ranking = Self {
            wanted,
            entries: Vec::new(),
            buckets: Vec::new(),
            bucket_of: HashMap::new(),
            counts: vec![Vec::new(); spreads],
            count_of: vec![HashMap::new(); spreads],
            seen: slots.changes(),
            random: seed,
        };
        ranking.entries.resize(slots.len(), Entry::default());
        for slot in slots.used() {
            ranking.update(slots, slot);
        }
        ranking
    }

    /// Brings the ranking up to date with the instances.
    pub(super) fn catch_up(&mut self, slots: &Slots) {
        match slots.changed_since(self.seen) {
            Some(changed) => {
                self.entries.resize(slots.len(), Entry::default());
                for slot in changed {
                    self.update(slots, slot);
                }
                self.seen = slots.changes();
            }
            None => {
                *self = Self::new(Arc::clone(&self.wanted), slots, self.random);
            }
        }
    }

    /// The best instance, if one fits.
    pub(super) fn best(&self) -> Option<Slot> {
        let firsts = self.buckets.iter().filter_map(|bucket| {
            let (rank, random, slot) = bucket.fitting.first()?;
            Some((self.compared(bucket, rank), random, *slot))
        });
        firsts.min().map(|(_, _, slot)| slot)
    }

    /// The rank with the counts of the bucket's values.
    fn compared(&self, bucket: &Bucket, rank: &Rank) -> Rank {
        let mut compared = *rank;
        let spreads = self.wanted.strategies.iter().enumerate();
        let spreads = spreads.filter(|(_, one)| matches!(one, Strategy::SpreadAttribute(_)));
        for (spread, (position, _)) in spreads.enumerate() {
            compared[position] = self.counts[spread][bucket.values[spread]];
        }
        compared
    }

    /// Takes over the state of one slot.
    fn update(&mut self, slots: &Slots, slot: Slot) {
        let mut entry = std::mem::take(&mut self.entries[slot]);
        if let Some(ranked) = entry.ranked.take() {
            self.buckets[entry.bucket].fitting.remove(&ranked);
        }
        self.count(&entry, -entry.tasks);
        entry.tasks = 0;
        if let Some((node, static_stamp)) = slots.get(slot) {
            if entry.static_stamp != static_stamp {
                entry.static_stamp = static_stamp;
                entry.passes = Refusal::of_static(&self.wanted.needs, node).is_none();
                entry.bucket = self.bucket(node);
            }
            entry.tasks = i64::from(node.tasks_of(&self.wanted.needs.group));
            self.count(&entry, entry.tasks);
            if entry.passes && Refusal::of_dynamic(&self.wanted.needs, node).is_none() {
                let ranked = (self.rank(node), self.draw(), slot);
                self.buckets[entry.bucket].fitting.insert(ranked);
                entry.ranked = Some(ranked);
            }
        }
        self.entries[slot] = entry;
    }

    /// Adds tasks of the group to the values of the entry's bucket.
    fn count(&mut self, entry: &Entry, tasks: i64) {
        if tasks == 0 {
            return;
        }
        let values = &self.buckets[entry.bucket].values;
        for (counts, value) in self.counts.iter_mut().zip(values) {
            counts[*value] += tasks;
        }
    }

    /// The bucket of an instance; made if it is the first one.
    fn bucket(&mut self, node: &Node) -> usize {
        let attributes = self.wanted.strategies.iter().filter_map(|one| match one {
            Strategy::SpreadAttribute(name) => {
                Some(node.attribute(name).flatten().map(str::to_owned))
            }
            _ => None,
        });
        let key: Vec<Option<String>> = attributes.collect();
        if let Some(bucket) = self.bucket_of.get(&key) {
            return *bucket;
        }
        let mut values = Vec::with_capacity(key.len());
        for (spread, value) in key.iter().enumerate() {
            let counts = &mut self.counts[spread];
            let next = counts.len();
            let value = *self.count_of[spread].entry(value.clone()).or_insert(next);
            if value == next {
                counts.push(0);
            }
            values.push(value);
        }
        self.buckets.push(Bucket {
            values,
            fitting: BTreeSet::new(),
        });
        let bucket = self.buckets.len() - 1;
        self.bucket_of.insert(key, bucket);
        bucket
    }

    fn rank(&self, node: &Node) -> Rank {
        let mut rank = Rank::default();
        for (position, strategy) in self.wanted.strategies.iter().enumerate() {
            rank[position] = match strategy {
                Strategy::SpreadAttribute(_) | Strategy::Random => 0,
                Strategy::SpreadInstance => i64::from(node.tasks_of(&self.wanted.needs.group)),
                Strategy::BinpackCpu => node.remaining.cpu,
                Strategy::BinpackMemory => node.remaining.memory_mib,
            };
        }
        rank
    }

    fn draw(&mut self) -> u32 {
        self.random = next_random(self.random);
        u32::try_from(self.random >> 32).unwrap_or_default()
    }
}
