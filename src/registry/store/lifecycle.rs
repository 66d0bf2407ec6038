//! Rows of `lifecycle_policies`, and what an evaluation reads of images.

use std::collections::HashMap;

use wharfinger_base::Timestamp;
use wharfinger_db::{self as db, Row, Tx, params};
use wharfinger_oci::{Digest, Tag};

use crate::lifecycle::evaluation::Candidate;
use crate::lifecycle::policy::StorageClass;
use crate::model::{ImageStatus, RepositoryId};
use crate::store::{digest, journal_entries, parsed, signed, status_of, tags, unsigned};

/// How long a claim lasts unless it is renewed. A server that died has lost it then.
const CLAIM_MS: i64 = 5 * 60 * 1_000;

/// A stored lifecycle policy.
#[derive(Clone, Debug)]
pub(crate) struct PolicyRow {
    pub(crate) text: String,
    pub(crate) evaluated_at: Option<Timestamp>,
    pub(crate) version: u64,
}

/// Sets the repository's policy. Evaluations under way of an older one come to their end.
pub(crate) fn put(
    tx: &mut Tx<'_>,
    repository: RepositoryId,
    text: &str,
    due_at: Timestamp,
) -> db::Result<()> {
    tx.execute(
        "INSERT INTO lifecycle_policies (repository_id, text, version, due_at, claimed_until)
         VALUES (?1, ?2, 1, ?3, 0)
         ON CONFLICT (repository_id) DO UPDATE SET text = excluded.text, due_at = excluded.due_at,
             version = lifecycle_policies.version + 1, claimed_until = 0",
        params![repository.0, text, due_at.as_ms()],
    )?;
    journal_entries::note_repository(tx, repository)
}

pub(crate) fn find(tx: &mut Tx<'_>, repository: RepositoryId) -> db::Result<Option<PolicyRow>> {
    tx.query_optional(
        "SELECT text, evaluated_at, version FROM lifecycle_policies WHERE repository_id = ?1",
        params![repository.0],
        |row| {
            Ok(PolicyRow {
                text: row.text(0).to_owned(),
                evaluated_at: row.optional_integer(1).map(Timestamp::from_ms),
                version: unsigned(row.integer(2))?,
            })
        },
    )
}

pub(crate) fn delete(tx: &mut Tx<'_>, repository: RepositoryId) -> db::Result<()> {
    tx.execute(
        "DELETE FROM lifecycle_policies WHERE repository_id = ?1",
        params![repository.0],
    )?;
    journal_entries::note_repository(tx, repository)
}

/// The time that claims go by: the database server's, where there is one.
fn claim_time(tx: &mut Tx<'_>, clock: Timestamp) -> db::Result<Timestamp> {
    Ok(tx.server_time()?.unwrap_or(clock))
}

/// Claims the repository's policy for an evaluation; `None` where it has none or another evaluation
/// has claimed it.
pub(crate) fn claim(
    tx: &mut Tx<'_>,
    repository: RepositoryId,
    clock: Timestamp,
) -> db::Result<Option<PolicyRow>> {
    let now = claim_time(tx, clock)?.as_ms();
    let claimed = tx.execute(
        "UPDATE lifecycle_policies SET claimed_until = ?1, version = version + 1
         WHERE repository_id = ?2 AND claimed_until <= ?3",
        params![now.saturating_add(CLAIM_MS), repository.0, now],
    )?;
    if claimed == 0 {
        return Ok(None);
    }
    find(tx, repository)
}

/// Makes a claim last longer; false where it was lost.
pub(crate) fn renew(
    tx: &mut Tx<'_>,
    repository: RepositoryId,
    version: u64,
    clock: Timestamp,
) -> db::Result<bool> {
    let now = claim_time(tx, clock)?.as_ms();
    let renewed = tx.execute(
        "UPDATE lifecycle_policies SET claimed_until = ?1
         WHERE repository_id = ?2 AND version = ?3",
        params![now.saturating_add(CLAIM_MS), repository.0, signed(version)],
    )?;
    Ok(renewed == 1)
}

/// Ends an evaluation. `evaluated_at` is absent where it failed.
pub(crate) fn release(
    tx: &mut Tx<'_>,
    repository: RepositoryId,
    version: u64,
    evaluated_at: Option<Timestamp>,
    due_at: Timestamp,
) -> db::Result<()> {
    tx.execute(
        "UPDATE lifecycle_policies SET claimed_until = 0, due_at = ?1,
             evaluated_at = COALESCE(?2, evaluated_at)
         WHERE repository_id = ?3 AND version = ?4",
        params![
            due_at.as_ms(),
            evaluated_at.map(Timestamp::as_ms),
            repository.0,
            signed(version)
        ],
    )?;
    Ok(())
}

