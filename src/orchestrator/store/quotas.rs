//! How many resources there are, up to a quota. Rows of what has ended do not count; they are
//! looked at only where all rows together reach the quota, since an index has the others' number.

use wharfinger_db::{self as db, Tx, params};

use crate::model::{AccountRegion, ClusterId};
use crate::store::row_count;

/// The active clusters of an account and region; counts up to `most`.
pub(crate) fn clusters(tx: &mut Tx<'_>, home: &AccountRegion, most: usize) -> db::Result<usize> {
    let (account, region) = (home.account.as_str(), home.region.as_str());
    let all = tx.query_optional(
        "SELECT COUNT(*) FROM (SELECT name FROM clusters
         WHERE account = ?1 AND region = ?2 LIMIT ?3) counted",
        params![account, region, row_count(most)],
        |row| Ok(row.integer(0)),
    )?;
    if number(all) < most {
        return Ok(number(all));
    }
    let active = tx.query_optional(
        "SELECT COUNT(*) FROM (SELECT name FROM clusters
         WHERE account = ?1 AND region = ?2 AND status = 'ACTIVE' LIMIT ?3) counted",
        params![account, region, row_count(most)],
        |row| Ok(row.integer(0)),
    )?;
    Ok(number(active))
}

/// The services of a cluster that are not inactive; counts up to `most`.
pub(crate) fn services(tx: &mut Tx<'_>, cluster: &ClusterId, most: usize) -> db::Result<usize> {
    let all = tx.query_optional(
        "SELECT COUNT(*) FROM (SELECT name FROM services WHERE cluster_id = ?1 LIMIT ?2) counted",
        params![&cluster.0, row_count(most)],
        |row| Ok(row.integer(0)),
    )?;
    if number(all) < most {
        return Ok(number(all));
    }
    let unfinished = tx.query_optional(
        "SELECT COUNT(*) FROM (SELECT name FROM services
         WHERE cluster_id = ?1 AND status IN ('ACTIVE', 'DRAINING') LIMIT ?2) counted",
        params![&cluster.0, row_count(most)],
        |row| Ok(row.integer(0)),
    )?;
    Ok(number(unfinished))
}

/// The instances of a cluster that are not inactive; counts up to `most`.
pub(crate) fn instances(tx: &mut Tx<'_>, cluster: &ClusterId, most: usize) -> db::Result<usize> {
    let all = tx.query_optional(
        "SELECT COUNT(*) FROM (SELECT instance_id FROM container_instances
         WHERE cluster_id = ?1 LIMIT ?2) counted",
        params![&cluster.0, row_count(most)],
        |row| Ok(row.integer(0)),
    )?;
    if number(all) < most {
        return Ok(number(all));
    }
    let registered = tx.query_optional(
        "SELECT COUNT(*) FROM (SELECT instance_id FROM container_instances
         WHERE cluster_id = ?1 AND status IN ('ACTIVE', 'DRAINING') LIMIT ?2) counted",
        params![&cluster.0, row_count(most)],
        |row| Ok(row.integer(0)),
    )?;
    Ok(number(registered))
}

fn number(counted: Option<i64>) -> usize {
    counted
        .and_then(|rows| usize::try_from(rows).ok())
        .unwrap_or_default()
}
