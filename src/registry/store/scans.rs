//! Rows of `image_scans`, `scan_inventories` and `scan_findings`.

use std::collections::BTreeMap;

use wharfinger_base::Timestamp;
use wharfinger_db::{self as db, Row, Tx, params};

use crate::model::RepositoryId;
use crate::scans::model::{Scan, ScanStatus};
use crate::store::parsed;

/// What is to be done for an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ScanWork {
    /// Read its layers, and compare.
    Scan,
    /// Compare the packages that are stored.
    Compare,
    /// Remove what is stored: the image is gone.
    Remove,
}

impl ScanWork {
    fn as_str(self) -> &'static str {
        match self {
            Self::Scan => "scan",
            Self::Compare => "compare",
            Self::Remove => "unwanted",
        }
    }
}

/// The right to work on a scan until its claim ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ScanClaim {
    pub(crate) image: i64,
    pub(crate) repository: RepositoryId,
    pub(crate) work: ScanWork,
    pub(crate) version: i64,
    /// How often it was begun.
    pub(crate) attempts: i64,
}

/// What a scan found.
pub(crate) struct ScanResult<'a> {
    pub(crate) status: ScanStatus,
    pub(crate) description: &'a str,
    pub(crate) advisories: Option<&'a str>,
    pub(crate) advisories_at: Option<Timestamp>,
    pub(crate) counts: &'a BTreeMap<String, u64>,
    /// When the packages are to be compared again, because this came to nothing.
    pub(crate) again_at: Option<Timestamp>,
}

/// The scan of an image.
pub(crate) fn of_image(tx: &mut Tx<'_>, image: i64) -> db::Result<Option<Scan>> {
    tx.query_optional(
        "SELECT status, description, requested_at, completed_at, advisories_at, counts, result
         FROM image_scans WHERE image_id = ?1 AND work < 'unwanted'",
        params![image],
        read,
    )
}

/// The scans of some images, by the image's row number.
pub(crate) fn of_images(tx: &mut Tx<'_>, images: &[i64]) -> db::Result<BTreeMap<i64, Scan>> {
    let mut found = BTreeMap::new();
    for image in images {
        if let Some(scan) = of_image(tx, *image)? {
            found.insert(*image, scan);
        }
    }
    Ok(found)
}

fn read(row: &Row<'_>) -> db::Result<Scan> {
    Ok(Scan {
        status: parsed(row.text(0))?,
        description: row.text(1).to_owned(),
        requested_at: Timestamp::from_ms(row.integer(2)),
        completed_at: row.optional_integer(3).map(Timestamp::from_ms),
        advisories_at: row.optional_integer(4).map(Timestamp::from_ms),
        severity_counts: serde_json::from_str(row.text(5))
            .map_err(|_| db::Error::other("stored counts"))?,
        result: row.integer(6),
    })
}

/// Requests a scan, or another one.
pub(crate) fn request(
    tx: &mut Tx<'_>,
    repository: RepositoryId,
    image: i64,
    now: Timestamp,
) -> db::Result<()> {
    tx.execute(
        "INSERT INTO image_scans (image_id, repository_id, work, due_at, version, attempts, \
         status, description, requested_at, counts, result)
         VALUES (?1, ?2, 'scan', ?3, 1, 0, 'PENDING', '', ?3, '{}', 0)
         ON CONFLICT (image_id) DO UPDATE SET work = 'scan', due_at = excluded.due_at,
         version = image_scans.version + 1, attempts = 0, status = 'PENDING', description = '',
         requested_at = excluded.requested_at",
        params![image, repository.0, now.as_ms()],
    )?;
    Ok(())
}

