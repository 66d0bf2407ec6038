//! The reconciler that removes what nobody needs to see any more.

use std::time::Duration;

use wharfinger_base::Timestamp;
use wharfinger_db::{Db, Tx};
use wharfinger_reconcile::{Pass, Reconciler};

use crate::error::Result;
use crate::store;

/// How long a stopped task is described: at least an hour (ECS API reference, `DescribeTasks`).
const STOPPED_TASKS: Duration = Duration::from_hours(3);

/// How long a client token is remembered (ECS API reference, `RunTask`: 24 hours).
const CLIENT_TOKENS: Duration = Duration::from_hours(24);

/// How long inactive services and instances are described.
const INACTIVE: Duration = Duration::from_hours(24);

/// How long the history of an active service is kept (ECS developer guide, "View service history":
/// 90 days).
const DEPLOYMENTS: Duration = Duration::from_hours(90 * 24);

/// Rows that one step removes, so that no other write waits long.
const BATCH: usize = 200;

/// Removes old rows.
pub struct Cleanup {
    db: Db,
}

impl Cleanup {
    pub(crate) const fn new(db: Db) -> Self {
        Self { db }
    }
}

impl Reconciler for Cleanup {
    const NAME: &'static str = "orchestrator-cleanup";
    const EVERY: Duration = Duration::from_mins(1);

    async fn pass(&mut self, now: Timestamp) -> anyhow::Result<Pass> {
        let removed = self
            .db
            .write(move |tx: &mut Tx<'_>| remove_some(tx, now))
            .await?;
        let services = self
            .db
            .write(move |tx: &mut Tx<'_>| remove_services(tx, now))
            .await?;
        let done = removed + services;
        Ok(Pass {
            seen: done,
            done,
            again: removed >= BATCH,
        })
    }
}

fn count(rows: u64) -> usize {
    usize::try_from(rows).unwrap_or(usize::MAX)
}

fn remove_some(tx: &mut Tx<'_>, now: Timestamp) -> Result<usize> {
    let stopped = store::tasks::stopped_before(tx, now.minus(STOPPED_TASKS), BATCH)?;
    for task in &stopped {
        store::tasks::delete(tx, task)?;
    }
    let tokens = store::client_tokens::delete_before(tx, now.minus(CLIENT_TOKENS), BATCH)?;
    let instances = store::instances::delete_inactive(tx, now.minus(INACTIVE), BATCH)?;
    Ok(stopped.len() + count(tokens) + count(instances))
}

/// Removes services that ended long ago, and the old history of others.
fn remove_services(tx: &mut Tx<'_>, now: Timestamp) -> Result<usize> {
    let mut removed = 0;
    for service in store::services::inactive(tx, "", BATCH)? {
        let ended_at = service.details.ended_at.unwrap_or(service.created_at);
        if ended_at > now.minus(INACTIVE) {
            continue;
        }
        store::service_events::delete_of_service(tx, &service.id)?;
        let left = store::deployments::delete_of_service(tx, &service.id, BATCH)?;
        if count(left) < BATCH {
            store::services::delete(tx, &service.id)?;
            removed += 1;
        }
    }
    removed += count(store::deployments::delete_old(
        tx,
        now.minus(DEPLOYMENTS),
        BATCH,
    )?);
    Ok(removed)
}
