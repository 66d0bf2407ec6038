//! The types of logs.

use std::collections::BTreeMap;

use wharfinger_aws::{AccountId, Arn, Region};
use wharfinger_base::Timestamp;

use crate::filter_pattern::FilterPattern;

/// An account in a region, to which groups belong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    pub id: AccountId,
    pub region: Region,
}

impl Account {
    /// `arn:aws:logs:<region>:<account>:log-group:<rest>`.
    pub fn arn(&self, rest: &str) -> Arn {
        Arn::new(
            self.region.partition(),
            "logs",
            self.region.as_str(),
            self.id.as_str(),
            &format!("log-group:{rest}"),
        )
    }
}

/// A log group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogGroup {
    pub(crate) id: String,
    pub account: Account,
    pub name: String,
    pub created_at: Timestamp,
    /// Events are removed after this many days; `None` keeps them.
    pub retention_days: Option<i64>,
    pub class: String,
    pub tags: BTreeMap<String, String>,
}

/// A log stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogStream {
    pub(crate) id: String,
    pub name: String,
    pub created_at: Timestamp,
    pub first_event_at: Option<Timestamp>,
    pub last_event_at: Option<Timestamp>,
    pub last_ingested_at: Option<Timestamp>,
    /// The number of the next event.
    pub next_sequence: i64,
    pub stored_bytes: i64,
}

/// The order of a listing of streams.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StreamOrder {
    Name,
    LastEvent,
}

/// Where a page of a listing of streams continues: after the stream of this name and last event,
/// in milliseconds (0 for one without events).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StreamPosition {
    pub last_event_at: i64,
    pub name: String,
}

/// The position of an event: all events of a group are ordered by it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct EventKey {
    /// Milliseconds since 1970.
    pub at: i64,
    pub stream_id: String,
    pub sequence: i64,
}

impl EventKey {
    /// Before every event of this time.
    pub fn before(at: i64) -> Self {
        Self {
            at,
            stream_id: String::new(),
            sequence: -1,
        }
    }

    /// After every event of this time: identifiers have hexadecimal digits only.
    pub fn after(at: i64) -> Self {
        Self {
            at,
            stream_id: "~".to_owned(),
            sequence: i64::MAX,
        }
    }

    /// The identifier of the event: 56 digits, as AWS has them.
    pub fn event_id(&self) -> String {
        let stream = self.stream_id.get(..16).unwrap_or_default();
        let stream = u64::from_str_radix(stream, 16).unwrap_or_default();
        format!("{:017}{stream:020}{:019}", self.at.max(0), self.sequence)
    }
}

/// An event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogEvent {
    pub key: EventKey,
    pub ingested_at: i64,
    pub message: String,
}

/// From where to where events are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// From the earliest.
    Forward,
    /// From the latest.
    Backward,
}

/// What `FilterLogEvents` looks for.
#[derive(Clone, Debug)]
pub struct FilterEvents {
    /// Names of streams; empty for all.
    pub streams: Vec<String>,
    pub stream_prefix: Option<String>,
    /// Milliseconds, both inclusive.
    pub from: i64,
    pub to: i64,
    pub pattern: FilterPattern,
    pub direction: Direction,
    /// The page continues after this position, in the direction.
    pub after: Option<EventKey>,
    pub limit: usize,
}

/// Events in the order of their times.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct EventPage {
    pub events: Vec<LogEvent>,
    /// Where the next page begins; `None` where nothing is left in the direction.
    pub next: Option<EventKey>,
}