/// Takes the next work: what is due, or packages that were compared with other advisories than
/// those of `advisories`. It is due again at `until`, by the number of the attempt.
pub(crate) fn claim(
    tx: &mut Tx<'_>,
    advisories: &str,
    now: Timestamp,
    until: impl Fn(i64) -> Timestamp,
) -> db::Result<Option<ScanClaim>> {
    let found = match next_due(tx, now)? {
        Some(found) => Some(found),
        None => match next_outdated(tx, advisories, false)? {
            Some(found) => Some(found),
            None => next_outdated(tx, advisories, true)?,
        },
    };
    let Some(mut claim) = found else {
        return Ok(None);
    };
    claim.version += 1;
    claim.attempts += 1;
    let work = claim.work.as_str();
    tx.execute(
        "UPDATE image_scans SET work = ?2, due_at = ?3, version = ?4, attempts = ?5,
         status = CASE WHEN ?2 = 'scan' THEN 'IN_PROGRESS' ELSE status END WHERE image_id = ?1",
        params![
            claim.image,
            work,
            until(claim.attempts).as_ms(),
            claim.version,
            claim.attempts
        ],
    )?;
    Ok(Some(claim))
}

fn next_due(tx: &mut Tx<'_>, now: Timestamp) -> db::Result<Option<ScanClaim>> {
    tx.query_optional(
        "SELECT image_id, repository_id, version, attempts, work FROM image_scans
         WHERE due_at <= ?1 ORDER BY due_at LIMIT 1",
        params![now.as_ms()],
        |row| {
            let work = match row.text(4) {
                "unwanted" => ScanWork::Remove,
                "compare" => ScanWork::Compare,
                _ => ScanWork::Scan,
            };
            Ok(read_claim(row, work, row.integer(3)))
        },
    )
}

/// A scan whose packages were compared with advisories that sort before the present ones, or after
/// them.
fn next_outdated(tx: &mut Tx<'_>, advisories: &str, after: bool) -> db::Result<Option<ScanClaim>> {
    let statement = if after {
        "SELECT image_id, repository_id, version FROM image_scans
         WHERE advisories > ?1 AND due_at IS NULL LIMIT 1"
    } else {
        "SELECT image_id, repository_id, version FROM image_scans
         WHERE advisories < ?1 AND due_at IS NULL LIMIT 1"
    };
    tx.query_optional(statement, params![advisories], |row| {
        Ok(read_claim(row, ScanWork::Compare, 0))
    })
}

fn read_claim(row: &Row<'_>, work: ScanWork, attempts: i64) -> ScanClaim {
    ScanClaim {
        image: row.integer(0),
        repository: RepositoryId(row.integer(1)),
        work,
        version: row.integer(2),
        attempts,
    }
}

/// Whether the claim still holds.
pub(crate) fn holds(tx: &mut Tx<'_>, claim: &ScanClaim) -> db::Result<bool> {
    let row = tx.query_optional(
        "SELECT 1 FROM image_scans WHERE image_id = ?1 AND version = ?2",
        params![claim.image, claim.version],
        |_| Ok(()),
    )?;
    Ok(row.is_some())
}

/// Ends the work with a result; false where the claim is lost.
pub(crate) fn finish(
    tx: &mut Tx<'_>,
    claim: &ScanClaim,
    result: &ScanResult<'_>,
    now: Timestamp,
) -> db::Result<bool> {
    let counts = serde_json::to_string(result.counts).unwrap_or_default();
    let work = result
        .again_at
        .map_or("none", |_| ScanWork::Compare.as_str());
    let changed = tx.execute(
        "UPDATE image_scans SET work = ?9, due_at = ?10, status = ?3, description = ?4,
         completed_at = ?5, advisories = ?6, advisories_at = ?7, counts = ?8, result = ?2
         WHERE image_id = ?1 AND version = ?2",
        params![
            claim.image,
            claim.version,
            result.status.as_str(),
            result.description,
            now.as_ms(),
            result.advisories,
            result.advisories_at.map(Timestamp::as_ms),
            counts.as_str(),
            work,
            result.again_at.map(Timestamp::as_ms)
        ],
    )?;
    Ok(changed > 0)
}

/// Puts the work off until `due`; false where the claim is lost.
pub(crate) fn put_off(tx: &mut Tx<'_>, claim: &ScanClaim, due: Timestamp) -> db::Result<bool> {
    let changed = tx.execute(
        "UPDATE image_scans SET due_at = ?3 WHERE image_id = ?1 AND version = ?2",
        params![claim.image, claim.version, due.as_ms()],
    )?;
    Ok(changed > 0)
}

