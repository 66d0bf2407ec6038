//! Rows of `identity_tags`.

use wharfinger_aws::AccountId;
use wharfinger_db::{Result, Tx, params};

/// The tags of an identity by key.
pub(crate) fn of_owner(
    tx: &mut Tx<'_>,
    account: AccountId,
    owner_id: &str,
) -> Result<Vec<(String, String)>> {
    let sql = "SELECT key, value FROM identity_tags
        WHERE account = ?1 AND owner_id = ?2 ORDER BY key";
    tx.query(sql, params![account.as_str(), owner_id], |row| {
        Ok((row.text(0).to_owned(), row.text(1).to_owned()))
    })
}

/// Removes the tag with exactly this key.
pub(crate) fn delete(tx: &mut Tx<'_>, account: AccountId, owner_id: &str, key: &str) -> Result<()> {
    let sql = "DELETE FROM identity_tags WHERE account = ?1 AND owner_id = ?2 AND key = ?3";
    tx.execute(sql, params![account.as_str(), owner_id, key])
        .map(drop)
}

/// Sets a tag, or replaces its value.
pub(crate) fn put(
    tx: &mut Tx<'_>,
    account: AccountId,
    owner_id: &str,
    (key, value): &(String, String),
) -> Result<()> {
    let sql = "INSERT INTO identity_tags (account, owner_id, key, value) VALUES (?1, ?2, ?3, ?4)
        ON CONFLICT (account, owner_id, key) DO UPDATE SET value = excluded.value";
    tx.execute(sql, params![account.as_str(), owner_id, key, value])
        .map(drop)
}