/// A repository whose policy is due and not being evaluated, the longest due first.
pub(crate) fn due(tx: &mut Tx<'_>, clock: Timestamp) -> db::Result<Option<RepositoryId>> {
    let now = claim_time(tx, clock)?.as_ms();
    tx.query_optional(
        "SELECT repository_id FROM lifecycle_policies WHERE due_at <= ?1 AND claimed_until <= ?2
         ORDER BY due_at LIMIT 1",
        params![clock.as_ms(), now],
        |row| Ok(RepositoryId(row.integer(0))),
    )
}

/// Makes the policy due at once.
pub(crate) fn make_due(tx: &mut Tx<'_>, repository: RepositoryId) -> db::Result<bool> {
    let changed = tx.execute(
        "UPDATE lifecycle_policies SET due_at = 0 WHERE repository_id = ?1",
        params![repository.0],
    )?;
    Ok(changed == 1)
}

/// Whether the policy was made due and its evaluation has not ended.
pub(crate) fn is_pending(tx: &mut Tx<'_>, repository: RepositoryId) -> db::Result<bool> {
    let row = tx.query_optional(
        "SELECT 1 FROM lifecycle_policies
         WHERE repository_id = ?1 AND (due_at = 0 OR claimed_until > 0)",
        params![repository.0],
        |_| Ok(()),
    )?;
    Ok(row.is_some())
}

/// Repositories with a policy, up to `limit`, with numbers after `after`.
pub(crate) fn repositories(
    tx: &mut Tx<'_>,
    after: RepositoryId,
    limit: i64,
) -> db::Result<Vec<RepositoryId>> {
    tx.query(
        "SELECT repository_id FROM lifecycle_policies WHERE repository_id > ?1
         ORDER BY repository_id LIMIT ?2",
        params![after.0, limit],
        |row| Ok(RepositoryId(row.integer(0))),
    )
}

/// An image as an evaluation sees it.
#[derive(Clone, Debug)]
pub(crate) struct CandidateRow {
    pub(crate) id: i64,
    pub(crate) digest: Digest,
    pub(crate) pushed_at: Timestamp,
    pub(crate) candidate: Candidate,
}

/// A statement that selects images as [`read`] reads them.
macro_rules! select_candidates {
    ($rest:literal) => {
        concat!(
            "SELECT i.id, i.digest, i.pushed_at, i.status, i.aged_from, i.pulled_at, ",
            "i.archived_at, ",
            "CASE WHEN EXISTS (SELECT 1 FROM image_references r ",
            "JOIN images n ON n.id = r.image_id WHERE ",
            "r.repository_id = i.repository_id AND r.child = i.digest AND r.kind = 'member') ",
            "THEN CAST(1 AS BIGINT) ELSE CAST(0 AS BIGINT) END, ",
            "CASE WHEN i.subject IS NOT NULL AND EXISTS (SELECT 1 FROM images s WHERE ",
            "s.repository_id = i.repository_id AND s.digest = i.subject) ",
            "THEN CAST(1 AS BIGINT) ELSE CAST(0 AS BIGINT) END, i.untagged_at ",
            "FROM images i ",
            $rest
        )
    };
}

/// The image without its tags, and whether it has some.
fn read(row: &Row<'_>) -> db::Result<(CandidateRow, bool)> {
    let image = CandidateRow {
        id: row.integer(0),
        digest: digest(row.bytes(1))?,
        pushed_at: Timestamp::from_ms(row.integer(2)),
        candidate: Candidate {
            class: match status_of(row.text(3))? {
                ImageStatus::Active => StorageClass::Standard,
                ImageStatus::Archived | ImageStatus::Activating => StorageClass::Archive,
            },
            aged_from: Timestamp::from_ms(row.integer(4)),
            pulled_at: row.optional_integer(5).map(Timestamp::from_ms),
            archived_at: row.optional_integer(6).map(Timestamp::from_ms),
            tags: Vec::new(),
            is_member: row.integer(7) == 1,
            follows_subject: row.integer(8) == 1,
        },
    };
    Ok((image, row.optional_integer(9).is_none()))
}

/// Most tags that an evaluation reads of one image; all but those of images that older versions let
/// have more.
const TAGS_READ: i64 = 10_000;