/// Leaves work for `due` that cannot be done yet; the attempt does not count.
pub(crate) fn wait(tx: &mut Tx<'_>, claim: &ScanClaim, due: Timestamp) -> db::Result<()> {
    tx.execute(
        "UPDATE image_scans SET due_at = ?3, attempts = ?4,
         status = CASE WHEN work = 'scan' THEN 'PENDING' ELSE status END
         WHERE image_id = ?1 AND version = ?2",
        params![
            claim.image,
            claim.version,
            due.as_ms(),
            claim.attempts.saturating_sub(1)
        ],
    )?;
    Ok(())
}

/// Keeps the packages of an image.
pub(crate) fn put_inventory(tx: &mut Tx<'_>, image: i64, inventory: &str) -> db::Result<()> {
    tx.execute(
        "INSERT INTO scan_inventories (image_id, inventory) VALUES (?1, ?2)
         ON CONFLICT (image_id) DO UPDATE SET inventory = excluded.inventory",
        params![image, inventory],
    )?;
    Ok(())
}

pub(crate) fn inventory(tx: &mut Tx<'_>, image: i64) -> db::Result<Option<String>> {
    tx.query_optional(
        "SELECT inventory FROM scan_inventories WHERE image_id = ?1",
        params![image],
        |row| Ok(row.text(0).to_owned()),
    )
}

/// Adds a finding to a result that nobody reads yet.
pub(crate) fn put_finding(
    tx: &mut Tx<'_>,
    claim: &ScanClaim,
    position: i64,
    document: &str,
) -> db::Result<()> {
    tx.execute(
        "INSERT INTO scan_findings (image_id, result, position, document)
         VALUES (?1, ?2, ?3, ?4)
         ON CONFLICT (image_id, result, position) DO UPDATE SET document = excluded.document",
        params![claim.image, claim.version, position, document],
    )?;
    Ok(())
}

/// Up to `limit` findings of a result at and after a position.
pub(crate) fn findings(
    tx: &mut Tx<'_>,
    image: i64,
    result: i64,
    from: i64,
    limit: i64,
) -> db::Result<Vec<(i64, String)>> {
    tx.query(
        "SELECT position, document FROM scan_findings
         WHERE image_id = ?1 AND result = ?2 AND position >= ?3 ORDER BY position LIMIT ?4",
        params![image, result, from, limit],
        |row| Ok((row.integer(0), row.text(1).to_owned())),
    )
}

/// Removes some findings of results before `result`; false once there are none.
pub(crate) fn remove_findings(tx: &mut Tx<'_>, image: i64, result: i64) -> db::Result<bool> {
    let removed = tx.execute(
        "DELETE FROM scan_findings WHERE image_id = ?1 AND result < ?2 AND (result, position) IN
         (SELECT result, position FROM scan_findings WHERE image_id = ?1 AND result < ?2
          ORDER BY result, position LIMIT 64)",
        params![image, result],
    )?;
    Ok(removed > 0)
}

/// Marks the scan of an image that is deleted, so that what belongs to it is removed.
pub(crate) fn abandon(tx: &mut Tx<'_>, image: i64) -> db::Result<()> {
    tx.execute(
        "UPDATE image_scans SET work = 'unwanted', due_at = 0, version = version + 1
         WHERE image_id = ?1",
        params![image],
    )?;
    Ok(())
}

/// Removes the row of a deleted image, and its packages.
pub(crate) fn remove(tx: &mut Tx<'_>, claim: &ScanClaim) -> db::Result<()> {
    tx.execute(
        "DELETE FROM scan_inventories WHERE image_id = ?1",
        params![claim.image],
    )?;
    tx.execute(
        "DELETE FROM image_scans WHERE image_id = ?1 AND version = ?2",
        params![claim.image, claim.version],
    )?;
    Ok(())
}
