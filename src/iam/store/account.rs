//! Rows of `account_aliases` and `credential_reports`, and what an account has in all.

use wharfinger_aws::AccountId;
use wharfinger_base::Timestamp;
use wharfinger_db::{Result, Tx, params};

use crate::store::access_keys::KeyUse;

/// The alias of the account.
pub(crate) fn alias(tx: &mut Tx<'_>, account: AccountId) -> Result<Option<String>> {
    let sql = "SELECT alias FROM account_aliases WHERE account = ?1";
    tx.query_optional(sql, params![account.as_str()], |row| {
        Ok(row.text(0).to_owned())
    })
}

/// Sets the alias in place of another one. False where another account has it.
pub(crate) fn put_alias(
    tx: &mut Tx<'_>,
    account: AccountId,
    alias: &str,
    now: Timestamp,
) -> Result<bool> {
    delete_alias(tx, account)?;
    let sql = "INSERT INTO account_aliases (account, alias, created_at) VALUES (?1, ?2, ?3)
        ON CONFLICT (alias) DO NOTHING";
    Ok(tx.execute(sql, params![account.as_str(), alias, now])? == 1)
}

/// Removes the alias.
pub(crate) fn delete_alias(tx: &mut Tx<'_>, account: AccountId) -> Result<()> {
    let sql = "DELETE FROM account_aliases WHERE account = ?1";
    tx.execute(sql, params![account.as_str()]).map(drop)
}

/// A credential report, and when it was made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CredentialReport {
    /// CSV with a line of column names.
    pub content: String,
    pub generated_at: Timestamp,
}

/// The newest report of the account.
pub(crate) fn report(tx: &mut Tx<'_>, account: AccountId) -> Result<Option<CredentialReport>> {
    let sql = "SELECT content, generated_at FROM credential_reports WHERE account = ?1";
    tx.query_optional(sql, params![account.as_str()], |row| {
        Ok(CredentialReport {
            content: row.text(0).to_owned(),
            generated_at: Timestamp::from_ms(row.integer(1)),
        })
    })
}

/// Writes a report in place of the last one.
pub(crate) fn put_report(
    tx: &mut Tx<'_>,
    account: AccountId,
    report: &CredentialReport,
) -> Result<()> {
    let sql = "INSERT INTO credential_reports (account, content, generated_at) VALUES (?1, ?2, ?3)
        ON CONFLICT (account)
        DO UPDATE SET content = excluded.content, generated_at = excluded.generated_at";
    tx.execute(
        sql,
        params![account.as_str(), &report.content, report.generated_at],
    )
    .map(drop)
}

/// An access key as reports show it.
#[derive(Clone, Debug)]
pub(crate) struct ReportedKey {
    /// A user's unique id, or `root`.
    pub(crate) owner_id: String,
    pub(crate) is_active: bool,
    pub(crate) created_at: Timestamp,
    pub(crate) last_use: Option<KeyUse>,
}

/// All access keys of the account in the order of their owners, and the oldest first.
pub(crate) fn keys(tx: &mut Tx<'_>, account: AccountId) -> Result<Vec<ReportedKey>> {
    let sql = "SELECT owner_id, disabled_at, created_at, last_used_at, last_used_region,
            last_used_service
        FROM access_keys WHERE account = ?1 ORDER BY owner_id, created_at, access_key_id";
    tx.query(sql, params![account.as_str()], |row| {
        Ok(ReportedKey {
            owner_id: row.text(0).to_owned(),
            is_active: row.optional_integer(1).is_none(),
            created_at: Timestamp::from_ms(row.integer(2)),
            last_use: row.optional_integer(3).map(|at| KeyUse {
                at: Timestamp::from_ms(at),
                region: row.optional_text(4).unwrap_or_default().to_owned(),
                service: row.optional_text(5).unwrap_or_default().to_owned(),
            }),
        })
    })
}

/// How many managed policies are attached to entities of the account, each counted once.
pub(crate) fn attached_policies(tx: &mut Tx<'_>, account: AccountId) -> Result<i64> {
    let sql = "SELECT COUNT(DISTINCT name) FROM identity_policies
        WHERE account = ?1 AND kind = 'managed'";
    let count = tx.query_optional(sql, params![account.as_str()], |row| Ok(row.integer(0)))?;
    Ok(count.unwrap_or_default())
}
