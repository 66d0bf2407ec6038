//! Rows of `managed_policies` and `managed_policy_versions`, and the entities that use a policy.

use wharfinger_aws::AccountId;
use wharfinger_base::Timestamp;
use wharfinger_db::{Result, Row, Tx, params};

use crate::store::limit as row_limit;

/// A row of `managed_policies`.
#[derive(Clone, Debug)]
pub(crate) struct ManagedPolicyRow {
    pub(crate) name: String,
    pub(crate) path: String,
    pub(crate) id: String,
    pub(crate) description: Option<String>,
    pub(crate) created_at: Timestamp,
    pub(crate) updated_at: Timestamp,
    pub(crate) default_version: i64,
    pub(crate) newest_version: i64,
}

/// A row of `managed_policy_versions`.
#[derive(Clone, Debug)]
pub(crate) struct PolicyVersionRow {
    pub(crate) version: i64,
    pub(crate) document: String,
    pub(crate) created_at: Timestamp,
}

/// False where the name is taken.
pub(crate) fn insert(
    tx: &mut Tx<'_>,
    account: AccountId,
    policy: &ManagedPolicyRow,
) -> Result<bool> {
    let sql = "INSERT INTO managed_policies (account, folded_name, name, path, policy_id,
            description, created_at, updated_at, default_version, newest_version)
        VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)
        ON CONFLICT (account, folded_name) DO NOTHING";
    let inserted = tx.execute(
        sql,
        params![
            account.as_str(),
            policy.name.to_ascii_lowercase(),
            &policy.name,
            &policy.path,
            &policy.id,
            policy.description.as_deref(),
            policy.created_at,
            policy.updated_at,
            policy.default_version,
            policy.newest_version
        ],
    )?;
    Ok(inserted == 1)
}

pub(crate) fn policy(
    tx: &mut Tx<'_>,
    account: AccountId,
    name: &str,
) -> Result<Option<ManagedPolicyRow>> {
    let sql = "SELECT name, path, policy_id, description, created_at, updated_at, default_version,
            newest_version
        FROM managed_policies WHERE account = ?1 AND folded_name = ?2";
    let folded = name.to_ascii_lowercase();
    tx.query_optional(sql, params![account.as_str(), folded], |row| {
        Ok(policy_row(row))
    })
}

/// Policies in order of their folded names, from after `after` (empty: from the first).
pub(crate) fn policies(
    tx: &mut Tx<'_>,
    account: AccountId,
    after: &str,
    limit: usize,
) -> Result<Vec<ManagedPolicyRow>> {
    let sql = "SELECT name, path, policy_id, description, created_at, updated_at, default_version,
            newest_version
        FROM managed_policies WHERE account = ?1 AND folded_name > ?2
        ORDER BY folded_name LIMIT ?3";
    tx.query(
        sql,
        params![
            account.as_str(),
            after.to_ascii_lowercase(),
            row_limit(limit)
        ],
        |row| Ok(policy_row(row)),
    )
}

/// How many policies the account has.
pub(crate) fn count(tx: &mut Tx<'_>, account: AccountId) -> Result<i64> {
    let sql = "SELECT COUNT(*) FROM managed_policies WHERE account = ?1";
    let count = tx.query_optional(sql, params![account.as_str()], |row| Ok(row.integer(0)))?;
    Ok(count.unwrap_or_default())
}

/// Writes the versions and the time of the last change.
pub(crate) fn set_versions(
    tx: &mut Tx<'_>,
    account: AccountId,
    policy: &ManagedPolicyRow,
) -> Result<()> {
    let sql = "UPDATE managed_policies
        SET default_version = ?3, newest_version = ?4, updated_at = ?5
        WHERE account = ?1 AND folded_name = ?2";
    tx.execute(
        sql,
        params![
            account.as_str(),
            policy.name.to_ascii_lowercase(),
            policy.default_version,
            policy.newest_version,
            policy.updated_at
        ],
    )
    .map(drop)
}

