//! Rows of `archived_blobs`, and of what moves blobs to the archive and back.
//!
//! Limits stand in the statements themselves, since PostgreSQL would plan a scan for a number that
//! it does not know.

use uuid::Uuid;
use wharfinger_base::Timestamp;
use wharfinger_blobs::BlobKey;
use wharfinger_db::{self as db, Row, Tx, params};
use wharfinger_oci::Digest;

use crate::archive::placement::BlobUse;
use crate::model::{ArchivedBlob, Blob, RepositoryId};
use crate::store::{digest, gc, journal_entries, leases, parsed, signed, unsigned};

/// The name of the lease of the server that moves blobs.
const LEASE: &str = "archive";

/// Rows of a page of every statement here.
pub(crate) const PAGE: usize = 32;

/// Makes `holder` the server that moves blobs until then, unless another one is.
pub(crate) fn hold(
    tx: &mut Tx<'_>,
    holder: &str,
    now: Timestamp,
    until: Timestamp,
) -> db::Result<bool> {
    let (now, until) = match tx.server_time()? {
        Some(server) => (server, server.plus(until.since(now))),
        // An index within this process has one server: an earlier holder is gone.
        None => (Timestamp::from_ms(i64::MAX), until),
    };
    leases::take(tx, LEASE, holder, now, until)
}

/// Whether `holder` is still the server that moves blobs.
pub(crate) fn is_held(tx: &mut Tx<'_>, holder: &str) -> db::Result<bool> {
    leases::is_held(tx, LEASE, holder)
}

fn read(row: &Row<'_>) -> db::Result<ArchivedBlob> {
    Ok(ArchivedBlob {
        digest: digest(row.bytes(0))?,
        size: unsigned(row.integer(1))?,
        key: parsed(row.text(2))?,
        encoding: parsed(row.text(3))?,
        stored_size: unsigned(row.integer(4))?,
    })
}

/// The archived blob of this digest, whichever repositories link it.
pub(crate) fn present(tx: &mut Tx<'_>, blob: &Digest) -> db::Result<Option<ArchivedBlob>> {
    tx.query_optional(
        "SELECT digest, size, location, encoding, stored_size FROM archived_blobs
         WHERE digest = ?1",
        params![blob.to_stored()],
        read,
    )
}

/// The archived blob of this digest, if the repository links it.
pub(crate) fn linked(
    tx: &mut Tx<'_>,
    repository: RepositoryId,
    blob: &Digest,
) -> db::Result<Option<ArchivedBlob>> {
    tx.query_optional(
        "SELECT a.digest, a.size, a.location, a.encoding, a.stored_size
         FROM blob_links l JOIN archived_blobs a ON a.digest = l.digest
         WHERE l.repository_id = ?1 AND l.digest = ?2",
        params![repository.0, blob.to_stored()],
        read,
    )
}

/// Up to 256 archived blobs after a digest in stored form, in order.
pub(crate) fn after(tx: &mut Tx<'_>, after: &[u8]) -> db::Result<Vec<ArchivedBlob>> {
    tx.query(
        "SELECT digest, size, location, encoding, stored_size FROM archived_blobs
         WHERE digest > ?1 ORDER BY digest LIMIT 256",
        params![after],
        read,
    )
}

/// What an image is made of and the archive has: up to 32 blobs. A manifest may name content that
/// its repository does not have, which is none of these.
pub(crate) fn of_image(tx: &mut Tx<'_>, image: i64) -> db::Result<Vec<ArchivedBlob>> {
    tx.query(
        "SELECT a.digest, a.size, a.location, a.encoding, a.stored_size
         FROM image_references r JOIN archived_blobs a ON a.digest = r.child
         JOIN blob_links l ON l.repository_id = r.repository_id AND l.digest = r.child
         WHERE r.image_id = ?1 ORDER BY r.child LIMIT 32",
        params![image],
        read,
    )
}

