//! Rows of `group_members`.

use wharfinger_aws::AccountId;
use wharfinger_base::Timestamp;
use wharfinger_db::{Result, Tx, params};

use crate::store::entities::{EntityRow, row};
use crate::store::limit;

/// Adds a member; one that is a member already stays.
pub(crate) fn insert(
    tx: &mut Tx<'_>,
    account: AccountId,
    group_id: &str,
    user_id: &str,
    now: Timestamp,
) -> Result<()> {
    let sql = "INSERT INTO group_members (account, group_id, user_id, added_at)
        VALUES (?1, ?2, ?3, ?4) ON CONFLICT (account, group_id, user_id) DO NOTHING";
    tx.execute(sql, params![account.as_str(), group_id, user_id, now])
        .map(drop)
}

/// False where the user is no member.
pub(crate) fn delete(
    tx: &mut Tx<'_>,
    account: AccountId,
    group_id: &str,
    user_id: &str,
) -> Result<bool> {
    let sql = "DELETE FROM group_members WHERE account = ?1 AND group_id = ?2 AND user_id = ?3";
    Ok(tx.execute(sql, params![account.as_str(), group_id, user_id])? == 1)
}

/// The members in order of their folded names, from after `after` (empty: from the first).
pub(crate) fn of_group(
    tx: &mut Tx<'_>,
    account: AccountId,
    group_id: &str,
    after: &str,
    most: usize,
) -> Result<Vec<EntityRow>> {
    let sql = "SELECT u.kind, u.name, u.path, u.entity_id, u.created_at, u.boundary, u.disabled_at,
            NULL
        FROM group_members m JOIN entities u ON u.entity_id = m.user_id
        WHERE m.account = ?1 AND m.group_id = ?2 AND u.folded_name > ?3
        ORDER BY u.folded_name LIMIT ?4";
    let after = after.to_ascii_lowercase();
    let params = params![account.as_str(), group_id, after, limit(most)];
    tx.query(sql, params, row)
}

/// The groups of a user in order of their folded names.
pub(crate) fn of_user(
    tx: &mut Tx<'_>,
    account: AccountId,
    user_id: &str,
) -> Result<Vec<EntityRow>> {
    let sql = "SELECT g.kind, g.name, g.path, g.entity_id, g.created_at, g.boundary, g.disabled_at,
            NULL
        FROM group_members m JOIN entities g ON g.entity_id = m.group_id
        WHERE m.account = ?1 AND m.user_id = ?2 ORDER BY g.folded_name";
    tx.query(sql, params![account.as_str(), user_id], row)
}
