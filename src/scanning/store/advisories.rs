//! Rows of advisories and of their generations.

use wharfinger_base::Timestamp;
use wharfinger_db::{self as db, Tx, params};

/// The active advisories of a source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AdvisorySource {
    pub name: String,
    /// Changes with each import that changes anything.
    pub(crate) generation: i64,
    /// Of the documents.
    pub(crate) digest: String,
    pub advisories: u64,
    pub imported_at: Timestamp,
}

/// A row of an entry.
pub(crate) struct EntryRow {
    pub(crate) ecosystem: String,
    pub(crate) package: String,
    pub(crate) advisory: String,
    pub(crate) document: String,
}

/// The active sources, in the order of their generations.
pub(crate) fn sources(tx: &mut Tx<'_>) -> db::Result<Vec<AdvisorySource>> {
    tx.query(
        "SELECT id, source, digest, advisories, imported_at FROM advisory_generations
         WHERE state = 'active' ORDER BY id",
        &[],
        |row| {
            Ok(AdvisorySource {
                generation: row.integer(0),
                name: row.text(1).to_owned(),
                digest: row.text(2).to_owned(),
                advisories: u64::try_from(row.integer(3)).unwrap_or_default(),
                imported_at: Timestamp::from_ms(row.optional_integer(4).unwrap_or_default()),
            })
        },
    )
}

/// Begins a generation of a source. Another one that is being written ends without effect.
pub(crate) fn begin(
    tx: &mut Tx<'_>,
    source: &str,
    digest: &str,
    now: Timestamp,
) -> db::Result<i64> {
    tx.execute(
        "UPDATE advisory_generations SET state = 'old' WHERE source = ?1 AND state = 'pending'",
        params![source],
    )?;
    let id = tx.query_optional(
        "INSERT INTO advisory_generations (source, state, digest, advisories, created_at)
         VALUES (?1, 'pending', ?2, 0, ?3) RETURNING id",
        params![source, digest, now.as_ms()],
        |row| Ok(row.integer(0)),
    )?;
    id.ok_or_else(|| db::Error::other("an inserted row"))
}

/// Whether the generation is still being written.
pub(crate) fn is_pending(tx: &mut Tx<'_>, generation: i64) -> db::Result<bool> {
    let row = tx.query_optional(
        "SELECT 1 FROM advisory_generations WHERE id = ?1 AND state = 'pending'",
        params![generation],
        |_| Ok(()),
    )?;
    Ok(row.is_some())
}

/// Adds an entry. A document that occurs twice counts once, as it was read last.
pub(crate) fn insert(tx: &mut Tx<'_>, generation: i64, row: &EntryRow) -> db::Result<()> {
    tx.execute(
        "INSERT INTO advisory_entries (generation, ecosystem, package, advisory, document)
         VALUES (?1, ?2, ?3, ?4, ?5)
         ON CONFLICT (generation, ecosystem, package, advisory)
         DO UPDATE SET document = excluded.document",
        params![
            generation,
            row.ecosystem.as_str(),
            row.package.as_str(),
            row.advisory.as_str(),
            row.document.as_str()
        ],
    )?;
    Ok(())
}

/// Makes a pending generation the active one of its source. Returns false where it is not pending
/// any more.
pub(crate) fn activate(
    tx: &mut Tx<'_>,
    generation: i64,
    source: &str,
    advisories: u64,
    now: Timestamp,
) -> db::Result<bool> {
    if !is_pending(tx, generation)? {
        return Ok(false);
    }
    retire(tx, source)?;
    tx.execute(
        "UPDATE advisory_generations SET state = 'active', advisories = ?2, imported_at = ?3
         WHERE id = ?1",
        params![
            generation,
            i64::try_from(advisories).unwrap_or(i64::MAX),
            now.as_ms()
        ],
    )?;
    Ok(true)
}

/// Ends what is active of a source. Returns whether anything was.
pub(crate) fn retire(tx: &mut Tx<'_>, source: &str) -> db::Result<bool> {
    let changed = tx.execute(
        "UPDATE advisory_generations SET state = 'old' WHERE source = ?1 AND state = 'active'",
        params![source],
    )?;
    Ok(changed > 0)
}

/// Ends a generation that was not finished.
pub(crate) fn abandon(tx: &mut Tx<'_>, generation: i64) -> db::Result<()> {
    tx.execute(
        "UPDATE advisory_generations SET state = 'old' WHERE id = ?1 AND state = 'pending'",
        params![generation],
    )?;
    Ok(())
}

/// Ends generations that have been written since before `since`: their import has died.
pub(crate) fn abandon_before(tx: &mut Tx<'_>, since: Timestamp) -> db::Result<()> {
    tx.execute(
        "UPDATE advisory_generations SET state = 'old'
         WHERE state = 'pending' AND created_at < ?1",
        params![since.as_ms()],
    )?;
    Ok(())
}

/// A generation whose rows are to be removed.
pub(crate) fn first_old(tx: &mut Tx<'_>) -> db::Result<Option<i64>> {
    tx.query_optional(
        "SELECT id FROM advisory_generations WHERE state = 'old' ORDER BY id LIMIT 1",
        &[],
        |row| Ok(row.integer(0)),
    )
}

/// Removes up to `limit` entries of a generation, or the generation where it has none. Returns
/// whether there may be more.
pub(crate) fn remove_some(tx: &mut Tx<'_>, generation: i64, limit: i64) -> db::Result<bool> {
    let last = tx.query(
        "SELECT ecosystem, package, advisory FROM advisory_entries WHERE generation = ?1
         ORDER BY ecosystem, package, advisory LIMIT ?2",
        params![generation, limit],
        |row| {
            Ok((
                row.text(0).to_owned(),
                row.text(1).to_owned(),
                row.text(2).to_owned(),
            ))
        },
    )?;
    let Some((ecosystem, package, advisory)) = last.last() else {
        tx.execute(
            "DELETE FROM advisory_generations WHERE id = ?1 AND state = 'old'",
            params![generation],
        )?;
        return Ok(false);
    };
    tx.execute(
        "DELETE FROM advisory_entries WHERE generation = ?1
         AND (ecosystem, package, advisory) <= (?2, ?3, ?4)",
        params![
            generation,
            ecosystem.as_str(),
            package.as_str(),
            advisory.as_str()
        ],
    )?;
    Ok(true)
}

/// Whether a generation has advisories of an ecosystem.
pub(crate) fn covers(tx: &mut Tx<'_>, generation: i64, ecosystem: &str) -> db::Result<bool> {
    let row = tx.query_optional(
        "SELECT 1 FROM advisory_entries WHERE generation = ?1 AND ecosystem = ?2 LIMIT 1",
        params![generation, ecosystem],
        |_| Ok(()),
    )?;
    Ok(row.is_some())
}

/// Up to `limit` entries of a package, of advisories after `after`.
pub(crate) fn entries(
    tx: &mut Tx<'_>,
    generation: i64,
    key: (&str, &str),
    after: &str,
    limit: i64,
) -> db::Result<Vec<(String, String)>> {
    tx.query(
        "SELECT advisory, document FROM advisory_entries
         WHERE generation = ?1 AND ecosystem = ?2 AND package = ?3 AND advisory > ?4
         ORDER BY advisory LIMIT ?5",
        params![generation, key.0, key.1, after, limit],
        |row| Ok((row.text(0).to_owned(), row.text(1).to_owned())),
    )
}