/// Whether an image is made of anything that the archive has, and its repository.
pub(crate) fn has_any_of(tx: &mut Tx<'_>, image: i64) -> db::Result<bool> {
    let found = tx.query_optional(
        "SELECT 1 FROM image_references r JOIN archived_blobs a ON a.digest = r.child
         JOIN blob_links l ON l.repository_id = r.repository_id AND l.digest = r.child
         WHERE r.image_id = ?1 LIMIT 1",
        params![image],
        |_| Ok(()),
    )?;
    Ok(found.is_some())
}

/// Up to 32 images after this one that come back from the archive, with their repositories.
pub(crate) fn activating_after(
    tx: &mut Tx<'_>,
    after: i64,
) -> db::Result<Vec<(i64, RepositoryId)>> {
    tx.query(
        "SELECT id, repository_id FROM images WHERE status = 'activating' AND id > ?1
         ORDER BY id LIMIT 32",
        params![after],
        |row| Ok((row.integer(0), RepositoryId(row.integer(1)))),
    )
}

/// Requests that the blobs of an archived image are looked at.
pub(crate) fn note_archived_image(tx: &mut Tx<'_>, image: i64) -> db::Result<()> {
    tx.execute(
        "INSERT INTO images_to_archive (image_id) VALUES (?1)
         ON CONFLICT (image_id) DO UPDATE SET last_child = NULL",
        params![image],
    )?;
    Ok(())
}

/// Whether an archived image waits for that.
pub(crate) fn any_image_to_note(tx: &mut Tx<'_>) -> db::Result<bool> {
    let found = tx.query_optional("SELECT 1 FROM images_to_archive LIMIT 1", params![], |_| {
        Ok(())
    })?;
    Ok(found.is_some())
}

/// Requests that the next up to 32 blobs of an archived image are looked at; false where no image
/// waits.
pub(crate) fn note_some_blobs(tx: &mut Tx<'_>) -> db::Result<bool> {
    let waiting = tx.query_optional(
        "SELECT image_id, last_child FROM images_to_archive ORDER BY image_id LIMIT 1",
        params![],
        |row| {
            let last = row.optional_bytes(1).unwrap_or_default();
            Ok((row.integer(0), last.to_vec()))
        },
    )?;
    let Some((image, last)) = waiting else {
        return Ok(false);
    };
    let children = tx.query(
        "SELECT child FROM image_references WHERE image_id = ?1 AND child > ?2
         ORDER BY child LIMIT 32",
        params![image, last.as_slice()],
        |row| digest(row.bytes(0)),
    )?;
    for child in &children {
        look_at(tx, child)?;
    }
    match children.last() {
        Some(last) if children.len() == PAGE => tx.execute(
            "UPDATE images_to_archive SET last_child = ?1 WHERE image_id = ?2",
            params![last.to_stored(), image],
        )?,
        _ => tx.execute(
            "DELETE FROM images_to_archive WHERE image_id = ?1",
            params![image],
        )?,
    };
    Ok(true)
}

/// Requests that is looked whether the blob goes to the archive, once its lease is over.
fn look_at(tx: &mut Tx<'_>, blob: &Digest) -> db::Result<()> {
    tx.execute(
        "UPDATE blobs SET archive_at = lease_until WHERE digest = ?1 AND archive_at IS NULL",
        params![blob.to_stored()],
    )?;
    Ok(())
}

/// Requests the same of a blob that an image no longer needs, if any image is archived at all.
pub(crate) fn note_released(tx: &mut Tx<'_>, blob: &Digest) -> db::Result<()> {
    // By the partial index, in its order.
    let any = tx.query_optional(
        "SELECT 1 FROM images WHERE status = 'archived' ORDER BY repository_id, digest LIMIT 1",
        params![],
        |_| Ok(()),
    )?;
    if any.is_some() {
        look_at(tx, blob)?;
    }
    Ok(())
}

