//! Rows of `users`.

use wharfinger_aws::AccountId;
use wharfinger_base::Timestamp;
use wharfinger_db::{Result, Row, Tx, params};

use crate::principal::UserName;
use crate::store::{limit, path_range_end};

/// A row of `users`.
#[derive(Clone, Debug)]
pub(crate) struct UserRow {
    pub(crate) user: UserName,
    pub(crate) created_at: Timestamp,
    pub(crate) disabled_at: Option<Timestamp>,
    /// The ARN of the permissions boundary.
    pub(crate) boundary: Option<String>,
}

/// False where the name is taken.
pub(crate) fn insert(tx: &mut Tx<'_>, account: AccountId, row: &UserRow) -> Result<bool> {
    let sql = "INSERT INTO users
            (account, folded_name, name, path, user_id, created_at, boundary)
        VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)
        ON CONFLICT (account, folded_name) DO NOTHING";
    let user = &row.user;
    Ok(tx.execute(
        sql,
        params![
            account.as_str(),
            user.name.to_ascii_lowercase(),
            &user.name,
            &user.path,
            &user.id,
            row.created_at,
            row.boundary.as_deref()
        ],
    )? == 1)
}

pub(crate) fn find(tx: &mut Tx<'_>, account: AccountId, name: &str) -> Result<Option<UserRow>> {
    let sql = "SELECT name, path, user_id, created_at, disabled_at, boundary FROM users
        WHERE account = ?1 AND folded_name = ?2";
    tx.query_optional(
        sql,
        params![account.as_str(), name.to_ascii_lowercase()],
        |row| Ok(user_row(row)),
    )
}

/// The user with this unique id.
pub(crate) fn find_by_id(
    tx: &mut Tx<'_>,
    account: AccountId,
    user_id: &str,
) -> Result<Option<UserRow>> {
    let sql = "SELECT name, path, user_id, created_at, disabled_at, boundary FROM users
        WHERE account = ?1 AND user_id = ?2";
    tx.query_optional(sql, params![account.as_str(), user_id], |row| {
        Ok(user_row(row))
    })
}

/// The ARN of the user with this unique id, in whichever account.
pub(crate) fn arn_of(tx: &mut Tx<'_>, user_id: &str) -> Result<Option<String>> {
    let sql = "SELECT account, name, path FROM users WHERE user_id = ?1";
    tx.query_optional(sql, params![user_id], |row| {
        let (account, name, path) = (row.text(0), row.text(1), row.text(2));
        Ok(format!("arn:aws:iam::{account}:user{path}{name}"))
    })
}

/// Users under a path prefix in order of their folded names, from after `after` (empty: from the
/// first).
pub(crate) fn page(
    tx: &mut Tx<'_>,
    account: AccountId,
    path_prefix: &str,
    after: &str,
    most: usize,
) -> Result<Vec<UserRow>> {
    let sql = "SELECT name, path, user_id, created_at, disabled_at, boundary FROM users
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
        |row| Ok(user_row(row)),
    )
}

/// How many users the account has.
pub(crate) fn count(tx: &mut Tx<'_>, account: AccountId) -> Result<i64> {
    let sql = "SELECT COUNT(*) FROM users WHERE account = ?1";
    let found = tx.query_optional(sql, params![account.as_str()], |row| Ok(row.integer(0)))?;
    Ok(found.unwrap_or_default())
}

/// A row of name, path, id, creation, disabling and boundary.
pub(crate) fn user_row(row: &Row<'_>) -> UserRow {
    UserRow {
        user: UserName {
            name: row.text(0).to_owned(),
            path: row.text(1).to_owned(),
            id: row.text(2).to_owned(),
        },
        created_at: Timestamp::from_ms(row.integer(3)),
        disabled_at: row.optional_integer(4).map(Timestamp::from_ms),
        boundary: row.optional_text(5).map(ToOwned::to_owned),
    }
}

/// Gives the user another name and path. The name is not taken by another user.
pub(crate) fn rename(tx: &mut Tx<'_>, account: AccountId, user: &UserName) -> Result<()> {
    let sql = "UPDATE users SET folded_name = ?3, name = ?4, path = ?5
        WHERE account = ?1 AND user_id = ?2";
    tx.execute(
        sql,
        params![
            account.as_str(),
            &user.id,
            user.name.to_ascii_lowercase(),
            &user.name,
            &user.path
        ],
    )
    .map(drop)
}

pub(crate) fn set_disabled(
    tx: &mut Tx<'_>,
    account: AccountId,
    user_id: &str,
    at: Option<Timestamp>,
) -> Result<()> {
    let sql = "UPDATE users SET disabled_at = ?3 WHERE account = ?1 AND user_id = ?2";
    tx.execute(sql, params![account.as_str(), user_id, at])
        .map(drop)
}

/// Whether the user belongs to a group.
pub(crate) fn is_member(tx: &mut Tx<'_>, account: AccountId, user_id: &str) -> Result<bool> {
    let sql = "SELECT group_id FROM group_members WHERE account = ?1 AND user_id = ?2 LIMIT 1";
    let found = tx.query_optional(sql, params![account.as_str(), user_id], |row| {
        Ok(row.text(0).to_owned())
    })?;
    Ok(found.is_some())
}

/// Sets or removes the permissions boundary.
pub(crate) fn set_boundary(
    tx: &mut Tx<'_>,
    account: AccountId,
    user_id: &str,
    arn: Option<&str>,
) -> Result<()> {
    let sql = "UPDATE users SET boundary = ?3 WHERE account = ?1 AND user_id = ?2";
    tx.execute(sql, params![account.as_str(), user_id, arn])
        .map(drop)
}

/// Removes the user with all its keys, policies, tags and memberships.
pub(crate) fn delete(tx: &mut Tx<'_>, account: AccountId, user_id: &str) -> Result<()> {
    for sql in [
        "DELETE FROM access_keys WHERE account = ?1 AND owner_id = ?2",
        "DELETE FROM identity_policies WHERE account = ?1 AND owner_id = ?2",
        "DELETE FROM identity_tags WHERE account = ?1 AND owner_id = ?2",
        "DELETE FROM group_members WHERE account = ?1 AND user_id = ?2",
        "DELETE FROM users WHERE account = ?1 AND user_id = ?2",
    ] {
        tx.execute(sql, params![account.as_str(), user_id])?;
    }
    Ok(())
}
