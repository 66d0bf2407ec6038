//! The SQL of accounts, entities, access keys, policies and tags.

pub(super) mod access_keys;
pub(super) mod account;
pub(super) mod entities;
pub(super) mod generation;
pub(super) mod instance_profiles;
pub(super) mod managed_policies;
pub(super) mod members;
pub(super) mod oidc_providers;
pub(super) mod policies;
pub(super) mod policy_entities;
pub(super) mod reset;
pub(super) mod role_deletions;
pub(super) mod roles;
pub(super) mod tags;

use wharfinger_aws::AccountId;
use wharfinger_base::Timestamp;
use wharfinger_db::{Result, Tx, params};

/// `owner_id` of a key of the account's root.
pub(super) const ROOT: &str = "root";

/// The end of the range of texts that begin with a path prefix: paths hold no character above it.
const PATH_END: char = '\u{7F}';

/// The first text after all paths that begin with `prefix`.
fn path_range_end(prefix: &str) -> String {
    format!("{prefix}{PATH_END}")
}

/// A page size as a parameter.
fn limit(limit: usize) -> i64 {
    i64::try_from(limit).unwrap_or(i64::MAX)
}

pub(super) fn insert_account(tx: &mut Tx<'_>, account: AccountId, now: Timestamp) -> Result<()> {
    let sql = "INSERT INTO accounts (account, created_at) VALUES (?1, ?2)
        ON CONFLICT (account) DO NOTHING";
    tx.execute(sql, params![account.as_str(), now]).map(drop)
}

/// When the account was made; `None` where nothing was ever made in it.
pub(super) fn account_created_at(tx: &mut Tx<'_>, account: AccountId) -> Result<Option<Timestamp>> {
    let sql = "SELECT created_at FROM accounts WHERE account = ?1";
    tx.query_optional(sql, params![account.as_str()], |row| {
        Ok(Timestamp::from_ms(row.integer(0)))
    })
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
