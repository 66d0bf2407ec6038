//! Removes events that are expired or whose group or stream was deleted, in short steps.

use std::time::Duration;

use wharfinger_base::Timestamp;
use wharfinger_db::{Db, Tx};
use wharfinger_reconcile::{Pass, Reconciler};

use crate::events::DAY_MS;
use crate::store::{groups, removals, segments, streams};
use crate::{Error, Result};

/// Rows that one transaction removes, so that other writes do not wait long: segments are up to
/// 256 KiB.
const ROWS_PER_STEP: i64 = 50;

/// Groups that one read looks at.
const GROUPS_PER_READ: i64 = 100;

/// The reconciler. A pass looks at all groups and removes in steps.
pub struct Retention(pub(crate) Db);

impl Reconciler for Retention {
    const NAME: &'static str = "log-retention";
    const EVERY: Duration = Duration::from_mins(1);

    async fn pass(&mut self, now: Timestamp) -> anyhow::Result<Pass> {
        let mut pass = Pass::default();
        while self.0.write(remove_deleted).await? {
            pass.done += 1;
        }
        let mut after = String::new();
        loop {
            let start = after.clone();
            let groups = self
                .0
                .read(move |tx| groups::expiring(tx, &start, GROUPS_PER_READ));
            let groups = groups.await?;
            let Some((last, _)) = groups.last() else {
                return Ok(pass);
            };
            after.clone_from(last);
            for (group, days) in groups {
                pass.seen += 1;
                let end = now.as_ms() - days * DAY_MS;
                let step = move |tx: &mut Tx<'_>| remove_expired(tx, &group, end);
                while self.0.write(step.clone()).await? {
                    pass.done += 1;
                }
            }
        }
    }
}

/// Removes some of what a deleted group or stream left; `false` where nothing is left.
fn remove_deleted(tx: &mut Tx<'_>) -> Result<bool> {
    let Some((group, stream)) = removals::first(tx)? else {
        return Ok(false);
    };
    let rows = segments::of_removed(tx, &group, &stream, ROWS_PER_STEP)?;
    let is_empty = rows.is_empty();
    for (stream, sequence) in rows {
        segments::remove(tx, &stream, sequence)?;
    }
    if is_empty {
        let has_streams =
            stream.is_empty() && streams::remove_of_group(tx, &group, ROWS_PER_STEP)? > 0;
        if !has_streams {
            removals::remove(tx, &group, &stream)?;
        }
    }
    Ok(true)
}

/// Removes some segments with events from before `end` only; `false` where there are no more.
fn remove_expired(tx: &mut Tx<'_>, group: &str, end: i64) -> Result<bool, Error> {
    let rows = segments::expired(tx, group, end, ROWS_PER_STEP)?;
    let is_empty = rows.is_empty();
    for (stream, sequence, bytes) in rows {
        segments::remove(tx, &stream, sequence)?;
        streams::shrink(tx, &stream, bytes)?;
    }
    Ok(!is_empty)
}