/// Sets when is looked at the blob again; `None` for not before something changes.
pub(crate) fn look_again(tx: &mut Tx<'_>, blob: &Digest, at: Option<Timestamp>) -> db::Result<()> {
    tx.execute(
        "UPDATE blobs SET archive_at = ?1 WHERE digest = ?2",
        params![at.map(Timestamp::as_ms), blob.to_stored()],
    )?;
    Ok(())
}

/// Blobs to be looked at now, with the ends of their leases, the longest due first.
pub(crate) fn due(tx: &mut Tx<'_>, now: Timestamp) -> db::Result<Vec<(Blob, Timestamp)>> {
    tx.query(
        "SELECT digest, size, location, lease_until FROM blobs
         WHERE archive_at <= ?1 AND archive_at IS NOT NULL ORDER BY archive_at LIMIT 32",
        params![now.as_ms()],
        |row| {
            let blob = Blob {
                digest: digest(row.bytes(0))?,
                size: unsigned(row.integer(1))?,
                key: parsed(row.text(2))?,
            };
            Ok((blob, Timestamp::from_ms(row.integer(3))))
        },
    )
}

/// The end of the lease of a blob, as long as it is this one.
pub(crate) fn lease_of(tx: &mut Tx<'_>, blob: &Blob) -> db::Result<Option<Timestamp>> {
    tx.query_optional(
        "SELECT lease_until FROM blobs WHERE digest = ?1 AND location = ?2",
        params![blob.digest.to_stored(), blob.key.as_str()],
        |row| Ok(Timestamp::from_ms(row.integer(0))),
    )
}

/// Which images are made of the blob: one more than [`crate::archive::placement::MOST_IMAGES`] at
/// most.
pub(crate) fn use_of(tx: &mut Tx<'_>, blob: &Digest) -> db::Result<BlobUse> {
    let used = tx.query_optional(
        "SELECT COUNT(*), COUNT(CASE WHEN u.status <> 'archived' THEN 1 END) FROM
         (SELECT i.status AS status FROM blob_links l
          JOIN image_references r ON r.repository_id = l.repository_id AND r.child = l.digest
          JOIN images i ON i.id = r.image_id WHERE l.digest = ?1 LIMIT 4097) u",
        params![blob.to_stored()],
        |row| {
            Ok(BlobUse {
                images: unsigned(row.integer(0))?,
                active_images: unsigned(row.integer(1))?,
            })
        },
    )?;
    Ok(used.unwrap_or_default())
}

/// Puts the archived blob in the place of the other one, whose bytes are removed from `removed_at`
/// on.
pub(crate) fn replace(
    tx: &mut Tx<'_>,
    blob: &Blob,
    archived: &ArchivedBlob,
    now: Timestamp,
    removed_at: Timestamp,
) -> db::Result<()> {
    gc::condemn(tx, blob, removed_at)?;
    // In a folder the same content has the same key.
    removed(tx, &archived.key)?;
    insert(tx, archived, now)?;
    journal_entries::note_links(tx, &blob.digest)
}

/// Records an archived blob in place of a stored one, whose bytes are left alone. For a rebuild.
pub(crate) fn put_rebuilt(
    tx: &mut Tx<'_>,
    archived: &ArchivedBlob,
    now: Timestamp,
) -> db::Result<()> {
    let stored = archived.digest.to_stored();
    tx.execute("DELETE FROM blobs WHERE digest = ?1", params![&stored])?;
    tx.execute(
        "DELETE FROM archived_blobs WHERE digest = ?1",
        params![&stored],
    )?;
    insert(tx, archived, now)
}

fn insert(tx: &mut Tx<'_>, archived: &ArchivedBlob, now: Timestamp) -> db::Result<()> {
    tx.execute(
        "INSERT INTO archived_blobs (digest, size, location, encoding, stored_size, archived_at)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
        params![
            archived.digest.to_stored(),
            signed(archived.size),
            archived.key.as_str(),
            archived.encoding.name(),
            signed(archived.stored_size),
            now.as_ms()
        ],
    )?;
    Ok(())
}

