//! Rows of `groups` and `group_members`.

use wharfinger_aws::AccountId;
use wharfinger_base::Timestamp;
use wharfinger_db::{Result, Row, Tx, params};

use crate::principal::GroupName;
use crate::store::users::{UserRow, user_row};
use crate::store::{limit, path_range_end};

/// A row of `groups`.
#[derive(Clone, Debug)]
pub(crate) struct GroupRow {
    pub(crate) group: GroupName,
    pub(crate) created_at: Timestamp,
}

/// False where the name is taken.
pub(crate) fn insert(tx: &mut Tx<'_>, account: AccountId, row: &GroupRow) -> Result<bool> {
    let sql = "INSERT INTO groups (account, folded_name, name, path, group_id, created_at)
        VALUES (?1, ?2, ?3, ?4, ?5, ?6)
        ON CONFLICT (account, folded_name) DO NOTHING";
    let group = &row.group;
    Ok(tx.execute(
        sql,
        params![
            account.as_str(),
            group.name.to_ascii_lowercase(),
            &group.name,
            &group.path,
            &group.id,
            row.created_at
        ],
    )? == 1)
}

pub(crate) fn find(tx: &mut Tx<'_>, account: AccountId, name: &str) -> Result<Option<GroupRow>> {
    let sql = "SELECT name, path, group_id, created_at FROM groups
        WHERE account = ?1 AND folded_name = ?2";
    tx.query_optional(
        sql,
        params![account.as_str(), name.to_ascii_lowercase()],
        |row| Ok(group_row(row)),
    )
}

/// Groups under a path prefix in order of their folded names, from after `after` (empty: from the
/// first).
pub(crate) fn page(
    tx: &mut Tx<'_>,
    account: AccountId,
    path_prefix: &str,
    after: &str,
    most: usize,
) -> Result<Vec<GroupRow>> {
    let sql = "SELECT name, path, group_id, created_at FROM groups
        WHERE account = ?1 AND folded_name > ?2 AND path >= ?3 AND path < ?4
        ORDER BY folded_name LIMIT ?5";
    tx.query(
        sql,
        params![
            account.as_str(),
            after.to_ascii_lowercase(),
            path_prefix,
            path_range_end(path_prefix),
            limit(most)
        ],
        |row| Ok(group_row(row)),
    )
}

/// How many groups the account has.
pub(crate) fn count(tx: &mut Tx<'_>, account: AccountId) -> Result<i64> {
    let sql = "SELECT COUNT(*) FROM groups WHERE account = ?1";
    let found = tx.query_optional(sql, params![account.as_str()], |row| Ok(row.integer(0)))?;
    Ok(found.unwrap_or_default())
}

fn group_row(row: &Row<'_>) -> GroupRow {
    GroupRow {
        group: GroupName {
            name: row.text(0).to_owned(),
            path: row.text(1).to_owned(),
            id: row.text(2).to_owned(),
        },
        created_at: Timestamp::from_ms(row.integer(3)),
    }
}

/// Gives the group another name and path. The name is not taken by another group.
pub(crate) fn rename(tx: &mut Tx<'_>, account: AccountId, group: &GroupName) -> Result<()> {
    let sql = "UPDATE groups SET folded_name = ?3, name = ?4, path = ?5
        WHERE account = ?1 AND group_id = ?2";
    tx.execute(
        sql,
        params![
            account.as_str(),
            &group.id,
            group.name.to_ascii_lowercase(),
            &group.name,
            &group.path
        ],
    )
    .map(drop)
}

/// Removes the group with its policies and memberships.
pub(crate) fn delete(tx: &mut Tx<'_>, account: AccountId, group_id: &str) -> Result<()> {
    for sql in [
        "DELETE FROM identity_policies WHERE account = ?1 AND owner_id = ?2",
        "DELETE FROM group_members WHERE account = ?1 AND group_id = ?2",
        "DELETE FROM groups WHERE account = ?1 AND group_id = ?2",
    ] {
        tx.execute(sql, params![account.as_str(), group_id])?;
    }
    Ok(())
}

/// Adds a member; one that is a member already stays.
pub(crate) fn insert_member(
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
pub(crate) fn delete_member(
    tx: &mut Tx<'_>,
    account: AccountId,
    group_id: &str,
    user_id: &str,
) -> Result<bool> {
    let sql = "DELETE FROM group_members WHERE account = ?1 AND group_id = ?2 AND user_id = ?3";
    Ok(tx.execute(sql, params![account.as_str(), group_id, user_id])? == 1)
}

/// The members in order of their folded names, from after `after` (empty: from the first).
pub(crate) fn members(
    tx: &mut Tx<'_>,
    account: AccountId,
    group_id: &str,
    after: &str,
    most: usize,
) -> Result<Vec<UserRow>> {
    let sql = "SELECT u.name, u.path, u.user_id, u.created_at, u.disabled_at, u.boundary
        FROM group_members m JOIN users u ON u.account = m.account AND u.user_id = m.user_id
        WHERE m.account = ?1 AND m.group_id = ?2 AND u.folded_name > ?3
        ORDER BY u.folded_name LIMIT ?4";
    tx.query(
        sql,
        params![
            account.as_str(),
            group_id,
            after.to_ascii_lowercase(),
            limit(most)
        ],
        |row| Ok(user_row(row)),
    )
}

/// The groups of a user in order of their folded names.
pub(crate) fn of_user(tx: &mut Tx<'_>, account: AccountId, user_id: &str) -> Result<Vec<GroupRow>> {
    let sql = "SELECT g.name, g.path, g.group_id, g.created_at
        FROM group_members m JOIN groups g ON g.account = m.account AND g.group_id = m.group_id
        WHERE m.account = ?1 AND m.user_id = ?2 ORDER BY g.folded_name";
    tx.query(sql, params![account.as_str(), user_id], |row| {
        Ok(group_row(row))
    })
}
