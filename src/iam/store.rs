//! The SQL of accounts, users, access keys and the policies on users.

use wharfinger_aws::AccountId;
use wharfinger_base::Timestamp;
use wharfinger_db::{Result, Row, Tx, params};

use crate::principal::UserName;

/// `owner_id` of a key of the account's root.
pub(super) const ROOT: &str = "root";

/// A row of `access_keys`, with the user that owns it.
#[derive(Clone, Debug)]
pub(super) struct KeyRow {
    pub(super) account: String,
    pub(super) owner_id: String,
    pub(super) sealed_secret: Vec<u8>,
    pub(super) disabled: bool,
    /// `None` for the root's keys.
    pub(super) owner: Option<UserRow>,
}

#[derive(Clone, Debug)]
pub(super) struct UserRow {
    pub(super) user: UserName,
    pub(super) created_at: Timestamp,
    pub(super) disabled_at: Option<Timestamp>,
}

/// A row of `user_policies`; `document` stands for inline ones.
#[derive(Clone, Debug)]
pub(super) struct PolicyRow {
    pub(super) name: String,
    pub(super) document: Option<String>,
}

/// A row of `access_keys` without its secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccessKeySummary {
    pub access_key_id: String,
    pub created_at: Timestamp,
    pub disabled_at: Option<Timestamp>,
}

pub(super) fn insert_account(tx: &mut Tx<'_>, account: AccountId, now: Timestamp) -> Result<()> {
    let sql = "INSERT INTO accounts (account, created_at) VALUES (?1, ?2)
        ON CONFLICT (account) DO NOTHING";
    tx.execute(sql, params![account.as_str(), now]).map(drop)
}

/// A fact about the index itself.
pub(super) fn setting(tx: &mut Tx<'_>, name: &str) -> Result<Option<String>> {
    let sql = "SELECT value FROM settings WHERE name = ?1";
    tx.query_optional(sql, params![name], |row| Ok(row.text(0).to_owned()))
}

pub(super) fn put_setting(tx: &mut Tx<'_>, name: &str, value: &str) -> Result<()> {
    let sql = "INSERT INTO settings (name, value) VALUES (?1, ?2)
        ON CONFLICT (name) DO UPDATE SET value = excluded.value";
    tx.execute(sql, params![name, value]).map(drop)
}

/// Whether the index holds any access key.
pub(super) fn has_keys(tx: &mut Tx<'_>) -> Result<bool> {
    let sql = "SELECT access_key_id FROM access_keys LIMIT 1";
    let found = tx.query_optional(sql, params![], |row| Ok(row.text(0).to_owned()))?;
    Ok(found.is_some())
}

/// The proofs of all master keys that sealed something in this index.
pub(super) fn master_keys(tx: &mut Tx<'_>) -> Result<Vec<(String, Vec<u8>)>> {
    let sql = "SELECT master_key_id, proof FROM master_keys ORDER BY master_key_id";
    tx.query(sql, params![], |row| {
        Ok((row.text(0).to_owned(), row.bytes(1).to_owned()))
    })
}

pub(super) fn insert_master_key(
    tx: &mut Tx<'_>,
    id: &str,
    proof: &[u8],
    now: Timestamp,
) -> Result<()> {
    let sql = "INSERT INTO master_keys (master_key_id, proof, created_at) VALUES (?1, ?2, ?3)";
    tx.execute(sql, params![id, proof, now]).map(drop)
}

pub(super) fn key(tx: &mut Tx<'_>, access_key_id: &str) -> Result<Option<KeyRow>> {
    let sql = "SELECT k.account, k.owner_id, k.sealed_secret, k.disabled_at,
            u.name, u.path, u.created_at, u.disabled_at
        FROM access_keys k LEFT JOIN users u ON u.account = k.account AND u.user_id = k.owner_id
        WHERE k.access_key_id = ?1";
    tx.query_optional(sql, params![access_key_id], |row| {
        let owner = row.optional_text(4).map(|name| UserRow {
            user: UserName {
                path: row.text(5).to_owned(),
                name: name.to_owned(),
                id: row.text(1).to_owned(),
            },
            created_at: Timestamp::from_ms(row.integer(6)),
            disabled_at: row.optional_integer(7).map(Timestamp::from_ms),
        });
        Ok(KeyRow {
            account: row.text(0).to_owned(),
            owner_id: row.text(1).to_owned(),
            sealed_secret: row.bytes(2).to_owned(),
            disabled: row.optional_integer(3).is_some(),
            owner,
        })
    })
}