/// Takes an archived blob out whose content has been stored again; false where there is none. The
/// caller has put the other row.
pub(crate) fn supersede(tx: &mut Tx<'_>, blob: &Digest, removed_at: Timestamp) -> db::Result<bool> {
    let location = tx.query_optional(
        "DELETE FROM archived_blobs WHERE digest = ?1 RETURNING location",
        params![blob.to_stored()],
        |row| parsed::<BlobKey>(row.text(0)),
    )?;
    let Some(location) = location else {
        return Ok(false);
    };
    remove_later(tx, &location, removed_at)?;
    journal_entries::note_links(tx, blob)?;
    // It may go back, if no image is pushed that needs it.
    look_at(tx, blob)?;
    Ok(true)
}

/// Takes an archived blob out that no repository links any more.
pub(crate) fn drop_unlinked(tx: &mut Tx<'_>, blob: &Digest) -> db::Result<()> {
    let location = tx.query_optional(
        "DELETE FROM archived_blobs WHERE digest = ?1
         AND NOT EXISTS (SELECT 1 FROM blob_links l WHERE l.digest = ?1) RETURNING location",
        params![blob.to_stored()],
        |row| parsed::<BlobKey>(row.text(0)),
    )?;
    match location {
        Some(location) => remove_later(tx, &location, Timestamp::from_ms(0)),
        None => Ok(()),
    }
}

/// Removes the row of an archived blob whose bytes are lost.
pub(crate) fn forget(tx: &mut Tx<'_>, blob: &Digest) -> db::Result<()> {
    tx.execute(
        "DELETE FROM archived_blobs WHERE digest = ?1",
        params![blob.to_stored()],
    )?;
    Ok(())
}

/// Requests the removal of an object of the archive.
pub(crate) fn remove_later(
    tx: &mut Tx<'_>,
    location: &BlobKey,
    due_at: Timestamp,
) -> db::Result<()> {
    tx.execute(
        "INSERT INTO archive_removals (location, due_at) VALUES (?1, ?2)
         ON CONFLICT (location) DO UPDATE SET due_at = excluded.due_at",
        params![location.as_str(), due_at.as_ms()],
    )?;
    Ok(())
}

/// Up to 32 objects that are to be removed now.
pub(crate) fn due_removals(tx: &mut Tx<'_>, now: Timestamp) -> db::Result<Vec<BlobKey>> {
    tx.query(
        "SELECT location FROM archive_removals WHERE due_at <= ?1 ORDER BY due_at LIMIT 32",
        params![now.as_ms()],
        |row| parsed(row.text(0)),
    )
}

pub(crate) fn removed(tx: &mut Tx<'_>, location: &BlobKey) -> db::Result<()> {
    tx.execute(
        "DELETE FROM archive_removals WHERE location = ?1",
        params![location.as_str()],
    )?;
    Ok(())
}

/// Whether the object at this key is still to be removed. A transaction that may yet be committed
/// and names it again has the row, and is waited for.
pub(crate) fn is_to_remove(tx: &mut Tx<'_>, location: &BlobKey) -> db::Result<bool> {
    let found = tx.execute(
        "UPDATE archive_removals SET location = location WHERE location = ?1",
        params![location.as_str()],
    )?;
    Ok(found == 1)
}

/// Whether an archived blob is at this key.
pub(crate) fn is_named(tx: &mut Tx<'_>, location: &BlobKey) -> db::Result<bool> {
    let found = tx.query_optional(
        "SELECT 1 FROM archived_blobs WHERE location = ?1 LIMIT 1",
        params![location.as_str()],
        |_| Ok(()),
    )?;
    Ok(found.is_some())
}

