//! Deliveries to files: in order, once, again after failures, and by one of two servers.

use std::path::Path;

use wharfinger_base::Clock;
use wharfinger_event_sinks::{FileSink, FileSinkConfig};
use wharfinger_oci::{Algorithm, Digest};

use super::*;
use crate::MIGRATIONS;
use crate::events::{EventOutbox, ImageAction, RegistryEvent, SinkFilter};
use crate::model::RegistryId;

const START: Timestamp = Timestamp::from_ms(1_700_000_000_000);

struct World {
    db: Db,
    clock: Clock,
    outbox: EventOutbox,
    folder: tempfile::TempDir,
    counts: Arc<EventCounts>,
}

impl World {
    fn new() -> Self {
        let sink = SinkFilter {
            name: "file".to_owned(),
            ..SinkFilter::default()
        };
        Self {
            db: Db::memory(MIGRATIONS).expect("an index"),
            clock: Clock::manual(START),
            outbox: EventOutbox::new(vec![sink], Ids::default(), false),
            folder: tempfile::tempdir().expect("a folder"),
            counts: Arc::default(),
        }
    }

    fn delivery(&self, path: &Path, max_waiting: u64, several: bool) -> EventDelivery {
        let config = FileSinkConfig {
            path: path.to_owned(),
            max_bytes: 1 << 20,
            keep: 1,
            sync: false,
        };
        let settings = DeliverySettings {
            name: "file".to_owned(),
            bounds: Bounds {
                max_attempts: 3,
                max_age: Duration::from_hours(1),
            },
            max_waiting,
        };
        let sink = Sink::File(FileSink::new(config));
        let (db, ids) = (self.db.clone(), Ids::default());
        let counts = Arc::clone(&self.counts);
        EventDelivery::new(
            (db, ids),
            (sink, settings),
            Wake::default(),
            counts,
            several,
        )
    }

    async fn record(&self, number: usize) {
        let (outbox, now) = (self.outbox.clone(), self.clock.now());
        let registry = RegistryId {
            account: "123456789012".parse().expect("an account"),
            region: "us-east-1".parse().expect("a region"),
        };
        let event = RegistryEvent::Image {
            repository: format!("r{number}").parse().expect("a name"),
            digest: Digest::of(Algorithm::Sha256, b""),
            tag: None,
            action: ImageAction::Push,
            is_referrer: false,
        };
        let write = self
            .db
            .write(move |tx| outbox.record(tx, &registry, &event, now));
        write.await.expect("recorded");
    }

    /// Passes until one has nothing to do.
    async fn deliver(&self, delivery: &mut EventDelivery) {
        while delivery.pass(self.clock.now()).await.expect("a pass").again {}
    }

    fn delivered(&self, file: &str) -> Vec<String> {
        let text = std::fs::read_to_string(self.folder.path().join(file)).unwrap_or_default();
        let names = text.lines().map(|line| {
            let event: serde_json::Value = serde_json::from_str(line).expect("JSON");
            event["detail"]["repository-name"]
                .as_str()
                .expect("a name")
                .to_owned()
        });
        names.collect()
    }
}

fn names(numbers: impl IntoIterator<Item = usize>) -> Vec<String> {
    numbers
        .into_iter()
        .map(|number| format!("r{number}"))
        .collect()
}

#[tokio::test]
async fn events_are_delivered_once_in_their_order() {
    let world = World::new();
    let path = world.folder.path().join("events.jsonl");
    let mut delivery = world.delivery(&path, 1_000, false);
    for number in 0..150 {
        world.record(number).await;
    }
    world.deliver(&mut delivery).await;
    world.record(150).await;
    world.deliver(&mut delivery).await;
    assert_eq!(world.delivered("events.jsonl"), names(0..=150));
    assert_eq!(world.counts.delivered.load(Relaxed), 151);
}

#[tokio::test]
async fn a_failed_event_holds_up_later_ones_until_it_is_given_up() {
    let world = World::new();
    let path = world.folder.path().join("none/events.jsonl");
    let mut delivery = world.delivery(&path, 1_000, false);
    world.record(0).await;
    world.deliver(&mut delivery).await;
    world.record(1).await;
    world.deliver(&mut delivery).await;
    let failed = || world.counts.failed.load(Relaxed);
    assert_eq!(failed(), 1, "tried before its time");
    for attempts in 2..=3 {
        world.clock.advance(Duration::from_mins(1));
        world.deliver(&mut delivery).await;
        assert_eq!(failed(), attempts);
    }
    std::fs::create_dir(path.parent().expect("a folder")).expect("made");
    world.clock.advance(Duration::from_mins(1));
    world.deliver(&mut delivery).await;
    assert_eq!(world.delivered("none/events.jsonl"), names([1]));
    assert_eq!(world.counts.dropped.load(Relaxed), 1);
    world.record(2).await;
    world.clock.advance(Duration::from_hours(2));
    world.deliver(&mut delivery).await;
    assert_eq!(world.counts.dropped.load(Relaxed), 2, "too old");
}

#[tokio::test]
async fn the_oldest_go_where_more_wait_than_may() {
    let world = World::new();
    let path = world.folder.path().join("events.jsonl");
    for number in 0..700 {
        world.record(number).await;
    }
    let mut delivery = world.delivery(&path, 100, false);
    world.deliver(&mut delivery).await;
    assert_eq!(world.delivered("events.jsonl"), names(600..700));
    assert_eq!(world.counts.dropped.load(Relaxed), 600);
}

#[tokio::test]
async fn one_of_two_servers_delivers_until_its_lease_ends() {
    let world = World::new();
    let path = |name: &str| world.folder.path().join(name);
    let mut first = world.delivery(&path("first"), 1_000, true);
    let mut second = world.delivery(&path("second"), 1_000, true);
    for number in 0..4 {
        world.record(number).await;
        world.deliver(&mut second).await;
        world.deliver(&mut first).await;
    }
    assert_eq!(world.delivered("second"), names(0..4));
    world.record(4).await;
    world.clock.advance(Duration::from_mins(2));
    world.deliver(&mut first).await;
    world.deliver(&mut second).await;
    assert_eq!(world.delivered("first"), names([4]));
}

#[tokio::test]
async fn events_of_sinks_that_are_gone_are_removed() {
    let world = World::new();
    world.record(0).await;
    let mut retention = EventRetention(world.db.clone());
    let waiting = async || {
        let read = world.db.read(|tx| store::oldest(tx, "file", 10));
        read.await.expect("read").len()
    };
    world.clock.advance(Duration::from_hours(24));
    retention.pass(world.clock.now()).await.expect("a pass");
    assert_eq!(waiting().await, 1);
    world.clock.advance(Duration::from_hours(9 * 24));
    retention.pass(world.clock.now()).await.expect("a pass");
    assert_eq!(waiting().await, 0);
}
