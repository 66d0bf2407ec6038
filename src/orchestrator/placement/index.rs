//! Decisions on the instances of a cluster, kept ranked from one to the next. PURE.

mod ranking;
mod slots;

use std::collections::HashMap;
use std::sync::Arc;

use ranking::Ranking;
use slots::Slots;

use crate::model::InstanceId;
use crate::placement::{Needs, Node, Refusal, Strategies};

/// Most rankings of a cluster. Rankings beyond this limit and the next two are forgotten, the one
/// that was used least recently first.
const MAX_RANKINGS: usize = 256;

/// Most instances in all rankings of a cluster together; one takes some 150 bytes.
const MAX_RANKED: usize = 500_000;

/// Most bytes of the expressions in all rankings of a cluster together.
const MAX_EXPRESSION_BYTES: usize = 2 * 1024 * 1024;

/// Why a task fits on no instance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unplaced {
    /// The cluster has no active instance that the task could be on.
    NoInstances,
    /// The first reason against each instance, in the order of the instances.
    Refused(Vec<(InstanceId, Refusal)>),
}

impl Unplaced {
    /// The instance that fitted best, and why it did not fit.
    pub fn closest(&self) -> Option<(&InstanceId, Refusal)> {
        let Self::Refused(all) = self else {
            return None;
        };
        let closest = all.iter().max_by_key(|(_, refusal)| *refusal);
        closest.map(|(instance, refusal)| (instance, *refusal))
    }
}

/// What a task needs, and how instances are ranked for it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Wanted {
    pub needs: Needs,
    pub strategies: Strategies,
}

/// The instances of a cluster.
#[derive(Debug)]
pub struct ClusterNodes {
    slots: Slots,
    fargate_instances: usize,
    generation: u64,
    /// Each with the number of its last use.
    rankings: HashMap<Arc<Wanted>, (Ranking, u64)>,
    /// Grows with each use of a ranking.
    uses: u64,
    random: u64,
}

impl ClusterNodes {
    /// A cluster without instances. `seed` decides among instances that are equally good.
    pub fn new(seed: u64) -> Self {
        Self {
            slots: Slots::default(),
            fargate_instances: 0,
            generation: seed,
            rankings: HashMap::new(),
            uses: 0,
            random: seed,
        }
    }

    /// A number that another one follows when an instance comes, goes, or changes in anything but
    /// its tasks. Clusters with other seeds have others.
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// Takes over a snapshot of an instance.
    pub fn put(&mut self, node: Node) {
        let is_same = |known: &Node| {
            known.agent_connected == node.agent_connected && known.is_statically_equal(&node)
        };
        if !self.get(&node.id).is_some_and(is_same) {
            self.generation = self.generation.wrapping_add(1);
        }
        self.forget_kind(&node.id);
        self.fargate_instances += usize::from(node.is_fargate);
        self.slots.put(node);
    }

    pub fn remove(&mut self, id: &InstanceId) {
        // Reports note an instance for every cluster in memory: most do not have it.
        if self.get(id).is_some() {
            self.generation = self.generation.wrapping_add(1);
        }
        self.forget_kind(id);
        self.slots.remove(id);
    }

    fn forget_kind(&mut self, id: &InstanceId) {
        let was_fargate = self.get(id).is_some_and(|node| node.is_fargate);
        self.fargate_instances -= usize::from(was_fargate);
    }

    pub fn get(&self, id: &InstanceId) -> Option<&Node> {
        let slot = self.slots.find(id)?;
        self.slots.get(slot).map(|(node, _)| node)
    }

    pub fn nodes(&self) -> impl Iterator<Item = &Node> {
        self.slots.nodes()
    }

    /// Whether some instances serve Fargate tasks only.
    pub fn has_fargate_instances(&self) -> bool {
        self.fargate_instances > 0
    }

    /// Chooses an instance for one task and takes what it needs of the snapshot.
    ///
    /// # Errors
    /// [`Unplaced`], after the instances were looked at one by one.
    pub fn place(&mut self, wanted: &Arc<Wanted>) -> Result<InstanceId, Unplaced> {
        let needs = &wanted.needs;
        let best = self.ranking(wanted).best();
        let placed = best.and_then(|slot| {
            let id = self.slots.get(slot)?.0.id.clone();
            self.slots
                .change(slot, |node| node.take(&needs.reservation, &needs.group));
            Some(id)
        });
        placed.ok_or_else(|| self.unplaced(needs))
    }

