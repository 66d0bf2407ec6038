//! Rows of `uploads`.

use uuid::Uuid;
use wharfinger_base::Timestamp;
use wharfinger_db::{self as db, Row, Tx, params};

use crate::model::RepositoryId;
use crate::store::{signed, unsigned};

/// An upload session with all that the next part needs.
#[derive(Clone, Debug)]
pub(crate) struct Session {
    pub(crate) id: Uuid,
    pub(crate) repository: RepositoryId,
    /// The blob store's own account of the staged bytes.
    pub(crate) staged: Vec<u8>,
    pub(crate) size: u64,
    /// Size of the newest part, and how many before it were too short for one that is not the last
    /// (ECR's layer parts).
    pub(crate) last_part_size: u64,
    pub(crate) short_parts: u64,
    pub(crate) version: i64,
}

pub(crate) fn insert(tx: &mut Tx<'_>, session: &Session, now: Timestamp) -> db::Result<()> {
    tx.execute(
        "INSERT INTO uploads (id, repository_id, staged, size, last_part_size, short_parts, version, claimed_until, updated_at)
         VALUES (?1, ?2, ?3, ?4, 0, 0, 0, 0, ?5)",
        params![session.id.to_string(), session.repository.0, &session.staged, signed(session.size), now.as_ms()],
    )?;
    Ok(())
}

pub(crate) fn find(
    tx: &mut Tx<'_>,
    repository: RepositoryId,
    id: Uuid,
) -> db::Result<Option<Session>> {
    tx.query_optional(
        "SELECT id, repository_id, staged, size, last_part_size, short_parts, version FROM uploads WHERE id = ?1 AND repository_id = ?2",
        params![id.to_string(), repository.0],
        read,
    )
}

/// Writes back what a part changed, unless another request was faster; says whether it took.
pub(crate) fn save(tx: &mut Tx<'_>, session: &Session, now: Timestamp) -> db::Result<bool> {
    let rows = tx.execute(
        "UPDATE uploads SET staged = ?1, size = ?2, last_part_size = ?3, short_parts = ?4, version = version + 1, claimed_until = 0,
             updated_at = ?5 WHERE id = ?6 AND version = ?7",
        params![
            &session.staged,
            signed(session.size),
            signed(session.last_part_size),
            signed(session.short_parts),
            now.as_ms(),
            session.id.to_string(),
            session.version
        ],
    )?;
    Ok(rows == 1)
}

/// Takes the session for one writer until `until`, or makes a claim of this version last longer.
pub(crate) fn claim(
    tx: &mut Tx<'_>,
    id: Uuid,
    version: i64,
    until: Timestamp,
    now: Timestamp,
    renew: bool,
) -> db::Result<bool> {
    let free_before = if renew { i64::MAX } else { now.as_ms() };
    let rows = tx.execute(
        "UPDATE uploads SET claimed_until = ?1, updated_at = ?2 WHERE id = ?3 AND version = ?4 AND claimed_until <= ?5",
        params![until.as_ms(), now.as_ms(), id.to_string(), version, free_before],
    )?;
    Ok(rows == 1)
}

pub(crate) fn delete(tx: &mut Tx<'_>, id: Uuid, version: i64) -> db::Result<bool> {
    Ok(tx.execute(
        "DELETE FROM uploads WHERE id = ?1 AND version = ?2",
        params![id.to_string(), version],
    )? == 1)
}

/// Sessions untouched since `before` and written to by nobody, oldest first, up to `limit`.
pub(crate) fn idle(
    tx: &mut Tx<'_>,
    before: Timestamp,
    now: Timestamp,
    limit: i64,
) -> db::Result<Vec<Session>> {
    tx.query(
        "SELECT id, repository_id, staged, size, last_part_size, short_parts, version FROM uploads
         WHERE updated_at < ?1 AND claimed_until <= ?2 ORDER BY updated_at LIMIT ?3",
        params![before.as_ms(), now.as_ms(), limit],
        read,
    )
}

fn read(row: &Row<'_>) -> db::Result<Session> {
    Ok(Session {
        id: super::parsed(row.text(0))?,
        repository: RepositoryId(row.integer(1)),
        staged: row.bytes(2).to_vec(),
        size: unsigned(row.integer(3))?,
        last_part_size: unsigned(row.integer(4))?,
        short_parts: unsigned(row.integer(5))?,
        version: row.integer(6),
    })
}
