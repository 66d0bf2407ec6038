//! What a survey of garbage collection reads.

use wharfinger_base::Timestamp;
use wharfinger_db::{self as db, Tx, params};

use crate::store::unsigned;

/// A place among the links to be checked: after this one. The digest is in its stored form.
#[derive(Clone, Debug, Default)]
pub(crate) struct LinkPosition {
    check_at: i64,
    repository: i64,
    digest: Vec<u8>,
}

pub(crate) struct SurveyedLink {
    pub(crate) position: LinkPosition,
    pub(crate) size: u64,
    pub(crate) lease_until: Timestamp,
    /// An image of the repository references the content.
    pub(crate) referenced: bool,
    /// No image of any repository does, and this is the first one of the links that go.
    pub(crate) is_last: bool,
}

/// Links after the position that are due at `now`.
pub(crate) fn links(
    tx: &mut Tx<'_>,
    after: &LinkPosition,
    now: Timestamp,
) -> db::Result<Vec<SurveyedLink>> {
    tx.query(
        "SELECT l.check_at, l.repository_id, l.digest, COALESCE(b.size, 0),
             COALESCE(b.lease_until, 0),
             CASE WHEN EXISTS (SELECT 1 FROM image_references r
                 WHERE r.repository_id = l.repository_id AND r.child = l.digest)
             THEN 1 ELSE 0 END,
             CASE WHEN EXISTS (SELECT 1 FROM blob_links o
                 WHERE o.digest = l.digest AND o.repository_id < l.repository_id)
             OR EXISTS (SELECT 1 FROM blob_links o JOIN image_references r
                 ON r.repository_id = o.repository_id AND r.child = o.digest
                 WHERE o.digest = l.digest)
             THEN 0 ELSE 1 END
         FROM blob_links l LEFT JOIN blobs b ON b.digest = l.digest
         WHERE l.check_at IS NOT NULL AND l.check_at <= ?1
         AND (l.check_at, l.repository_id, l.digest) > (?2, ?3, ?4)
         ORDER BY l.check_at, l.repository_id, l.digest LIMIT 512",
        params![now.as_ms(), after.check_at, after.repository, &after.digest],
        |row| {
            Ok(SurveyedLink {
                position: LinkPosition {
                    check_at: row.integer(0),
                    repository: row.integer(1),
                    digest: row.bytes(2).to_vec(),
                },
                size: unsigned(row.integer(3))?,
                lease_until: Timestamp::from_ms(row.integer(4)),
                referenced: row.integer(5) != 0,
                is_last: row.integer(6) != 0,
            })
        },
    )
}

/// A place among the blobs to be looked at: after this one.
#[derive(Clone, Debug, Default)]
pub(crate) struct BlobPosition {
    collect_at: i64,
    digest: Vec<u8>,
}

pub(crate) struct SurveyedBlob {
    pub(crate) position: BlobPosition,
    pub(crate) size: u64,
    pub(crate) lease_until: Timestamp,
    pub(crate) linked: bool,
}

/// Blobs after the position that no repository links, or none did.
pub(crate) fn blobs(tx: &mut Tx<'_>, after: &BlobPosition) -> db::Result<Vec<SurveyedBlob>> {
    tx.query(
        "SELECT b.collect_at, b.digest, b.size, b.lease_until,
             CASE WHEN EXISTS (SELECT 1 FROM blob_links l WHERE l.digest = b.digest)
             THEN 1 ELSE 0 END
         FROM blobs b
         WHERE b.collect_at IS NOT NULL AND (b.collect_at, b.digest) > (?1, ?2)
         ORDER BY b.collect_at, b.digest LIMIT 512",
        params![after.collect_at, &after.digest],
        |row| {
            Ok(SurveyedBlob {
                position: BlobPosition {
                    collect_at: row.integer(0),
                    digest: row.bytes(1).to_vec(),
                },
                size: unsigned(row.integer(2))?,
                lease_until: Timestamp::from_ms(row.integer(3)),
                linked: row.integer(4) != 0,
            })
        },
    )
}

/// Blobs whose bytes are being removed, with their bytes; and deleted images with references.
pub(crate) fn being_removed(tx: &mut Tx<'_>) -> db::Result<((u64, u64), u64)> {
    let condemned = tx.query_optional(
        "SELECT COUNT(*), CAST(COALESCE(SUM(size), 0) AS BIGINT) FROM blob_deletions",
        params![],
        |row| Ok((unsigned(row.integer(0))?, unsigned(row.integer(1))?)),
    )?;
    let images = tx.query_optional("SELECT COUNT(*) FROM deleted_images", params![], |row| {
        unsigned(row.integer(0))
    })?;
    Ok((condemned.unwrap_or_default(), images.unwrap_or_default()))
}
