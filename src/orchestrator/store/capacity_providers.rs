//! Rows of `capacity_providers`.

use wharfinger_base::Timestamp;
use wharfinger_db::{self as db, Row, Tx, params};

use crate::model::{AccountRegion, CapacityProvider};
use crate::store::{document, from_document, parsed, row_count};

/// Writes a capacity provider; one of its name is replaced.
pub(crate) fn put(tx: &mut Tx<'_>, provider: &CapacityProvider) -> db::Result<()> {
    tx.execute(
        "INSERT INTO capacity_providers (account, region, name, status, created_at, details)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6) ON CONFLICT (account, region, name)
         DO UPDATE SET status = ?4, created_at = ?5, details = ?6",
        params![
            provider.home.account.as_str(),
            provider.home.region.as_str(),
            &provider.name,
            provider.status.as_str(),
            provider.created_at,
            document(&provider.details)?
        ],
    )?;
    Ok(())
}

/// The capacity provider of this name, also an inactive one.
pub(crate) fn by_name(
    tx: &mut Tx<'_>,
    home: &AccountRegion,
    name: &str,
) -> db::Result<Option<CapacityProvider>> {
    tx.query_optional(
        "SELECT name, status, created_at, details FROM capacity_providers
         WHERE account = ?1 AND region = ?2 AND name = ?3",
        params![home.account.as_str(), home.region.as_str(), name],
        |row| read(row, home),
    )
}

/// Up to `limit` active capacity providers with names after `after`, in byte order.
pub(crate) fn page(
    tx: &mut Tx<'_>,
    home: &AccountRegion,
    after: &str,
    limit: usize,
) -> db::Result<Vec<CapacityProvider>> {
    tx.query(
        "SELECT name, status, created_at, details FROM capacity_providers
         WHERE account = ?1 AND region = ?2 AND name > ?3 AND status = 'ACTIVE'
         ORDER BY name LIMIT ?4",
        params![
            home.account.as_str(),
            home.region.as_str(),
            after,
            row_count(limit)
        ],
        |row| read(row, home),
    )
}

fn read(row: &Row<'_>, home: &AccountRegion) -> db::Result<CapacityProvider> {
    Ok(CapacityProvider {
        home: home.clone(),
        name: row.text(0).to_owned(),
        status: parsed(row.text(1))?,
        created_at: Timestamp::from_ms(row.integer(2)),
        details: from_document(row.text(3))?,
    })
}

#[cfg(test)]
mod tests {
    use wharfinger_db::testing::every_engine;

    use super::*;
    use crate::model::{CapacityProviderDetails, CapacityProviderStatus};

    #[tokio::test]
    async fn rows_are_read_as_they_were_written() {
        for db in every_engine(crate::MIGRATIONS) {
            let check = db.write(|tx| -> db::Result<()> {
                let home = AccountRegion {
                    account: "123456789012".parse().expect("an account"),
                    region: "us-east-1".parse().expect("a region"),
                };
                let mut one = CapacityProvider {
                    home: home.clone(),
                    name: "a".to_owned(),
                    status: CapacityProviderStatus::Active,
                    created_at: Timestamp::from_ms(1),
                    details: CapacityProviderDetails::default(),
                };
                put(tx, &one)?;
                assert_eq!(by_name(tx, &home, "a")?.as_ref(), Some(&one));
                assert_eq!(page(tx, &home, "", 9)?, vec![one.clone()]);
                assert_eq!(page(tx, &home, "a", 9)?, []);
                one.status = CapacityProviderStatus::Inactive;
                one.created_at = Timestamp::from_ms(2);
                put(tx, &one)?;
                assert_eq!(by_name(tx, &home, "a")?.as_ref(), Some(&one));
                assert_eq!(page(tx, &home, "", 9)?, []);
                Ok(())
            });
            check.await.expect("the statements run");
        }
    }
}