/// An image of the repository by its row number.
pub(crate) fn candidate(
    tx: &mut Tx<'_>,
    repository: RepositoryId,
    image: i64,
) -> db::Result<Option<CandidateRow>> {
    let found = tx.query_optional(
        select_candidates!("WHERE i.id = ?1 AND i.repository_id = ?2"),
        params![image, repository.0],
        read,
    )?;
    let Some((mut row, tagged)) = found else {
        return Ok(None);
    };
    if tagged {
        row.candidate.tags = tags::of_image(tx, image, "", TAGS_READ)?;
    }
    Ok(Some(row))
}

/// A place among the images of a repository: before (that is, older than) this time and number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Age {
    pub(crate) aged_from: i64,
    pub(crate) id: i64,
}

impl Age {
    /// Before all images.
    pub(crate) const NEWEST: Self = Self {
        aged_from: i64::MAX,
        id: i64::MAX,
    };
}

/// Up to `limit` images older than the place, the newest first.
///
/// SQLite seeks no row number within a comparison of `(aged_from, id)`: it would read all images of
/// one age for each page. So images of one age are read by a statement of their own.
pub(crate) fn candidates(
    tx: &mut Tx<'_>,
    repository: RepositoryId,
    before: Age,
    limit: i64,
) -> db::Result<Vec<CandidateRow>> {
    let mut rows = tx.query(
        select_candidates!(
            "WHERE i.repository_id = ?1 AND i.aged_from = ?2 AND i.id < ?3
             ORDER BY i.id DESC LIMIT ?4"
        ),
        params![repository.0, before.aged_from, before.id, limit],
        read,
    )?;
    let left = limit.saturating_sub(i64::try_from(rows.len()).unwrap_or(i64::MAX));
    if left > 0 {
        rows.extend(tx.query(
            select_candidates!(
                "WHERE i.repository_id = ?1 AND i.aged_from < ?2
                 ORDER BY i.aged_from DESC, i.id DESC LIMIT ?3"
            ),
            params![repository.0, before.aged_from, left],
            read,
        )?);
    }
    let mut named = HashMap::new();
    if let (Some((newest, _)), Some((oldest, _))) = (rows.first(), rows.last())
        && rows.iter().any(|(_, tagged)| *tagged)
    {
        named = tags_between(tx, repository, age(oldest), age(newest))?;
    }
    Ok(rows
        .into_iter()
        .map(|(mut row, _)| {
            row.candidate.tags = named.remove(&row.id).unwrap_or_default();
            row
        })
        .collect())
}

/// The tags of the images from one place to another, both included.
fn tags_between(
    tx: &mut Tx<'_>,
    repository: RepositoryId,
    oldest: Age,
    newest: Age,
) -> db::Result<HashMap<i64, Vec<Tag>>> {
    let of_age = |tx: &mut Tx<'_>, aged_from: i64, first: i64, last: i64| {
        tx.query(
            "SELECT t.image_id, t.name FROM images i JOIN tags t ON t.image_id = i.id
             WHERE i.repository_id = ?1 AND i.aged_from = ?2 AND i.id >= ?3 AND i.id <= ?4
             AND i.untagged_at IS NULL",
            params![repository.0, aged_from, first, last],
            |row| Ok((row.integer(0), parsed(row.text(1))?)),
        )
    };
    let found = if oldest.aged_from == newest.aged_from {
        of_age(tx, oldest.aged_from, oldest.id, newest.id)?
    } else {
        let mut found = of_age(tx, newest.aged_from, i64::MIN, newest.id)?;
        found.extend(tx.query(
            "SELECT t.image_id, t.name FROM images i JOIN tags t ON t.image_id = i.id
             WHERE i.repository_id = ?1 AND i.aged_from > ?2 AND i.aged_from < ?3
             AND i.untagged_at IS NULL",
            params![repository.0, oldest.aged_from, newest.aged_from],
            |row| Ok((row.integer(0), parsed(row.text(1))?)),
        )?);
        found.extend(of_age(tx, oldest.aged_from, oldest.id, i64::MAX)?);
        found
    };
    let mut named: HashMap<i64, Vec<Tag>> = HashMap::new();
    for (image, tag) in found {
        named.entry(image).or_default().push(tag);
    }
    Ok(named)
}

/// The place of an image.
pub(crate) fn age(row: &CandidateRow) -> Age {
    Age {
        aged_from: row.candidate.aged_from.as_ms(),
        id: row.id,
    }
}
