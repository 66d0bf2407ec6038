//! The instances of a cluster, with a journal of which of them changed. PURE.

use std::collections::HashMap;

use crate::model::InstanceId;
use crate::placement::Node;

/// The number of an instance within its cluster, which a later instance may get.
pub(super) type Slot = usize;

/// Changes that the journal keeps for each instance: a ranking that missed more is made anew,
/// which costs about as much.
const CHANGES_PER_INSTANCE: usize = 2;
/// The least number of changes that the journal keeps.
const MIN_CHANGES: usize = 1024;

/// Instances by number and by identifier.
#[derive(Debug, Default)]
pub(super) struct Slots {
    /// With the stamp of the static part, which no earlier state of the slot had.
    nodes: Vec<Option<(Node, u64)>>,
    free: Vec<Slot>,
    by_id: HashMap<InstanceId, Slot>,
    journal: Vec<Slot>,
    /// The number of the first change in the journal.
    first_change: u64,
    stamps: u64,
}

impl Slots {
    /// One more than the greatest number in use.
    pub(super) fn len(&self) -> usize {
        self.nodes.len()
    }

    /// How many instances there are.
    pub(super) fn count(&self) -> usize {
        self.by_id.len()
    }

    pub(super) fn used(&self) -> impl Iterator<Item = Slot> {
        let slots = self.nodes.iter().enumerate();
        slots.filter_map(|(slot, node)| node.as_ref().map(|_| slot))
    }

    pub(super) fn nodes(&self) -> impl Iterator<Item = &Node> {
        self.nodes.iter().flatten().map(|(node, _)| node)
    }

    pub(super) fn get(&self, slot: Slot) -> Option<(&Node, u64)> {
        let (node, stamp) = self.nodes.get(slot)?.as_ref()?;
        Some((node, *stamp))
    }

    pub(super) fn find(&self, id: &InstanceId) -> Option<Slot> {
        self.by_id.get(id).copied()
    }

    /// Takes over a snapshot of an instance.
    pub(super) fn put(&mut self, node: Node) {
        self.stamps += 1;
        let stamp = self.stamps;
        let slot = match self.find(&node.id) {
            Some(slot) => slot,
            None => {
                let slot = self.free.pop().unwrap_or_else(|| {
                    self.nodes.push(None);
                    self.nodes.len() - 1
                });
                self.by_id.insert(node.id.clone(), slot);
                slot
            }
        };
        let stamp = match &self.nodes[slot] {
            Some((old, stamp)) if old.is_statically_equal(&node) => *stamp,
            _ => stamp,
        };
        self.nodes[slot] = Some((node, stamp));
        self.note(slot);
    }

    pub(super) fn remove(&mut self, id: &InstanceId) {
        if let Some(slot) = self.by_id.remove(id) {
            self.nodes[slot] = None;
            self.free.push(slot);
            self.note(slot);
        }
    }

    /// Changes what is not static of an instance.
    pub(super) fn change(&mut self, slot: Slot, change: impl FnOnce(&mut Node)) {
        if let Some(Some((node, _))) = self.nodes.get_mut(slot) {
            change(node);
            self.note(slot);
        }
    }

    /// Notes the version of an instance's row, by which no instance is ranked.
    pub(super) fn set_version(&mut self, slot: Slot, version: i64) {
        if let Some(Some((node, _))) = self.nodes.get_mut(slot) {
            node.version = version;
        }
    }

    /// How many changes there were.
    pub(super) fn changes(&self) -> u64 {
        self.first_change + self.journal.len() as u64
    }

    /// The slots that changed after so many changes, some perhaps twice; `None` where the journal
    /// does not reach back so far, or looking at all instances is less work.
    pub(super) fn changed_since(&self, seen: u64) -> Option<impl Iterator<Item = Slot>> {
        let skipped = usize::try_from(seen.checked_sub(self.first_change)?).ok()?;
        let changed = self.journal.get(skipped..)?;
        let is_few = changed.len() <= MIN_CHANGES.max(self.count());
        is_few.then(|| changed.iter().copied())
    }

    fn note(&mut self, slot: Slot) {
        let most = MIN_CHANGES.max(CHANGES_PER_INSTANCE * self.nodes.len());
        if self.journal.len() >= 2 * most {
            self.journal.drain(..most);
            self.first_change += most as u64;
        }
        self.journal.push(slot);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::placement::tests::node;

    #[test]
    fn the_journal_forgets_and_says_so() {
        let mut slots = Slots::default();
        slots.put(node("a"));
        let seen = slots.changes();
        let changed = |slots: &Slots, seen| {
            let changed = slots.changed_since(seen)?;
            Some(changed.collect::<Vec<_>>())
        };
        assert_eq!(changed(&slots, seen), Some(vec![]));
        slots.change(0, |node| node.remaining.cpu -= 1);
        assert_eq!(changed(&slots, seen), Some(vec![0]));
        for _ in 0..3 * MIN_CHANGES {
            slots.change(0, |node| node.remaining.cpu -= 1);
        }
        assert_eq!(changed(&slots, seen), None);
        assert_eq!(changed(&slots, slots.changes() - 1), Some(vec![0]));
        assert!(slots.journal.len() <= 2 * MIN_CHANGES);
    }

    #[test]
    fn a_slot_is_used_again_with_another_stamp() {
        let mut slots = Slots::default();
        slots.put(node("a"));
        let first = slots.get(0).map(|(_, stamp)| stamp);
        slots.put(node("a"));
        assert_eq!(slots.get(0).map(|(_, stamp)| stamp), first);
        slots.remove(&InstanceId("a".to_owned()));
        assert!(slots.get(0).is_none());
        assert_eq!(slots.count(), 0);
        slots.put(node("b"));
        assert_eq!(slots.find(&InstanceId("b".to_owned())), Some(0));
        assert_ne!(slots.get(0).map(|(_, stamp)| stamp), first);
    }
}
