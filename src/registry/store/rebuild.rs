//! Rows of an index that is made anew from the journal.

use wharfinger_base::Timestamp;
use wharfinger_db::{self as db, Tx, params};
use wharfinger_oci::Digest;

use crate::journal::record::ImageState;
use crate::model::RepositoryId;
use crate::store::{archive, digest, signed, unsigned};

/// Where a rebuild stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Position {
    /// The segment that is being read.
    pub(crate) segment: u64,
    /// Its records that were taken in.
    pub(crate) record: u64,
}

/// Whether the index has no repository and no blob.
pub(crate) fn is_empty(tx: &mut Tx<'_>) -> db::Result<bool> {
    let row = tx.query_optional(
        "SELECT 1 FROM repositories UNION ALL SELECT 1 FROM blobs LIMIT 1",
        params![],
        |_| Ok(()),
    )?;
    Ok(row.is_none())
}

/// Whether nothing of the index was ever written to the journal.
pub(crate) fn is_unwritten(tx: &mut Tx<'_>) -> db::Result<bool> {
    let written = tx.query_optional("SELECT 1 FROM journal WHERE number > 0", params![], |_| {
        Ok(())
    })?;
    Ok(written.is_none())
}

/// Where the rebuild stands; `None` where none was begun.
pub(crate) fn position(tx: &mut Tx<'_>) -> db::Result<Option<Position>> {
    tx.query_optional(
        "SELECT segment, record FROM rebuild WHERE id = 1",
        params![],
        |row| {
            Ok(Position {
                segment: unsigned(row.integer(0))?,
                record: unsigned(row.integer(1))?,
            })
        },
    )
}

pub(crate) fn set_position(tx: &mut Tx<'_>, position: Position) -> db::Result<()> {
    tx.execute(
        "INSERT INTO rebuild (id, segment, record) VALUES (1, ?1, ?2)
         ON CONFLICT (id) DO UPDATE SET segment = excluded.segment, record = excluded.record",
        params![signed(position.segment), signed(position.record)],
    )?;
    Ok(())
}

/// Which repository here is the one that the journal names.
pub(crate) fn repository(tx: &mut Tx<'_>, original: i64) -> db::Result<Option<RepositoryId>> {
    tx.query_optional(
        "SELECT repository_id FROM rebuilt_repositories WHERE original = ?1",
        params![original],
        |row| Ok(RepositoryId(row.integer(0))),
    )
}

/// The number that the journal has for a repository here.
pub(crate) fn original(tx: &mut Tx<'_>, id: RepositoryId) -> db::Result<Option<i64>> {
    tx.query_optional(
        "SELECT original FROM rebuilt_repositories WHERE repository_id = ?1",
        params![id.0],
        |row| Ok(row.integer(0)),
    )
}

pub(crate) fn add_repository(tx: &mut Tx<'_>, original: i64, id: RepositoryId) -> db::Result<()> {
    tx.execute(
        "INSERT INTO rebuilt_repositories (original, repository_id) VALUES (?1, ?2)",
        params![original, id.0],
    )?;
    Ok(())
}

pub(crate) fn remove_repository(tx: &mut Tx<'_>, original: i64) -> db::Result<()> {
    tx.execute(
        "DELETE FROM rebuilt_repositories WHERE original = ?1",
        params![original],
    )?;
    Ok(())
}

/// A tag that waits for its image.
#[derive(Clone, Debug)]
pub(crate) struct WaitingTag {
    pub(crate) repository: RepositoryId,
    pub(crate) name: String,
    pub(crate) image: Digest,
    pub(crate) tagged_at: Timestamp,
}

/// Keeps a tag until all images are there, in place of one of the same name.
pub(crate) fn put_tag(tx: &mut Tx<'_>, tag: &WaitingTag) -> db::Result<()> {
    tx.execute(
        "INSERT INTO rebuilt_tags (repository_id, name, image, tagged_at) VALUES (?1, ?2, ?3, ?4)
         ON CONFLICT (repository_id, name) DO UPDATE SET image = excluded.image, tagged_at = \
         excluded.tagged_at",
        params![
            tag.repository.0,
            &tag.name,
            tag.image.to_stored(),
            tag.tagged_at.as_ms()
        ],
    )?;
    Ok(())
}

