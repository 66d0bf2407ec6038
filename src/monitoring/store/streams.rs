//! Rows of `log_streams`.

use wharfinger_base::Timestamp;
use wharfinger_db::{self as db, Row, Tx, params};

use crate::model::{LogStream, StreamPosition};

/// Adds a stream unless there is one of its name.
pub(crate) fn insert(
    tx: &mut Tx<'_>,
    group: &str,
    id: &str,
    name: &str,
    now: Timestamp,
) -> db::Result<bool> {
    let added = tx.execute(
        "INSERT INTO log_streams (stream_id, group_id, name, created_at, last_event_at, \
         next_sequence, stored_bytes) VALUES (?1, ?2, ?3, ?4, 0, 0, 0)
         ON CONFLICT (group_id, name) DO NOTHING",
        params![id, group, name, now],
    )?;
    Ok(added == 1)
}

pub(crate) fn by_name(tx: &mut Tx<'_>, group: &str, name: &str) -> db::Result<Option<LogStream>> {
    tx.query_optional(
        "SELECT stream_id, name, created_at, first_event_at, last_event_at, last_ingested_at, \
         next_sequence, stored_bytes FROM log_streams WHERE group_id = ?1 AND name = ?2",
        params![group, name],
        |row| Ok(read(row)),
    )
}

/// The names of streams by their identifiers, for up to `limit` streams of a group whose names
/// are from `from` to below `to`.
pub(crate) fn named(
    tx: &mut Tx<'_>,
    group: &str,
    from: &str,
    to: &str,
    limit: i64,
) -> db::Result<Vec<(String, String)>> {
    tx.query(
        "SELECT stream_id, name FROM log_streams
         WHERE group_id = ?1 AND name >= ?2 AND name < ?3 ORDER BY name LIMIT ?4",
        params![group, from, to, limit],
        |row| Ok((row.text(0).to_owned(), row.text(1).to_owned())),
    )
}

/// The name of a stream.
pub(crate) fn name_of(tx: &mut Tx<'_>, id: &str) -> db::Result<Option<String>> {
    tx.query_optional(
        "SELECT name FROM log_streams WHERE stream_id = ?1",
        params![id],
        |row| Ok(row.text(0).to_owned()),
    )
}

/// Streams by name after `after` (before it where `descending`), from `from` to below `to`.
pub(crate) fn page_by_name(
    tx: &mut Tx<'_>,
    group: &str,
    after: Option<&str>,
    (from, to): (&str, &str),
    is_descending: bool,
    limit: i64,
) -> db::Result<Vec<LogStream>> {
    if is_descending {
        return tx.query(
            "SELECT stream_id, name, created_at, first_event_at, last_event_at, \
             last_ingested_at, next_sequence, stored_bytes FROM log_streams
             WHERE group_id = ?1 AND name < ?2 AND name >= ?3 AND name < ?4
             ORDER BY name DESC LIMIT ?5",
            params![group, after.unwrap_or(to), from, to, limit],
            |row| Ok(read(row)),
        );
    }
    tx.query(
        "SELECT stream_id, name, created_at, first_event_at, last_event_at, last_ingested_at, \
         next_sequence, stored_bytes FROM log_streams
         WHERE group_id = ?1 AND name > ?2 AND name >= ?3 AND name < ?4 ORDER BY name LIMIT ?5",
        params![group, after.unwrap_or(""), from, to, limit],
        |row| Ok(read(row)),
    )
}

/// Streams by their last event after `after`, or before it where `descending`.
pub(crate) fn page_by_event(
    tx: &mut Tx<'_>,
    group: &str,
    after: &StreamPosition,
    is_descending: bool,
    limit: i64,
) -> db::Result<Vec<LogStream>> {
    let StreamPosition {
        last_event_at,
        name,
    } = after;
    if is_descending {
        return tx.query(
            "SELECT stream_id, name, created_at, first_event_at, last_event_at, \
             last_ingested_at, next_sequence, stored_bytes FROM log_streams
             WHERE group_id = ?1 AND (last_event_at, name) < (?2, ?3)
             ORDER BY last_event_at DESC, name DESC LIMIT ?4",
            params![group, *last_event_at, name, limit],
            |row| Ok(read(row)),
        );
    }
    tx.query(
        "SELECT stream_id, name, created_at, first_event_at, last_event_at, last_ingested_at, \
         next_sequence, stored_bytes FROM log_streams
         WHERE group_id = ?1 AND (last_event_at, name) > (?2, ?3)
         ORDER BY last_event_at, name LIMIT ?4",
        params![group, *last_event_at, name, limit],
        |row| Ok(read(row)),
    )
}

/// Stores what events changed of a stream.
pub(crate) fn update(tx: &mut Tx<'_>, stream: &LogStream) -> db::Result<()> {
    tx.execute(
        "UPDATE log_streams SET first_event_at = ?2, last_event_at = ?3, last_ingested_at = ?4, \
         next_sequence = ?5, stored_bytes = ?6 WHERE stream_id = ?1",
        params![
            &stream.id,
            stream.first_event_at.map(Timestamp::as_ms),
            stream.last_event_at.map_or(0, Timestamp::as_ms),
            stream.last_ingested_at.map(Timestamp::as_ms),
            stream.next_sequence,
            stream.stored_bytes
        ],
    )?;
    Ok(())
}

/// Takes removed bytes off a stream's size.
pub(crate) fn shrink(tx: &mut Tx<'_>, id: &str, bytes: i64) -> db::Result<()> {
    tx.execute(
        "UPDATE log_streams SET stored_bytes = stored_bytes - ?2 WHERE stream_id = ?1",
        params![id, bytes],
    )?;
    Ok(())
}

pub(crate) fn remove(tx: &mut Tx<'_>, id: &str) -> db::Result<()> {
    tx.execute("DELETE FROM log_streams WHERE stream_id = ?1", params![id])?;
    Ok(())
}

/// Removes up to `limit` streams of a removed group; returns how many there were.
pub(crate) fn remove_of_group(tx: &mut Tx<'_>, group: &str, limit: i64) -> db::Result<u64> {
    tx.execute(
        "DELETE FROM log_streams WHERE stream_id IN
         (SELECT stream_id FROM log_streams WHERE group_id = ?1 LIMIT ?2)",
        params![group, limit],
    )
}

fn read(row: &Row<'_>) -> LogStream {
    let time = |column| row.optional_integer(column).map(Timestamp::from_ms);
    LogStream {
        id: row.text(0).to_owned(),
        name: row.text(1).to_owned(),
        created_at: Timestamp::from_ms(row.integer(2)),
        first_event_at: time(3),
        last_event_at: time(4).filter(|at| at.as_ms() != 0),
        last_ingested_at: time(5),
        next_sequence: row.integer(6),
        stored_bytes: row.integer(7),
    }
}
