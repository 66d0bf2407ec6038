//! Rows of `log_segments`.

use wharfinger_db::{self as db, Row, Tx, params};

/// A segment.
#[derive(Clone, Debug)]
pub(crate) struct SegmentRow {
    pub(crate) stream_id: String,
    /// The number of the first event.
    pub(crate) sequence: i64,
    pub(crate) first_at: i64,
    pub(crate) last_at: i64,
    pub(crate) data: Vec<u8>,
}

/// The bounds of one step of a scan: segments with events in `from..=to`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bounds {
    pub(crate) from: i64,
    pub(crate) to: i64,
    /// Longest time between the first and the last event of a segment.
    pub(crate) span: i64,
}

pub(crate) fn insert(tx: &mut Tx<'_>, group: &str, segment: &SegmentRow) -> db::Result<()> {
    tx.execute(
        "INSERT INTO log_segments (stream_id, sequence, group_id, first_at, last_at, bytes, data)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
        params![
            &segment.stream_id,
            segment.sequence,
            group,
            segment.first_at,
            segment.last_at,
            i64::try_from(segment.data.len()).unwrap_or(i64::MAX),
            &segment.data[..]
        ],
    )?;
    Ok(())
}

/// Replaces the content of a segment.
pub(crate) fn replace(tx: &mut Tx<'_>, segment: &SegmentRow) -> db::Result<()> {
    tx.execute(
        "UPDATE log_segments SET first_at = ?3, last_at = ?4, bytes = ?5, data = ?6
         WHERE stream_id = ?1 AND sequence = ?2",
        params![
            &segment.stream_id,
            segment.sequence,
            segment.first_at,
            segment.last_at,
            i64::try_from(segment.data.len()).unwrap_or(i64::MAX),
            &segment.data[..]
        ],
    )?;
    Ok(())
}

/// The segment of a stream that would hold the event of this number.
pub(crate) fn with_event(
    tx: &mut Tx<'_>,
    stream: &str,
    sequence: i64,
) -> db::Result<Option<SegmentRow>> {
    tx.query_optional(
        "SELECT stream_id, sequence, first_at, last_at, data FROM log_segments
         WHERE stream_id = ?1 AND sequence <= ?2 ORDER BY sequence DESC LIMIT 1",
        params![stream, sequence],
        |row| Ok(read(row)),
    )
}

/// The newest segment of a stream if it has less than `bytes`.
pub(crate) fn last_below(
    tx: &mut Tx<'_>,
    stream: &str,
    bytes: i64,
) -> db::Result<Option<SegmentRow>> {
    let last = tx.query_optional(
        "SELECT sequence, bytes FROM log_segments WHERE stream_id = ?1
         ORDER BY sequence DESC LIMIT 1",
        params![stream],
        |row| Ok((row.integer(0), row.integer(1))),
    )?;
    let Some((sequence, size)) = last else {
        return Ok(None);
    };
    if size >= bytes {
        return Ok(None);
    }
    tx.query_optional(
        "SELECT stream_id, sequence, first_at, last_at, data FROM log_segments
         WHERE stream_id = ?1 AND sequence = ?2",
        params![stream, sequence],
        |row| Ok(read(row)),
    )
}

/// Where a scan reads segments, and from which end.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Order {
    /// All streams of a group, from the earliest segment or from the latest.
    GroupForward,
    GroupBackward,
    /// One stream.
    StreamForward,
    StreamBackward,
}

