//! Reads events in the order of their times out of segments, which can overlap, with bounded
//! memory and bounded work for each page.

use std::collections::BTreeMap;

use wharfinger_db::{self as db, Tx};

use crate::model::{Direction, EventKey, EventPage, LogEvent};
use crate::segment::{self, MAX_SPAN_MS};
use crate::store::segments::{self, Bounds, Order, SegmentRow};
use crate::{Error, Result};

/// Segments read at a time: at most 2 MiB.
const SEGMENTS_PER_READ: i64 = 8;

/// Segments that one page may read: at most 128 MiB pass through memory, and a request that finds
/// little returns what it has with the position to continue. Segments that reach over the beginning
/// of the page are not among them: without all of them no event is known to be the first one.
pub(crate) const MAX_SEGMENTS_PER_PAGE: usize = 512;

/// Bytes of segments that may reach over the beginning of a page, of which each is of another
/// stream.
const MAX_OVERLAPPING_BYTES: usize = 256 * 1024 * 1024;
/// What a segment counts at least: 16,384 of them may reach over the beginning.
const MIN_SEGMENT_COST_BYTES: usize = 16 * 1024;

/// Bytes of messages on a page (API reference: 1 MB).
const MAX_PAGE_BYTES: usize = 1024 * 1024;

/// Where events are read.
pub(crate) enum Source {
    /// All streams of the group with this identifier.
    Group(String),
    /// The stream with this identifier.
    Stream(String),
}

/// One page of events.
pub(crate) struct Scan {
    pub(crate) source: Source,
    /// Milliseconds, both inclusive.
    pub(crate) from: i64,
    pub(crate) to: i64,
    pub(crate) direction: Direction,
    /// Only what follows this position in the direction.
    pub(crate) after: Option<EventKey>,
    pub(crate) limit: usize,
    /// [`MAX_SEGMENTS_PER_PAGE`], but in tests.
    pub(crate) max_segments: usize,
}

/// The events of a page as they are found: the best ones in the direction, within the bounds.
struct Best {
    direction: Direction,
    limit: usize,
    bytes: usize,
    events: BTreeMap<EventKey, (i64, String)>,
    /// Whether an event was left out that belongs after the page.
    is_cut: bool,
}

impl Scan {
    /// Runs the scan over the streams with these identifiers and the messages that match.
    ///
    /// # Errors
    /// [`Error::TooManyStreams`].
    pub(crate) fn run(
        &self,
        tx: &mut Tx<'_>,
        has_stream: impl Fn(&str) -> bool,
        matches: impl Fn(&str) -> bool,
    ) -> Result<EventPage> {
        let bounds = self.bounds();
        let mut best = Best::new(self.direction, self.limit);
        let mut position = match self.direction {
            Direction::Forward => (i64::MIN, String::new(), -1),
            // After every stream: identifiers have hexadecimal digits only.
            Direction::Backward => (i64::MAX, "~".to_owned(), i64::MAX),
        };
        let (mut read, mut overlapping) = (0, 0);
        // Where nothing was read yet: every event beyond this time may be missing.
        let mut frontier = None;
        loop {
            let rows = self.read(tx, bounds, &position)?;
            let is_last = rows.len() < usize::try_from(SEGMENTS_PER_READ).unwrap_or_default();
            for row in rows {
                let edge = self.edge(&row);
                if best.is_complete_before(edge) {
                    return Ok(best.into_page(None));
                }
                if self.is_overlapping(edge, bounds) {
                    overlapping += row.data.len().max(MIN_SEGMENT_COST_BYTES);
                    if overlapping > MAX_OVERLAPPING_BYTES {
                        return Err(Error::TooManyStreams);
                    }
                } else if read >= self.max_segments {
                    frontier = Some(edge);
                    break;
                } else {
                    read += 1;
                }
                position = (edge, row.stream_id.clone(), row.sequence);
                if has_stream(&row.stream_id) {
                    self.collect(&row, bounds, &mut best, &matches)?;
                }
            }
            if is_last || frontier.is_some() {
                return Ok(best.into_page(frontier));
            }
        }
    }

    fn bounds(&self) -> Bounds {
        let (mut from, mut to) = (self.from, self.to);
        match (&self.after, self.direction) {
            (Some(after), Direction::Forward) => from = from.max(after.at),
            (Some(after), Direction::Backward) => to = to.min(after.at),
            (None, _) => {}
        }
        Bounds {
            from,
            to,
            span: MAX_SPAN_MS,
        }
    }

