//! Rows of `journal_entries`: what has changed and is not in the journal yet.

use wharfinger_db::{self as db, Tx, params};
use wharfinger_oci::Digest;

use crate::journal::record::Subject;
use crate::model::{RegistryId, RepositoryId};
use crate::store::{digest, parsed, settings_tables};

/// Records that a repository has changed. In the transaction of the change, as the others.
pub(crate) fn note_repository(tx: &mut Tx<'_>, id: RepositoryId) -> db::Result<()> {
    insert(tx, REPOSITORY, id.0, None, None)
}

pub(crate) fn note_image(tx: &mut Tx<'_>, id: RepositoryId, digest: &Digest) -> db::Result<()> {
    insert(tx, IMAGE, id.0, Some(&digest.to_stored()), None)
}

pub(crate) fn note_tag(tx: &mut Tx<'_>, id: RepositoryId, tag: &str) -> db::Result<()> {
    insert(tx, TAG, id.0, None, Some(tag))
}

pub(crate) fn note_link(tx: &mut Tx<'_>, id: RepositoryId, digest: &Digest) -> db::Result<()> {
    insert(tx, LINK, id.0, Some(&digest.to_stored()), None)
}

/// As [`note_link`], for all repositories that link a blob: where its bytes are is a part of each.
pub(crate) fn note_links(tx: &mut Tx<'_>, blob: &Digest) -> db::Result<()> {
    tx.execute(
        "INSERT INTO journal_entries (kind, repository_id, digest)
         SELECT 'link', repository_id, digest FROM blob_links WHERE digest = ?1",
        params![blob.to_stored()],
    )?;
    Ok(())
}

/// Records that an image was pulled.
pub(crate) fn note_pull(tx: &mut Tx<'_>, image: i64) -> db::Result<()> {
    tx.execute(
        "INSERT INTO journal_entries (kind, repository_id, digest)
         SELECT 'pull', repository_id, digest FROM images WHERE id = ?1",
        params![image],
    )?;
    Ok(())
}

/// As [`note_image`], by the number of its row.
pub(crate) fn note_image_by_id(tx: &mut Tx<'_>, image: i64) -> db::Result<()> {
    tx.execute(
        "INSERT INTO journal_entries (kind, repository_id, digest)
         SELECT 'image', repository_id, digest FROM images WHERE id = ?1",
        params![image],
    )?;
    Ok(())
}

/// Records that something is set for a registry, or no longer.
pub(crate) fn note_registry(tx: &mut Tx<'_>, registry: &RegistryId) -> db::Result<()> {
    let name = format!("{}/{}", registry.account, registry.region);
    insert(tx, REGISTRY, 0, None, Some(&name))
}

/// Records that what is set for all registries is about to be removed.
pub(crate) fn note_all_registries(tx: &mut Tx<'_>) -> db::Result<()> {
    tx.execute(settings_tables::NOTES, params![])?;
    Ok(())
}

/// Records that an image is about to be deleted, with its tags.
pub(crate) fn note_image_with_tags(tx: &mut Tx<'_>, image: i64) -> db::Result<()> {
    note_tags_of_image(tx, image)?;
    note_image_by_id(tx, image)
}

/// Records that tags of an image are about to be deleted.
pub(crate) fn note_tags_of_image(tx: &mut Tx<'_>, image: i64) -> db::Result<()> {
    tx.execute(
        "INSERT INTO journal_entries (kind, repository_id, name)
         SELECT 'tag', repository_id, name FROM tags WHERE image_id = ?1",
        params![image],
    )?;
    Ok(())
}

/// The general form of the others.
pub(crate) fn insert(
    tx: &mut Tx<'_>,
    kind: &'static str,
    repository: i64,
    digest: Option<&[u8]>,
    name: Option<&str>,
) -> db::Result<()> {
    tx.execute(
        "INSERT INTO journal_entries (kind, repository_id, digest, name) VALUES (?1, ?2, ?3, ?4)",
        params![kind, repository, digest, name],
    )?;
    Ok(())
}

pub(crate) const REPOSITORY: &str = "repository";
pub(crate) const IMAGE: &str = "image";
pub(crate) const TAG: &str = "tag";
pub(crate) const LINK: &str = "link";
pub(crate) const PULL: &str = "pull";
pub(crate) const REGISTRY: &str = "registry";

/// The first `limit` entries, each with its row number.
pub(crate) fn entries(tx: &mut Tx<'_>, limit: i64) -> db::Result<Vec<(i64, Subject)>> {
    tx.query(
        "SELECT id, kind, repository_id, digest, name FROM journal_entries ORDER BY id LIMIT ?1",
        params![limit],
        |row| {
            let repository = row.integer(2);
            let digest_of = || digest(row.optional_bytes(3).unwrap_or_default());
            let subject = match row.text(1) {
                REPOSITORY => Subject::Repository(repository),
                IMAGE => Subject::Image(repository, digest_of()?),
                LINK => Subject::Link(repository, digest_of()?),
                PULL => Subject::Pull(repository, digest_of()?),
                REGISTRY => {
                    let name = row.optional_text(4).unwrap_or_default();
                    Subject::Registry(name.to_owned())
                }
                TAG => {
                    let name = row.optional_text(4).unwrap_or_default();
                    Subject::Tag(repository, name.to_owned())
                }
                _ => return Err(db::Error::other("an entry of the journal")),
            };
            Ok((row.integer(0), subject))
        },
    )
}

/// The registry of an entry or a record, by account and region.
pub(crate) fn registry_named(name: &str) -> db::Result<RegistryId> {
    let (account, region) = name
        .split_once('/')
        .ok_or_else(|| db::Error::other("an entry of the journal"))?;
    Ok(RegistryId {
        account: parsed(account)?,
        region: parsed(region)?,
    })
}

/// Removes entries by their row numbers.
pub(crate) fn remove_entries(tx: &mut Tx<'_>, ids: &[i64]) -> db::Result<()> {
    for some in ids.chunks(8) {
        let at = |index: usize| some.get(index).copied().unwrap_or(some[0]);
        tx.execute(
            "DELETE FROM journal_entries WHERE id IN (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
            params![at(0), at(1), at(2), at(3), at(4), at(5), at(6), at(7)],
        )?;
    }
    Ok(())
}