    /// Takes what a task needs of the snapshot of an instance that was chosen by somebody else.
    ///
    /// # Errors
    /// Why the task does not fit.
    pub fn take(&mut self, id: &InstanceId, needs: &Needs) -> Result<(), Refusal> {
        let slot = self.slots.find(id).ok_or(Refusal::Missing)?;
        let node = self.get(id).ok_or(Refusal::Missing)?;
        if let Some(refusal) = Refusal::of(needs, node) {
            return Err(refusal);
        }
        let (reservation, group) = (&needs.reservation, &needs.group);
        self.slots
            .change(slot, |node| node.take(reservation, group));
        Ok(())
    }

    /// Notes the version that the instance's row got when the taken resources were stored.
    pub fn set_version(&mut self, id: &InstanceId, version: i64) {
        if let Some(slot) = self.slots.find(id) {
            self.slots.set_version(slot, version);
        }
    }

    fn unplaced(&self, needs: &Needs) -> Unplaced {
        let refused = self.nodes().filter_map(|node| {
            let refusal = Refusal::of(needs, node)?;
            refusal.is_told().then(|| (node.id.clone(), refusal))
        });
        let mut refused: Vec<_> = refused.collect();
        if refused.is_empty() {
            return Unplaced::NoInstances;
        }
        refused.sort_unstable();
        Unplaced::Refused(refused)
    }

    /// The ranking for these tasks, up to date.
    fn ranking(&mut self, wanted: &Arc<Wanted>) -> &Ranking {
        self.uses += 1;
        if !self.rankings.contains_key(wanted) {
            self.forget_rankings(&wanted.needs);
        }
        let (slots, uses) = (&self.slots, self.uses);
        let entry = self.rankings.entry(Arc::clone(wanted));
        let (ranking, last_use) = entry.or_insert_with(|| {
            self.random = next_random(self.random);
            (Ranking::new(Arc::clone(wanted), slots, self.random), uses)
        });
        *last_use = uses;
        ranking.catch_up(slots);
        ranking
    }

    /// Forgets rankings until one more, for these needs, exceeds no limit.
    fn forget_rankings(&mut self, needs: &Needs) {
        let most = MAX_RANKED / self.slots.len().max(1);
        let most = most.clamp(1, MAX_RANKINGS);
        let kept = self.rankings.keys().map(|key| key.needs.expression_bytes());
        let mut bytes = kept.sum::<usize>() + needs.expression_bytes();
        while self.rankings.len() >= most || bytes > MAX_EXPRESSION_BYTES {
            let oldest = self.rankings.iter().min_by_key(|(_, (_, used))| *used);
            let Some(key) = oldest.map(|(key, _)| key.clone()) else {
                return;
            };
            bytes -= key.needs.expression_bytes();
            self.rankings.remove(&key);
        }
    }
}

/// The next state of a sequence of random numbers (`SplitMix64`, finalised): decisions draw from it
/// so that they repeat with their seed.
fn next_random(state: u64) -> u64 {
    let mut mixed = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    mixed ^ (mixed >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::placement::Expression;
    use crate::placement::tests::{needs, node};

    /// A task of a group of its own, with this constraint ten times.
    fn wanted(group: usize, constraint: &str) -> Arc<Wanted> {
        let mut needs = needs(1, 1);
        needs.group = format!("family:{group}");
        let expression = Arc::new(Expression::parse(constraint).expect("an expression"));
        needs.constraints = vec![expression; 10];
        Arc::new(Wanted {
            needs,
            strategies: Strategies::default(),
        })
    }

    #[test]
    fn a_cluster_keeps_few_rankings_however_few_its_instances_are() {
        for instances in [0, 1] {
            let mut cluster = ClusterNodes::new(1);
            if instances > 0 {
                cluster.put(node("a"));
            }
            let first = wanted(0, "attribute:a !exists");
            for group in 1..2_000 {
                let _ = cluster.place(&first);
                let _ = cluster.place(&wanted(group, "attribute:a exists"));
                assert!(cluster.rankings.len() <= MAX_RANKINGS);
            }
            assert_eq!(cluster.rankings.len(), MAX_RANKINGS);
            assert!(cluster.rankings.contains_key(&first), "it is in use");
        }
    }

    #[test]
    fn rankings_keep_a_bounded_amount_of_expressions() {
        let mut cluster = ClusterNodes::new(1);
        let mut fewest = usize::MAX;
        for group in 0..500 {
            let _ = cluster.place(&wanted(group, "attribute:a =~ '[a-z]{300}'"));
            let bytes = cluster.rankings.keys();
            let bytes = bytes.map(|wanted| wanted.needs.expression_bytes());
            assert!(bytes.sum::<usize>() <= MAX_EXPRESSION_BYTES);
            if group > MAX_RANKINGS {
                fewest = fewest.min(cluster.rankings.len());
            }
        }
        assert!((2..MAX_RANKINGS).contains(&fewest), "{fewest} were kept");
    }
}