pub(crate) fn remove_tag(tx: &mut Tx<'_>, id: RepositoryId, name: &str) -> db::Result<()> {
    tx.execute(
        "DELETE FROM rebuilt_tags WHERE repository_id = ?1 AND name = ?2",
        params![id.0, name],
    )?;
    Ok(())
}

pub(crate) fn remove_tags(tx: &mut Tx<'_>, id: RepositoryId) -> db::Result<()> {
    tx.execute(
        "DELETE FROM rebuilt_tags WHERE repository_id = ?1",
        params![id.0],
    )?;
    Ok(())
}

/// Takes up to `limit` waiting tags out.
pub(crate) fn take_tags(tx: &mut Tx<'_>, limit: i64) -> db::Result<Vec<WaitingTag>> {
    let tags = tx.query(
        "SELECT repository_id, name, image, tagged_at FROM rebuilt_tags
         ORDER BY repository_id, name LIMIT ?1",
        params![limit],
        |row| {
            Ok(WaitingTag {
                repository: RepositoryId(row.integer(0)),
                name: row.text(1).to_owned(),
                image: digest(row.bytes(2))?,
                tagged_at: Timestamp::from_ms(row.integer(3)),
            })
        },
    )?;
    for tag in &tags {
        remove_tag(tx, tag.repository, &tag.name)?;
    }
    Ok(tags)
}

/// The segment of the position at which all is taken in, and the journal is written anew.
pub(crate) const ALL: u64 = i64::MAX.unsigned_abs();

/// Removes the last trace of a rebuild, unless the journal is still being written anew.
pub(crate) fn finish(tx: &mut Tx<'_>) -> db::Result<()> {
    tx.execute(
        "DELETE FROM rebuild WHERE NOT EXISTS (SELECT 1 FROM journal WHERE refresh <> '')",
        params![],
    )?;
    Ok(())
}

/// All is taken in: the journal goes on after its last segment, and is written anew as a whole,
/// since repositories have other row numbers now.
pub(crate) fn end(tx: &mut Tx<'_>, last_segment: u64) -> db::Result<()> {
    set_position(
        tx,
        Position {
            segment: ALL,
            record: 0,
        },
    )?;
    for statement in [
        "DELETE FROM rebuilt_repositories",
        "DELETE FROM journal_entries",
    ] {
        tx.execute(statement, params![])?;
    }
    tx.execute(
        "UPDATE journal SET number = ?1, refresh = 'repository', refresh_repository = 0, \
         refresh_digest = NULL, refresh_name = NULL, refresh_number = ?1, catching_up = 0 \
         WHERE id = 1",
        params![signed(last_segment)],
    )?;
    Ok(())
}

/// Gives an image that is made anew what it had of the archive and of replication.
pub(crate) fn put_storage_class(tx: &mut Tx<'_>, image: i64, state: &ImageState) -> db::Result<()> {
    tx.execute(
        "UPDATE images SET status = ?1, archived_at = ?2, activated_at = ?3, aged_from = ?4,
         replicated = ?5 WHERE id = ?6",
        params![
            match (state.archived, state.activating) {
                (_, true) => "activating",
                (true, false) => "archived",
                (false, false) => "active",
            },
            state.archived_at,
            state.activated_at,
            state.activated_at.unwrap_or(0).max(state.pushed_at),
            i64::from(state.replicated),
            image
        ],
    )?;
    if state.archived && !state.activating {
        archive::note_archived_image(tx, image)?;
    }
    Ok(())
}

/// When an image was last pulled; `None` where it was not, or is gone.
pub(crate) fn pulled_at(
    tx: &mut Tx<'_>,
    repository: RepositoryId,
    image: &Digest,
) -> db::Result<Option<i64>> {
    let found = tx.query_optional(
        "SELECT pulled_at FROM images WHERE repository_id = ?1 AND digest = ?2",
        params![repository.0, image.to_stored()],
        |row| Ok(row.optional_integer(0)),
    )?;
    Ok(found.flatten())
}
