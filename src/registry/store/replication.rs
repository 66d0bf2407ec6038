//! Rows of `image_replications`.

use std::borrow::Cow;

use wharfinger_base::Timestamp;
use wharfinger_db::{self as db, Row, Tx, Value, params};
use wharfinger_oci::{Digest, RepositoryName, Tag};

use crate::model::{RegistryId, RepositoryId};
use crate::replication::model::{Replication, Work};
use crate::store::{digest, json, parsed};

/// A replication that is to be queued.
pub(crate) struct NewReplication<'a> {
    pub(crate) repository: RepositoryId,
    pub(crate) name: &'a RepositoryName,
    /// The id of the backfill that it belongs to; empty for none.
    pub(crate) backfill: &'a str,
    pub(crate) digest: &'a Digest,
    pub(crate) destination: &'a RegistryId,
    pub(crate) tag: Option<&'a Tag>,
    pub(crate) work: Work,
}

/// A row by its key, whose version must not have changed.
macro_rules! where_current {
    ($set:literal) => {
        concat!(
            "UPDATE image_replications SET ",
            $set,
            " WHERE repository_id = ?1 AND backfill = ?2 AND digest = ?3 AND account = ?4 ",
            "AND region = ?5 AND tag = ?6 AND version = ?7"
        )
    };
}

/// Queues a replication in place of what was queued for the same tag of the image at the same
/// destination; a backfill queues each once.
pub(crate) fn enqueue(tx: &mut Tx<'_>, new: &NewReplication<'_>, now: Timestamp) -> db::Result<()> {
    let work = match new.work {
        Work::Copy => "copy",
        Work::Untag => "untag",
        Work::Delete => "delete",
    };
    tx.execute(
        "INSERT INTO image_replications (repository_id, backfill, digest, account, region, tag, \
         name, work, state, due_at, claimed, version, attempts, failure_code, member_failures)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, 'waiting', ?9, 0, 1, 0, '', '')
         ON CONFLICT (repository_id, backfill, digest, account, region, tag) DO UPDATE SET \
         work = excluded.work, state = 'waiting', due_at = excluded.due_at, claimed = 0, \
         version = image_replications.version + 1, attempts = 0, failure_code = '', \
         member_failures = ''",
        params![
            new.repository.0,
            new.backfill,
            new.digest.to_stored(),
            new.destination.account.as_str(),
            new.destination.region.as_str(),
            stored_tag(new.work, new.tag),
            new.name.as_str(),
            work,
            now.as_ms()
        ],
    )?;
    Ok(())
}

/// A tag as rows have it. Copies and removals of the same tag are rows of their own: no tag begins
/// with `-`, and none is `*`.
fn stored_tag(work: Work, tag: Option<&Tag>) -> Cow<'_, str> {
    let tag = tag.map_or("", Tag::as_str);
    match work {
        Work::Copy => tag.into(),
        Work::Untag => format!("-{tag}").into(),
        Work::Delete => "*".into(),
    }
}

/// Records that the rows of a deleted image are to be removed, if it has any.
pub(crate) fn forget(
    tx: &mut Tx<'_>,
    repository: RepositoryId,
    image: &Digest,
    now: Timestamp,
) -> db::Result<()> {
    let any = tx.query_optional(
        "SELECT 1 FROM image_replications
         WHERE repository_id = ?1 AND backfill = '' AND digest = ?2 LIMIT 1",
        params![repository.0, image.to_stored()],
        |_| Ok(()),
    )?;
    if any.is_some() {
        tx.execute(
            "INSERT INTO image_replications (repository_id, backfill, digest, account, region, \
             tag, name, work, state, due_at, claimed, version, attempts, failure_code, \
             member_failures)
             VALUES (?1, '', ?2, '', '', '', '', 'forget', 'waiting', ?3, 0, 1, 0, '', '')
             ON CONFLICT (repository_id, backfill, digest, account, region, tag) DO NOTHING",
            params![repository.0, image.to_stored(), now.as_ms()],
        )?;
    }
    Ok(())
}

