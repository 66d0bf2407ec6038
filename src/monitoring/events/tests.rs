//! Events are checked, stored, read by pages and removed.

use std::collections::BTreeMap;
use std::time::Duration;

use proptest::prelude::*;
use wharfinger_base::{Clock, Ids};
use wharfinger_db::Db;
use wharfinger_reconcile::Reconciler as _;

use super::*;
use crate::filter_pattern::FilterPattern;

const NOW: i64 = 1_800_000_000_000;

fn account() -> Account {
    Account {
        id: "123456789012".parse().expect("an account"),
        region: "us-east-1".parse().expect("a region"),
    }
}

async fn logs(streams: &[&str]) -> (Logs, Clock) {
    let clock = Clock::manual(Timestamp::from_ms(NOW));
    let db = Db::memory(crate::MIGRATIONS).expect("a database");
    let logs = Logs::new(db, clock.clone(), Ids::seeded(1));
    logs.create_group(&account(), "g", "STANDARD", BTreeMap::new())
        .await
        .expect("a group");
    for stream in streams {
        logs.create_stream(&account(), "g", stream)
            .await
            .expect("a stream");
    }
    (logs, clock)
}

fn event(at: i64, message: &str) -> NewEvent {
    NewEvent {
        at,
        message: message.to_owned(),
    }
}

async fn put(logs: &Logs, stream: &str, events: Vec<NewEvent>) -> Stored {
    logs.put(&account(), "g", stream, None, events)
        .await
        .expect("stored events")
}

fn everything(direction: Direction, limit: usize) -> FilterEvents {
    FilterEvents {
        streams: Vec::new(),
        stream_prefix: None,
        from: 0,
        to: i64::MAX,
        pattern: FilterPattern::parse("").expect("a pattern"),
        direction,
        after: None,
        limit,
    }
}

/// All pages of a group.
async fn all(logs: &Logs, mut request: FilterEvents) -> Vec<(i64, String)> {
    let mut found = Vec::new();
    loop {
        let (page, names) = logs
            .filter(&account(), "g", request.clone())
            .await
            .expect("a page");
        assert_eq!(page.events.len(), names.len());
        let mut events: Vec<_> = page
            .events
            .iter()
            .map(|e| (e.key.at, e.message.clone()))
            .collect();
        if request.direction == Direction::Backward {
            events.reverse();
        }
        found.extend(events);
        match page.next {
            Some(next) => request.after = Some(next),
            None => return found,
        }
    }
}

#[tokio::test]
async fn a_batch_is_checked() {
    let (logs, _) = logs(&["s"]).await;
    let refused = |events| {
        let logs = logs.clone();
        async move {
            logs.put(&account(), "g", "s", None, events)
                .await
                .expect_err("a refusal")
        }
    };
    assert!(matches!(
        refused(vec![event(NOW, "a"), event(NOW - 1, "b")]).await,
        Error::OutOfOrder
    ));
    let far = vec![event(NOW - 86_400_001, "a"), event(NOW, "b")];
    assert!(matches!(refused(far).await, Error::LongSpan));
    let large = vec![event(NOW, &"x".repeat(1024 * 1024))];
    assert!(matches!(refused(large).await, Error::BatchTooLarge { .. }));
    let missing = logs
        .put(&account(), "g", "none", None, vec![event(NOW, "a")])
        .await;
    assert!(matches!(missing, Err(Error::NoSuchStream)));
}

#[tokio::test]
async fn a_repeated_batch_is_found_by_its_number() {
    let (logs, _) = logs(&["s"]).await;
    let send = |sequence: i64, events: Vec<NewEvent>| {
        let logs = logs.clone();
        async move { logs.put(&account(), "g", "s", Some(sequence), events).await }
    };
    let batch = || vec![event(NOW, "a"), event(NOW, "b")];
    assert_eq!(send(0, batch()).await.expect("stored").next_sequence, 2);
    assert_eq!(send(0, batch()).await.expect("stored").next_sequence, 2);
    // Another event under an old number is new, and so is the same one under the next.
    let other = send(0, vec![event(NOW, "c")]).await;
    assert_eq!(other.expect("stored").next_sequence, 3);
    let next = send(3, vec![event(NOW, "c")]).await;
    assert_eq!(next.expect("stored").next_sequence, 4);
}

