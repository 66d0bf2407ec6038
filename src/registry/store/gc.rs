//! What garbage collection reads and writes: links and blobs that are due, `blob_deletions` and
//! `deleted_images`.
//!
//! Limits stand in the statements themselves, since PostgreSQL would plan a scan for a number that
//! it does not know. A page is small, because a step ends after a page once its time is over.

use wharfinger_base::Timestamp;
use wharfinger_blobs::BlobKey;
use wharfinger_db::{self as db, Row, Tx, params};
use wharfinger_oci::Digest;

use crate::model::{Blob, RepositoryId};
use crate::store::{digest, parsed, signed, unsigned};

/// Rows of a page of every statement here.
pub(crate) const PAGE: usize = 32;

/// A link, with what decides about it.
#[derive(Clone, Debug)]
pub(crate) struct CheckedLink {
    pub(crate) repository: RepositoryId,
    pub(crate) digest: Digest,
    /// When the collector is to look at it.
    pub(crate) check_at: Option<Timestamp>,
    pub(crate) lease_until: Timestamp,
    /// An image of the repository references the content.
    pub(crate) referenced: bool,
}

/// A reference of a deleted image, with the repository's link to the content, if there is one.
pub(crate) struct Reference {
    pub(crate) child: Digest,
    pub(crate) link: Option<CheckedLink>,
}

/// A blob that is due, with what decides about it.
#[derive(Clone, Debug)]
pub(crate) struct CheckedBlob {
    pub(crate) blob: Blob,
    pub(crate) lease_until: Timestamp,
    pub(crate) linked: bool,
}

/// Bytes whose removal the caller has claimed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Condemned {
    pub(crate) blob: Blob,
    pub(crate) version: i64,
}

/// The first references of a deleted image, in the order of their digests. `referenced` says
/// whether another image references the content too.
pub(crate) fn references_of(tx: &mut Tx<'_>, image: i64) -> db::Result<Vec<Reference>> {
    tx.query(
        "SELECT r.repository_id, r.child, l.check_at, COALESCE(b.lease_until, 0),
             CASE WHEN EXISTS (SELECT 1 FROM image_references o
                 WHERE o.repository_id = r.repository_id AND o.child = r.child
                 AND o.image_id <> r.image_id) THEN 1 ELSE 0 END,
             l.linked_at
         FROM image_references r
         LEFT JOIN blob_links l ON l.repository_id = r.repository_id AND l.digest = r.child
         LEFT JOIN blobs b ON b.digest = l.digest
         WHERE r.image_id = ?1 ORDER BY r.child LIMIT 32",
        params![image],
        |row| {
            let link = read_link(row)?;
            Ok(Reference {
                child: link.digest,
                link: row.optional_integer(5).map(|_| link),
            })
        },
    )
}

/// Removes the image's references up to and including `last`.
pub(crate) fn delete_references_to(tx: &mut Tx<'_>, image: i64, last: &Digest) -> db::Result<()> {
    tx.execute(
        "DELETE FROM image_references WHERE image_id = ?1 AND child <= ?2",
        params![image, last.to_stored()],
    )?;
    Ok(())
}

/// Records that references of a deleted image are left.
pub(crate) fn insert_deleted_image(
    tx: &mut Tx<'_>,
    repository: RepositoryId,
    image: i64,
) -> db::Result<()> {
    tx.execute(
        "INSERT INTO deleted_images (image_id, repository_id) VALUES (?1, ?2)",
        params![image, repository.0],
    )?;
    Ok(())
}

/// A deleted image of which references are left.
pub(crate) fn first_deleted_image(tx: &mut Tx<'_>) -> db::Result<Option<i64>> {
    tx.query_optional(
        "SELECT image_id FROM deleted_images ORDER BY image_id LIMIT 1",
        params![],
        |row| Ok(row.integer(0)),
    )
}

pub(crate) fn remove_deleted_image(tx: &mut Tx<'_>, image: i64) -> db::Result<()> {
    tx.execute(
        "DELETE FROM deleted_images WHERE image_id = ?1",
        params![image],
    )?;
    Ok(())
}

/// Links that are due, the longest first.
pub(crate) fn due_links(tx: &mut Tx<'_>, now: Timestamp) -> db::Result<Vec<CheckedLink>> {
    tx.query(
        "SELECT l.repository_id, l.digest, l.check_at, COALESCE(b.lease_until, 0),
             CASE WHEN EXISTS (SELECT 1 FROM image_references r
                 WHERE r.repository_id = l.repository_id AND r.child = l.digest)
             THEN 1 ELSE 0 END
         FROM blob_links l LEFT JOIN blobs b ON b.digest = l.digest
         WHERE l.check_at <= ?1 AND l.check_at IS NOT NULL ORDER BY l.check_at LIMIT 32",
        params![now.as_ms()],
        read_link,
    )
}

fn read_link(row: &Row<'_>) -> db::Result<CheckedLink> {
    Ok(CheckedLink {
        repository: RepositoryId(row.integer(0)),
        digest: digest(row.bytes(1))?,
        check_at: row.optional_integer(2).map(Timestamp::from_ms),
        lease_until: Timestamp::from_ms(row.integer(3)),
        referenced: row.integer(4) != 0,
    })
}

/// Sets when the collector looks at the link; `None` where an image needs it.
pub(crate) fn check_link_at(
    tx: &mut Tx<'_>,
    link: &CheckedLink,
    check_at: Option<Timestamp>,
) -> db::Result<()> {
    tx.execute(
        "UPDATE blob_links SET check_at = ?1 WHERE repository_id = ?2 AND digest = ?3",
        params![
            check_at.map(Timestamp::as_ms),
            link.repository.0,
            link.digest.to_stored()
        ],
    )?;
    Ok(())
}

