//! Rows of `ecs_account_settings`.

use wharfinger_db::{self as db, Tx, params};

use crate::model::AccountRegion;

/// The value of a setting for a principal, or for the account where `principal` is empty.
pub(crate) fn get(
    tx: &mut Tx<'_>,
    home: &AccountRegion,
    name: &str,
    principal: &str,
) -> db::Result<Option<String>> {
    tx.query_optional(
        "SELECT value FROM ecs_account_settings
         WHERE account = ?1 AND region = ?2 AND name = ?3 AND principal = ?4",
        params![home.account.as_str(), home.region.as_str(), name, principal],
        |row| Ok(row.text(0).to_owned()),
    )
}

pub(crate) fn put(
    tx: &mut Tx<'_>,
    home: &AccountRegion,
    name: &str,
    principal: &str,
    value: &str,
) -> db::Result<()> {
    tx.execute(
        "INSERT INTO ecs_account_settings (account, region, name, principal, value)
         VALUES (?1, ?2, ?3, ?4, ?5)
         ON CONFLICT (account, region, name, principal) DO UPDATE SET value = ?5",
        params![
            home.account.as_str(),
            home.region.as_str(),
            name,
            principal,
            value
        ],
    )?;
    Ok(())
}

pub(crate) fn delete(
    tx: &mut Tx<'_>,
    home: &AccountRegion,
    name: &str,
    principal: &str,
) -> db::Result<()> {
    tx.execute(
        "DELETE FROM ecs_account_settings
         WHERE account = ?1 AND region = ?2 AND name = ?3 AND principal = ?4",
        params![home.account.as_str(), home.region.as_str(), name, principal],
    )?;
    Ok(())
}