/// The sender got no response, another one wrote, and the first one repeats its batch with more.
#[tokio::test]
async fn a_repeated_batch_beside_another_sender_loses_nothing() {
    let (logs, _) = logs(&["s"]).await;
    let send = |sequence: i64, messages: &[&str]| {
        let events = messages.iter().map(|message| event(NOW, message)).collect();
        let logs = logs.clone();
        async move { logs.put(&account(), "g", "s", Some(sequence), events).await }
    };
    send(0, &["a1", "a2"]).await.expect("stored");
    send(2, &["b1", "b2", "b3"]).await.expect("stored");
    send(0, &["a1", "a2", "a3", "a4"]).await.expect("stored");
    let found = all(&logs, everything(Direction::Forward, 10)).await;
    let messages: Vec<&str> = found.iter().map(|(_, message)| message.as_str()).collect();
    assert_eq!(messages, ["a1", "a2", "b1", "b2", "b3", "a3", "a4"]);
}

/// Many streams that seldom write: each has a segment that begins before the search and reaches
/// into it, more than a page reads otherwise.
#[tokio::test]
async fn a_search_gets_past_segments_that_began_before_it() {
    let names: Vec<String> = (0..30).map(|number| format!("s{number}")).collect();
    let streams: Vec<&str> = names.iter().map(String::as_str).collect();
    let (logs, _) = logs(&streams).await;
    for stream in &streams {
        put(
            &logs,
            stream,
            vec![event(NOW - 1_800_000, "early"), event(NOW, "late")],
        )
        .await;
    }
    let group = logs
        .find_group(&account(), "g")
        .await
        .expect("a read")
        .expect("a group");
    for direction in [Direction::Forward, Direction::Backward] {
        let (from, to) = match direction {
            Direction::Forward => (NOW - 600_000, NOW),
            Direction::Backward => (NOW - 1_800_000, NOW - 600_000),
        };
        let (mut after, mut found) = (None, 0);
        for _ in 0..10 {
            let scan = Scan {
                source: Source::Group(group.id.clone()),
                from,
                to,
                direction,
                after: after.take(),
                limit: 1_000,
                max_segments: 2,
            };
            let page = logs
                .db
                .read(move |tx| scan.run(tx, |_| true, |_| true))
                .await;
            let page = page.expect("a page");
            found += page.events.len();
            after = page.next;
            if after.is_none() {
                break;
            }
        }
        assert_eq!((found, after), (30, None), "{direction:?}");
    }
}

#[tokio::test]
async fn a_prefix_without_streams_finds_nothing_at_once() {
    let (logs, _) = logs(&["s"]).await;
    put(&logs, "s", vec![event(NOW, "a")]).await;
    let request = FilterEvents {
        stream_prefix: Some("none".to_owned()),
        ..everything(Direction::Forward, 10)
    };
    let (page, names) = logs.filter(&account(), "g", request).await.expect("a page");
    assert_eq!((page, names), (EventPage::default(), Vec::new()));
}

#[tokio::test]
async fn events_of_other_times_are_rejected_and_the_rest_is_stored() {
    let (logs, _) = logs(&["s"]).await;
    let hour = 3_600_000;
    let stored = put(
        &logs,
        "s",
        vec![event(NOW, "now"), event(NOW + 2 * hour + 1, "new")],
    )
    .await;
    assert_eq!(stored.rejected.too_new_from, Some(1));
    assert_eq!(stored.next_sequence, 1);
    let old = NOW - 14 * 24 * hour;
    let stored = put(&logs, "s", vec![event(old - 1, "old"), event(old, "just")]).await;
    assert_eq!(
        stored.rejected,
        Rejected {
            too_old_to: Some(1),
            ..Rejected::default()
        }
    );
    logs.set_retention(&account(), "g", Some(1))
        .await
        .expect("a retention");
    let day = NOW - 24 * hour;
    let stored = put(
        &logs,
        "s",
        vec![event(day - 1, "expired"), event(day, "just")],
    )
    .await;
    assert_eq!(
        stored.rejected,
        Rejected {
            expired_to: Some(1),
            ..Rejected::default()
        }
    );
}