/// Whether an object is on its way into the archive or out of it. `upload` is what its key names on
/// an object store.
pub(crate) fn is_in_motion(tx: &mut Tx<'_>, location: &str, upload: &str) -> db::Result<bool> {
    let found = tx.query_optional(
        "SELECT 1 FROM archive_removals WHERE location = ?1
         UNION ALL SELECT 1 FROM archive_writes WHERE upload = ?2 OR location = ?1 LIMIT 1",
        params![location, upload],
        |_| Ok(()),
    )?;
    Ok(found.is_some())
}

/// An object that is being written, or was by a server that is gone.
#[derive(Clone, Debug)]
pub(crate) struct ArchiveWrite {
    pub(crate) upload: Uuid,
    pub(crate) location: Option<BlobKey>,
}

/// Records a write before its first byte.
pub(crate) fn begin_write(tx: &mut Tx<'_>, write: &ArchiveWrite) -> db::Result<()> {
    tx.execute(
        "INSERT INTO archive_writes (upload, location) VALUES (?1, ?2)",
        params![
            write.upload.to_string(),
            write.location.as_ref().map(BlobKey::as_str)
        ],
    )?;
    Ok(())
}

/// Records where a write ends; false where it has been ended, by this server or another one.
pub(crate) fn locate_write(tx: &mut Tx<'_>, write: &ArchiveWrite) -> db::Result<bool> {
    let changed = tx.execute(
        "UPDATE archive_writes SET location = ?2 WHERE upload = ?1 AND ended = 0",
        params![
            write.upload.to_string(),
            write.location.as_ref().map(BlobKey::as_str)
        ],
    )?;
    Ok(changed == 1)
}

/// Ends a write, so that nothing names its object from then on that does not name it now. A
/// transaction that may yet be committed has its row, and is waited for.
pub(crate) fn end_write(tx: &mut Tx<'_>, upload: Uuid) -> db::Result<()> {
    tx.execute(
        "UPDATE archive_writes SET ended = 1 WHERE upload = ?1",
        params![upload.to_string()],
    )?;
    Ok(())
}

pub(crate) fn remove_write(tx: &mut Tx<'_>, upload: Uuid) -> db::Result<()> {
    tx.execute(
        "DELETE FROM archive_writes WHERE upload = ?1",
        params![upload.to_string()],
    )?;
    Ok(())
}

/// Up to 32 writes.
pub(crate) fn writes(tx: &mut Tx<'_>) -> db::Result<Vec<ArchiveWrite>> {
    tx.query(
        "SELECT upload, location FROM archive_writes ORDER BY upload LIMIT 32",
        params![],
        |row| {
            Ok(ArchiveWrite {
                upload: parsed(row.text(0))?,
                location: row.optional_text(1).map(parsed).transpose()?,
            })
        },
    )
}

/// Whether the index knows of nothing in the archive.
pub(crate) fn is_empty(tx: &mut Tx<'_>) -> db::Result<bool> {
    let found = tx.query_optional(
        "SELECT 1 FROM archived_blobs UNION ALL SELECT 1 FROM archive_writes
         UNION ALL SELECT 1 FROM archive_removals LIMIT 1",
        params![],
        |_| Ok(()),
    )?;
    Ok(found.is_none())
}

/// What the archive holds: blobs, their bytes, and the bytes that they take there.
pub(crate) fn totals(tx: &mut Tx<'_>) -> db::Result<(u64, u64, u64)> {
    let totals = tx.query_optional(
        "SELECT COUNT(*), CAST(COALESCE(SUM(size), 0) AS BIGINT),
             CAST(COALESCE(SUM(stored_size), 0) AS BIGINT) FROM archived_blobs",
        params![],
        |row| {
            let column = |index| unsigned(row.integer(index));
            Ok((column(0)?, column(1)?, column(2)?))
        },
    )?;
    Ok(totals.unwrap_or_default())
}
