//! Rows of `uploads`.
//!
//! One rule for every change of a session: it names the version that its caller has claimed. A
//! claim raises the version, so that whoever held the session before can change nothing any more.

use uuid::Uuid;
use wharfinger_base::Timestamp;
use wharfinger_db::{self as db, Row, Tx, params};
use wharfinger_oci::Digest;

use crate::model::RepositoryId;
use crate::store::{digest, parsed, signed, unsigned};

/// How long a claim lasts unless it is renewed or given back. A request that a server sent to the
/// blob store before it died has arrived, or never will, by then.
pub(crate) const CLAIM_MS: i64 = 30_000;

/// An upload session with all that the next request needs.
#[derive(Clone, Debug)]
pub(crate) struct UploadSession {
    pub(crate) id: Uuid,
    pub(crate) repository: RepositoryId,
    /// The state of the staged bytes, as the blob store wrote it.
    pub(crate) staged: Vec<u8>,
    pub(crate) size: u64,
    /// Size of the newest part, and how many before it were too short for one that is not the last
    /// (ECR's layer parts).
    pub(crate) last_part_size: u64,
    pub(crate) short_parts: u64,
    pub(crate) version: i64,
    /// A request on it failed or died: the store may hold bytes that `staged` does not name.
    pub(crate) unclean: bool,
    /// The digest under which its bytes may have been published.
    pub(crate) digest: Option<Digest>,
    pub(crate) claimed_until: Timestamp,
}

/// The outcome of [`claim`].
pub(crate) enum Claimed {
    Yes(UploadSession),
    /// Another request has it.
    Busy,
    Missing,
}

/// The time that claims and expiry go by: the database server's, so that the clocks of several
/// servers do not matter; else `clock`, this process's own.
fn time(tx: &mut Tx<'_>, clock: Timestamp) -> db::Result<i64> {
    Ok(tx.server_time()?.unwrap_or(clock).as_ms())
}

/// Adds an open session; `claimed` for the caller's own request at once.
pub(crate) fn insert(
    tx: &mut Tx<'_>,
    session: &UploadSession,
    owner: &str,
    claimed: bool,
    clock: Timestamp,
) -> db::Result<()> {
    let now = time(tx, clock)?;
    let claimed_until = if claimed { now + CLAIM_MS } else { 0 };
    tx.execute(
        "INSERT INTO uploads (id, repository_id, staged, size, last_part_size, short_parts, version,
             claimed_until, updated_at, owner, digest)
         VALUES (?1, ?2, ?3, ?4, 0, 0, ?5, ?6, ?7, ?8, ?9)",
        params![
            session.id.to_string(),
            session.repository.0,
            &session.staged,
            signed(session.size),
            session.version,
            claimed_until,
            now,
            owner,
            session.digest.map(|digest| digest.to_stored())
        ],
    )?;
    Ok(())
}

/// How many sessions are open, of one owner or of all, counted up to `limit`.
pub(crate) fn open(tx: &mut Tx<'_>, owner: Option<&str>, limit: u64) -> db::Result<u64> {
    let count = match owner {
        Some(owner) => tx.query_optional(
            "SELECT COUNT(*) FROM
                 (SELECT 1 FROM uploads WHERE owner = ?1 AND state = 'open' LIMIT ?2) AS open",
            params![owner, signed(limit)],
            |row| unsigned(row.integer(0)),
        ),
        None => tx.query_optional(
            "SELECT COUNT(*) FROM (SELECT 1 FROM uploads WHERE state = 'open' LIMIT ?1) AS open",
            params![signed(limit)],
            |row| unsigned(row.integer(0)),
        ),
    };
    Ok(count?.unwrap_or_default())
}

/// An open session of the repository, and whether a request has claimed it.
pub(crate) fn find(
    tx: &mut Tx<'_>,
    repository: RepositoryId,
    id: Uuid,
    clock: Timestamp,
) -> db::Result<Option<(UploadSession, bool)>> {
    let now = time(tx, clock)?;
    find_at(tx, repository, id, now)
}

