//! Rows of `event_outbox`.

use wharfinger_base::Timestamp;
use wharfinger_db::{self as db, Tx, params};

/// Adds an event for a sink.
pub(crate) fn record(tx: &mut Tx<'_>, sink: &str, body: &str, now: Timestamp) -> db::Result<()> {
    tx.execute(
        "INSERT INTO event_outbox (sink, body, recorded_at, attempts, due_at)
         VALUES (?1, ?2, ?3, 0, ?3)",
        params![sink, body, now.as_ms()],
    )?;
    Ok(())
}
