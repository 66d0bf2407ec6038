//! Rows of `replication_backfills`.

use wharfinger_base::Timestamp;
use wharfinger_db::{self as db, Row, Tx, params};

use crate::model::RegistryId;
use crate::replication::model::{Backfill, BackfillPosition, BackfillProgress, BackfillStatus};
use crate::store::{from_json, json, parsed, signed, unsigned};

/// A statement that selects backfills with conditions as given. [`read`] reads its columns.
macro_rules! select_backfills {
    ($rest:literal) => {
        concat!(
            "SELECT id, account, region, destination_account, destination_region, status, ",
            "failure_code, started_at, ended_at, prepared, total, completed, failed, ",
            "failure_codes, next_name, next_digest FROM replication_backfills ",
            $rest
        )
    };
}

/// A backfill with what only its steps need.
#[derive(Clone, Debug)]
pub(crate) struct BackfillRow {
    pub(crate) backfill: Backfill,
    /// Whether all images are listed.
    pub(crate) prepared: bool,
    pub(crate) counts: BackfillProgress,
    /// The repository whose images are being listed, or after whose name to go on.
    pub(crate) next_name: String,
    /// The digest, in stored form, after which to go on within the repository; empty where the
    /// repository is done.
    pub(crate) next_digest: Vec<u8>,
}

fn read(row: &Row<'_>) -> db::Result<BackfillRow> {
    let status = BackfillStatus::of_name(row.text(5));
    let (code, prepared) = (row.text(6), row.integer(9) == 1);
    let counts = BackfillProgress {
        total: unsigned(row.integer(10))?,
        completed: unsigned(row.integer(11))?,
        failed: unsigned(row.integer(12))?,
        failure_codes: from_json(row.text(13))?,
    };
    Ok(BackfillRow {
        backfill: Backfill {
            id: parsed(row.text(0))?,
            registry: RegistryId {
                account: parsed(row.text(1))?,
                region: parsed(row.text(2))?,
            },
            destination: RegistryId {
                account: parsed(row.text(3))?,
                region: parsed(row.text(4))?,
            },
            status: status.ok_or_else(|| db::Error::other("a stored status of a backfill"))?,
            failure_code: (!code.is_empty()).then(|| code.to_owned()),
            started_at: Timestamp::from_ms(row.integer(7)),
            ended_at: row.optional_integer(8).map(Timestamp::from_ms),
            progress: prepared.then(|| counts.clone()),
        },
        prepared,
        counts,
        next_name: row.text(14).to_owned(),
        next_digest: row.bytes(15).to_vec(),
    })
}

pub(crate) fn insert(tx: &mut Tx<'_>, new: &Backfill) -> db::Result<()> {
    tx.execute(
        "INSERT INTO replication_backfills (id, account, region, destination_account, \
         destination_region, status, failure_code, started_at, prepared, total, completed, failed, \
         failure_codes, next_name, next_digest, due_at)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, '', ?7, 0, 0, 0, 0, '[]', '', ?8, ?7)",
        params![
            new.id.to_string(),
            new.registry.account.as_str(),
            new.registry.region.as_str(),
            new.destination.account.as_str(),
            new.destination.region.as_str(),
            new.status.as_str(),
            new.started_at.as_ms(),
            Vec::<u8>::new()
        ],
    )?;
    Ok(())
}

/// The registry's backfill of this id.
pub(crate) fn find(
    tx: &mut Tx<'_>,
    registry: &RegistryId,
    id: &str,
) -> db::Result<Option<BackfillRow>> {
    let found = by_id(tx, id)?;
    Ok(found.filter(|row| row.backfill.registry == *registry))
}

pub(crate) fn by_id(tx: &mut Tx<'_>, id: &str) -> db::Result<Option<BackfillRow>> {
    tx.query_optional(select_backfills!("WHERE id = ?1"), params![id], read)
}

