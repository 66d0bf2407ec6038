//! Rows of `tags`.

use wharfinger_base::Timestamp;
use wharfinger_db::{self as db, Tx, params};
use wharfinger_oci::{Digest, Tag};

use crate::model::{ImageStatus, RepositoryId};
use crate::store::{digest, journal_entries, parsed, signed, status_of};

/// The row number of the image that a tag names.
pub(crate) fn image_of(
    tx: &mut Tx<'_>,
    repository: RepositoryId,
    tag: &str,
) -> db::Result<Option<i64>> {
    tx.query_optional(
        "SELECT image_id FROM tags WHERE repository_id = ?1 AND name = ?2",
        params![repository.0, tag],
        |row| Ok(row.integer(0)),
    )
}

/// Which image a tag names now: its row number and digest.
pub(crate) fn target(
    tx: &mut Tx<'_>,
    repository: RepositoryId,
    tag: &str,
) -> db::Result<Option<(i64, Digest)>> {
    tx.query_optional(
        "SELECT i.id, i.digest FROM tags t JOIN images i ON i.id = t.image_id WHERE \
         t.repository_id = ?1 AND t.name = ?2",
        params![repository.0, tag],
        |row| Ok((row.integer(0), digest(row.bytes(1))?)),
    )
}

/// The digest that a tag names, and since when.
pub(crate) fn target_since(
    tx: &mut Tx<'_>,
    repository: RepositoryId,
    tag: &str,
) -> db::Result<Option<(Digest, Timestamp)>> {
    tx.query_optional(
        "SELECT i.digest, t.tagged_at FROM tags t JOIN images i ON i.id = t.image_id WHERE \
         t.repository_id = ?1 AND t.name = ?2",
        params![repository.0, tag],
        |row| Ok((digest(row.bytes(0))?, Timestamp::from_ms(row.integer(1)))),
    )
}

/// Inserts the tag and returns true, or changes nothing and returns false where the repository has
/// a tag of this name.
///
/// Pushes insert before they look: on PostgreSQL a look-up that finds nothing locks the index page
/// on which the tag would be, so that concurrent pushes of neighbouring tags would have to repeat
/// their transactions.
pub(crate) fn insert(
    tx: &mut Tx<'_>,
    repository: RepositoryId,
    tag: &str,
    image: i64,
    now: Timestamp,
) -> db::Result<bool> {
    let inserted = tx.execute(
        "INSERT INTO tags (repository_id, name, image_id, tagged_at) VALUES (?1, ?2, ?3, ?4) ON \
         CONFLICT (repository_id, name) DO NOTHING",
        params![repository.0, tag, image, now.as_ms()],
    )?;
    if inserted == 1 {
        journal_entries::note_tag(tx, repository, tag)?;
    }
    Ok(inserted == 1)
}

/// Moves a tag to another image.
pub(crate) fn set_image(
    tx: &mut Tx<'_>,
    repository: RepositoryId,
    tag: &str,
    image: i64,
    now: Timestamp,
) -> db::Result<u64> {
    journal_entries::note_tag(tx, repository, tag)?;
    tx.execute(
        "UPDATE tags SET image_id = ?3, tagged_at = ?4 WHERE repository_id = ?1 AND name = ?2",
        params![repository.0, tag, image, now.as_ms()],
    )
}

pub(crate) fn delete(tx: &mut Tx<'_>, repository: RepositoryId, tag: &str) -> db::Result<u64> {
    journal_entries::note_tag(tx, repository, tag)?;
    tx.execute(
        "DELETE FROM tags WHERE repository_id = ?1 AND name = ?2",
        params![repository.0, tag],
    )
}

/// The caller has told the journal.
pub(crate) fn delete_of_image(tx: &mut Tx<'_>, image: i64) -> db::Result<u64> {
    tx.execute("DELETE FROM tags WHERE image_id = ?1", params![image])
}

/// Removes the image's tags up to and including `last`, in byte order.
pub(crate) fn delete_of_image_to(tx: &mut Tx<'_>, image: i64, last: &str) -> db::Result<u64> {
    journal_entries::note_tags_of_image(tx, image)?;
    tx.execute(
        "DELETE FROM tags WHERE image_id = ?1 AND name <= ?2",
        params![image, last],
    )
}

/// The image's tag after its first `count` ones, in byte order. Reads no more than these.
pub(crate) fn of_image_after(
    tx: &mut Tx<'_>,
    image: i64,
    count: u64,
) -> db::Result<Option<String>> {
    tx.query_optional(
        "SELECT name FROM tags WHERE image_id = ?1 ORDER BY name LIMIT 1 OFFSET ?2",
        params![image, signed(count)],
        |row| Ok(row.text(0).to_owned()),
    )
}

/// Tags of one image after `after`, in byte order, up to `limit`.
pub(crate) fn of_image(
    tx: &mut Tx<'_>,
    image: i64,
    after: &str,
    limit: i64,
) -> db::Result<Vec<Tag>> {
    tx.query(
        "SELECT name FROM tags WHERE image_id = ?1 AND name > ?2 ORDER BY name LIMIT ?3",
        params![image, after, limit],
        |row| parsed(row.text(0)),
    )
}

/// Up to `limit` tag names after `after`, in byte order.
pub(crate) fn page(
    tx: &mut Tx<'_>,
    repository: RepositoryId,
    after: &str,
    limit: i64,
) -> db::Result<Vec<String>> {
    tx.query(
        "SELECT name FROM tags WHERE repository_id = ?1 AND name > ?2 ORDER BY name LIMIT ?3",
        params![repository.0, after, limit],
        |row| Ok(row.text(0).to_owned()),
    )
}

/// Up to `limit` tags after `after`, each with digest and status of the image that it names.
pub(crate) fn page_with_images(
    tx: &mut Tx<'_>,
    repository: RepositoryId,
    after: &str,
    limit: i64,
) -> db::Result<Vec<(Tag, Digest, ImageStatus)>> {
    tx.query(
        "SELECT t.name, i.digest, i.status FROM tags t JOIN images i ON i.id = t.image_id
         WHERE t.repository_id = ?1 AND t.name > ?2 ORDER BY t.name LIMIT ?3",
        params![repository.0, after, limit],
        |row| {
            let status = status_of(row.text(2))?;
            Ok((parsed(row.text(0))?, digest(row.bytes(1))?, status))
        },
    )
}
