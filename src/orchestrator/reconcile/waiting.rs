//! The reconciler of tasks that wait for capacity.

use std::time::Duration;

use wharfinger_base::{Chain, Timestamp};
use wharfinger_db::{Db, Tx};
use wharfinger_reconcile::{Pass, Reconciler};

use crate::store::{clusters, tasks as store};
use crate::tasks::Tasks;

/// Clusters that one pass works on.
const MAX_CLUSTERS: usize = 100;

/// Places tasks of capacity providers that found no instance when they were made.
pub struct WaitingTasks {
    db: Db,
    tasks: Tasks,
}

impl WaitingTasks {
    pub(crate) const fn new(db: Db, tasks: Tasks) -> Self {
        Self { db, tasks }
    }
}

impl Reconciler for WaitingTasks {
    const NAME: &'static str = "waiting-tasks";
    const EVERY: Duration = Duration::from_secs(2);

    async fn pass(&mut self, _now: Timestamp) -> anyhow::Result<Pass> {
        let read = |tx: &mut Tx<'_>| {
            let ids = store::clusters_with_waiting(tx, MAX_CLUSTERS)?;
            let found = ids.iter().map(|id| clusters::by_id(tx, id));
            found.collect::<wharfinger_db::Result<Vec<_>>>()
        };
        let clusters = self.db.read(read).await?;
        let mut pass = Pass::default();
        for cluster in clusters.into_iter().flatten() {
            pass.seen += 1;
            match self.tasks.place_waiting(&cluster).await {
                Ok(placed) => pass.done += placed,
                Err(error) => {
                    let name = &cluster.name.name;
                    let error = Chain(&error);
                    tracing::warn!(cluster = name, %error, "waiting tasks were not placed");
                }
            }
        }
        pass.again = pass.done > 0;
        Ok(pass)
    }
}
