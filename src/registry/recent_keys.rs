//! Which keys were looked up a short time ago, so that a cache keeps none that is never looked up
//! again.

use std::hash::{BuildHasher as _, Hash, RandomState};
use std::sync::atomic::AtomicU32;
use std::sync::atomic::Ordering::Relaxed;

/// Keys in a table of fixed size. Each has one slot, which the next key with the same slot takes.
pub(super) struct RecentKeys {
    /// A part of the hash of each key; odd, and 0 where there is none.
    slots: Box<[AtomicU32]>,
    hasher: RandomState,
}

impl RecentKeys {
    /// A table of so many keys, at four bytes each.
    pub(super) fn new(slots: u32) -> Self {
        Self {
            slots: (0..slots).map(|_| AtomicU32::new(0)).collect(),
            hasher: RandomState::new(),
        }
    }

    /// Notes the key. Returns whether it was noted before, and no other one has taken its slot
    /// since. In one of two billion cases, that is true for a new key.
    pub(super) fn note<K: Hash + ?Sized>(&self, key: &K) -> bool {
        let [a, b, c, d, rest @ ..] = self.hasher.hash_one(key).to_le_bytes();
        let mark = u32::from_le_bytes([a, b, c, d]) | 1;
        let at = u32::from_le_bytes(rest) as usize;
        let Some(at) = at.checked_rem(self.slots.len()) else {
            return false;
        };
        let slot = &self.slots[at];
        // Most repeated keys find their own mark, and need not write to memory that threads share.
        slot.load(Relaxed) == mark || slot.swap(mark, Relaxed) == mark
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_recent_until_another_one_takes_its_slot() {
        let one = RecentKeys::new(1);
        assert_eq!(
            [one.note("a"), one.note("a"), one.note("b"), one.note("a")],
            [false, true, false, false]
        );
        let many = RecentKeys::new(1 << 16);
        let mut repeated = 0;
        for _ in 0..2 {
            repeated += (0..1_000).filter(|key| many.note(key)).count();
        }
        // Some of a thousand keys share a slot, about one in a hundred.
        assert!((900..=1_000).contains(&repeated), "{repeated}");
    }

    #[test]
    fn a_table_without_slots_knows_no_key() {
        let none = RecentKeys::new(0);
        assert!(!none.note("a") && !none.note("a"));
    }
}
