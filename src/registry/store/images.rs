//! Rows of `images`, `manifests` and `image_references`.

use bytes::Bytes;
use wharfinger_base::Timestamp;
use wharfinger_db::{self as db, Row, Tx, params};
use wharfinger_oci::{ChildKind, Digest, Manifest, MediaType, Reference};

use crate::model::{Image, ImageStatus, RepositoryId, StoredManifest};
use crate::store::{digest, journal_entries, scans, signed, status_of, tags, unsigned};

/// A statement that selects images: those of `images i`, with joins and conditions as given.
/// [`read`] reads its columns.
macro_rules! select_images {
    ($rest:literal) => {
        select_images!("", $rest)
    };
    ($more_columns:literal, $rest:literal) => {
        concat!(
            "SELECT i.id, i.digest, i.media_type, i.artifact_type, i.subject, i.content_size, ",
            "i.manifest_size, i.pushed_at, i.pulled_at, i.status, i.archived_at, i.activated_at",
            $more_columns,
            " FROM images i ",
            $rest
        )
    };
}

fn read(row: &Row<'_>) -> db::Result<Image> {
    let artifact_type = row.text(3);
    Ok(Image {
        id: row.integer(0),
        digest: digest(row.bytes(1))?,
        media_type: MediaType::parse(row.text(2))
            .ok_or_else(|| db::Error::other("a stored media type"))?,
        artifact_type: (!artifact_type.is_empty()).then(|| artifact_type.to_owned()),
        subject: row.optional_bytes(4).map(digest).transpose()?,
        content_size: unsigned(row.integer(5))?,
        manifest_size: unsigned(row.integer(6))?,
        pushed_at: Timestamp::from_ms(row.integer(7)),
        pulled_at: row.optional_integer(8).map(Timestamp::from_ms),
        status: status_of(row.text(9))?,
        archived_at: row.optional_integer(10).map(Timestamp::from_ms),
        activated_at: row.optional_integer(11).map(Timestamp::from_ms),
    })
}

fn read_stored(row: &Row<'_>) -> db::Result<StoredManifest> {
    Ok(StoredManifest {
        image: read(row)?,
        bytes: Bytes::copy_from_slice(row.bytes(12)),
    })
}

/// A manifest on its way into the index.
pub(crate) struct NewImage<'a> {
    pub(crate) digest: &'a Digest,
    pub(crate) manifest: &'a Manifest,
    pub(crate) bytes: &'a [u8],
    pub(crate) content_size: u64,
    pub(crate) tagged: bool,
}

/// Inserts the image with its references; `None` where the repository has it already.
pub(crate) fn insert(
    tx: &mut Tx<'_>,
    repository: RepositoryId,
    new: &NewImage<'_>,
    now: Timestamp,
) -> db::Result<Option<i64>> {
    let id = tx.query_optional(
        "INSERT INTO images (repository_id, digest, media_type, artifact_type, subject, \
         content_size, manifest_size, pushed_at, untagged_at, aged_from)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?8) ON CONFLICT (repository_id, digest) DO \
         NOTHING RETURNING id",
        params![
            repository.0,
            new.digest.to_stored(),
            new.manifest.media_type.as_str(),
            new.manifest.referrer_artifact_type().unwrap_or_default(),
            new.manifest
                .subject
                .as_ref()
                .map(|subject| subject.digest.to_stored()),
            signed(new.content_size),
            signed(new.bytes.len() as u64),
            now.as_ms(),
            (!new.tagged).then_some(now.as_ms())
        ],
        |row| Ok(row.integer(0)),
    )?;
    if let Some(id) = id {
        journal_entries::note_image(tx, repository, new.digest)?;
        tx.execute(
            "INSERT INTO manifests (image_id, bytes) VALUES (?1, ?2)",
            params![id, new.bytes],
        )?;
        for child in &new.manifest.children {
            let kind = match child.kind {
                ChildKind::Config => "config",
                ChildKind::Layer => "layer",
                ChildKind::Member => "member",
            };
            tx.execute(
                "INSERT INTO image_references (repository_id, child, image_id, kind, media_type) \
                 VALUES (?1, ?2, ?3, ?4, ?5)
                 ON CONFLICT (repository_id, child, image_id) DO NOTHING",
                params![
                    repository.0,
                    child.digest.to_stored(),
                    id,
                    kind,
                    child.media_type.as_str()
                ],
            )?;
        }
    }
    Ok(id)
}

