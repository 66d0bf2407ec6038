//! Pages of all rows, with what a comparison of the index with itself and the blob store needs.

use std::collections::BTreeSet;

use bytes::Bytes;
use wharfinger_blobs::BlobKey;
use wharfinger_db::{self as db, Tx, params};
use wharfinger_oci::{Digest, RepositoryName};

use crate::model::{ArchivedBlob, Blob, RepositoryId};
use crate::store::{archive, blobs, digest, journal_entries, parsed, unsigned};

/// Up to 256 blobs after a digest in stored form, in order.
pub(crate) fn blobs_after(tx: &mut Tx<'_>, after: &[u8]) -> db::Result<Vec<Blob>> {
    tx.query(
        "SELECT digest, size, location FROM blobs WHERE digest > ?1 ORDER BY digest LIMIT 256",
        params![after],
        |row| {
            Ok(Blob {
                digest: digest(row.bytes(0))?,
                size: unsigned(row.integer(1))?,
                key: parsed(row.text(2))?,
            })
        },
    )
}

/// Up to 256 upload sessions after an id, in order.
pub(crate) fn uploads_after(tx: &mut Tx<'_>, after: &str) -> db::Result<Vec<String>> {
    tx.query(
        "SELECT id FROM uploads WHERE id > ?1 ORDER BY id LIMIT 256",
        params![after],
        |row| Ok(row.text(0).to_owned()),
    )
}

/// An image of a repository that exists; `manifest` is missing where its row is.
pub(crate) struct CheckedImage {
    pub(crate) id: i64,
    pub(crate) repository: RepositoryId,
    pub(crate) name: RepositoryName,
    pub(crate) digest: Digest,
    pub(crate) media_type: String,
    pub(crate) manifest: Option<Bytes>,
    pub(crate) is_active: bool,
}

/// Up to 64 images after a row number, in order.
pub(crate) fn images_after(tx: &mut Tx<'_>, after: i64) -> db::Result<Vec<CheckedImage>> {
    tx.query(
        "SELECT i.id, i.repository_id, r.name, i.digest, i.media_type, m.bytes,
             CASE WHEN i.status = 'active' THEN 1 ELSE 0 END
         FROM images i JOIN repositories r ON r.id = i.repository_id
         LEFT JOIN manifests m ON m.image_id = i.id
         WHERE i.id > ?1 ORDER BY i.id LIMIT 64",
        params![after],
        |row| {
            Ok(CheckedImage {
                id: row.integer(0),
                repository: RepositoryId(row.integer(1)),
                name: parsed(row.text(2))?,
                digest: digest(row.bytes(3))?,
                media_type: row.text(4).to_owned(),
                manifest: row.optional_bytes(5).map(Bytes::copy_from_slice),
                is_active: row.integer(6) == 1,
            })
        },
    )
}

/// A tag, or a link, with whether there is what it points to.
pub(crate) struct Pointer<K> {
    pub(crate) repository: RepositoryId,
    pub(crate) name: RepositoryName,
    pub(crate) key: K,
    pub(crate) is_whole: bool,
}

/// Up to 256 tags after one of a repository, in order.
pub(crate) fn tags_after(
    tx: &mut Tx<'_>,
    repository: i64,
    tag: &str,
) -> db::Result<Vec<Pointer<String>>> {
    tx.query(
        "SELECT t.repository_id, r.name, t.name, i.id
         FROM tags t JOIN repositories r ON r.id = t.repository_id
         LEFT JOIN images i ON i.id = t.image_id
         WHERE (t.repository_id, t.name) > (?1, ?2) ORDER BY t.repository_id, t.name LIMIT 256",
        params![repository, tag],
        |row| {
            Ok(Pointer {
                repository: RepositoryId(row.integer(0)),
                name: parsed(row.text(1))?,
                key: row.text(2).to_owned(),
                is_whole: row.optional_integer(3).is_some(),
            })
        },
    )
}