/// Removes the policy with its versions and tags.
pub(crate) fn delete(tx: &mut Tx<'_>, account: AccountId, policy: &ManagedPolicyRow) -> Result<()> {
    let versions = "DELETE FROM managed_policy_versions WHERE policy_id = ?1";
    tx.execute(versions, params![&policy.id])?;
    let tags = "DELETE FROM identity_tags WHERE account = ?1 AND owner_id = ?2";
    tx.execute(tags, params![account.as_str(), &policy.id])?;
    let row = "DELETE FROM managed_policies WHERE account = ?1 AND policy_id = ?2";
    tx.execute(row, params![account.as_str(), &policy.id])
        .map(drop)
}

pub(crate) fn insert_version(
    tx: &mut Tx<'_>,
    policy_id: &str,
    version: &PolicyVersionRow,
) -> Result<()> {
    let sql = "INSERT INTO managed_policy_versions (policy_id, version, document, created_at)
        VALUES (?1, ?2, ?3, ?4)";
    tx.execute(
        sql,
        params![
            policy_id,
            version.version,
            &version.document,
            version.created_at
        ],
    )
    .map(drop)
}

/// All versions, the newest first.
pub(crate) fn versions(tx: &mut Tx<'_>, policy_id: &str) -> Result<Vec<PolicyVersionRow>> {
    let sql = "SELECT version, document, created_at FROM managed_policy_versions
        WHERE policy_id = ?1 ORDER BY version DESC";
    tx.query(sql, params![policy_id], |row| {
        Ok(PolicyVersionRow {
            version: row.integer(0),
            document: row.text(1).to_owned(),
            created_at: Timestamp::from_ms(row.integer(2)),
        })
    })
}

/// False where the policy has no such version.
pub(crate) fn delete_version(tx: &mut Tx<'_>, policy_id: &str, version: i64) -> Result<bool> {
    let sql = "DELETE FROM managed_policy_versions WHERE policy_id = ?1 AND version = ?2";
    Ok(tx.execute(sql, params![policy_id, version])? == 1)
}

/// The document of the default version of the policy with this name.
pub(crate) fn default_document(
    tx: &mut Tx<'_>,
    account: AccountId,
    name: &str,
) -> Result<Option<String>> {
    let sql = "SELECT v.document FROM managed_policies m JOIN managed_policy_versions v
            ON v.policy_id = m.policy_id AND v.version = m.default_version
        WHERE m.account = ?1 AND m.folded_name = ?2";
    let folded = name.to_ascii_lowercase();
    tx.query_optional(sql, params![account.as_str(), folded], |row| {
        Ok(row.text(0).to_owned())
    })
}

/// How many users, groups and roles of the account the policy is attached to.
pub(crate) fn attachments(tx: &mut Tx<'_>, account: AccountId, arn: &str) -> Result<i64> {
    let sql = "SELECT COUNT(*) FROM identity_policies
        WHERE account = ?1 AND kind = 'managed' AND name = ?2";
    let count = tx.query_optional(
        sql,
        params![account.as_str(), arn],
        |row| Ok(row.integer(0)),
    )?;
    Ok(count.unwrap_or_default())
}

/// How many users and roles of the account the policy is the permissions boundary of.
pub(crate) fn boundaries(tx: &mut Tx<'_>, account: AccountId, arn: &str) -> Result<i64> {
    let sql = "SELECT COUNT(*) FROM entities WHERE account = ?1 AND boundary = ?2";
    let count = tx.query_optional(
        sql,
        params![account.as_str(), arn],
        |row| Ok(row.integer(0)),
    )?;
    Ok(count.unwrap_or_default())
}

fn policy_row(row: &Row<'_>) -> ManagedPolicyRow {
    ManagedPolicyRow {
        name: row.text(0).to_owned(),
        path: row.text(1).to_owned(),
        id: row.text(2).to_owned(),
        description: row.optional_text(3).map(ToOwned::to_owned),
        created_at: Timestamp::from_ms(row.integer(4)),
        updated_at: Timestamp::from_ms(row.integer(5)),
        default_version: row.integer(6),
        newest_version: row.integer(7),
    }
}
