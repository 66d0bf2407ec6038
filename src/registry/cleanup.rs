//! Removes what deleted repositories leave in the index, in short steps.

use std::time::{Duration, Instant};

use wharfinger_base::Timestamp;
use wharfinger_db::{Db, Tx};
use wharfinger_reconcile::{Pass, Reconciler};

use crate::error::Error;
use crate::store::deletions as store;

/// A step removes rows until this much time has passed. With the last statement and the commit it
/// stays well below 50 ms, which is the longest that other writes may have to wait: steps of 10 ms
/// came close to it.
const STEP_TIME: Duration = Duration::from_millis(4);

/// The reconciler that cleans up after `DeleteRepository`. A pass is one step.
pub struct RepositoryCleanup(pub(super) Db);

impl Reconciler for RepositoryCleanup {
    const NAME: &'static str = "repository-cleanup";
    const EVERY: Duration = Duration::from_secs(5);

    async fn pass(&mut self, _now: Timestamp) -> anyhow::Result<Pass> {
        let started = Instant::now();
        let Step { removals, more } = self.0.write(step).await?;
        if more {
            // As long a pause as the step took: half of the writer's time stays for requests.
            tokio::time::sleep(started.elapsed()).await;
        }
        Ok(Pass {
            seen: removals,
            done: removals,
            again: more,
        })
    }
}

/// What one step did.
pub(super) struct Step {
    /// Statements that removed rows.
    removals: usize,
    /// Something may be left.
    pub(super) more: bool,
}

/// One step, in a transaction of its own.
pub(super) fn step(tx: &mut Tx<'_>) -> Result<Step, Error> {
    let started = Instant::now();
    let mut removals = 0;
    let Some(repository) = store::first(tx)? else {
        return Ok(Step {
            removals,
            more: false,
        });
    };
    while store::remove_some(tx, repository)? {
        removals += 1;
        if started.elapsed() >= STEP_TIME {
            return Ok(Step {
                removals,
                more: true,
            });
        }
    }
    store::remove(tx, repository)?;
    Ok(Step {
        removals,
        more: true,
    })
}