/// Up to 256 links after one of a repository, in order.
pub(crate) fn links_after(
    tx: &mut Tx<'_>,
    repository: i64,
    after: &[u8],
) -> db::Result<Vec<Pointer<Digest>>> {
    tx.query(
        "SELECT l.repository_id, r.name, l.digest, COALESCE(b.size, a.size)
         FROM blob_links l JOIN repositories r ON r.id = l.repository_id
         LEFT JOIN blobs b ON b.digest = l.digest
         LEFT JOIN archived_blobs a ON a.digest = l.digest
         WHERE (l.repository_id, l.digest) > (?1, ?2)
         ORDER BY l.repository_id, l.digest LIMIT 256",
        params![repository, after],
        |row| {
            Ok(Pointer {
                repository: RepositoryId(row.integer(0)),
                name: parsed(row.text(1))?,
                key: digest(row.bytes(2))?,
                is_whole: row.optional_integer(3).is_some(),
            })
        },
    )
}

/// The repositories that link a blob.
pub(crate) fn linking(tx: &mut Tx<'_>, blob: &Digest) -> db::Result<Vec<RepositoryId>> {
    tx.query(
        "SELECT repository_id FROM blob_links WHERE digest = ?1 ORDER BY repository_id",
        params![blob.to_stored()],
        |row| Ok(RepositoryId(row.integer(0))),
    )
}

/// Takes a blob whose bytes are gone out of the index, with its links, so that clients are told
/// that it does not exist; nothing where its row has changed since it was read.
pub(crate) fn forget_blob(tx: &mut Tx<'_>, blob: &Blob) -> db::Result<()> {
    // A push may have brought it again since it was looked at.
    if blobs::present(tx, &blob.digest)?.as_ref() != Some(blob) {
        return Ok(());
    }
    for repository in linking(tx, &blob.digest)? {
        blobs::unlink(tx, repository, &blob.digest)?;
    }
    tx.execute(
        "DELETE FROM blobs WHERE digest = ?1",
        params![blob.digest.to_stored()],
    )?;
    Ok(())
}

/// Those of some blobs that any repository has.
pub(crate) fn linked_anywhere(tx: &mut Tx<'_>, blobs: &[Digest]) -> db::Result<BTreeSet<Digest>> {
    let mut linked = BTreeSet::new();
    for blob in blobs {
        let found = tx.query_optional(
            "SELECT 1 FROM blob_links WHERE digest = ?1 LIMIT 1",
            params![blob.to_stored()],
            |_| Ok(()),
        )?;
        if found.is_some() {
            linked.insert(*blob);
        }
    }
    Ok(linked)
}

/// The same for a blob whose bytes the archive has lost.
pub(crate) fn forget_archived_blob(tx: &mut Tx<'_>, blob: &ArchivedBlob) -> db::Result<()> {
    // It may have come back since it was looked at.
    if archive::present(tx, &blob.digest)?.as_ref() != Some(blob) {
        return Ok(());
    }
    archive::forget(tx, &blob.digest)?;
    for repository in linking(tx, &blob.digest)? {
        blobs::unlink(tx, repository, &blob.digest)?;
    }
    Ok(())
}

/// Changes where the bytes of a blob are, unless that was changed meanwhile, and notes it for the
/// journal of each repository that links it.
pub(crate) fn relocate(tx: &mut Tx<'_>, blob: &Blob, key: &BlobKey) -> db::Result<()> {
    tx.execute(
        "UPDATE blobs SET location = ?1 WHERE digest = ?2 AND location = ?3",
        params![key.as_str(), blob.digest.to_stored(), blob.key.as_str()],
    )?;
    journal_entries::note_links(tx, &blob.digest)
}

/// Whether bytes are on their way into the index or out of it: an upload session or a deletion
/// knows of them. `upload` is the session that the key names, on an object store.
pub(crate) fn is_in_motion(
    tx: &mut Tx<'_>,
    location: &str,
    upload: &str,
    blob: Option<&Digest>,
) -> db::Result<bool> {
    let stored = blob.map(Digest::to_stored);
    let found = tx.query_optional(
        "SELECT 1 FROM blob_deletions WHERE location = ?1
         UNION ALL SELECT 1 FROM uploads WHERE id = ?2
         UNION ALL SELECT 1 FROM uploads WHERE digest = ?3 LIMIT 1",
        params![location, upload, stored],
        |_| Ok(()),
    )?;
    Ok(found.is_some())
}
