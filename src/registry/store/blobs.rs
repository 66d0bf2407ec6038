//! Rows of `blobs` and `blob_links`.

use wharfinger_base::Timestamp;
use wharfinger_db::{self as db, Tx, params};
use wharfinger_oci::Digest;

use crate::archive::placement::REMOVAL_DELAY;
use crate::model::{Blob, RepositoryId};
use crate::store::{archive, journal_entries, parsed, signed, unsigned};

/// A blob that the repository links, with the end of its lease.
pub(crate) fn linked(
    tx: &mut Tx<'_>,
    repository: RepositoryId,
    digest: &Digest,
) -> db::Result<Option<(Blob, Timestamp)>> {
    tx.query_optional(
        "SELECT b.size, b.location, b.lease_until FROM blob_links l JOIN blobs b ON b.digest = \
         l.digest
         WHERE l.repository_id = ?1 AND l.digest = ?2",
        params![repository.0, digest.to_stored()],
        |row| {
            let blob = Blob {
                digest: *digest,
                size: unsigned(row.integer(0))?,
                key: parsed(row.text(1))?,
            };
            Ok((blob, Timestamp::from_ms(row.integer(2))))
        },
    )
}

pub(crate) fn is_linked(
    tx: &mut Tx<'_>,
    repository: RepositoryId,
    digest: &Digest,
) -> db::Result<bool> {
    let row = tx.query_optional(
        "SELECT 1 FROM blob_links WHERE repository_id = ?1 AND digest = ?2",
        params![repository.0, digest.to_stored()],
        |_| Ok(()),
    )?;
    Ok(row.is_some())
}

/// Whether the repository links the blob and it can be read: its bytes are not in the archive.
pub(crate) fn is_readable(
    tx: &mut Tx<'_>,
    repository: RepositoryId,
    digest: &Digest,
) -> db::Result<bool> {
    Ok(linked(tx, repository, digest)?.is_some())
}

/// The blob of this digest, whichever repositories link it.
pub(crate) fn present(tx: &mut Tx<'_>, digest: &Digest) -> db::Result<Option<Blob>> {
    tx.query_optional(
        "SELECT size, location FROM blobs WHERE digest = ?1",
        params![digest.to_stored()],
        |row| {
            Ok(Blob {
                digest: *digest,
                size: unsigned(row.integer(0))?,
                key: parsed(row.text(1))?,
            })
        },
    )
}

/// Records bytes that are in the store, in place of those recorded under the digest before. The
/// caller links them in the same transaction, or nothing would find them when they are not needed.
pub(crate) fn put(
    tx: &mut Tx<'_>,
    blob: &Blob,
    lease_until: Timestamp,
    now: Timestamp,
) -> db::Result<()> {
    tx.execute(
        "INSERT INTO blobs (digest, size, location, lease_until, created_at)
         VALUES (?1, ?2, ?3, ?4, ?5)
         ON CONFLICT (digest) DO UPDATE SET size = excluded.size, location = excluded.location,
             lease_until = excluded.lease_until",
        params![
            blob.digest.to_stored(),
            signed(blob.size),
            blob.key.as_str(),
            lease_until.as_ms(),
            now.as_ms()
        ],
    )?;
    archive::supersede(tx, &blob.digest, now.plus(REMOVAL_DELAY))?;
    Ok(())
}

/// Links a blob on which a lease runs: at its end the collector looks whether an image needs the
/// link.
pub(crate) fn link(
    tx: &mut Tx<'_>,
    repository: RepositoryId,
    digest: &Digest,
    lease_until: Timestamp,
    now: Timestamp,
) -> db::Result<()> {
    tx.execute(
        "INSERT INTO blob_links (repository_id, digest, linked_at, check_at)
         VALUES (?1, ?2, ?3, ?4) ON CONFLICT (repository_id, digest) DO NOTHING",
        params![
            repository.0,
            digest.to_stored(),
            now.as_ms(),
            lease_until.as_ms()
        ],
    )?;
    journal_entries::note_link(tx, repository, digest)
}

/// Removes a link; of the last one of a blob the collector learns, which looks at the blob once its
/// lease is over.
pub(crate) fn unlink(
    tx: &mut Tx<'_>,
    repository: RepositoryId,
    digest: &Digest,
) -> db::Result<u64> {
    journal_entries::note_link(tx, repository, digest)?;
    let stored = digest.to_stored();
    let removed = tx.execute(
        "DELETE FROM blob_links WHERE repository_id = ?1 AND digest = ?2",
        params![repository.0, &stored],
    )?;
    if removed > 0 {
        tx.execute(
            "UPDATE blobs SET collect_at = lease_until
             WHERE digest = ?1 AND collect_at IS NULL
             AND NOT EXISTS (SELECT 1 FROM blob_links l WHERE l.digest = ?1)",
            params![&stored],
        )?;
        archive::drop_unlinked(tx, digest)?;
        archive::note_released(tx, digest)?;
    }
    Ok(removed)
}

/// Moves the end of a blob's lease forward.
pub(crate) fn renew(tx: &mut Tx<'_>, digest: &Digest, lease_until: Timestamp) -> db::Result<()> {
    tx.execute(
        "UPDATE blobs SET lease_until = ?1 WHERE digest = ?2 AND lease_until < ?1",
        params![lease_until.as_ms(), digest.to_stored()],
    )?;
    Ok(())
}
