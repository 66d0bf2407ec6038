//! Rows of `work_leases`: work that one of several servers does at a time.

use wharfinger_base::Timestamp;
use wharfinger_db::{self as db, Tx, params};

/// Takes the lease of this name, or renews it; false while another holder has it.
pub(crate) fn take(
    tx: &mut Tx<'_>,
    name: &str,
    holder: &str,
    now: Timestamp,
    until: Timestamp,
) -> db::Result<bool> {
    let changed = tx.execute(
        "INSERT INTO work_leases (name, holder, term, expires_at) VALUES (?1, ?2, 1, ?4)
         ON CONFLICT (name) DO UPDATE SET
             term = work_leases.term + CASE WHEN work_leases.holder = ?2 THEN 0 ELSE 1 END,
             holder = excluded.holder, expires_at = excluded.expires_at
         WHERE work_leases.holder = ?2 OR work_leases.expires_at <= ?3",
        params![name, holder, now.as_ms(), until.as_ms()],
    )?;
    Ok(changed == 1)
}

/// Whether the holder has the lease of this name: nobody has taken it since.
pub(crate) fn is_held(tx: &mut Tx<'_>, name: &str, holder: &str) -> db::Result<bool> {
    let held = tx.query_optional(
        "SELECT 1 FROM work_leases WHERE name = ?1 AND holder = ?2",
        params![name, holder],
        |_| Ok(()),
    )?;
    Ok(held.is_some())
}

/// Whether a lease with a name from `from` to before `to` is held at `now`, by whomever.
pub(crate) fn any_held(tx: &mut Tx<'_>, from: &str, to: &str, now: Timestamp) -> db::Result<bool> {
    let held = tx.query_optional(
        "SELECT 1 FROM work_leases WHERE name >= ?1 AND name < ?2 AND expires_at > ?3 LIMIT 1",
        params![from, to, now.as_ms()],
        |_| Ok(()),
    )?;
    Ok(held.is_some())
}

/// Ends the holder's lease of this name.
pub(crate) fn release(tx: &mut Tx<'_>, name: &str, holder: &str) -> db::Result<()> {
    tx.execute(
        "DELETE FROM work_leases WHERE name = ?1 AND holder = ?2",
        params![name, holder],
    )?;
    Ok(())
}

/// Removes leases with a name from `from` to before `to` that nobody holds at `now`.
pub(crate) fn remove_expired(
    tx: &mut Tx<'_>,
    from: &str,
    to: &str,
    now: Timestamp,
) -> db::Result<()> {
    tx.execute(
        "DELETE FROM work_leases WHERE name >= ?1 AND name < ?2 AND expires_at <= ?3",
        params![from, to, now.as_ms()],
    )?;
    Ok(())
}
