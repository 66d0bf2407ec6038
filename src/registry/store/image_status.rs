//! What rows of `images` say of an image besides its content: whether it is active, archived or on
//! its way back, and whether a replication brought it.

use wharfinger_base::Timestamp;
use wharfinger_db::{self as db, Tx, params};

use crate::model::ImageStatus;
use crate::store::images::LocatedImage;
use crate::store::{archive, digest, journal_entries, status_of};

/// Moves an image to the archive, also one that is on its way back; false where it is there.
pub(crate) fn archive(tx: &mut Tx<'_>, image: i64, now: Timestamp) -> db::Result<bool> {
    let changed = tx.execute(
        "UPDATE images SET status = 'archived', archived_at = ?1
         WHERE id = ?2 AND status <> 'archived'",
        params![now.as_ms(), image],
    )?;
    if changed == 1 {
        archive::note_archived_image(tx, image)?;
        journal_entries::note_image_by_id(tx, image)?;
    }
    Ok(changed == 1)
}

/// Begins to bring an image back from the archive. It is active at once where the archive has
/// nothing of it. Returns its status, and whether that has become active now.
pub(crate) fn activate(
    tx: &mut Tx<'_>,
    image: &LocatedImage,
    now: Timestamp,
) -> db::Result<(ImageStatus, bool)> {
    if image.status == ImageStatus::Active {
        return Ok((ImageStatus::Active, false));
    }
    begin_activation(tx, image.id)?;
    if archive::has_any_of(tx, image.id)? {
        return Ok((ImageStatus::Activating, false));
    }
    Ok((ImageStatus::Active, end_activation(tx, image.id, now)?))
}

/// Makes an image one that comes back from the archive.
pub(crate) fn begin_activation(tx: &mut Tx<'_>, image: i64) -> db::Result<()> {
    tx.execute(
        "UPDATE images SET status = 'activating' WHERE id = ?1",
        params![image],
    )?;
    journal_entries::note_image_by_id(tx, image)
}

/// Makes an image active of which the archive has nothing more; false where it is not on its way
/// back.
pub(crate) fn end_activation(tx: &mut Tx<'_>, image: i64, now: Timestamp) -> db::Result<bool> {
    let changed = tx.execute(
        "UPDATE images SET status = 'active', activated_at = ?1, aged_from = ?1
         WHERE id = ?2 AND status = 'activating'",
        params![now.as_ms(), image],
    )?;
    if changed == 1 {
        journal_entries::note_image_by_id(tx, image)?;
    }
    Ok(changed == 1)
}

/// What [`crate::store::images::locate`] returns, of an image whose row is known.
pub(crate) fn locate(tx: &mut Tx<'_>, image: i64) -> db::Result<Option<LocatedImage>> {
    tx.query_optional(
        "SELECT id, digest, status FROM images WHERE id = ?1",
        params![image],
        |row| {
            Ok(LocatedImage {
                id: row.integer(0),
                digest: digest(row.bytes(1))?,
                status: status_of(row.text(2))?,
            })
        },
    )
}

/// Notes that a replication brought the image, or that somebody has pushed it since.
pub(crate) fn set_replicated(tx: &mut Tx<'_>, image: i64, replicated: bool) -> db::Result<()> {
    let changed = tx.execute(
        "UPDATE images SET replicated = ?2 WHERE id = ?1 AND replicated <> ?2",
        params![image, i64::from(replicated)],
    )?;
    if changed == 1 {
        journal_entries::note_image_by_id(tx, image)?;
    }
    Ok(())
}

/// Whether a replication brought the image and nobody has pushed it since.
pub(crate) fn is_replicated(tx: &mut Tx<'_>, image: i64) -> db::Result<bool> {
    let found = tx.query_optional(
        "SELECT 1 FROM images WHERE id = ?1 AND replicated = 1",
        params![image],
        |_| Ok(()),
    )?;
    Ok(found.is_some())
}