/// How many copies and deletions wait or are under way; at most `limit`.
pub(crate) fn waiting(tx: &mut Tx<'_>, limit: u32) -> db::Result<u64> {
    let count = tx.query_optional(
        "SELECT count(*) FROM (SELECT 1 FROM image_replications
         WHERE due_at IS NOT NULL AND account <> '' LIMIT ?1) AS counted",
        params![i64::from(limit)],
        |row| Ok(row.integer(0)),
    )?;
    Ok(count.unwrap_or_default().unsigned_abs())
}

/// An image whose rows are to be removed.
pub(crate) fn next_forgotten(tx: &mut Tx<'_>) -> db::Result<Option<(RepositoryId, Digest)>> {
    tx.query_optional(
        "SELECT repository_id, digest FROM image_replications
         WHERE account = '' AND region = '' AND due_at IS NOT NULL ORDER BY due_at LIMIT 1",
        params![],
        |row| Ok((RepositoryId(row.integer(0)), digest(row.bytes(1))?)),
    )
}

/// Removes some copies of a deleted image; false once there are none. What is to be removed at
/// destinations stays.
pub(crate) fn remove_some_copies(
    tx: &mut Tx<'_>,
    repository: RepositoryId,
    image: &Digest,
) -> db::Result<bool> {
    let removed = tx.execute(
        "DELETE FROM image_replications WHERE repository_id = ?1 AND backfill = ''
         AND digest = ?2 AND (account, region, tag) IN
         (SELECT account, region, tag FROM image_replications
          WHERE repository_id = ?1 AND backfill = '' AND digest = ?2 AND work = 'copy'
          ORDER BY account, region, tag LIMIT 64)",
        params![repository.0, image.to_stored()],
    )?;
    Ok(removed > 0)
}

/// Ends the removal of the rows of an image.
pub(crate) fn forgotten(
    tx: &mut Tx<'_>,
    repository: RepositoryId,
    image: &Digest,
) -> db::Result<()> {
    tx.execute(
        "DELETE FROM image_replications WHERE repository_id = ?1 AND backfill = ''
         AND digest = ?2 AND account = '' AND region = '' AND tag = ''",
        params![repository.0, image.to_stored()],
    )?;
    Ok(())
}

/// The first destination after `after` for which anything is queued.
pub(crate) fn next_destination(
    tx: &mut Tx<'_>,
    after: (&str, &str),
) -> db::Result<Option<RegistryId>> {
    tx.query_optional(
        "SELECT account, region FROM image_replications
         WHERE (account, region) > (?1, ?2) AND due_at IS NOT NULL
         ORDER BY account, region LIMIT 1",
        params![after.0, after.1],
        |row| {
            Ok(RegistryId {
                account: parsed(row.text(0))?,
                region: parsed(row.text(1))?,
            })
        },
    )
}

/// Whether a replication to a destination is due.
pub(crate) fn is_due(
    tx: &mut Tx<'_>,
    destination: &RegistryId,
    now: Timestamp,
) -> db::Result<bool> {
    let row = tx.query_optional(
        "SELECT 1 FROM image_replications
         WHERE account = ?1 AND region = ?2 AND due_at <= ?3 AND due_at IS NOT NULL LIMIT 1",
        params![
            destination.account.as_str(),
            destination.region.as_str(),
            now.as_ms()
        ],
        |_| Ok(()),
    )?;
    Ok(row.is_some())
}

/// Claims up to `limit` replications to a destination that are due, those that wait longest first.
pub(crate) fn claim(
    tx: &mut Tx<'_>,
    destination: &RegistryId,
    now: Timestamp,
    until: Timestamp,
    limit: i64,
) -> db::Result<Vec<Replication>> {
    let due = tx.query(
        "SELECT repository_id, backfill, digest, tag, name, work, version, attempts \
         FROM image_replications
         WHERE account = ?1 AND region = ?2 AND due_at <= ?3 AND due_at IS NOT NULL
         ORDER BY due_at LIMIT ?4",
        params![
            destination.account.as_str(),
            destination.region.as_str(),
            now.as_ms(),
            limit
        ],
        |row| read(row, destination),
    )?;
    let mut claimed = Vec::new();
    for mut replication in due {
        let mut values = key(&replication);
        values.push(until.as_ms().into());
        let changed = tx.execute(
            where_current!(
                "due_at = ?8, claimed = 1, version = version + 1, attempts = attempts + 1"
            ),
            &values,
        )?;
        if changed > 0 {
            replication.version += 1;
            replication.attempts += 1;
            claimed.push(replication);
        }
    }
    Ok(claimed)
}

