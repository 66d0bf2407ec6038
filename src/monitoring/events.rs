//! Writing and reading of events.

use std::collections::BTreeSet;

use wharfinger_base::Timestamp;
use wharfinger_db::{self as db, Tx};

use crate::groups::prefix_end;
use crate::model::{Account, Direction, EventKey, EventPage, FilterEvents, LogStream};
use crate::scan::{MAX_SEGMENTS_PER_PAGE, Scan, Source};
use crate::segment::{self, Entry, MAX_SPAN_MS};
use crate::store::segments::{self, SegmentRow};
use crate::store::{groups, streams};
use crate::{Error, Logs, Result};

/// Largest batch: messages, and 26 bytes for each (API reference, `PutLogEvents`).
const MAX_BATCH_BYTES: usize = 1024 * 1024;
const BATCH_BYTES_PER_EVENT: usize = 26;

/// Events may be at most this much in the future, and this old (API reference, `PutLogEvents`).
const MAX_FUTURE_MS: i64 = 2 * 60 * 60 * 1000;
const MAX_AGE_MS: i64 = 14 * DAY_MS;

pub(crate) const DAY_MS: i64 = 24 * 60 * 60 * 1000;

/// Largest segment, in bytes: what a scan holds in memory at a time is a few of them.
const MAX_SEGMENT_BYTES: usize = 256 * 1024;

/// A stream's last segment gets further events until it has this many bytes, so that a container
/// that seldom writes does not leave a segment for each line. Small, because the segment is
/// written again each time.
const MIN_SEGMENT_BYTES: i64 = 16 * 1024;

/// Streams that `FilterLogEvents` looks for by name prefix at most: their identifiers take 6 MB.
const MAX_PREFIX_STREAMS: usize = 100_000;

/// The last segment of a stream gets events that are at most this much later than its first one, so
/// that of streams that seldom write few segments reach far back.
const MAX_OPEN_MS: i64 = 60 * 60 * 1000;

/// An event to store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewEvent {
    /// Milliseconds since 1970.
    pub at: i64,
    pub message: String,
}

/// What was not stored of a batch, by index: its events are in the order of their times.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Rejected {
    /// The first event that is too new.
    pub too_new_from: Option<usize>,
    /// The event after the last one that is more than 14 days old.
    pub too_old_to: Option<usize>,
    /// The event after the last one that the retention of the group removes.
    pub expired_to: Option<usize>,
}

/// The result of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stored {
    pub rejected: Rejected,
    /// The number of the stream's next event.
    pub next_sequence: i64,
}

/// What `GetLogEvents` reads.
#[derive(Clone, Debug)]
pub struct GetEvents {
    /// Milliseconds, inclusive and exclusive.
    pub from: i64,
    pub to: i64,
    pub direction: Direction,
    /// Continue after this position, in the direction.
    pub after: Option<EventKey>,
    pub limit: usize,
}

impl Logs {
    /// Stores events, which are durable when this returns. `sequence` is the number that the sender
    /// expects the first one to get, if it says so: events that the stream has under this number
    /// are those of an earlier request whose response was lost.
    ///
    /// # Errors
    /// [`Error::NoSuchGroup`], [`Error::NoSuchStream`], [`Error::OutOfOrder`],
    /// [`Error::LongSpan`], [`Error::BatchTooLarge`].
    pub async fn put(
        &self,
        account: &Account,
        group: &str,
        stream: &str,
        sequence: Option<i64>,
        events: Vec<NewEvent>,
    ) -> Result<Stored> {
        check_batch(&events)?;
        let now = self.clock.now();
        let (account, group, stream) = (account.clone(), group.to_owned(), stream.to_owned());
        self.db
            .write(move |tx| {
                let group = groups::by_name(tx, &account, &group)?.ok_or(Error::NoSuchGroup)?;
                let mut stream =
                    streams::by_name(tx, &group.id, &stream)?.ok_or(Error::NoSuchStream)?;
                let (rejected, accepted) = accept(&events, group.retention_days, now.as_ms());
                let known = match sequence {
                    Some(sequence) => stored_again(tx, &stream, sequence, accepted)?,
                    None => 0,
                };
                let missing = accepted.get(known..).unwrap_or_default();
                if !missing.is_empty() {
                    append(tx, &group.id, &mut stream, missing, now)?;
                }
                Ok(Stored {
                    rejected,
                    next_sequence: stream.next_sequence,
                })
            })
            .await
    }

