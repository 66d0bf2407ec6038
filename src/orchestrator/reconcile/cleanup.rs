//! The reconciler that removes what nobody needs to see any more.

use std::time::Duration;

use wharfinger_base::Timestamp;
use wharfinger_db::{self as db, Db, Tx};
use wharfinger_reconcile::{Pass, Reconciler};

use crate::error::Result;
use crate::model::{Cluster, Service};
use crate::store;

/// How long a stopped task is described: at least an hour (ECS API reference, `DescribeTasks`).
const STOPPED_TASKS: Duration = Duration::from_hours(3);

/// How long a client token is remembered (ECS API reference, `RunTask`: 24 hours).
const CLIENT_TOKENS: Duration = Duration::from_hours(24);

/// How long inactive clusters, services and instances are described.
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
        let due = self
            .db
            .read(move |tx: &mut Tx<'_>| {
                rows_to_remove(tx, now, store::services::inactive, end_of_service)
            })
            .await?;
        let services = self
            .db
            .write(move |tx: &mut Tx<'_>| remove_services(tx, &due, now))
            .await?;
        let due = self
            .db
            .read(move |tx: &mut Tx<'_>| {
                rows_to_remove(tx, now, store::clusters::inactive, end_of_cluster)
            })
            .await?;
        let clusters = due.len();
        if clusters > 0 {
            self.db
                .write(move |tx: &mut Tx<'_>| -> Result<()> {
                    // What was in them has ended before, and is gone.
                    let mut due = due.iter();
                    Ok(due.try_for_each(|cluster| store::clusters::delete(tx, &cluster.id))?)
                })
                .await?;
        }
        let done = removed + services + clusters;
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

/// Up to [`BATCH`] rows of those that `page` reads which ended long ago. `end` tells the identifier
/// of a row, and when it ended.
fn rows_to_remove<T>(
    tx: &mut Tx<'_>,
    now: Timestamp,
    page: fn(&mut Tx<'_>, &str, usize) -> db::Result<Vec<T>>,
    end: fn(&T) -> (&str, Timestamp),
) -> db::Result<Vec<T>> {
    let (mut due, mut after) = (Vec::new(), String::new());
    loop {
        let found = page(tx, &after, BATCH)?;
        let is_last = found.len() < BATCH;
        for row in found {
            let (id, ended_at) = end(&row);
            id.clone_into(&mut after);
            if ended_at <= now.minus(INACTIVE) {
                due.push(row);
            }
        }
        if is_last || due.len() >= BATCH {
            due.truncate(BATCH);
            return Ok(due);
        }
    }
}

fn end_of_cluster(cluster: &Cluster) -> (&str, Timestamp) {
    let ended_at = cluster.details.ended_at.unwrap_or(cluster.created_at);
    (&cluster.id.0, ended_at)
}

fn end_of_service(service: &Service) -> (&str, Timestamp) {
    let ended_at = service.details.ended_at.unwrap_or(service.created_at);
    (&service.id.0, ended_at)
}

/// Removes services that ended long ago, and the old history of others.
fn remove_services(tx: &mut Tx<'_>, due: &[Service], now: Timestamp) -> Result<usize> {
    let mut removed = 0;
    for service in due {
        removed += usize::from(remove_service(tx, service)?);
    }
    removed += count(store::deployments::delete_old(
        tx,
        now.minus(DEPLOYMENTS),
        BATCH,
    )?);
    Ok(removed)
}

/// Removes an inactive service with its history, and returns whether it is gone.
fn remove_service(tx: &mut Tx<'_>, service: &Service) -> Result<bool> {
    store::service_events::delete_of_service(tx, &service.id)?;
    let left = store::deployments::delete_of_service(tx, &service.id, BATCH)?;
    if count(left) >= BATCH {
        return Ok(false);
    }
    store::services::delete(tx, &service.id)?;
    Ok(true)
}

#[cfg(test)]
mod tests {
    use wharfinger_base::{Clock, Ids};
    use wharfinger_db::testing::every_engine;

    use super::*;
    use crate::clusters::Clusters;
    use crate::model::{ClusterDetails, ClusterName, ClusterStatus, ServiceStatus, home};
    use crate::store::services::tests::service;

    #[tokio::test]
    async fn clusters_are_removed_a_day_after_their_end() {
        for db in every_engine(crate::MIGRATIONS) {
            let start = Timestamp::from_ms(0);
            let clock = Clock::manual(start);
            let clusters = Clusters::new(db.clone(), clock.clone(), Ids::default());
            let name = |name: &str| ClusterName {
                home: home(),
                name: name.to_owned(),
            };
            for one in ["active", "early", "late"] {
                let made = clusters.create(&name(one), ClusterDetails::default()).await;
                made.expect("a cluster");
            }
            clusters.delete(&name("early")).await.expect("deleted");
            clock.advance(Duration::from_hours(1));
            clusters.delete(&name("late")).await.expect("deleted");
            let mut cleanup = Cleanup::new(db);
            let mut removed_at = async |hours: u64| {
                let now = start.plus(Duration::from_hours(hours));
                cleanup.pass(now).await.expect("a pass").done
            };
            assert_eq!(removed_at(23).await, 0);
            // A repeated deletion does not put the end off.
            clock.advance(Duration::from_hours(22));
            let again = clusters.delete(&name("early")).await;
            assert_eq!(again.expect("as it is").status, ClusterStatus::Inactive);
            assert_eq!(removed_at(24).await, 1);
            let left = async |one: &str| clusters.get(&name(one)).await.expect("reads").is_some();
            assert!(left("active").await && left("late").await);
            assert!(!left("early").await);
        }
    }

    #[tokio::test]
    async fn services_are_removed_a_day_after_their_end() {
        for db in every_engine(crate::MIGRATIONS) {
            let insert = db.write(|tx| {
                for number in 0..3_u64 {
                    let mut ended = service(&format!("s{number}"), "web");
                    ended.status = ServiceStatus::Inactive;
                    let at = Timestamp::from_ms(0).plus(Duration::from_hours(number));
                    ended.details.ended_at = Some(at);
                    store::services::insert(tx, &ended)?;
                }
                store::services::insert(tx, &service("active", "web"))
            });
            insert.await.expect("the statements run");
            let mut cleanup = Cleanup::new(db.clone());
            let now = Timestamp::from_ms(0).plus(Duration::from_hours(25));
            let pass = cleanup.pass(now).await.expect("a pass");
            assert_eq!(pass.done, 2);
            let left = db.read(|tx| store::services::inactive(tx, "", 9)).await;
            let left = left.expect("the statements run");
            let left: Vec<_> = left.iter().map(|service| service.id.0.as_str()).collect();
            assert_eq!(left, ["s2"]);
        }
    }
}