fn read(row: &Row<'_>, destination: &RegistryId) -> db::Result<Replication> {
    let attempts = u32::try_from(row.integer(7));
    let work = match row.text(5) {
        "copy" => Work::Copy,
        "untag" => Work::Untag,
        "delete" => Work::Delete,
        _ => return Err(db::Error::other("a stored kind of replication")),
    };
    Ok(Replication {
        repository: RepositoryId(row.integer(0)),
        backfill: row.text(1).to_owned(),
        digest: digest(row.bytes(2))?,
        destination: destination.clone(),
        tag: match work {
            Work::Copy => optional_tag(row.text(3))?,
            Work::Untag => optional_tag(row.text(3).trim_start_matches('-'))?,
            Work::Delete => None,
        },
        name: parsed(row.text(4))?,
        work,
        version: row.integer(6),
        attempts: attempts.map_err(|_| db::Error::other("a stored number of attempts"))?,
    })
}

/// The tag of a row of a copy; the column is empty for none.
pub(super) fn optional_tag(text: &str) -> db::Result<Option<Tag>> {
    if text.is_empty() {
        Ok(None)
    } else {
        parsed(text).map(Some)
    }
}

/// The key of a row with its version: parameters 1 to 7.
fn key(of: &Replication) -> Vec<Value<'_>> {
    params![
        of.repository.0,
        of.backfill.as_str(),
        of.digest.to_stored(),
        of.destination.account.as_str(),
        of.destination.region.as_str(),
        stored_tag(of.work, of.tag.as_ref()),
        of.version
    ]
    .to_vec()
}

/// Extends a claim; false where it is lost.
pub(crate) fn renew(tx: &mut Tx<'_>, of: &Replication, until: Timestamp) -> db::Result<bool> {
    let mut values = key(of);
    values.push(until.as_ms().into());
    let changed = tx.execute(where_current!("due_at = ?8"), &values)?;
    Ok(changed > 0)
}

/// Whether the claim still holds.
pub(crate) fn holds(tx: &mut Tx<'_>, of: &Replication) -> db::Result<bool> {
    let row = tx.query_optional(
        "SELECT 1 FROM image_replications WHERE repository_id = ?1 AND backfill = ?2 \
         AND digest = ?3 AND account = ?4 AND region = ?5 AND tag = ?6 AND version = ?7",
        &key(of),
        |_| Ok(()),
    )?;
    Ok(row.is_some())
}

/// Lets a claimed replication wait until it is tried again.
pub(crate) fn delay(tx: &mut Tx<'_>, of: &Replication, due_at: Timestamp) -> db::Result<bool> {
    let mut values = key(of);
    values.push(due_at.as_ms().into());
    let changed = tx.execute(where_current!("due_at = ?8, claimed = 0"), &values)?;
    Ok(changed > 0)
}

/// Ends a claimed copy: it is complete, or it has failed. False where the claim is lost.
pub(crate) fn finish(
    tx: &mut Tx<'_>,
    of: &Replication,
    failure: Option<&str>,
    member_failures: &[&str],
) -> db::Result<bool> {
    let mut values = key(of);
    values.push(state(failure).into());
    values.push(failure.unwrap_or_default().into());
    values.push(json(&member_failures).into());
    let changed = tx.execute(
        where_current!(
            "due_at = NULL, claimed = 0, version = version + 1, state = ?8, failure_code = ?9, \
             member_failures = ?10"
        ),
        &values,
    )?;
    Ok(changed > 0)
}

const fn state(failure: Option<&str>) -> &'static str {
    if failure.is_some() {
        "failed"
    } else {
        "complete"
    }
}

