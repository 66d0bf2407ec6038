//! Rows of `event_outbox`.

use wharfinger_base::Timestamp;
use wharfinger_db::{self as db, Tx, params};

use crate::store::signed;

/// Adds an event for a sink.
pub(crate) fn record(tx: &mut Tx<'_>, sink: &str, body: &str, now: Timestamp) -> db::Result<()> {
    tx.execute(
        "INSERT INTO event_outbox (sink, body, recorded_at, attempts, due_at)
         VALUES (?1, ?2, ?3, 0, ?3)",
        params![sink, body, now.as_ms()],
    )?;
    Ok(())
}

/// An event that waits for its delivery.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Waiting {
    pub(crate) row: i64,
    pub(crate) body: String,
    pub(crate) recorded_at: Timestamp,
    pub(crate) attempts: u32,
    pub(crate) due_at: Timestamp,
}

/// Up to `limit` events of the sink, the oldest first.
pub(crate) fn oldest(tx: &mut Tx<'_>, sink: &str, limit: i64) -> db::Result<Vec<Waiting>> {
    tx.query(
        "SELECT id, body, recorded_at, attempts, due_at FROM event_outbox
         WHERE sink = ?1 ORDER BY id LIMIT ?2",
        params![sink, limit],
        |row| {
            Ok(Waiting {
                row: row.integer(0),
                body: row.text(1).to_owned(),
                recorded_at: Timestamp::from_ms(row.integer(2)),
                attempts: u32::try_from(row.integer(3)).unwrap_or(u32::MAX),
                due_at: Timestamp::from_ms(row.integer(4)),
            })
        },
    )
}

/// The newest event of the sink before its `kept` newest ones.
pub(crate) fn newest_beyond(tx: &mut Tx<'_>, sink: &str, kept: u64) -> db::Result<Option<i64>> {
    tx.query_optional(
        "SELECT id FROM event_outbox WHERE sink = ?1 ORDER BY id DESC LIMIT 1 OFFSET ?2",
        params![sink, signed(kept)],
        |row| Ok(row.integer(0)),
    )
}

/// Removes up to `limit` events of the sink up to and including `last`, the oldest first.
pub(crate) fn delete_up_to(tx: &mut Tx<'_>, sink: &str, last: i64, limit: i64) -> db::Result<u64> {
    tx.execute(
        "DELETE FROM event_outbox WHERE id IN
         (SELECT id FROM event_outbox WHERE sink = ?1 AND id <= ?2 ORDER BY id LIMIT ?3)",
        params![sink, last, limit],
    )
}

pub(crate) fn delete(tx: &mut Tx<'_>, row: i64) -> db::Result<()> {
    tx.execute("DELETE FROM event_outbox WHERE id = ?1", params![row])?;
    Ok(())
}

/// Records a failed attempt.
pub(crate) fn postpone(
    tx: &mut Tx<'_>,
    row: i64,
    attempts: u32,
    due_at: Timestamp,
) -> db::Result<()> {
    tx.execute(
        "UPDATE event_outbox SET attempts = ?2, due_at = ?3 WHERE id = ?1",
        params![row, attempts, due_at.as_ms()],
    )?;
    Ok(())
}

/// Whether the oldest event was recorded before `time`.
pub(crate) fn any_before(tx: &mut Tx<'_>, time: Timestamp) -> db::Result<bool> {
    let oldest = tx.query_optional(
        "SELECT recorded_at FROM event_outbox ORDER BY id LIMIT 1",
        params![],
        |row| Ok(Timestamp::from_ms(row.integer(0))),
    )?;
    Ok(oldest.is_some_and(|oldest| oldest < time))
}

/// Removes those of the `limit` oldest events that were recorded before `time`.
pub(crate) fn delete_before(tx: &mut Tx<'_>, time: Timestamp, limit: i64) -> db::Result<u64> {
    tx.execute(
        "DELETE FROM event_outbox WHERE recorded_at < ?1 AND id IN
         (SELECT id FROM event_outbox ORDER BY id LIMIT ?2)",
        params![time.as_ms(), limit],
    )
}