    /// The time by which segments are read in order.
    fn edge(&self, row: &SegmentRow) -> i64 {
        match self.direction {
            Direction::Forward => row.first_at,
            Direction::Backward => row.last_at,
        }
    }

    /// Whether the segment begins, in the direction, before the page can.
    fn is_overlapping(&self, edge: i64, bounds: Bounds) -> bool {
        match self.direction {
            Direction::Forward => edge <= bounds.from,
            Direction::Backward => edge >= bounds.to,
        }
    }

    fn read(
        &self,
        tx: &mut Tx<'_>,
        bounds: Bounds,
        position: &(i64, String, i64),
    ) -> db::Result<Vec<SegmentRow>> {
        let (order, id) = match (&self.source, self.direction) {
            (Source::Group(id), Direction::Forward) => (Order::GroupForward, id),
            (Source::Group(id), Direction::Backward) => (Order::GroupBackward, id),
            (Source::Stream(id), Direction::Forward) => (Order::StreamForward, id),
            (Source::Stream(id), Direction::Backward) => (Order::StreamBackward, id),
        };
        segments::page(tx, order, id, bounds, position, SEGMENTS_PER_READ)
    }

    fn collect(
        &self,
        row: &SegmentRow,
        bounds: Bounds,
        best: &mut Best,
        matches: &impl Fn(&str) -> bool,
    ) -> db::Result<()> {
        let entries = segment::decode(&row.data).ok_or_else(|| db::Error::other("a segment"))?;
        for (sequence, entry) in (row.sequence..).zip(entries) {
            let key = EventKey {
                at: entry.at,
                stream_id: row.stream_id.clone(),
                sequence,
            };
            let is_beyond = self
                .after
                .as_ref()
                .is_none_or(|after| match self.direction {
                    Direction::Forward => key > *after,
                    Direction::Backward => key < *after,
                });
            let is_within = (bounds.from..=bounds.to).contains(&entry.at);
            if is_within && is_beyond && matches(&entry.message) {
                best.add(key, entry.ingested_at, entry.message);
            }
        }
        Ok(())
    }
}

impl Best {
    fn new(direction: Direction, limit: usize) -> Self {
        Self {
            direction,
            limit,
            bytes: 0,
            events: BTreeMap::new(),
            is_cut: false,
        }
    }

    fn add(&mut self, key: EventKey, ingested_at: i64, message: String) {
        self.bytes += message.len();
        self.events.insert(key, (ingested_at, message));
        while self.events.len() > self.limit
            || (self.bytes > MAX_PAGE_BYTES && self.events.len() > 1)
        {
            let removed = match self.direction {
                Direction::Forward => self.events.pop_last(),
                Direction::Backward => self.events.pop_first(),
            };
            let Some((_, (_, message))) = removed else {
                return;
            };
            self.bytes -= message.len();
            self.is_cut = true;
        }
    }

    /// Whether no event at or beyond this time can get onto the page.
    fn is_complete_before(&self, edge: i64) -> bool {
        if !self.is_cut && self.events.len() < self.limit {
            return false;
        }
        match self.direction {
            Direction::Forward => self
                .events
                .last_key_value()
                .is_some_and(|(key, _)| key.at < edge),
            Direction::Backward => self
                .events
                .first_key_value()
                .is_some_and(|(key, _)| key.at > edge),
        }
    }

    /// The page. With a frontier, only events before it are complete.
    fn into_page(mut self, frontier: Option<i64>) -> EventPage {
        let mut next = None;
        if let Some(edge) = frontier {
            match self.direction {
                Direction::Forward => {
                    self.events.retain(|key, _| key.at < edge);
                    next = Some(EventKey::before(edge));
                }
                Direction::Backward => {
                    self.events.retain(|key, _| key.at > edge);
                    next = Some(EventKey::after(edge));
                }
            }
        } else if self.is_cut || self.events.len() >= self.limit {
            let end = match self.direction {
                Direction::Forward => self.events.last_key_value(),
                Direction::Backward => self.events.first_key_value(),
            };
            next = end.map(|(key, _)| key.clone());
        }
        let events = self
            .events
            .into_iter()
            .map(|(key, (ingested_at, message))| LogEvent {
                key,
                ingested_at,
                message,
            });
        EventPage {
            events: events.collect(),
            next,
        }
    }
}