fn find_at(
    tx: &mut Tx<'_>,
    repository: RepositoryId,
    id: Uuid,
    now: i64,
) -> db::Result<Option<(UploadSession, bool)>> {
    let found = tx.query_optional(
        "SELECT id, repository_id, staged, size, last_part_size, short_parts, version, unclean,
             digest, claimed_until
         FROM uploads WHERE id = ?1 AND repository_id = ?2 AND state = 'open'",
        params![id.to_string(), repository.0],
        read,
    )?;
    Ok(found.map(|session| {
        let claimed = session.claimed_until.as_ms() > now;
        (session, claimed)
    }))
}

/// Takes an open session for one request.
pub(crate) fn claim(
    tx: &mut Tx<'_>,
    repository: RepositoryId,
    id: Uuid,
    clock: Timestamp,
) -> db::Result<Claimed> {
    let now = time(tx, clock)?;
    let Some((mut session, claimed)) = find_at(tx, repository, id, now)? else {
        return Ok(Claimed::Missing);
    };
    if claimed {
        return Ok(Claimed::Busy);
    }
    // A claim that ran out without being given back: its request died or lost the database.
    session.unclean |= session.claimed_until.as_ms() > 0;
    tx.execute(
        "UPDATE uploads SET version = version + 1, claimed_until = ?1, updated_at = ?2, unclean = ?3
         WHERE id = ?4 AND version = ?5",
        params![
            now + CLAIM_MS,
            now,
            i64::from(session.unclean),
            id.to_string(),
            session.version
        ],
    )?;
    session.version += 1;
    Ok(Claimed::Yes(session))
}

/// Makes the claim of `version` last longer; false where it was lost.
pub(crate) fn renew(tx: &mut Tx<'_>, id: Uuid, version: i64, clock: Timestamp) -> db::Result<bool> {
    let now = time(tx, clock)?;
    let rows = tx.execute(
        "UPDATE uploads SET claimed_until = ?1, updated_at = ?2
         WHERE id = ?3 AND version = ?4 AND state = 'open'",
        params![now + CLAIM_MS, now, id.to_string(), version],
    )?;
    Ok(rows == 1)
}

/// Writes back what a request changed and gives its claim back; false where the claim was lost.
pub(crate) fn save(tx: &mut Tx<'_>, session: &UploadSession, clock: Timestamp) -> db::Result<bool> {
    let now = time(tx, clock)?;
    let rows = tx.execute(
        "UPDATE uploads SET staged = ?1, size = ?2, last_part_size = ?3, short_parts = ?4,
             unclean = ?5, version = version + 1, claimed_until = 0, updated_at = ?6
         WHERE id = ?7 AND version = ?8 AND state = 'open'",
        params![
            &session.staged,
            signed(session.size),
            signed(session.last_part_size),
            signed(session.short_parts),
            i64::from(session.unclean),
            now,
            session.id.to_string(),
            session.version
        ],
    )?;
    Ok(rows == 1)
}

/// Records the digest under which the bytes are about to be published; false where the claim was
/// lost.
pub(crate) fn record_digest(
    tx: &mut Tx<'_>,
    id: Uuid,
    version: i64,
    digest: &Digest,
) -> db::Result<bool> {
    let rows = tx.execute(
        "UPDATE uploads SET digest = ?1 WHERE id = ?2 AND version = ?3 AND state = 'open'",
        params![digest.to_stored(), id.to_string(), version],
    )?;
    Ok(rows == 1)
}

/// Whether the claim of `version` still stands.
pub(crate) fn is_held(tx: &mut Tx<'_>, id: Uuid, version: i64) -> db::Result<bool> {
    let row = tx.query_optional(
        "SELECT 1 FROM uploads WHERE id = ?1 AND version = ?2 AND state = 'open'",
        params![id.to_string(), version],
        |_| Ok(()),
    )?;
    Ok(row.is_some())
}

/// Writes the row of a session, if it is there, and changes nothing: a transaction that has written
/// it is over when this one is.
pub(crate) fn touch(tx: &mut Tx<'_>, id: Uuid) -> db::Result<()> {
    tx.execute(
        "UPDATE uploads SET version = version WHERE id = ?1",
        params![id.to_string()],
    )?;
    Ok(())
}

/// Ends the session for its clients, and claims what remains of it for the caller, who removes the
/// bytes. False where the version is no longer the session's.
pub(crate) fn end(tx: &mut Tx<'_>, id: Uuid, version: i64, clock: Timestamp) -> db::Result<bool> {
    let claimed_until = time(tx, clock)? + CLAIM_MS;
    let rows = tx.execute(
        "UPDATE uploads SET state = 'ending', version = version + 1, updated_at = 0,
             claimed_until = ?1
         WHERE id = ?2 AND version = ?3",
        params![claimed_until, id.to_string(), version],
    )?;
    Ok(rows == 1)
}

