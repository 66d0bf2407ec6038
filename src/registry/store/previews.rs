//! Rows of `lifecycle_previews` and `lifecycle_preview_results`.

use wharfinger_base::Timestamp;
use wharfinger_db::{self as db, Row, Tx, params};
use wharfinger_oci::{Digest, Tag};

use crate::lifecycle::policy::{Action, StorageClass};
use crate::lifecycle::results::{Preview, PreviewResult, PreviewStatus};
use crate::model::{RepositoryId, TagStatus};
use crate::store::{digest, parsed, signed, unsigned};

/// A preview, and until when its server may work on it or its results are kept.
#[derive(Clone, Debug)]
pub(crate) struct PreviewRow {
    pub(crate) id: String,
    pub(crate) preview: Preview,
    pub(crate) ends_at: Timestamp,
}

/// Begins a preview in place of the repository's last one.
pub(crate) fn begin(
    tx: &mut Tx<'_>,
    repository: RepositoryId,
    id: &str,
    text: &str,
    ends_at: Timestamp,
) -> db::Result<()> {
    tx.execute(
        "INSERT INTO lifecycle_previews (repository_id, id, text, status, ends_at, expiring,
             archiving)
         VALUES (?1, ?2, ?3, 'in_progress', ?4, 0, 0)
         ON CONFLICT (repository_id) DO UPDATE SET id = excluded.id, text = excluded.text,
             status = excluded.status, ends_at = excluded.ends_at, expiring = 0, archiving = 0",
        params![repository.0, id, text, ends_at.as_ms()],
    )?;
    Ok(())
}

pub(crate) fn find(tx: &mut Tx<'_>, repository: RepositoryId) -> db::Result<Option<PreviewRow>> {
    tx.query_optional(
        "SELECT id, text, status, ends_at, expiring, archiving FROM lifecycle_previews
         WHERE repository_id = ?1",
        params![repository.0],
        |row| {
            Ok(PreviewRow {
                id: row.text(0).to_owned(),
                preview: Preview {
                    text: row.text(1).to_owned(),
                    status: status_of(row.text(2))?,
                    expiring: unsigned(row.integer(4))?,
                    archiving: unsigned(row.integer(5))?,
                },
                ends_at: Timestamp::from_ms(row.integer(3)),
            })
        },
    )
}

/// Ends a preview in progress; changes nothing where another one took its place.
pub(crate) fn end(
    tx: &mut Tx<'_>,
    id: &str,
    status: PreviewStatus,
    (expiring, archiving): (u64, u64),
    ends_at: Timestamp,
) -> db::Result<bool> {
    let changed = tx.execute(
        "UPDATE lifecycle_previews SET status = ?1, expiring = ?2, archiving = ?3, ends_at = ?4
         WHERE id = ?5 AND status = 'in_progress'",
        params![
            status_text(status),
            signed(expiring),
            signed(archiving),
            ends_at.as_ms(),
            id
        ],
    )?;
    Ok(changed == 1)
}

/// Whether [`expire`] has something to do.
pub(crate) fn any_to_expire(tx: &mut Tx<'_>, now: Timestamp) -> db::Result<bool> {
    let row = tx.query_optional(
        "SELECT 1 FROM lifecycle_previews WHERE status = 'complete' AND ends_at <= ?1 LIMIT 1",
        params![now.as_ms()],
        |_| Ok(()),
    )?;
    Ok(row.is_some())
}

/// Lets the results of previews go that were complete and are past their time.
pub(crate) fn expire(tx: &mut Tx<'_>, now: Timestamp) -> db::Result<u64> {
    tx.execute(
        "UPDATE lifecycle_previews SET status = 'expired'
         WHERE status = 'complete' AND ends_at <= ?1",
        params![now.as_ms()],
    )
}

/// Whether the preview is still in progress, so that results of it are worth to be stored.
pub(crate) fn is_in_progress(tx: &mut Tx<'_>, id: &str) -> db::Result<bool> {
    let row = tx.query_optional(
        "SELECT 1 FROM lifecycle_previews WHERE id = ?1 AND status = 'in_progress'",
        params![id],
        |_| Ok(()),
    )?;
    Ok(row.is_some())
}

pub(crate) fn add_result(
    tx: &mut Tx<'_>,
    id: &str,
    position: u64,
    result: &PreviewResult,
) -> db::Result<()> {
    let tags: Vec<&str> = result.tags.iter().map(Tag::as_str).collect();
    tx.execute(
        "INSERT INTO lifecycle_preview_results (preview_id, position, digest, tags, pushed_at,
             archived, action, priority)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
        params![
            id,
            signed(position),
            result.digest.to_stored(),
            tags.join(" "),
            result.pushed_at.as_ms(),
            i64::from(result.class == StorageClass::Archive),
            match result.action {
                Action::Expire => "expire",
                Action::Archive => "archive",
            },
            i64::from(result.priority)
        ],
    )?;
    Ok(())
}

