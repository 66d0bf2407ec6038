//! Rows of `log_removals`: what was deleted and still has segments.

use wharfinger_db::{self as db, Tx, params};

/// Notes a removed stream, or a removed group with an empty stream.
pub(crate) fn insert(tx: &mut Tx<'_>, group: &str, stream: &str) -> db::Result<()> {
    tx.execute(
        "INSERT INTO log_removals (group_id, stream_id) VALUES (?1, ?2)
         ON CONFLICT (group_id, stream_id) DO NOTHING",
        params![group, stream],
    )?;
    Ok(())
}

/// The first one.
pub(crate) fn first(tx: &mut Tx<'_>) -> db::Result<Option<(String, String)>> {
    tx.query_optional(
        "SELECT group_id, stream_id FROM log_removals ORDER BY group_id, stream_id LIMIT 1",
        params![],
        |row| Ok((row.text(0).to_owned(), row.text(1).to_owned())),
    )
}

pub(crate) fn remove(tx: &mut Tx<'_>, group: &str, stream: &str) -> db::Result<()> {
    tx.execute(
        "DELETE FROM log_removals WHERE group_id = ?1 AND stream_id = ?2",
        params![group, stream],
    )?;
    Ok(())
}
