//! Delivers recorded events to a sink: in order, at least once each, by one server at a time.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use wharfinger_base::{Ids, Timestamp};
use wharfinger_db::Db;
use wharfinger_event_sinks::{Delivery, Sink, SinkFailure};
use wharfinger_reconcile::{Pass, Reconciler, Wake};

use crate::error::Error;
use crate::events::retries::{Bounds, must_wait, pause};
use crate::store::events::{self as store, Waiting};
use crate::store::leases;

/// Events that are read, delivered and recorded as delivered together.
const LIST: i64 = 64;
/// How often events that are more than the sink may have are looked for.
const TRIM_EVERY: Duration = Duration::from_secs(5);
/// Events that are removed in one transaction: some milliseconds.
const TRIM_BATCH: i64 = 256;
/// Beside the longest delivery: time for the transactions around it.
const LEASE_MARGIN: Duration = Duration::from_secs(10);

/// The numbers of all sinks of this server.
#[derive(Debug, Default)]
pub struct EventCounts {
    pub delivered: AtomicU64,
    /// Attempts that failed and are repeated.
    pub failed: AtomicU64,
    /// Events that a receiver did not accept.
    pub rejected: AtomicU64,
    /// Events that were given up: too old, too often tried, or too many waiting.
    pub dropped: AtomicU64,
}

/// Settings of the delivery to a sink.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeliverySettings {
    /// The sink's name in the outbox.
    pub name: String,
    pub bounds: Bounds,
    /// Most events that wait. The oldest ones are dropped beyond that.
    pub max_waiting: u64,
}

/// The reconciler that delivers the events of one sink.
pub struct EventDelivery {
    db: Db,
    ids: Ids,
    wake: Wake,
    sink: Sink,
    settings: DeliverySettings,
    counts: Arc<EventCounts>,
    /// The name under which this server holds the lease of the sink; `None` where no other server
    /// shares the index.
    holder: Option<String>,
    trimmed: Option<Instant>,
}

impl EventDelivery {
    pub(crate) fn new(
        (db, ids): (Db, Ids),
        (sink, settings): (Sink, DeliverySettings),
        wake: Wake,
        counts: Arc<EventCounts>,
        several_replicas: bool,
    ) -> Self {
        Self {
            holder: several_replicas.then(|| ids.uuid().to_string()),
            db,
            ids,
            wake,
            sink,
            settings,
            counts,
            trimmed: None,
        }
    }

    /// Takes or renews the right to deliver to the sink; false while another server has it.
    async fn is_holder(&self, now: Timestamp) -> Result<bool, Error> {
        let Some(holder) = self.holder.clone() else {
            return Ok(true);
        };
        let name = format!("events/{}", self.settings.name);
        let length = self.sink.longest_delivery() + LEASE_MARGIN;
        let take = move |tx: &mut wharfinger_db::Tx<'_>| {
            let now = tx.server_time()?.unwrap_or(now);
            Ok(leases::take(tx, &name, &holder, now, now.plus(length))?)
        };
        self.db.write(take).await
    }

    /// Drops the oldest events where more wait than may; true where there were any.
    async fn trim(&mut self) -> Result<bool, Error> {
        if self.trimmed.is_some_and(|at| at.elapsed() < TRIM_EVERY) {
            return Ok(false);
        }
        let (name, max) = (self.settings.name.clone(), self.settings.max_waiting);
        let newest = self
            .db
            .read(move |tx| store::newest_beyond(tx, &name, max).map_err(Error::from));
        let newest = newest.await?;
        if let Some(newest) = newest {
            loop {
                let name = self.settings.name.clone();
                let dropped = self.db.write(move |tx| {
                    store::delete_up_to(tx, &name, newest, TRIM_BATCH).map_err(Error::from)
                });
                let dropped = dropped.await?;
                if dropped == 0 {
                    break;
                }
                self.drop_events(dropped, "more events wait than may");
            }
        }
        self.trimmed = Some(Instant::now());
        Ok(newest.is_some())
    }

    fn drop_events(&self, count: u64, why: &str) {
        self.counts.dropped.fetch_add(count, Relaxed);
        tracing::warn!(sink = self.settings.name, count, why, "events were dropped");
    }

    async fn oldest(&self) -> Result<Vec<Waiting>, Error> {
        let name = self.settings.name.clone();
        let read = self
            .db
            .read(move |tx| store::oldest(tx, &name, LIST).map_err(Error::from));
        read.await
    }

    async fn delete(&self, rows: Vec<i64>) -> Result<(), Error> {
        if rows.is_empty() {
            return Ok(());
        }
        let delete = self.db.write(move |tx| {
            rows.iter()
                .try_for_each(|row| store::delete(tx, *row).map_err(Error::from))
        });
        delete.await
    }

    /// Records what became of the events. Returns whether more can be delivered at once.
    async fn settle(
        &self,
        events: &[Waiting],
        delivery: Delivery,
        now: Timestamp,
    ) -> Result<bool, Error> {
        let mut done: Vec<i64> = events[..delivery.delivered]
            .iter()
            .map(|event| event.row)
            .collect();
        self.counts.delivered.fetch_add(done.len() as u64, Relaxed);
        let failed = events.get(delivery.delivered);
        let (Some(failure), Some(failed)) = (delivery.failure, failed) else {
            self.delete(done).await?;
            return Ok(true);
        };
        let sink = &self.settings.name;
        match failure {
            SinkFailure::Rejected { why } => {
                self.counts.rejected.fetch_add(1, Relaxed);
                tracing::warn!(sink, why, "an event was not accepted, and is dropped");
                done.push(failed.row);
                self.delete(done).await?;
                Ok(true)
            }
            SinkFailure::Retry { why, after } => {
                self.counts.failed.fetch_add(1, Relaxed);
                let attempts = failed.attempts.saturating_add(1);
                let pause = pause(attempts, after, self.ids.bytes());
                tracing::warn!(
                    sink,
                    why,
                    attempts,
                    pause_ms = u64::try_from(pause.as_millis()).unwrap_or(u64::MAX),
                    "an event was not delivered"
                );
                let (row, due) = (failed.row, now.plus(pause));
                self.delete(done).await?;
                let update = self
                    .db
                    .write(move |tx| store::postpone(tx, row, attempts, due).map_err(Error::from));
                update.await?;
                Ok(false)
            }
        }
    }
}