    /// A page of a stream's events, in the order of their times.
    ///
    /// # Errors
    /// [`Error::NoSuchGroup`], [`Error::NoSuchStream`].
    pub async fn get(
        &self,
        account: &Account,
        group: &str,
        stream: &str,
        request: GetEvents,
    ) -> Result<EventPage> {
        let now = self.clock.now().as_ms();
        let (account, group, stream) = (account.clone(), group.to_owned(), stream.to_owned());
        self.db
            .read(move |tx| {
                let group = groups::by_name(tx, &account, &group)?.ok_or(Error::NoSuchGroup)?;
                let stream =
                    streams::by_name(tx, &group.id, &stream)?.ok_or(Error::NoSuchStream)?;
                let scan = Scan {
                    source: Source::Stream(stream.id),
                    from: request.from.max(oldest(group.retention_days, now)),
                    to: request.to.saturating_sub(1),
                    direction: request.direction,
                    after: request.after.clone(),
                    limit: request.limit,
                    max_segments: MAX_SEGMENTS_PER_PAGE,
                };
                scan.run(tx, |_| true, |_| true)
            })
            .await
    }

    /// A page of a group's events that match, with the names of their streams.
    ///
    /// # Errors
    /// [`Error::NoSuchGroup`], [`Error::NoSuchStream`] for a named stream.
    pub async fn filter(
        &self,
        account: &Account,
        group: &str,
        request: FilterEvents,
    ) -> Result<(EventPage, Vec<String>)> {
        let now = self.clock.now().as_ms();
        let (account, group) = (account.clone(), group.to_owned());
        self.db
            .read(move |tx| {
                let group = groups::by_name(tx, &account, &group)?.ok_or(Error::NoSuchGroup)?;
                let wanted = wanted_streams(tx, &group.id, &request)?;
                if wanted.as_ref().is_some_and(BTreeSet::is_empty) {
                    return Ok((EventPage::default(), Vec::new()));
                }
                let source = match wanted.as_ref().map(|wanted| (wanted.len(), wanted.first())) {
                    Some((1, Some(only))) => Source::Stream(only.clone()),
                    _ => Source::Group(group.id),
                };
                let scan = Scan {
                    source,
                    from: request.from.max(oldest(group.retention_days, now)),
                    to: request.to,
                    direction: request.direction,
                    after: request.after.clone(),
                    limit: request.limit,
                    max_segments: MAX_SEGMENTS_PER_PAGE,
                };
                let has_stream =
                    |stream: &str| wanted.as_ref().is_none_or(|wanted| wanted.contains(stream));
                let matches = |message: &str| request.pattern.matches(message);
                let mut page = scan.run(tx, has_stream, matches)?;
                let names = name_streams(tx, &mut page)?;
                Ok((page, names))
            })
            .await
    }
}

/// How many of these events, from the first on, the stream holds from the number `sequence` on: a
/// sender that got no response sends them again.
fn stored_again(
    tx: &mut Tx<'_>,
    stream: &LogStream,
    sequence: i64,
    events: &[NewEvent],
) -> db::Result<usize> {
    let mut known = 0;
    let mut next = sequence;
    while next < stream.next_sequence && known < events.len() {
        let Some(row) = segments::with_event(tx, &stream.id, next)? else {
            return Ok(known);
        };
        let entries = segment::decode(&row.data).ok_or_else(|| db::Error::other("a segment"))?;
        let skipped = usize::try_from(next - row.sequence).unwrap_or(usize::MAX);
        let before = known;
        for entry in entries.iter().skip(skipped) {
            match events.get(known) {
                Some(event) if entry.at == event.at && entry.message == event.message => {
                    known += 1;
                    next += 1;
                }
                _ => return Ok(known),
            }
        }
        if known == before {
            return Ok(known);
        }
    }
    Ok(known)
}

fn check_batch(events: &[NewEvent]) -> Result<()> {
    let bytes: usize = events
        .iter()
        .map(|event| event.message.len() + BATCH_BYTES_PER_EVENT)
        .sum();
    if bytes > MAX_BATCH_BYTES {
        return Err(Error::BatchTooLarge {
            limit: MAX_BATCH_BYTES,
        });
    }
    if !events.is_sorted_by_key(|event| event.at) {
        return Err(Error::OutOfOrder);
    }
    let span = events
        .last()
        .zip(events.first())
        .map_or(0, |(last, first)| last.at - first.at);
    if span > MAX_SPAN_MS {
        return Err(Error::LongSpan);
    }
    Ok(())
}

/// The earliest time of events that are shown.
fn oldest(retention_days: Option<i64>, now: i64) -> i64 {
    retention_days.map_or(0, |days| now - days * DAY_MS)
}