pub(super) fn insert_key(
    tx: &mut Tx<'_>,
    account: AccountId,
    owner_id: &str,
    access_key_id: &str,
    sealed_secret: &[u8],
    now: Timestamp,
) -> Result<()> {
    let sql = "INSERT INTO access_keys
            (account, access_key_id, owner_id, sealed_secret, created_at)
        VALUES (?1, ?2, ?3, ?4, ?5)";
    tx.execute(
        sql,
        params![
            account.as_str(),
            access_key_id,
            owner_id,
            sealed_secret,
            now
        ],
    )
    .map(drop)
}

pub(super) fn keys_of(
    tx: &mut Tx<'_>,
    account: AccountId,
    owner_id: &str,
) -> Result<Vec<AccessKeySummary>> {
    let sql = "SELECT access_key_id, created_at, disabled_at FROM access_keys
        WHERE account = ?1 AND owner_id = ?2 ORDER BY access_key_id";
    tx.query(sql, params![account.as_str(), owner_id], |row| {
        Ok(AccessKeySummary {
            access_key_id: row.text(0).to_owned(),
            created_at: Timestamp::from_ms(row.integer(1)),
            disabled_at: row.optional_integer(2).map(Timestamp::from_ms),
        })
    })
}

/// False where the account has no such key.
pub(super) fn set_key_disabled(
    tx: &mut Tx<'_>,
    account: AccountId,
    access_key_id: &str,
    at: Option<Timestamp>,
) -> Result<bool> {
    let sql = "UPDATE access_keys SET disabled_at = ?3 WHERE account = ?1 AND access_key_id = ?2";
    Ok(tx.execute(sql, params![account.as_str(), access_key_id, at])? == 1)
}

/// False where the account has no such key.
pub(super) fn delete_key(tx: &mut Tx<'_>, account: AccountId, access_key_id: &str) -> Result<bool> {
    let sql = "DELETE FROM access_keys WHERE account = ?1 AND access_key_id = ?2";
    Ok(tx.execute(sql, params![account.as_str(), access_key_id])? == 1)
}

/// False where the name is taken.
pub(super) fn insert_user(
    tx: &mut Tx<'_>,
    account: AccountId,
    user: &UserName,
    now: Timestamp,
) -> Result<bool> {
    let sql = "INSERT INTO users (account, folded_name, name, path, user_id, created_at)
        VALUES (?1, ?2, ?3, ?4, ?5, ?6)
        ON CONFLICT (account, folded_name) DO NOTHING";
    let folded = user.name.to_ascii_lowercase();
    Ok(tx.execute(
        sql,
        params![
            account.as_str(),
            folded,
            &user.name,
            &user.path,
            &user.id,
            now
        ],
    )? == 1)
}

pub(super) fn user(tx: &mut Tx<'_>, account: AccountId, name: &str) -> Result<Option<UserRow>> {
    let sql = "SELECT name, path, user_id, created_at, disabled_at FROM users
        WHERE account = ?1 AND folded_name = ?2";
    tx.query_optional(
        sql,
        params![account.as_str(), name.to_ascii_lowercase()],
        |row| Ok(user_row(row)),
    )
}

/// The user with this unique id.
pub(super) fn user_by_id(
    tx: &mut Tx<'_>,
    account: AccountId,
    user_id: &str,
) -> Result<Option<UserRow>> {
    let sql = "SELECT name, path, user_id, created_at, disabled_at FROM users
        WHERE account = ?1 AND user_id = ?2";
    tx.query_optional(sql, params![account.as_str(), user_id], |row| {
        Ok(user_row(row))
    })
}

/// The account of the access key.
pub(super) fn account_of_key(tx: &mut Tx<'_>, access_key_id: &str) -> Result<Option<String>> {
    let sql = "SELECT account FROM access_keys WHERE access_key_id = ?1";
    tx.query_optional(sql, params![access_key_id], |row| {
        Ok(row.text(0).to_owned())
    })
}