/// Removes the image and its tags. Only for [`crate::gc::delete_image`], which removes its
/// references and what only they needed.
pub(crate) fn delete_without_references(tx: &mut Tx<'_>, image: i64) -> db::Result<()> {
    journal_entries::note_image_with_tags(tx, image)?;
    tags::delete_of_image(tx, image)?;
    tx.execute("DELETE FROM manifests WHERE image_id = ?1", params![image])?;
    scans::abandon(tx, image)?;
    tx.execute("DELETE FROM images WHERE id = ?1", params![image])?;
    Ok(())
}

pub(crate) fn by_digest(
    tx: &mut Tx<'_>,
    repository: RepositoryId,
    digest: &Digest,
) -> db::Result<Option<Image>> {
    tx.query_optional(
        select_images!("WHERE i.repository_id = ?1 AND i.digest = ?2"),
        params![repository.0, digest.to_stored()],
        read,
    )
}

pub(crate) fn by_id(tx: &mut Tx<'_>, id: i64) -> db::Result<Option<Image>> {
    tx.query_optional(select_images!("WHERE i.id = ?1"), params![id], read)
}

pub(crate) fn by_tag(
    tx: &mut Tx<'_>,
    repository: RepositoryId,
    tag: &str,
) -> db::Result<Option<Image>> {
    tx.query_optional(
        select_images!(
            "JOIN tags t ON t.image_id = i.id WHERE t.repository_id = ?1 AND t.name = ?2"
        ),
        params![repository.0, tag],
        read,
    )
}

pub(crate) fn by_reference(
    tx: &mut Tx<'_>,
    repository: RepositoryId,
    reference: &Reference,
) -> db::Result<Option<Image>> {
    match reference {
        Reference::Tag(tag) => by_tag(tx, repository, tag.as_str()),
        Reference::Digest(digest) => by_digest(tx, repository, digest),
    }
}

/// The row number of an image, from the index of digests alone.
pub(crate) fn id_by_digest(
    tx: &mut Tx<'_>,
    repository: RepositoryId,
    digest: &Digest,
) -> db::Result<Option<i64>> {
    tx.query_optional(
        "SELECT id FROM images WHERE repository_id = ?1 AND digest = ?2",
        params![repository.0, digest.to_stored()],
        |row| Ok(row.integer(0)),
    )
}

/// What a look-up must know of an image that may be in memory otherwise.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LocatedImage {
    pub(crate) id: i64,
    pub(crate) digest: Digest,
    pub(crate) status: ImageStatus,
}

/// The image that a reference names, without what does not change of it.
pub(crate) fn locate(
    tx: &mut Tx<'_>,
    repository: RepositoryId,
    reference: &Reference,
) -> db::Result<Option<LocatedImage>> {
    let located = |row: &Row<'_>| {
        Ok(LocatedImage {
            id: row.integer(0),
            digest: digest(row.bytes(1))?,
            status: status_of(row.text(2))?,
        })
    };
    match reference {
        Reference::Tag(tag) => tx.query_optional(
            "SELECT i.id, i.digest, i.status FROM tags t JOIN images i ON i.id = t.image_id
             WHERE t.repository_id = ?1 AND t.name = ?2",
            params![repository.0, tag.as_str()],
            located,
        ),
        Reference::Digest(digest) => tx.query_optional(
            "SELECT id, digest, status FROM images WHERE repository_id = ?1 AND digest = ?2",
            params![repository.0, digest.to_stored()],
            located,
        ),
    }
}