/// The events that are stored, and what is refused of a batch in the order of its times.
fn accept(events: &[NewEvent], retention_days: Option<i64>, now: i64) -> (Rejected, &[NewEvent]) {
    let before = |time: i64| events.partition_point(|event| event.at < time);
    let too_old = before(now - MAX_AGE_MS);
    let expired = before(oldest(retention_days, now));
    let end = events.partition_point(|event| event.at <= now + MAX_FUTURE_MS);
    let start = too_old.max(expired);
    let some = |index: usize| Some(index).filter(|index| *index > 0);
    let rejected = Rejected {
        too_new_from: Some(end).filter(|end| *end < events.len()),
        too_old_to: some(too_old),
        expired_to: some(expired),
    };
    (rejected, events.get(start..end).unwrap_or_default())
}

/// Appends events to the stream's last segment while it is small, else to new ones.
fn append(
    tx: &mut Tx<'_>,
    group: &str,
    stream: &mut LogStream,
    events: &[NewEvent],
    now: Timestamp,
) -> db::Result<()> {
    let last = segments::last_below(tx, &stream.id, MIN_SEGMENT_BYTES)?;
    let mut open: Option<(SegmentRow, bool)> = last.map(|row| (row, false));
    for event in events {
        let length = segment::encoded_len(&event.message);
        let fits = open.as_ref().is_some_and(|(row, _)| {
            let span = row.last_at.max(event.at) - row.first_at.min(event.at);
            span <= MAX_OPEN_MS && row.data.len() + length <= MAX_SEGMENT_BYTES
        });
        if !fits && let Some((row, is_new)) = open.take() {
            save(tx, group, &row, is_new)?;
        }
        let (row, _) = open.get_or_insert_with(|| {
            let row = SegmentRow {
                stream_id: stream.id.clone(),
                sequence: stream.next_sequence,
                first_at: event.at,
                last_at: event.at,
                data: Vec::new(),
            };
            (row, true)
        });
        row.first_at = row.first_at.min(event.at);
        row.last_at = row.last_at.max(event.at);
        let entry = Entry {
            at: event.at,
            ingested_at: now.as_ms(),
            message: event.message.clone(),
        };
        segment::append(&mut row.data, &entry);
        stream.next_sequence += 1;
        stream.stored_bytes += i64::try_from(length).unwrap_or(i64::MAX);
        let at = Timestamp::from_ms(event.at);
        stream.first_event_at = Some(stream.first_event_at.map_or(at, |first| first.min(at)));
        stream.last_event_at = stream.last_event_at.max(Some(at));
    }
    if let Some((row, is_new)) = open {
        save(tx, group, &row, is_new)?;
    }
    stream.last_ingested_at = Some(now);
    streams::update(tx, stream)
}

fn save(tx: &mut Tx<'_>, group: &str, row: &SegmentRow, is_new: bool) -> db::Result<()> {
    if is_new {
        segments::insert(tx, group, row)
    } else {
        segments::replace(tx, row)
    }
}

/// The streams that a request names; `None` for all.
fn wanted_streams(
    tx: &mut Tx<'_>,
    group: &str,
    request: &FilterEvents,
) -> Result<Option<BTreeSet<String>>> {
    if let Some(prefix) = &request.stream_prefix {
        let end = prefix_end(prefix);
        let limit = i64::try_from(MAX_PREFIX_STREAMS + 1).unwrap_or(i64::MAX);
        let found = streams::named(tx, group, prefix, &end, limit)?;
        if found.len() > MAX_PREFIX_STREAMS {
            return Err(Error::TooManyStreams);
        }
        return Ok(Some(found.into_iter().map(|(id, _)| id).collect()));
    }
    if request.streams.is_empty() {
        return Ok(None);
    }
    let mut wanted = BTreeSet::new();
    for name in &request.streams {
        let stream = streams::by_name(tx, group, name)?.ok_or(Error::NoSuchStream)?;
        wanted.insert(stream.id);
    }
    Ok(Some(wanted))
}

/// The name of each event's stream. Events of a stream that is being removed are left out.
fn name_streams(tx: &mut Tx<'_>, page: &mut EventPage) -> db::Result<Vec<String>> {
    let mut known = std::collections::BTreeMap::new();
    for event in &page.events {
        let id = &event.key.stream_id;
        if !known.contains_key(id) {
            known.insert(id.clone(), streams::name_of(tx, id)?);
        }
    }
    let name = |id: &str| known.get(id).cloned().flatten();
    page.events
        .retain(|event| name(&event.key.stream_id).is_some());
    Ok(page
        .events
        .iter()
        .filter_map(|event| name(&event.key.stream_id))
        .collect())
}

#[cfg(test)]
mod tests;