/// The same at the end of a publication: the blob of `digest` stays.
pub(crate) fn end_published(
    tx: &mut Tx<'_>,
    id: Uuid,
    version: i64,
    digest: &Digest,
    clock: Timestamp,
) -> db::Result<()> {
    record_digest(tx, id, version, digest)?;
    end(tx, id, version, clock)?;
    Ok(())
}

/// Removes the row of a session that leaves nothing in the store.
pub(crate) fn delete(tx: &mut Tx<'_>, id: Uuid, version: i64) -> db::Result<()> {
    tx.execute(
        "DELETE FROM uploads WHERE id = ?1 AND version = ?2",
        params![id.to_string(), version],
    )?;
    Ok(())
}

/// Removes the row of an ended session, once its bytes are gone.
pub(crate) fn delete_ended(tx: &mut Tx<'_>, id: Uuid) -> db::Result<()> {
    tx.execute(
        "DELETE FROM uploads WHERE id = ?1 AND state = 'ending'",
        params![id.to_string()],
    )?;
    Ok(())
}

/// Sessions that nobody has claimed and that are ended, or untouched for the expiry; the oldest
/// first, up to `limit`.
pub(crate) fn due(
    tx: &mut Tx<'_>,
    expiry_ms: i64,
    clock: Timestamp,
    limit: i64,
) -> db::Result<Vec<UploadSession>> {
    let now = time(tx, clock)?;
    tx.query(
        "SELECT id, repository_id, staged, size, last_part_size, short_parts, version, unclean,
             digest, claimed_until
         FROM uploads WHERE updated_at < ?1 AND claimed_until <= ?2 ORDER BY updated_at LIMIT ?3",
        params![now.saturating_sub(expiry_ms), now, limit],
        read,
    )
}

fn read(row: &Row<'_>) -> db::Result<UploadSession> {
    Ok(UploadSession {
        id: parsed(row.text(0))?,
        repository: RepositoryId(row.integer(1)),
        staged: row.bytes(2).to_vec(),
        size: unsigned(row.integer(3))?,
        last_part_size: unsigned(row.integer(4))?,
        short_parts: unsigned(row.integer(5))?,
        version: row.integer(6),
        unclean: row.integer(7) != 0,
        digest: row.optional_bytes(8).map(digest).transpose()?,
        claimed_until: Timestamp::from_ms(row.integer(9)),
    })
}

#[cfg(test)]
mod tests {
    use wharfinger_base::{Clock, Ids};
    use wharfinger_db::testing;

    use super::*;
    use crate::MIGRATIONS;

    const REPOSITORY: RepositoryId = RepositoryId(1);

    #[tokio::test]
    async fn claims_go_by_the_clock_of_a_database_server_not_by_that_of_its_client() {
        for db in testing::every_engine(MIGRATIONS) {
            let shared = db.engine() == "postgres";
            let session = UploadSession {
                id: Ids::default().uuid(),
                repository: REPOSITORY,
                staged: Vec::new(),
                size: 0,
                last_part_size: 0,
                short_parts: 0,
                version: 0,
                unclean: false,
                digest: None,
                claimed_until: Timestamp::default(),
            };
            let (id, now) = (session.id, Clock::System.now());
            let written = db.write(move |tx| insert(tx, &session, "owner", false, now));
            written.await.expect("inserted");
            let claimed = async |clock: Timestamp| {
                let claimed = db.write(move |tx| claim(tx, REPOSITORY, id, clock)).await;
                matches!(claimed, Ok(Claimed::Yes(_)))
            };
            let hour = std::time::Duration::from_hours(1);
            assert!(claimed(now.minus(hour)).await);
            // A claim is for half a minute; this client's clock is two hours ahead of the other's.
            assert_eq!(claimed(now.plus(hour)).await, !shared);
            let due = db
                .read(move |tx| due(tx, 1_000, now.plus(3 * hour), 10))
                .await;
            assert_eq!(due.expect("read").len(), usize::from(!shared));
        }
    }
}
