//! Records events for the sinks that take them, in the transaction that causes them.

use std::borrow::Cow;
use std::sync::Arc;

use wharfinger_base::{Ids, Timestamp};
use wharfinger_db::{Db, Tx};
use wharfinger_event_sinks::Sink;
use wharfinger_reconcile::Wake;

use crate::error::Error;
use crate::events::action::RegistryEvent;
use crate::events::delivery::{DeliverySettings, EventCounts, EventDelivery};
use crate::events::envelope::envelope;
use crate::events::filter::SinkFilter;
use crate::model::RegistryId;
use crate::store::events as store;

/// The way of events into the outbox. Without sinks, nothing is recorded. Cloning shares it.
#[derive(Clone, Default)]
pub struct EventOutbox(Arc<Shared>);

#[derive(Default)]
struct Shared {
    sinks: Vec<Target>,
    ids: Ids,
    counts: Arc<EventCounts>,
    several_replicas: bool,
}

/// A sink, and what wakes its delivery.
struct Target {
    filter: SinkFilter,
    wake: Wake,
}

impl EventOutbox {
    pub(crate) fn new(sinks: Vec<SinkFilter>, ids: Ids, several_replicas: bool) -> Self {
        let target = |filter| Target {
            filter,
            wake: Wake::default(),
        };
        Self(Arc::new(Shared {
            sinks: sinks.into_iter().map(target).collect(),
            ids,
            counts: Arc::default(),
            several_replicas,
        }))
    }

    /// The reconciler that delivers to the sink of this name; the outbox must have it.
    pub(crate) fn delivery(&self, db: Db, sink: Sink, settings: DeliverySettings) -> EventDelivery {
        let mut targets = self.0.sinks.iter();
        let target = targets.find(|target| target.filter.name == settings.name);
        let wake = target.map(|target| target.wake.clone()).unwrap_or_default();
        EventDelivery::new(
            (db, self.0.ids.clone()),
            (sink, settings),
            wake,
            Arc::clone(&self.0.counts),
            self.0.several_replicas,
        )
    }

    /// The numbers of the deliveries.
    pub fn counts(&self) -> Arc<EventCounts> {
        Arc::clone(&self.0.counts)
    }

    /// Whether any sink is configured. Work that only serves events need not be done otherwise.
    pub(crate) fn is_open(&self) -> bool {
        !self.0.sinks.is_empty()
    }

    /// Records an event of `registry`, once for each sink that takes it.
    pub fn record(
        &self,
        tx: &mut Tx<'_>,
        registry: &RegistryId,
        event: &RegistryEvent,
        now: Timestamp,
    ) -> Result<(), Error> {
        let (mut id, mut whole) = (None, None);
        for target in &self.0.sinks {
            let Some(part) = target.filter.part_of(event) else {
                continue;
            };
            let id = *id.get_or_insert_with(|| self.0.ids.uuid());
            let body = |event: &RegistryEvent| envelope(registry, event, id, now);
            let name = &target.filter.name;
            match part {
                // Most sinks take the same.
                Cow::Borrowed(event) => {
                    store::record(tx, name, whole.get_or_insert_with(|| body(event)), now)?;
                }
                Cow::Owned(part) => store::record(tx, name, &body(&part), now)?,
            }
        }
        Ok(())
    }

    /// Makes the deliveries look for events: for after a commit.
    pub fn wake(&self) {
        for target in &self.0.sinks {
            target.wake.wake();
        }
    }
}