/// Up to `limit` results of a preview at positions after `after`, with their positions.
pub(crate) fn results(
    tx: &mut Tx<'_>,
    id: &str,
    status: TagStatus,
    after: i64,
    limit: i64,
) -> db::Result<Vec<(i64, PreviewResult)>> {
    let tagged = match status {
        TagStatus::Any => "any",
        TagStatus::Tagged => "tagged",
        TagStatus::Untagged => "untagged",
    };
    tx.query(
        "SELECT digest, tags, pushed_at, archived, action, priority, position
         FROM lifecycle_preview_results
         WHERE preview_id = ?1 AND position > ?2
         AND (?3 = 'any' OR (?3 = 'tagged' AND tags <> '') OR (?3 = 'untagged' AND tags = ''))
         ORDER BY position LIMIT ?4",
        params![id, after, tagged, limit],
        |row| Ok((row.integer(6), read(row)?)),
    )
}

/// The result of a preview for one image.
pub(crate) fn result_of(
    tx: &mut Tx<'_>,
    id: &str,
    image: &Digest,
) -> db::Result<Option<PreviewResult>> {
    tx.query_optional(
        "SELECT digest, tags, pushed_at, archived, action, priority
         FROM lifecycle_preview_results WHERE preview_id = ?1 AND digest = ?2",
        params![id, image.to_stored()],
        read,
    )
}

/// The first id after `after` that results belong to.
pub(crate) fn next_with_results(tx: &mut Tx<'_>, after: &str) -> db::Result<Option<String>> {
    tx.query_optional(
        "SELECT preview_id FROM lifecycle_preview_results WHERE preview_id > ?1
         ORDER BY preview_id LIMIT 1",
        params![after],
        |row| Ok(row.text(0).to_owned()),
    )
}

/// Whether the results of this preview are shown, or will be.
pub(crate) fn keeps_results(tx: &mut Tx<'_>, id: &str) -> db::Result<bool> {
    let row = tx.query_optional(
        "SELECT 1 FROM lifecycle_previews WHERE id = ?1
         AND (status = 'in_progress' OR status = 'complete')",
        params![id],
        |_| Ok(()),
    )?;
    Ok(row.is_some())
}

/// Removes up to 128 results of a preview; the number stands in the statement for the sake of
/// PostgreSQL's plan.
pub(crate) fn remove_some_results(tx: &mut Tx<'_>, id: &str) -> db::Result<u64> {
    tx.execute(
        "DELETE FROM lifecycle_preview_results WHERE preview_id = ?1 AND position IN
         (SELECT position FROM lifecycle_preview_results WHERE preview_id = ?1
          ORDER BY position LIMIT 128)",
        params![id],
    )
}

pub(crate) fn delete(tx: &mut Tx<'_>, repository: RepositoryId) -> db::Result<()> {
    tx.execute(
        "DELETE FROM lifecycle_previews WHERE repository_id = ?1",
        params![repository.0],
    )?;
    Ok(())
}

fn read(row: &Row<'_>) -> db::Result<PreviewResult> {
    let tags = row.text(1).split_ascii_whitespace().map(parsed);
    Ok(PreviewResult {
        digest: digest(row.bytes(0))?,
        tags: tags.collect::<db::Result<_>>()?,
        pushed_at: Timestamp::from_ms(row.integer(2)),
        class: if row.integer(3) == 0 {
            StorageClass::Standard
        } else {
            StorageClass::Archive
        },
        action: match row.text(4) {
            "expire" => Action::Expire,
            "archive" => Action::Archive,
            _ => return Err(db::Error::other("a stored lifecycle action")),
        },
        priority: u32::try_from(row.integer(5))
            .map_err(|_| db::Error::other("a stored rule priority"))?,
    })
}

const fn status_text(status: PreviewStatus) -> &'static str {
    match status {
        PreviewStatus::InProgress => "in_progress",
        PreviewStatus::Complete => "complete",
        PreviewStatus::Expired => "expired",
        PreviewStatus::Failed => "failed",
    }
}

fn status_of(text: &str) -> db::Result<PreviewStatus> {
    use PreviewStatus::{Complete, Expired, Failed, InProgress};
    [InProgress, Complete, Expired, Failed]
        .into_iter()
        .find(|status| status_text(*status) == text)
        .ok_or_else(|| db::Error::other("a stored preview status"))
}