/// The manifest that a tag or digest names, by one statement.
pub(crate) fn stored(
    tx: &mut Tx<'_>,
    repository: RepositoryId,
    reference: &Reference,
) -> db::Result<Option<StoredManifest>> {
    match reference {
        Reference::Tag(tag) => tx.query_optional(
            select_images!(
                ", m.bytes",
                "JOIN tags t ON t.image_id = i.id JOIN manifests m ON m.image_id = i.id
                 WHERE t.repository_id = ?1 AND t.name = ?2"
            ),
            params![repository.0, tag.as_str()],
            read_stored,
        ),
        Reference::Digest(digest) => tx.query_optional(
            select_images!(
                ", m.bytes",
                "JOIN manifests m ON m.image_id = i.id
                 WHERE i.repository_id = ?1 AND i.digest = ?2"
            ),
            params![repository.0, digest.to_stored()],
            read_stored,
        ),
    }
}

pub(crate) fn stored_by_id(tx: &mut Tx<'_>, id: i64) -> db::Result<Option<StoredManifest>> {
    tx.query_optional(
        select_images!(
            ", m.bytes",
            "JOIN manifests m ON m.image_id = i.id WHERE i.id = ?1"
        ),
        params![id],
        read_stored,
    )
}

/// Up to `limit` images with digests after `after` (in stored form), in digest order.
pub(crate) fn page(
    tx: &mut Tx<'_>,
    repository: RepositoryId,
    after: &[u8],
    limit: i64,
) -> db::Result<Vec<Image>> {
    tx.query(
        select_images!("WHERE i.repository_id = ?1 AND i.digest > ?2 ORDER BY i.digest LIMIT ?3"),
        params![repository.0, after, limit],
        read,
    )
}

/// The same, of archived images.
pub(crate) fn page_archived(
    tx: &mut Tx<'_>,
    repository: RepositoryId,
    after: &[u8],
    limit: i64,
) -> db::Result<Vec<Image>> {
    tx.query(
        select_images!(
            "WHERE i.repository_id = ?1 AND i.digest > ?2 AND i.status = 'archived'
             ORDER BY i.digest LIMIT ?3"
        ),
        params![repository.0, after, limit],
        read,
    )
}

/// The same, of images that are on their way back from the archive.
pub(crate) fn page_activating(
    tx: &mut Tx<'_>,
    repository: RepositoryId,
    after: &[u8],
    limit: i64,
) -> db::Result<Vec<Image>> {
    tx.query(
        select_images!(
            "WHERE i.repository_id = ?1 AND i.digest > ?2 AND i.status = 'activating'
             ORDER BY i.digest LIMIT ?3"
        ),
        params![repository.0, after, limit],
        read,
    )
}

/// The same, of images that no tag names.
pub(crate) fn page_untagged(
    tx: &mut Tx<'_>,
    repository: RepositoryId,
    after: &[u8],
    limit: i64,
) -> db::Result<Vec<Image>> {
    tx.query(
        select_images!(
            "WHERE i.repository_id = ?1 AND i.digest > ?2 AND i.untagged_at IS NOT NULL
             ORDER BY i.digest LIMIT ?3"
        ),
        params![repository.0, after, limit],
        read,
    )
}

/// Up to `limit` referrers of `subject` after the position (artifact type, stored digest), in that
/// order.
pub(crate) fn referrers(
    tx: &mut Tx<'_>,
    repository: RepositoryId,
    subject: &Digest,
    after: (&str, &[u8]),
    limit: i64,
) -> db::Result<Vec<Image>> {
    tx.query(
        select_images!(
            "WHERE i.repository_id = ?1 AND i.subject = ?2 AND i.subject IS NOT NULL
             AND (i.artifact_type, i.digest) > (?3, ?4)
             ORDER BY i.artifact_type, i.digest LIMIT ?5"
        ),
        params![repository.0, subject.to_stored(), after.0, after.1, limit],
        read,
    )
}

