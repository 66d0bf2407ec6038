//! The randomness of a simulation.

use std::collections::BTreeSet;

use wharfinger_base::Ids;

/// Randomness that repeats with its seed.
pub(super) struct Dice(Ids);

impl Dice {
    pub(super) fn new(seed: u64) -> Self {
        // Each sequence is a part of a long one. The first word of a seed says which.
        Self(Ids::seeded(u64::from_le_bytes(Ids::seeded(seed).bytes())))
    }

    pub(super) fn below(&mut self, count: usize) -> usize {
        let word = u64::from_le_bytes(self.0.bytes());
        usize::try_from(word % count.max(1) as u64).unwrap_or_default()
    }

    /// A number of tasks below `count`.
    pub(super) fn count(&mut self, count: usize) -> i64 {
        i64::try_from(self.below(count)).unwrap_or_default()
    }

    pub(super) fn one_in(&mut self, count: usize) -> bool {
        self.below(count) == 0
    }

    pub(super) fn choose<T: Clone>(&mut self, set: &BTreeSet<T>) -> Option<T> {
        let place = self.below(set.len());
        set.iter().nth(place).cloned()
    }
}