#[tokio::test]
async fn retention_removes_events_and_deletion_frees_the_name() {
    let (logs, clock) = logs(&["s"]).await;
    put(&logs, "s", vec![event(NOW, "first")]).await;
    logs.set_retention(&account(), "g", Some(1))
        .await
        .expect("a retention");
    clock.advance(Duration::from_secs(86_401));
    assert_eq!(all(&logs, everything(Direction::Forward, 10)).await, []);
    let mut retention = logs.retention();
    assert_eq!(retention.pass(clock.now()).await.expect("a pass").done, 1);
    assert_eq!(retention.pass(clock.now()).await.expect("a pass").done, 0);
    put(&logs, "s", vec![event(NOW + 86_401_000, "second")]).await;
    logs.delete_group(&account(), "g")
        .await
        .expect("a deletion");
    logs.create_group(&account(), "g", "STANDARD", BTreeMap::new())
        .await
        .expect("a group");
    assert_eq!(all(&logs, everything(Direction::Forward, 10)).await, []);
    assert!(retention.pass(clock.now()).await.expect("a pass").done > 0);
    let left = logs
        .db
        .read(|tx| Ok::<_, Error>(crate::store::removals::first(tx)?));
    assert_eq!(left.await.expect("a read"), None);
}

/// The segment begins where the request ends, and is as long as a segment can be.
#[tokio::test]
async fn the_earliest_event_of_the_longest_segment_is_found_from_the_end() {
    let (logs, _) = logs(&["a"]).await;
    let day = 24 * 60 * 60 * 1000;
    put(
        &logs,
        "a",
        vec![event(NOW - day, "first"), event(NOW, "last")],
    )
    .await;
    for streams in [vec![], vec!["a".to_owned()]] {
        let request = FilterEvents {
            streams,
            to: NOW - day,
            ..everything(Direction::Backward, 10)
        };
        let (page, _) = logs.filter(&account(), "g", request).await.expect("a page");
        assert_eq!(page.events.len(), 1);
        assert_eq!(page.events[0].message, "first");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// Batches of two streams at random times: every page size and direction finds each event
    /// once, in the order of their times.
    #[test]
    fn pages_hold_every_event_once_and_in_order(
        batches in proptest::collection::vec(
            (
                any::<bool>(),
                proptest::collection::vec((0i64..200_000, 1usize..30_000), 1..6),
            ),
            1..12,
        ),
        limit in 1usize..7,
        is_forward in any::<bool>(),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build();
        let runtime = runtime.expect("a runtime");
        runtime.block_on(async {
            let (logs, _) = logs(&["a", "b"]).await;
            let mut expected = Vec::new();
            let mut number = 0;
            for (is_first, times) in batches {
                let mut times = times;
                times.sort_unstable();
                let events: Vec<NewEvent> = times
                    .into_iter()
                    .map(|(at, length)| {
                        number += 1;
                        event(NOW - 300_000 + at, &format!("{number} {}", "x".repeat(length)))
                    })
                    .collect();
                expected.extend(events.iter().map(|e| (e.at, e.message.clone())));
                put(&logs, if is_first { "a" } else { "b" }, events).await;
            }
            let direction = if is_forward { Direction::Forward } else { Direction::Backward };
            let mut found = all(&logs, everything(direction, limit)).await;
            if !is_forward {
                found.reverse();
            }
            assert!(found.is_sorted_by_key(|(at, _)| *at));
            found.sort();
            expected.sort();
            assert_eq!(found, expected);
        });
    }
}