/// The same, of one artifact type.
pub(crate) fn referrers_of_type(
    tx: &mut Tx<'_>,
    repository: RepositoryId,
    subject: &Digest,
    artifact_type: &str,
    after: &[u8],
    limit: i64,
) -> db::Result<Vec<Image>> {
    tx.query(
        select_images!(
            "WHERE i.repository_id = ?1 AND i.subject = ?2 AND i.subject IS NOT NULL
             AND i.artifact_type = ?3 AND i.digest > ?4 ORDER BY i.digest LIMIT ?5"
        ),
        params![
            repository.0,
            subject.to_stored(),
            artifact_type,
            after,
            limit
        ],
        read,
    )
}

/// An index of the repository that names `digest` as a member.
pub(crate) fn index_naming(
    tx: &mut Tx<'_>,
    repository: RepositoryId,
    child: &Digest,
) -> db::Result<Option<Digest>> {
    tx.query_optional(
        "SELECT i.digest FROM image_references r JOIN images i ON i.id = r.image_id
         WHERE r.repository_id = ?1 AND r.child = ?2 AND r.kind = 'member' LIMIT 1",
        params![repository.0, child.to_stored()],
        |row| digest(row.bytes(0)),
    )
}

/// Whether an image of the repository has `digest` as its config or a layer.
pub(crate) fn references_blob(
    tx: &mut Tx<'_>,
    repository: RepositoryId,
    child: &Digest,
) -> db::Result<bool> {
    let row = tx.query_optional(
        "SELECT 1 FROM image_references r JOIN images i ON i.id = r.image_id
         WHERE r.repository_id = ?1 AND r.child = ?2 LIMIT 1",
        params![repository.0, child.to_stored()],
        |_| Ok(()),
    )?;
    Ok(row.is_some())
}

/// Whether an active image of the repository has `digest` as its config or a layer.
pub(crate) fn active_references_blob(
    tx: &mut Tx<'_>,
    repository: RepositoryId,
    child: &Digest,
) -> db::Result<bool> {
    let row = tx.query_optional(
        "SELECT 1 FROM image_references r JOIN images i ON i.id = r.image_id
         WHERE r.repository_id = ?1 AND r.child = ?2 AND i.status = 'active' LIMIT 1",
        params![repository.0, child.to_stored()],
        |_| Ok(()),
    )?;
    Ok(row.is_some())
}

/// The media type of content by the manifest of an image that is made of it, if there is one.
pub(crate) fn media_type_of_child(
    tx: &mut Tx<'_>,
    repository: RepositoryId,
    child: &Digest,
) -> db::Result<Option<String>> {
    tx.query_optional(
        "SELECT media_type FROM image_references \
         WHERE repository_id = ?1 AND child = ?2 AND media_type <> '' LIMIT 1",
        params![repository.0, child.to_stored()],
        |row| Ok(row.text(0).to_owned()),
    )
}

pub(crate) fn any(tx: &mut Tx<'_>, repository: RepositoryId) -> db::Result<bool> {
    Ok(tx
        .query_optional(
            "SELECT 1 FROM images WHERE repository_id = ?1 LIMIT 1",
            params![repository.0],
            |_| Ok(()),
        )?
        .is_some())
}

/// Records whether any tag still names the image: since `now` if none does.
pub(crate) fn note_tags(tx: &mut Tx<'_>, image: i64, now: Timestamp) -> db::Result<()> {
    tx.execute(
        "UPDATE images SET untagged_at = CASE WHEN EXISTS (SELECT 1 FROM tags WHERE image_id = \
         ?1) THEN NULL ELSE COALESCE(untagged_at, ?2) END
         WHERE id = ?1",
        params![image, now.as_ms()],
    )?;
    Ok(())
}

pub(crate) fn note_pull(tx: &mut Tx<'_>, image: i64, now: Timestamp) -> db::Result<()> {
    tx.execute(
        "UPDATE images SET pulled_at = ?1 WHERE id = ?2",
        params![now.as_ms(), image],
    )?;
    journal_entries::note_pull(tx, image)
}