impl Order {
    /// The statement. Its parameters are the identifier, the position (time, stream, number), the
    /// latest and the earliest time of events, and the number of rows.
    const fn sql(self) -> &'static str {
        match self {
            Self::GroupForward => {
                "SELECT stream_id, sequence, first_at, last_at, data FROM log_segments
                 WHERE group_id = ?1 AND (first_at, stream_id, sequence) > (?2, ?3, ?4)
                 AND first_at <= ?5 AND last_at >= ?6
                 ORDER BY first_at, stream_id, sequence LIMIT ?7"
            }
            Self::GroupBackward => {
                "SELECT stream_id, sequence, first_at, last_at, data FROM log_segments
                 WHERE group_id = ?1 AND (last_at, stream_id, sequence) < (?2, ?3, ?4)
                 AND first_at <= ?5 AND last_at >= ?6
                 ORDER BY last_at DESC, stream_id DESC, sequence DESC LIMIT ?7"
            }
            Self::StreamForward => {
                "SELECT stream_id, sequence, first_at, last_at, data FROM log_segments
                 WHERE stream_id = ?1 AND (first_at, stream_id, sequence) > (?2, ?3, ?4)
                 AND first_at <= ?5 AND last_at >= ?6 ORDER BY first_at, sequence LIMIT ?7"
            }
            Self::StreamBackward => {
                "SELECT stream_id, sequence, first_at, last_at, data FROM log_segments
                 WHERE stream_id = ?1 AND (last_at, stream_id, sequence) < (?2, ?3, ?4)
                 AND first_at <= ?5 AND last_at >= ?6 ORDER BY last_at DESC, sequence DESC LIMIT ?7"
            }
        }
    }
}

/// Up to `limit` segments of the group or stream with this identifier that have events within the
/// bounds, in the order, after the position (time, stream, number).
pub(crate) fn page(
    tx: &mut Tx<'_>,
    order: Order,
    id: &str,
    bounds: Bounds,
    position: &(i64, String, i64),
    limit: i64,
) -> db::Result<Vec<SegmentRow>> {
    let (at, stream, sequence) = position;
    // No segment begins more than a span before its last event: the scan need not start earlier.
    let at = match order {
        Order::GroupForward | Order::StreamForward => {
            (*at).max(bounds.from.saturating_sub(bounds.span))
        }
        Order::GroupBackward | Order::StreamBackward => {
            (*at).min(bounds.to.saturating_add(bounds.span))
        }
    };
    tx.query(
        order.sql(),
        params![id, at, stream, *sequence, bounds.to, bounds.from, limit],
        |row| Ok(read(row)),
    )
}

/// Up to `limit` segments of a group whose events are all before `end`: stream, number, bytes.
pub(crate) fn expired(
    tx: &mut Tx<'_>,
    group: &str,
    end: i64,
    limit: i64,
) -> db::Result<Vec<(String, i64, i64)>> {
    tx.query(
        "SELECT stream_id, sequence, bytes FROM log_segments
         WHERE group_id = ?1 AND last_at < ?2 ORDER BY last_at LIMIT ?3",
        params![group, end, limit],
        |row| Ok((row.text(0).to_owned(), row.integer(1), row.integer(2))),
    )
}

pub(crate) fn remove(tx: &mut Tx<'_>, stream: &str, sequence: i64) -> db::Result<()> {
    tx.execute(
        "DELETE FROM log_segments WHERE stream_id = ?1 AND sequence = ?2",
        params![stream, sequence],
    )?;
    Ok(())
}

/// Up to `limit` segments of a removed stream, or of a removed group where `stream` is empty.
pub(crate) fn of_removed(
    tx: &mut Tx<'_>,
    group: &str,
    stream: &str,
    limit: i64,
) -> db::Result<Vec<(String, i64)>> {
    let read = |row: &Row<'_>| Ok((row.text(0).to_owned(), row.integer(1)));
    if stream.is_empty() {
        return tx.query(
            "SELECT stream_id, sequence FROM log_segments WHERE group_id = ?1 LIMIT ?2",
            params![group, limit],
            read,
        );
    }
    tx.query(
        "SELECT stream_id, sequence FROM log_segments WHERE stream_id = ?1 LIMIT ?2",
        params![stream, limit],
        read,
    )
}

fn read(row: &Row<'_>) -> SegmentRow {
    SegmentRow {
        stream_id: row.text(0).to_owned(),
        sequence: row.integer(1),
        first_at: row.integer(2),
        last_at: row.integer(3),
        data: row.bytes(4).to_vec(),
    }
}
