//! The instances of each cluster in memory, for placement.
//!
//! The index holds the truth: what is placed is stored only where the versions of the instances'
//! rows are the ones that were decided on. Snapshots are read again when a change of this server is
//! noted, when they are old, since other servers make changes too, and before a task is refused.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::OwnedMutexGuard;
use wharfinger_base::{Clock, Ids, Timestamp};
use wharfinger_db::{self as db, Db, Tx};

use crate::model::{ClusterId, InstanceId};
use crate::placement::{ClusterNodes, Node};
use crate::store;

/// How old snapshots may be before changes of other servers are looked for.
const MAX_AGE: Duration = Duration::from_secs(1);

/// Instances that one read loads.
const LOADED: usize = 500;

/// Instances that may be noted for a cluster on which nobody works.
const MAX_NOTED: usize = 20_000;

/// Clusters that are kept in memory. With more, the one that was not used for longest and that
/// nobody works on is read again at its next use.
const MAX_CLUSTERS: usize = 256;

/// The clusters in memory. Clones share them.
#[derive(Clone)]
pub(crate) struct Nodes {
    db: Db,
    clock: Clock,
    ids: Ids,
    clusters: Arc<Mutex<Clusters>>,
}

#[derive(Default)]
struct Clusters {
    by_id: HashMap<ClusterId, InMemory>,
    /// Grows with every use.
    uses: u64,
}

struct InMemory {
    cluster: Arc<NodesOfCluster>,
    /// The number of its last use.
    used: u64,
}

/// One cluster in memory.
pub(crate) struct NodesOfCluster {
    changed: Mutex<Changed>,
    loaded: Arc<tokio::sync::Mutex<Loaded>>,
}

/// Instances that were changed since they were read.
#[derive(Default)]
struct Changed {
    instances: BTreeSet<InstanceId>,
    /// Those of which only the number of running tasks is another one, which few decisions look at.
    counts: BTreeSet<InstanceId>,
    /// Whether there are more of the latter than are kept.
    are_counts_lost: bool,
}

/// What a decision looks at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wants {
    /// All of an instance but the number of its running tasks, which may be an old one.
    Resources,
    All,
}

/// The instances as they were read. Whoever holds the lock may decide.
pub(crate) struct Loaded {
    pub(crate) nodes: ClusterNodes,
    /// When all versions were compared last.
    compared_at: Option<Timestamp>,
}

impl Nodes {
    pub(crate) fn new(db: Db, clock: Clock, ids: Ids) -> Self {
        Self {
            db,
            clock,
            ids,
            clusters: Arc::default(),
        }
    }

    /// Notes that this server changed an instance or its tasks. To be called after the commit.
    /// Clusters that the instance does not belong to see that when they look.
    pub(crate) fn note(&self, instance: &InstanceId) {
        let clusters = self.clusters.lock().unwrap_or_else(PoisonError::into_inner);
        #[expect(clippy::iter_over_hash_type, reason = "each cluster is on its own")]
        for known in clusters.by_id.values() {
            known.cluster.note(instance);
        }
    }

    /// Notes that tasks of an instance started, which changes nothing else of it. To be called
    /// after the commit.
    pub(crate) fn note_counts(&self, instance: &InstanceId) {
        let clusters = self.clusters.lock().unwrap_or_else(PoisonError::into_inner);
        #[expect(clippy::iter_over_hash_type, reason = "each cluster is on its own")]
        for known in clusters.by_id.values() {
            known.cluster.changed().note_counts(instance);
        }
    }

