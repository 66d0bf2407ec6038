//! What rows of `image_replications` tell of an image and of a backfill, and the removal of those
//! of a backfill.

use wharfinger_base::Timestamp;
use wharfinger_db::{self as db, Tx, params};
use wharfinger_oci::Digest;

use crate::model::{RegistryId, RepositoryId};
use crate::replication::model::{
    BackfillResult, ReplicationState, ReplicationStatus, ResultPosition,
};
use crate::store::replication::optional_tag;
use crate::store::{digest, from_json, parsed};

/// Rows of an image that are read for its status: as many as an image with all its tags and
/// destinations has.
const MAX_STATUS_ROWS: i64 = 25_000;

/// What has become of the replications of an image, by destination.
pub(crate) fn statuses(
    tx: &mut Tx<'_>,
    repository: RepositoryId,
    image: &Digest,
) -> db::Result<Vec<ReplicationStatus>> {
    let rows = tx.query(
        "SELECT account, region, state, failure_code FROM image_replications
         WHERE repository_id = ?1 AND backfill = '' AND digest = ?2 AND work = 'copy'
         ORDER BY account, region, tag LIMIT ?3",
        params![repository.0, image.to_stored(), MAX_STATUS_ROWS],
        |row| {
            let state = match row.text(2) {
                "waiting" => ReplicationState::InProgress,
                "complete" => ReplicationState::Complete,
                "failed" => ReplicationState::Failed,
                _ => return Err(db::Error::other("a stored state of a replication")),
            };
            let destination = RegistryId {
                account: parsed(row.text(0))?,
                region: parsed(row.text(1))?,
            };
            let code = row.text(3);
            Ok(ReplicationStatus {
                destination,
                state,
                failure_code: (!code.is_empty()).then(|| code.to_owned()),
            })
        },
    )?;
    Ok(ReplicationStatus::by_destination(rows))
}

/// Removes some rows of a backfill that wait and that nobody works on; false once there are none.
pub(crate) fn remove_some_waiting(
    tx: &mut Tx<'_>,
    backfill: &str,
    now: Timestamp,
) -> db::Result<bool> {
    let removed = tx.execute(
        "DELETE FROM image_replications WHERE (repository_id, backfill, digest, account, region, \
         tag) IN
         (SELECT repository_id, backfill, digest, account, region, tag FROM image_replications
          WHERE backfill = ?1 AND backfill <> '' AND state = 'waiting'
          AND (claimed = 0 OR due_at <= ?2) LIMIT 64)",
        params![backfill, now.as_ms()],
    )?;
    Ok(removed > 0)
}

/// Whether any row of a backfill waits or is worked on.
pub(crate) fn any_waiting(tx: &mut Tx<'_>, backfill: &str) -> db::Result<bool> {
    let row = tx.query_optional(
        "SELECT 1 FROM image_replications
         WHERE backfill = ?1 AND backfill <> '' AND state = 'waiting' LIMIT 1",
        params![backfill],
        |_| Ok(()),
    )?;
    Ok(row.is_some())
}

/// Removes some rows of a backfill; false once there are none.
pub(crate) fn remove_some_of(tx: &mut Tx<'_>, backfill: &str) -> db::Result<bool> {
    let removed = tx.execute(
        "DELETE FROM image_replications WHERE (repository_id, backfill, digest, account, region, \
         tag) IN
         (SELECT repository_id, backfill, digest, account, region, tag FROM image_replications
          WHERE backfill = ?1 AND backfill <> '' LIMIT 64)",
        params![backfill],
    )?;
    Ok(removed > 0)
}

/// Up to `limit` results of a backfill after a position and before a state.
pub(crate) fn results(
    tx: &mut Tx<'_>,
    backfill: &str,
    after: &ResultPosition,
    before_state: &str,
    limit: i64,
) -> db::Result<Vec<(BackfillResult, ResultPosition)>> {
    tx.query(
        "SELECT state, name, digest, tag, failure_code, member_failures FROM image_replications
         WHERE backfill = ?1 AND backfill <> '' AND (state, name, digest, tag) > (?2, ?3, ?4, ?5)
         AND state < ?6 ORDER BY state, name, digest, tag LIMIT ?7",
        params![
            backfill,
            after.state.as_str(),
            after.repository.as_str(),
            after.digest.as_slice(),
            after.tag.as_str(),
            before_state,
            limit
        ],
        |row| {
            let (code, members) = (row.text(4), row.text(5));
            let result = BackfillResult {
                repository: parsed(row.text(1))?,
                digest: digest(row.bytes(2))?,
                tag: optional_tag(row.text(3))?,
                failure_code: (!code.is_empty()).then(|| code.to_owned()),
                member_failures: if members.is_empty() {
                    Vec::new()
                } else {
                    from_json(members)?
                },
            };
            let position = ResultPosition {
                state: row.text(0).to_owned(),
                repository: row.text(1).to_owned(),
                digest: row.bytes(2).to_vec(),
                tag: row.text(3).to_owned(),
            };
            Ok((result, position))
        },
    )
}
