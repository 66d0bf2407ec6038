//! Rows of `clusters`.

use wharfinger_base::Timestamp;
use wharfinger_db::{self as db, Row, Tx, params};

use crate::model::{AccountRegion, Cluster, ClusterId, ClusterName, ClusterStatus};
use crate::store::{document, from_document, parsed, row_count};

/// Inserts a cluster and returns true, or changes nothing and returns false where its name is
/// taken.
pub(crate) fn insert(tx: &mut Tx<'_>, cluster: &Cluster) -> db::Result<bool> {
    let ClusterName { home, name } = &cluster.name;
    let inserted = tx.execute(
        "INSERT INTO clusters (cluster_id, account, region, name, status, created_at, details)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7) ON CONFLICT (account, region, name) DO NOTHING",
        params![
            &cluster.id.0,
            home.account.as_str(),
            home.region.as_str(),
            name,
            cluster.status.as_str(),
            cluster.created_at,
            document(&cluster.details)?
        ],
    )?;
    Ok(inserted == 1)
}

/// The cluster of this name, also an inactive one.
pub(crate) fn by_name(tx: &mut Tx<'_>, name: &ClusterName) -> db::Result<Option<Cluster>> {
    tx.query_optional(
        "SELECT cluster_id, account, region, name, status, created_at, details FROM clusters
         WHERE account = ?1 AND region = ?2 AND name = ?3",
        params![
            name.home.account.as_str(),
            name.home.region.as_str(),
            &name.name
        ],
        read,
    )
}

/// The cluster, also an inactive one.
pub(crate) fn by_id(tx: &mut Tx<'_>, id: &ClusterId) -> db::Result<Option<Cluster>> {
    tx.query_optional(
        "SELECT cluster_id, account, region, name, status, created_at, details FROM clusters
         WHERE cluster_id = ?1",
        params![&id.0],
        read,
    )
}

/// Up to `limit` active clusters with names after `after`, in byte order.
pub(crate) fn page(
    tx: &mut Tx<'_>,
    home: &AccountRegion,
    after: &str,
    limit: usize,
) -> db::Result<Vec<Cluster>> {
    tx.query(
        "SELECT cluster_id, account, region, name, status, created_at, details FROM clusters
         WHERE account = ?1 AND region = ?2 AND name > ?3 AND status = ?4 ORDER BY name LIMIT ?5",
        params![
            home.account.as_str(),
            home.region.as_str(),
            after,
            ClusterStatus::Active.as_str(),
            row_count(limit)
        ],
        read,
    )
}

/// Writes the status and details of a cluster.
pub(crate) fn update(tx: &mut Tx<'_>, cluster: &Cluster) -> db::Result<()> {
    tx.execute(
        "UPDATE clusters SET status = ?1, details = ?2 WHERE cluster_id = ?3",
        params![
            cluster.status.as_str(),
            document(&cluster.details)?,
            &cluster.id.0
        ],
    )?;
    Ok(())
}

/// Up to `limit` inactive clusters of all accounts with identifiers after `after`.
pub(crate) fn inactive(tx: &mut Tx<'_>, after: &str, limit: usize) -> db::Result<Vec<Cluster>> {
    tx.query(
        "SELECT cluster_id, account, region, name, status, created_at, details FROM clusters
         WHERE status = 'INACTIVE' AND cluster_id > ?1 ORDER BY cluster_id LIMIT ?2",
        params![after, row_count(limit)],
        read,
    )
}

/// Deletes the row of a cluster, which frees its name.
pub(crate) fn delete(tx: &mut Tx<'_>, id: &ClusterId) -> db::Result<()> {
    tx.execute("DELETE FROM clusters WHERE cluster_id = ?1", params![&id.0])?;
    Ok(())
}

/// An active cluster of the account and region that is associated with the capacity provider.
pub(crate) fn with_capacity_provider(
    tx: &mut Tx<'_>,
    home: &AccountRegion,
    provider: &str,
) -> db::Result<Option<Cluster>> {
    let mut after = String::new();
    loop {
        let clusters = page(tx, home, &after, SCANNED)?;
        match clusters.last() {
            Some(last) if clusters.len() == SCANNED => after.clone_from(&last.name.name),
            _ => after.clear(),
        }
        let uses = |cluster: &Cluster| {
            let providers = &cluster.details.capacity_providers;
            providers.iter().any(|one| one == provider)
        };
        let found = clusters.into_iter().find(uses);
        if found.is_some() || after.is_empty() {
            return Ok(found);
        }
    }
}

/// Clusters that one statement of a scan reads.
const SCANNED: usize = 500;

fn read(row: &Row<'_>) -> db::Result<Cluster> {
    Ok(Cluster {
        id: ClusterId(row.text(0).to_owned()),
        name: ClusterName {
            home: AccountRegion {
                account: parsed(row.text(1))?,
                region: parsed(row.text(2))?,
            },
            name: row.text(3).to_owned(),
        },
        status: parsed(row.text(4))?,
        created_at: Timestamp::from_ms(row.integer(5)),
        details: from_document(row.text(6))?,
    })
}

#[cfg(test)]
mod tests {
    use wharfinger_db::testing::every_engine;

    use super::*;
    use crate::model::ClusterDetails;

    fn cluster(id: &str, name: &str) -> Cluster {
        let home = AccountRegion {
            account: "123456789012".parse().expect("an account"),
            region: "us-east-1".parse().expect("a region"),
        };
        Cluster {
            id: ClusterId(id.to_owned()),
            name: ClusterName {
                home,
                name: name.to_owned(),
            },
            status: ClusterStatus::Active,
            created_at: Timestamp::from_ms(7),
            details: ClusterDetails {
                capacity_providers: vec![format!("of-{name}")],
                ..ClusterDetails::default()
            },
        }
    }

    #[tokio::test]
    async fn rows_are_read_as_they_were_written() {
        for db in every_engine(crate::MIGRATIONS) {
            let check = db.write(|tx| -> db::Result<()> {
                let mut first = cluster("2", "a");
                let other = cluster("1", "b");
                assert!(insert(tx, &first)? && insert(tx, &other)?);
                assert!(!insert(tx, &cluster("3", "a"))?);
                assert_eq!(by_name(tx, &first.name)?.as_ref(), Some(&first));
                assert_eq!(by_id(tx, &other.id)?.as_ref(), Some(&other));
                let home = first.name.home.clone();
                assert_eq!(page(tx, &home, "", 1)?, [first.clone()]);
                assert_eq!(page(tx, &home, "a", 9)?, vec![other.clone()]);
                let using = with_capacity_provider(tx, &home, "of-a")?;
                assert_eq!(using.as_ref(), Some(&first));
                first.status = ClusterStatus::Inactive;
                update(tx, &first)?;
                assert_eq!(with_capacity_provider(tx, &home, "of-a")?, None);
                assert_eq!(page(tx, &home, "", 9)?, [other]);
                assert_eq!(by_name(tx, &first.name)?.as_ref(), Some(&first));
                delete(tx, &first.id)?;
                assert!(insert(tx, &cluster("3", "a"))?);
                Ok(())
            });
            check.await.expect("the statements run");
        }
    }
}