    /// The instances of a cluster, as they are now as far as this server knows.
    pub(crate) async fn lock(
        &self,
        cluster: &ClusterId,
        wants: Wants,
    ) -> db::Result<(Arc<NodesOfCluster>, OwnedMutexGuard<Loaded>)> {
        let of_cluster = self.cluster(cluster);
        let mut loaded = Arc::clone(&of_cluster.loaded).lock_owned().await;
        if wants == Wants::All {
            of_cluster.changed().want_counts(&loaded.nodes);
        }
        let now = self.clock.now();
        let is_old = loaded
            .compared_at
            .is_none_or(|compared| now.since(compared) >= MAX_AGE || compared > now);
        if is_old {
            self.compare(cluster, &of_cluster, &mut loaded).await?;
        } else {
            self.read_changed(cluster, &of_cluster, &mut loaded).await?;
        }
        Ok((of_cluster, loaded))
    }

    /// Reads each instance whose version is not that of its snapshot, and those that were noted.
    pub(crate) async fn compare(
        &self,
        cluster: &ClusterId,
        of_cluster: &NodesOfCluster,
        loaded: &mut Loaded,
    ) -> db::Result<()> {
        let now = self.clock.now();
        let id = cluster.clone();
        let read = move |tx: &mut Tx<'_>| store::nodes::versions(tx, &id);
        let versions: BTreeMap<_, _> = self.db.read(read).await?.into_iter().collect();
        let gone = loaded.nodes.nodes().map(|node| &node.id);
        let gone = gone.filter(|id| !versions.contains_key(id)).cloned();
        let gone: Vec<InstanceId> = gone.collect();
        for id in gone {
            loaded.nodes.remove(&id);
        }
        for (id, version) in versions {
            let known = loaded.nodes.get(&id).map(|node| node.version);
            if known != Some(version) {
                of_cluster.note(&id);
            }
        }
        self.read_changed(cluster, of_cluster, loaded).await?;
        loaded.compared_at = Some(now);
        Ok(())
    }

    /// Reads the instances that were noted.
    async fn read_changed(
        &self,
        cluster: &ClusterId,
        of_cluster: &NodesOfCluster,
        loaded: &mut Loaded,
    ) -> db::Result<()> {
        loop {
            let ids = of_cluster.changed().take();
            if ids.is_empty() {
                return Ok(());
            }
            let read = {
                let (cluster, ids) = (cluster.clone(), ids.clone());
                move |tx: &mut Tx<'_>| {
                    let ids = ids.iter();
                    ids.map(|id| store::nodes::node(tx, &cluster, id))
                        .collect::<db::Result<Vec<Option<Node>>>>()
                }
            };
            let found = match self.db.get(read).await {
                Ok(found) => found,
                Err(error) => {
                    for id in &ids {
                        of_cluster.note(id);
                    }
                    return Err(error);
                }
            };
            for (id, node) in ids.iter().zip(found) {
                match node {
                    Some(node) => loaded.nodes.put(node),
                    None => loaded.nodes.remove(id),
                }
            }
        }
    }

    fn cluster(&self, id: &ClusterId) -> Arc<NodesOfCluster> {
        let mut clusters = self.clusters.lock().unwrap_or_else(PoisonError::into_inner);
        clusters.uses += 1;
        let used = clusters.uses;
        if let Some(known) = clusters.by_id.get_mut(id) {
            known.used = used;
            return Arc::clone(&known.cluster);
        }
        if clusters.by_id.len() >= MAX_CLUSTERS {
            clusters.drop_oldest();
        }
        let seed = u64::from_le_bytes(self.ids.bytes());
        let cluster = Arc::new(NodesOfCluster {
            changed: Mutex::default(),
            loaded: Arc::new(tokio::sync::Mutex::new(Loaded {
                nodes: ClusterNodes::new(seed),
                compared_at: None,
            })),
        });
        let made = InMemory {
            cluster: Arc::clone(&cluster),
            used,
        };
        clusters.by_id.insert(id.clone(), made);
        cluster
    }
}

impl Clusters {
    /// Drops the cluster that was not used for longest, of those that nobody works on.
    fn drop_oldest(&mut self) {
        let is_idle = |known: &InMemory| Arc::strong_count(&known.cluster) == 1;
        let idle = self.by_id.iter().filter(|(_, known)| is_idle(known));
        let oldest = idle.min_by_key(|(_, known)| known.used);
        if let Some(id) = oldest.map(|(id, _)| id.clone()) {
            self.by_id.remove(&id);
        }
    }
}

