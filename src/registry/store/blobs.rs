//! Rows of `blobs` and `blob_links`.

use wharfinger_base::Timestamp;
use wharfinger_blobs::BlobKey;
use wharfinger_db::{self as db, Tx, params};
use wharfinger_oci::Digest;

use crate::model::{Blob, RepositoryId};
use crate::store::{parsed, signed, unsigned};

/// A blob that the repository links, with the end of its lease.
pub(crate) fn linked(
    tx: &mut Tx<'_>,
    repository: RepositoryId,
    digest: &Digest,
) -> db::Result<Option<(Blob, Timestamp)>> {
    tx.query_optional(
        "SELECT b.size, b.location, b.lease_until FROM blob_links l JOIN blobs b ON b.digest = \
         l.digest
         WHERE l.repository_id = ?1 AND l.digest = ?2 AND b.state = 'present'",
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

/// The blob of this digest, whichever repositories link it.
pub(crate) fn present(tx: &mut Tx<'_>, digest: &Digest) -> db::Result<Option<Blob>> {
    tx.query_optional(
        "SELECT size, location FROM blobs WHERE digest = ?1 AND state = 'present'",
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

/// Records bytes that are in the store, in place of those recorded under the digest before.
pub(crate) fn put(
    tx: &mut Tx<'_>,
    blob: &Blob,
    lease_until: Timestamp,
    now: Timestamp,
) -> db::Result<()> {
    tx.execute(
        "INSERT INTO blobs (digest, size, location, state, lease_until, created_at) VALUES (?1, \
         ?2, ?3, 'present', ?4, ?5)
         ON CONFLICT (digest) DO UPDATE SET size = excluded.size, location = excluded.location, \
         state = 'present',
             lease_until = excluded.lease_until",
        params![
            blob.digest.to_stored(),
            signed(blob.size),
            blob.key.as_str(),
            lease_until.as_ms(),
            now.as_ms()
        ],
    )?;
    Ok(())
}

pub(crate) fn link(
    tx: &mut Tx<'_>,
    repository: RepositoryId,
    digest: &Digest,
    now: Timestamp,
) -> db::Result<()> {
    tx.execute(
        "INSERT INTO blob_links (repository_id, digest, linked_at) VALUES (?1, ?2, ?3) ON \
         CONFLICT (repository_id, digest) DO NOTHING",
        params![repository.0, digest.to_stored(), now.as_ms()],
    )?;
    Ok(())
}

pub(crate) fn unlink(
    tx: &mut Tx<'_>,
    repository: RepositoryId,
    digest: &Digest,
) -> db::Result<u64> {
    tx.execute(
        "DELETE FROM blob_links WHERE repository_id = ?1 AND digest = ?2",
        params![repository.0, digest.to_stored()],
    )
}

/// Moves the end of a present blob's lease forward; says whether the blob was there to keep.
pub(crate) fn renew(tx: &mut Tx<'_>, digest: &Digest, lease_until: Timestamp) -> db::Result<bool> {
    let rows = tx.execute(
        "UPDATE blobs SET lease_until = ?1 WHERE digest = ?2 AND state = 'present' AND \
         lease_until < ?1",
        params![lease_until.as_ms(), digest.to_stored()],
    )?;
    Ok(rows > 0
        || tx
            .query_optional(
                "SELECT 1 FROM blobs WHERE digest = ?1 AND state = 'present'",
                params![digest.to_stored()],
                |_| Ok(()),
            )?
            .is_some())
}

/// Removes up to `limit` blobs that no repository links, with digests after `after` (stored form);
/// returns their digests and where their bytes are, in order.
pub(crate) fn forget_unlinked(
    tx: &mut Tx<'_>,
    after: &[u8],
    limit: i64,
) -> db::Result<Vec<(Vec<u8>, BlobKey)>> {
    let unlinked = tx.query(
        "SELECT b.digest, b.location FROM blobs b WHERE b.digest > ?1
         AND NOT EXISTS (SELECT 1 FROM blob_links l WHERE l.digest = b.digest)
         ORDER BY b.digest LIMIT ?2",
        params![after, limit],
        |row| Ok((row.bytes(0).to_vec(), parsed(row.text(1))?)),
    )?;
    for (digest, _) in &unlinked {
        tx.execute("DELETE FROM blobs WHERE digest = ?1", params![digest])?;
    }
    Ok(unlinked)
}