impl Reconciler for EventDelivery {
    const NAME: &'static str = "event-delivery";
    const EVERY: Duration = Duration::from_secs(1);

    fn wake(&self) -> Wake {
        self.wake.clone()
    }

    async fn pass(&mut self, now: Timestamp) -> anyhow::Result<Pass> {
        let mut events = self.oldest().await?;
        if events.is_empty() || !self.is_holder(now).await? {
            return Ok(Pass::default());
        }
        let trimmed = self.trim().await?;
        if trimmed {
            // A long one may have lasted longer than the lease, which the next pass takes again.
            return Ok(Pass {
                again: true,
                ..Pass::default()
            });
        }
        if self.holder.is_some() {
            // Another server may have delivered them before this one got the lease.
            events = self.oldest().await?;
        }
        let bounds = &self.settings.bounds;
        let hopeless =
            |event: &&Waiting| bounds.exceeded_by(event.attempts, event.recorded_at, now);
        let given_up: Vec<i64> = events
            .iter()
            .take_while(hopeless)
            .map(|event| event.row)
            .collect();
        if !given_up.is_empty() {
            let count = given_up.len();
            self.delete(given_up).await?;
            self.drop_events(count as u64, "they are too old, or were tried too often");
            events.drain(..count);
        }
        let Some(first) = events.first() else {
            return Ok(Pass {
                again: true,
                ..Pass::default()
            });
        };
        if must_wait(first.due_at, now) {
            return Ok(Pass {
                seen: events.len(),
                ..Pass::default()
            });
        }
        let bodies = events.iter().map(|event| event.body.clone()).collect();
        let delivery = self.sink.deliver(bodies, now).await;
        let done = delivery.delivered;
        let again = self.settle(&events, delivery, now).await?;
        Ok(Pass {
            seen: events.len(),
            done,
            again,
        })
    }
}

/// How long an event is kept whose sink is not configured any more.
const ORPHAN_AGE: Duration = Duration::from_hours(8 * 24);

/// The reconciler that removes the events of sinks that are configured no more.
pub struct EventRetention(pub(crate) Db);

impl Reconciler for EventRetention {
    const NAME: &'static str = "event-retention";
    const EVERY: Duration = Duration::from_mins(5);

    async fn pass(&mut self, now: Timestamp) -> anyhow::Result<Pass> {
        let before = now.minus(ORPHAN_AGE);
        let old = self
            .0
            .read(move |tx| store::any_before(tx, before).map_err(Error::from));
        if !old.await? {
            return Ok(Pass::default());
        }
        let deleted = self
            .0
            .write(move |tx| store::delete_before(tx, before, TRIM_BATCH).map_err(Error::from));
        let done = usize::try_from(deleted.await?).unwrap_or(usize::MAX);
        Ok(Pass {
            seen: done,
            done,
            again: done > 0,
        })
    }
}

#[cfg(test)]
mod tests;