/// The ARN of the user with this unique id, in whichever account.
pub(super) fn user_arn(tx: &mut Tx<'_>, user_id: &str) -> Result<Option<String>> {
    let sql = "SELECT account, name, path FROM users WHERE user_id = ?1";
    tx.query_optional(sql, params![user_id], |row| {
        let (account, name, path) = (row.text(0), row.text(1), row.text(2));
        Ok(format!("arn:aws:iam::{account}:user{path}{name}"))
    })
}

/// Users in order of their folded names, from after `after` (empty: from the first).
pub(super) fn users(
    tx: &mut Tx<'_>,
    account: AccountId,
    after: &str,
    limit: usize,
) -> Result<Vec<UserRow>> {
    let sql = "SELECT name, path, user_id, created_at, disabled_at FROM users
        WHERE account = ?1 AND folded_name > ?2 ORDER BY folded_name LIMIT ?3";
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    tx.query(
        sql,
        params![account.as_str(), after.to_ascii_lowercase(), limit],
        |row| Ok(user_row(row)),
    )
}

fn user_row(row: &Row<'_>) -> UserRow {
    UserRow {
        user: UserName {
            name: row.text(0).to_owned(),
            path: row.text(1).to_owned(),
            id: row.text(2).to_owned(),
        },
        created_at: Timestamp::from_ms(row.integer(3)),
        disabled_at: row.optional_integer(4).map(Timestamp::from_ms),
    }
}

pub(super) fn set_user_disabled(
    tx: &mut Tx<'_>,
    account: AccountId,
    user_id: &str,
    at: Option<Timestamp>,
) -> Result<()> {
    let sql = "UPDATE users SET disabled_at = ?3 WHERE account = ?1 AND user_id = ?2";
    tx.execute(sql, params![account.as_str(), user_id, at])
        .map(drop)
}

/// Removes the user with all its keys and policies.
pub(super) fn delete_user(tx: &mut Tx<'_>, account: AccountId, user_id: &str) -> Result<()> {
    for sql in [
        "DELETE FROM access_keys WHERE account = ?1 AND owner_id = ?2",
        "DELETE FROM user_policies WHERE account = ?1 AND user_id = ?2",
        "DELETE FROM users WHERE account = ?1 AND user_id = ?2",
    ] {
        tx.execute(sql, params![account.as_str(), user_id])?;
    }
    Ok(())
}

pub(super) fn policies_of(
    tx: &mut Tx<'_>,
    account: AccountId,
    user_id: &str,
) -> Result<Vec<PolicyRow>> {
    let sql = "SELECT name, document FROM user_policies
        WHERE account = ?1 AND user_id = ?2 ORDER BY kind, name";
    tx.query(sql, params![account.as_str(), user_id], |row| {
        Ok(PolicyRow {
            name: row.text(0).to_owned(),
            document: row.optional_text(1).map(ToOwned::to_owned),
        })
    })
}

/// Attaches a policy, or replaces the inline one of the same name.
pub(super) fn put_policy(
    tx: &mut Tx<'_>,
    account: AccountId,
    user_id: &str,
    policy: &PolicyRow,
    now: Timestamp,
) -> Result<()> {
    let sql = "INSERT INTO user_policies (account, user_id, kind, name, document, attached_at)
        VALUES (?1, ?2, ?3, ?4, ?5, ?6)
        ON CONFLICT (account, user_id, kind, name)
        DO UPDATE SET document = excluded.document, attached_at = excluded.attached_at";
    let kind = if policy.document.is_some() {
        "inline"
    } else {
        "managed"
    };
    tx.execute(
        sql,
        params![
            account.as_str(),
            user_id,
            kind,
            &policy.name,
            policy.document.as_deref(),
            now
        ],
    )
    .map(drop)
}

/// False where no policy of this name hangs on the user.
pub(super) fn delete_policy(
    tx: &mut Tx<'_>,
    account: AccountId,
    user_id: &str,
    name: &str,
) -> Result<bool> {
    let sql = "DELETE FROM user_policies WHERE account = ?1 AND user_id = ?2 AND name = ?3";
    Ok(tx.execute(sql, params![account.as_str(), user_id, name])? > 0)
}