/// Blobs that are due, the longest first.
pub(crate) fn due_blobs(tx: &mut Tx<'_>, now: Timestamp) -> db::Result<Vec<CheckedBlob>> {
    tx.query(
        "SELECT b.digest, b.size, b.location, b.lease_until,
             CASE WHEN EXISTS (SELECT 1 FROM blob_links l WHERE l.digest = b.digest)
             THEN 1 ELSE 0 END
         FROM blobs b
         WHERE b.collect_at <= ?1 AND b.collect_at IS NOT NULL ORDER BY b.collect_at LIMIT 32",
        params![now.as_ms()],
        |row| {
            Ok(CheckedBlob {
                blob: read_blob(row)?,
                lease_until: Timestamp::from_ms(row.integer(3)),
                linked: row.integer(4) != 0,
            })
        },
    )
}

fn read_blob(row: &Row<'_>) -> db::Result<Blob> {
    Ok(Blob {
        digest: digest(row.bytes(0))?,
        size: unsigned(row.integer(1))?,
        key: parsed(row.text(2))?,
    })
}

/// Sets when the collector looks at the blob; `None` where a repository links it.
pub(crate) fn collect_blob_at(
    tx: &mut Tx<'_>,
    blob: &Digest,
    collect_at: Option<Timestamp>,
) -> db::Result<()> {
    tx.execute(
        "UPDATE blobs SET collect_at = ?1 WHERE digest = ?2",
        params![collect_at.map(Timestamp::as_ms), blob.to_stored()],
    )?;
    Ok(())
}

/// Takes the blob out of the index, and gives the removal of its bytes to the caller until
/// `due_at`.
pub(crate) fn condemn(
    tx: &mut Tx<'_>,
    blob: &Blob,
    due_at: Timestamp,
) -> db::Result<Option<Condemned>> {
    tx.execute(
        "DELETE FROM blobs WHERE digest = ?1",
        params![blob.digest.to_stored()],
    )?;
    delete_later(tx, blob, due_at)
}

/// Records bytes that no row of `blobs` names (any more), to be removed by the caller until
/// `due_at`, or by whoever finds them afterwards.
pub(crate) fn delete_later(
    tx: &mut Tx<'_>,
    blob: &Blob,
    due_at: Timestamp,
) -> db::Result<Option<Condemned>> {
    tx.query_optional(
        "INSERT INTO blob_deletions (location, digest, size, due_at, version)
         VALUES (?1, ?2, ?3, ?4, 0)
         ON CONFLICT (location) DO UPDATE SET due_at = excluded.due_at,
             version = blob_deletions.version + 1
         RETURNING version",
        params![
            blob.key.as_str(),
            blob.digest.to_stored(),
            signed(blob.size),
            due_at.as_ms()
        ],
        |row| {
            Ok(Condemned {
                blob: blob.clone(),
                version: row.integer(0),
            })
        },
    )
}

/// Takes over removals that nobody has finished in time, until `due_at`.
pub(crate) fn take_over(
    tx: &mut Tx<'_>,
    now: Timestamp,
    due_at: Timestamp,
) -> db::Result<Vec<Condemned>> {
    let mut overdue = tx.query(
        "SELECT digest, size, location, version FROM blob_deletions
         WHERE due_at <= ?1 ORDER BY due_at LIMIT 32",
        params![now.as_ms()],
        |row| {
            Ok(Condemned {
                blob: read_blob(row)?,
                version: row.integer(3),
            })
        },
    )?;
    for condemned in &mut overdue {
        tx.execute(
            "UPDATE blob_deletions SET due_at = ?1, version = version + 1
             WHERE location = ?2 AND version = ?3",
            params![
                due_at.as_ms(),
                condemned.blob.key.as_str(),
                condemned.version
            ],
        )?;
        condemned.version += 1;
    }
    Ok(overdue)
}

/// Removes the row of bytes that are gone, unless somebody else has taken them over.
pub(crate) fn forget(tx: &mut Tx<'_>, key: &BlobKey, version: i64) -> db::Result<()> {
    tx.execute(
        "DELETE FROM blob_deletions WHERE location = ?1 AND version = ?2",
        params![key.as_str(), version],
    )?;
    Ok(())
}

/// Whether a step of a collector would find anything to do.
pub(crate) fn anything_due(tx: &mut Tx<'_>, now: Timestamp) -> db::Result<bool> {
    for statement in [
        "SELECT 1 FROM blob_links WHERE check_at <= ?1 AND check_at IS NOT NULL LIMIT 1",
        "SELECT 1 FROM blobs WHERE collect_at <= ?1 AND collect_at IS NOT NULL LIMIT 1",
        "SELECT 1 FROM blob_deletions WHERE due_at <= ?1 LIMIT 1",
    ] {
        let found = tx.query_optional(statement, params![now.as_ms()], |_| Ok(()))?;
        if found.is_some() {
            return Ok(true);
        }
    }
    Ok(first_deleted_image(tx)?.is_some())
}

/// Blobs that no repository links, or none did.
pub(crate) fn count_unlinked(tx: &mut Tx<'_>) -> db::Result<u64> {
    let count = tx.query_optional(
        "SELECT COUNT(*) FROM blobs WHERE collect_at IS NOT NULL",
        params![],
        |row| unsigned(row.integer(0)),
    )?;
    Ok(count.unwrap_or_default())
}