impl Loaded {
    /// Whether all versions were compared after this time.
    pub(crate) fn is_compared_after(&self, time: Option<Timestamp>) -> bool {
        self.compared_at > time
    }
}

impl NodesOfCluster {
    /// Notes that an instance is to be read again.
    pub(crate) fn note(&self, instance: &InstanceId) {
        self.changed().note(instance);
    }

    fn changed(&self) -> MutexGuard<'_, Changed> {
        self.changed.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Changed {
    fn note(&mut self, instance: &InstanceId) {
        // What is dropped is found when all versions are compared.
        if self.instances.len() < MAX_NOTED {
            self.instances.insert(instance.clone());
        }
    }

    fn note_counts(&mut self, instance: &InstanceId) {
        if self.counts.len() < MAX_NOTED {
            self.counts.insert(instance.clone());
        } else if !self.counts.contains(instance) {
            self.are_counts_lost = true;
        }
    }

    /// Has the instances read again whose counts changed.
    fn want_counts(&mut self, known: &ClusterNodes) {
        self.instances.append(&mut self.counts);
        if std::mem::take(&mut self.are_counts_lost) {
            let all = known.nodes().map(|node| node.id.clone());
            self.instances.extend(all);
        }
    }

    /// Some of the noted instances, which are noted no more.
    fn take(&mut self) -> Vec<InstanceId> {
        let mut taken = Vec::new();
        while taken.len() < LOADED
            && let Some(id) = self.instances.pop_first()
        {
            self.counts.remove(&id);
            taken.push(id);
        }
        taken
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_wait_until_somebody_wants_them() {
        let id = |name: &str| InstanceId(name.to_owned());
        let none = ClusterNodes::new(1);
        let mut changed = Changed::default();
        changed.note_counts(&id("a"));
        changed.note_counts(&id("b"));
        assert_eq!(changed.take(), []);
        // Who is read for another reason has the newest counts.
        changed.note(&id("b"));
        assert_eq!(changed.take(), [id("b")]);
        changed.want_counts(&none);
        assert_eq!(changed.take(), [id("a")]);
        changed.want_counts(&none);
        assert_eq!(changed.take(), []);
    }

    #[test]
    fn all_instances_are_read_where_more_counts_changed_than_are_kept() {
        let mut changed = Changed::default();
        for number in 0..=MAX_NOTED {
            changed.note_counts(&InstanceId(number.to_string()));
        }
        assert!(changed.are_counts_lost);
        changed.want_counts(&ClusterNodes::new(1));
        assert!(!changed.are_counts_lost);
        assert_eq!(changed.instances.len(), MAX_NOTED);
    }

    #[tokio::test]
    async fn one_cluster_more_than_fit_drops_the_one_that_was_not_used_for_longest() {
        let db = Db::memory(crate::MIGRATIONS).expect("an index");
        let clock = Clock::manual(Timestamp::from_ms(1));
        let nodes = Nodes::new(db, clock, Ids::seeded(1));
        let id = |number: usize| ClusterId(number.to_string());
        let held = nodes.cluster(&id(0));
        for number in 1..MAX_CLUSTERS {
            nodes.cluster(&id(number));
        }
        nodes.cluster(&id(1));
        nodes.cluster(&id(MAX_CLUSTERS));
        let clusters = nodes.clusters.lock().expect("no panic");
        assert_eq!(clusters.by_id.len(), MAX_CLUSTERS);
        let missing =
            (0..=MAX_CLUSTERS).filter(|number| !clusters.by_id.contains_key(&id(*number)));
        assert_eq!(missing.collect::<Vec<_>>(), [2], "the first one is in use");
        drop(held);
    }
}