/// The regions to which backfills of a registry are under way, up to `limit`.
pub(crate) fn under_way(
    tx: &mut Tx<'_>,
    registry: &RegistryId,
    limit: i64,
) -> db::Result<Vec<String>> {
    tx.query(
        "SELECT destination_region FROM replication_backfills
         WHERE account = ?1 AND region = ?2 AND ended_at IS NULL LIMIT ?3",
        params![registry.account.as_str(), registry.region.as_str(), limit],
        |row| Ok(row.text(0).to_owned()),
    )
}

/// Up to `limit` backfills of a registry that were started before a position, the latest first.
pub(crate) fn page(
    tx: &mut Tx<'_>,
    registry: &RegistryId,
    before: &BackfillPosition,
    limit: i64,
) -> db::Result<Vec<Backfill>> {
    tx.query(
        select_backfills!(
            "WHERE account = ?1 AND region = ?2 AND (started_at, id) < (?3, ?4)
             ORDER BY started_at DESC, id DESC LIMIT ?5"
        ),
        params![
            registry.account.as_str(),
            registry.region.as_str(),
            before.0.as_ms(),
            before.1.as_str(),
            limit
        ],
        |row| Ok(read(row)?.backfill),
    )
}

/// The backfill whose next step is due the longest.
pub(crate) fn due(tx: &mut Tx<'_>, now: Timestamp) -> db::Result<Option<BackfillRow>> {
    tx.query_optional(
        select_backfills!("WHERE due_at <= ?1 AND due_at IS NOT NULL ORDER BY due_at LIMIT 1"),
        params![now.as_ms()],
        read,
    )
}

/// Stores the status, the numbers, the position and when the next step is due.
pub(crate) fn update(
    tx: &mut Tx<'_>,
    row: &BackfillRow,
    due_at: Option<Timestamp>,
) -> db::Result<()> {
    let backfill = &row.backfill;
    tx.execute(
        "UPDATE replication_backfills SET status = ?2, failure_code = ?3, ended_at = ?4, \
         prepared = ?5, total = ?6, completed = ?7, failed = ?8, failure_codes = ?9, \
         next_name = ?10, next_digest = ?11, due_at = ?12 WHERE id = ?1",
        params![
            backfill.id.to_string(),
            backfill.status.as_str(),
            backfill.failure_code.as_deref().unwrap_or_default(),
            backfill.ended_at.map(Timestamp::as_ms),
            i64::from(row.prepared),
            signed(row.counts.total),
            signed(row.counts.completed),
            signed(row.counts.failed),
            json(&row.counts.failure_codes),
            row.next_name.as_str(),
            row.next_digest.as_slice(),
            due_at.map(Timestamp::as_ms)
        ],
    )?;
    Ok(())
}

/// Lets the removal of the ended backfills of a registry begin, but for the last `keep` of them,
/// and of no more than 64.
pub(crate) fn end_keeping(
    tx: &mut Tx<'_>,
    registry: &RegistryId,
    keep: i64,
    now: Timestamp,
) -> db::Result<()> {
    tx.execute(
        "UPDATE replication_backfills SET due_at = ?3 WHERE id IN
         (SELECT id FROM replication_backfills
          WHERE account = ?1 AND region = ?2 AND ended_at IS NOT NULL AND due_at > ?3
          ORDER BY ended_at DESC, id DESC LIMIT 64 OFFSET ?4)",
        params![
            registry.account.as_str(),
            registry.region.as_str(),
            now.as_ms(),
            keep
        ],
    )?;
    Ok(())
}

/// Lets the next step wait, or come at once.
pub(crate) fn set_due(tx: &mut Tx<'_>, id: &str, due_at: Timestamp) -> db::Result<()> {
    tx.execute(
        "UPDATE replication_backfills SET due_at = ?2 WHERE id = ?1",
        params![id, due_at.as_ms()],
    )?;
    Ok(())
}

pub(crate) fn delete(tx: &mut Tx<'_>, id: &str) -> db::Result<()> {
    tx.execute(
        "DELETE FROM replication_backfills WHERE id = ?1",
        params![id],
    )?;
    Ok(())
}