/// Notes for the image what a backfill has come to, unless a push is to replicate it again.
pub(crate) fn note_result(
    tx: &mut Tx<'_>,
    of: &Replication,
    failure: Option<&str>,
) -> db::Result<()> {
    tx.execute(
        "INSERT INTO image_replications (repository_id, backfill, digest, account, region, tag, \
         name, work, state, due_at, claimed, version, attempts, failure_code, member_failures)
         VALUES (?1, '', ?2, ?3, ?4, ?5, ?6, 'copy', ?7, NULL, 0, 1, 0, ?8, '')
         ON CONFLICT (repository_id, backfill, digest, account, region, tag) DO UPDATE SET \
         state = excluded.state, failure_code = excluded.failure_code
         WHERE image_replications.due_at IS NULL",
        params![
            of.repository.0,
            of.digest.to_stored(),
            of.destination.account.as_str(),
            of.destination.region.as_str(),
            of.tag.as_ref().map_or("", Tag::as_str),
            of.name.as_str(),
            state(failure),
            failure.unwrap_or_default()
        ],
    )?;
    Ok(())
}

/// Removes a claimed replication of which nothing is left to do.
pub(crate) fn remove(tx: &mut Tx<'_>, of: &Replication) -> db::Result<bool> {
    let removed = tx.execute(
        "DELETE FROM image_replications WHERE repository_id = ?1 AND backfill = ?2 \
         AND digest = ?3 AND account = ?4 AND region = ?5 AND tag = ?6 AND version = ?7",
        &key(of),
    )?;
    Ok(removed > 0)
}

/// Queues the copy of an image and tag again where it was made before. One that is under way is
/// repeated as well, since it may have been overtaken.
pub(crate) fn repeat(
    tx: &mut Tx<'_>,
    of: &Replication,
    image: &Digest,
    tag: Option<&Tag>,
    now: Timestamp,
) -> db::Result<()> {
    tx.execute(
        "UPDATE image_replications SET work = 'copy', state = 'waiting', due_at = ?6, \
         claimed = 0, version = version + 1, attempts = 0
         WHERE repository_id = ?1 AND backfill = '' AND digest = ?2 AND account = ?3 \
         AND region = ?4 AND tag = ?5 AND work = 'copy'",
        params![
            of.repository.0,
            image.to_stored(),
            of.destination.account.as_str(),
            of.destination.region.as_str(),
            tag.map_or("", Tag::as_str),
            now.as_ms()
        ],
    )?;
    Ok(())
}

/// Whether the image has the tag at the destination by a replication.
pub(crate) fn is_copied(
    tx: &mut Tx<'_>,
    of: &Replication,
    image: &Digest,
    tag: &Tag,
) -> db::Result<bool> {
    let row = tx.query_optional(
        "SELECT 1 FROM image_replications WHERE repository_id = ?1 AND backfill = '' \
         AND digest = ?2 AND account = ?3 AND region = ?4 AND tag = ?5 AND work = 'copy'",
        params![
            of.repository.0,
            image.to_stored(),
            of.destination.account.as_str(),
            of.destination.region.as_str(),
            tag.as_str()
        ],
        |_| Ok(()),
    )?;
    Ok(row.is_some())
}

/// The copies of an image with a tag that wait or failed, up to `limit`: their destinations and
/// tags.
pub(crate) fn unfinished_copies(
    tx: &mut Tx<'_>,
    repository: RepositoryId,
    image: &Digest,
    limit: i64,
) -> db::Result<Vec<(RegistryId, Tag)>> {
    tx.query(
        "SELECT account, region, tag FROM image_replications
         WHERE repository_id = ?1 AND backfill = '' AND digest = ?2 AND work = 'copy'
         AND tag <> '' AND state <> 'complete' ORDER BY account, region, tag LIMIT ?3",
        params![repository.0, image.to_stored(), limit],
        |row| {
            let destination = RegistryId {
                account: parsed(row.text(0))?,
                region: parsed(row.text(1))?,
            };
            Ok((destination, parsed(row.text(2))?))
        },
    )
}
