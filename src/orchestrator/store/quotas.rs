//! How many resources there are, up to a quota. Rows of what has ended do not count; they are
//! looked at only where all rows together reach the quota, since an index has the others' number.

use wharfinger_db::{self as db, Tx, Value, params};

use crate::model::{AccountRegion, ClusterId};
use crate::store::row_count;

/// The active clusters of an account and region; counts up to `most`.
pub(crate) fn clusters(tx: &mut Tx<'_>, home: &AccountRegion, most: usize) -> db::Result<usize> {
    let (account, region) = (home.account.as_str(), home.region.as_str());
    let statements = [
        "SELECT COUNT(*) FROM (SELECT name FROM clusters
         WHERE account = ?1 AND region = ?2 LIMIT ?3) counted",
        "SELECT COUNT(*) FROM (SELECT name FROM clusters
         WHERE account = ?1 AND region = ?2 AND status = 'ACTIVE' LIMIT ?3) counted",
    ];
    count(
        tx,
        statements,
        params![account, region, row_count(most)],
        most,
    )
}

/// The services of a cluster that are not inactive; counts up to `most`.
pub(crate) fn services(tx: &mut Tx<'_>, cluster: &ClusterId, most: usize) -> db::Result<usize> {
    let statements = [
        "SELECT COUNT(*) FROM (SELECT name FROM services WHERE cluster_id = ?1 LIMIT ?2) counted",
        "SELECT COUNT(*) FROM (SELECT name FROM services
         WHERE cluster_id = ?1 AND status IN ('ACTIVE', 'DRAINING') LIMIT ?2) counted",
    ];
    count(tx, statements, params![&cluster.0, row_count(most)], most)
}

/// The instances of a cluster that are not inactive; counts up to `most`.
pub(crate) fn instances(tx: &mut Tx<'_>, cluster: &ClusterId, most: usize) -> db::Result<usize> {
    let statements = [
        "SELECT COUNT(*) FROM (SELECT instance_id FROM container_instances
         WHERE cluster_id = ?1 LIMIT ?2) counted",
        "SELECT COUNT(*) FROM (SELECT instance_id FROM container_instances
         WHERE cluster_id = ?1 AND status IN ('ACTIVE', 'DRAINING') LIMIT ?2) counted",
    ];
    count(tx, statements, params![&cluster.0, row_count(most)], most)
}

/// Counts all rows, and those that are not ended only where all reach the quota.
fn count(
    tx: &mut Tx<'_>,
    [all, unfinished]: [&'static str; 2],
    values: &[Value<'_>],
    most: usize,
) -> db::Result<usize> {
    let mut rows = |sql| {
        let counted = tx.query_optional(sql, values, |row| Ok(row.integer(0)))?;
        let counted = counted.and_then(|rows| usize::try_from(rows).ok());
        db::Result::Ok(counted.unwrap_or_default())
    };
    let all = rows(all)?;
    if all < most {
        Ok(all)
    } else {
        rows(unfinished)
    }
}
