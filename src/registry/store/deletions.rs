//! Rows of `deleted_repositories`, and what deleted repositories leave in other tables.

use wharfinger_base::Timestamp;
use wharfinger_db::{self as db, Tx, params};

use crate::model::RepositoryId;
use crate::store::{blobs, digest};

/// What a repository leaves: statements that each remove up to 16 rows. So few take about a
/// millisecond, some ten where their pages come from a disk. The number stands in the statements
/// themselves: PostgreSQL would plan a scan of the whole table for a number that it does not know.
const LEFTOVERS: [&str; 8] = [
    "DELETE FROM pull_through_tags WHERE repository_id = ?1 AND name IN
     (SELECT name FROM pull_through_tags WHERE repository_id = ?1 ORDER BY name LIMIT 16)",
    "DELETE FROM tags WHERE repository_id = ?1 AND name IN
     (SELECT name FROM tags WHERE repository_id = ?1 ORDER BY name LIMIT 16)",
    "DELETE FROM image_references WHERE repository_id = ?1 AND (child, image_id) IN
     (SELECT child, image_id FROM image_references WHERE repository_id = ?1
      ORDER BY child, image_id LIMIT 16)",
    "UPDATE image_scans SET work = 'unwanted', due_at = 0, version = version + 1
     WHERE image_id IN (SELECT image_id FROM image_scans WHERE repository_id = ?1
      AND work < 'unwanted' ORDER BY work, image_id LIMIT 16)",
    "DELETE FROM manifests WHERE image_id IN
     (SELECT id FROM images WHERE repository_id = ?1 ORDER BY digest LIMIT 16)",
    "DELETE FROM images WHERE repository_id = ?1 AND digest IN
     (SELECT digest FROM images WHERE repository_id = ?1 ORDER BY digest LIMIT 16)",
    "DELETE FROM image_signatures WHERE repository_id = ?1 AND (digest, profile) IN
     (SELECT digest, profile FROM image_signatures WHERE repository_id = ?1
      ORDER BY digest, profile LIMIT 16)",
    "DELETE FROM image_replications WHERE repository_id = ?1 AND backfill = ''
     AND (digest, account, region, tag) IN
     (SELECT digest, account, region, tag FROM image_replications
      WHERE repository_id = ?1 AND backfill = '' ORDER BY digest, account, region, tag LIMIT 16)",
];

/// Records that the repository's rows in other tables are to be removed.
pub(crate) fn insert(tx: &mut Tx<'_>, id: RepositoryId, now: Timestamp) -> db::Result<()> {
    tx.execute(
        "INSERT INTO deleted_repositories (repository_id, deleted_at) VALUES (?1, ?2)",
        params![id.0, now.as_ms()],
    )?;
    Ok(())
}

/// A deleted repository that has not been cleaned up, the oldest one first.
pub(crate) fn first(tx: &mut Tx<'_>) -> db::Result<Option<RepositoryId>> {
    tx.query_optional(
        "SELECT repository_id FROM deleted_repositories ORDER BY repository_id LIMIT 1",
        params![],
        |row| Ok(RepositoryId(row.integer(0))),
    )
}

pub(crate) fn remove(tx: &mut Tx<'_>, id: RepositoryId) -> db::Result<()> {
    tx.execute(
        "DELETE FROM deleted_repositories WHERE repository_id = ?1",
        params![id.0],
    )?;
    Ok(())
}

/// Removes some of what the repository left; false once nothing is left.
pub(crate) fn remove_some(tx: &mut Tx<'_>, id: RepositoryId) -> db::Result<bool> {
    for statement in LEFTOVERS {
        if tx.execute(statement, params![id.0])? > 0 {
            return Ok(true);
        }
    }
    let linked = tx.query(
        "SELECT digest FROM blob_links WHERE repository_id = ?1 ORDER BY digest LIMIT 16",
        params![id.0],
        |row| digest(row.bytes(0)),
    )?;
    for digest in &linked {
        blobs::unlink(tx, id, digest)?;
    }
    Ok(!linked.is_empty())
}
