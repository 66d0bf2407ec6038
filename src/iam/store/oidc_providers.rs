//! Rows of `oidc_providers`.

use wharfinger_aws::AccountId;
use wharfinger_base::Timestamp;
use wharfinger_db::{Error, Result, Row, Tx, params};

/// A row of `oidc_providers`.
#[derive(Clone, Debug)]
pub(crate) struct OidcProviderRow {
    pub(crate) name: String,
    pub(crate) url: String,
    pub(crate) created_at: Timestamp,
    pub(crate) client_ids: Vec<String>,
    pub(crate) thumbprints: Vec<String>,
}

/// False where the account has a provider of this name.
pub(crate) fn insert(tx: &mut Tx<'_>, account: AccountId, row: &OidcProviderRow) -> Result<bool> {
    let sql = "INSERT INTO oidc_providers (account, name, url, created_at, client_ids, thumbprints)
        VALUES (?1, ?2, ?3, ?4, ?5, ?6)
        ON CONFLICT (account, name) DO NOTHING";
    let inserted = tx.execute(
        sql,
        params![
            account.as_str(),
            &row.name,
            &row.url,
            row.created_at,
            written(&row.client_ids)?,
            written(&row.thumbprints)?
        ],
    )?;
    Ok(inserted == 1)
}

pub(crate) fn find(
    tx: &mut Tx<'_>,
    account: AccountId,
    name: &str,
) -> Result<Option<OidcProviderRow>> {
    let sql = "SELECT name, url, created_at, client_ids, thumbprints FROM oidc_providers
        WHERE account = ?1 AND name = ?2";
    tx.query_optional(sql, params![account.as_str(), name], provider)
}

/// All providers of the account by name; there are few.
pub(crate) fn all(tx: &mut Tx<'_>, account: AccountId) -> Result<Vec<OidcProviderRow>> {
    let sql = "SELECT name, url, created_at, client_ids, thumbprints FROM oidc_providers
        WHERE account = ?1 ORDER BY name";
    tx.query(sql, params![account.as_str()], provider)
}

/// How many providers the account has.
pub(crate) fn count(tx: &mut Tx<'_>, account: AccountId) -> Result<i64> {
    let sql = "SELECT COUNT(*) FROM oidc_providers WHERE account = ?1";
    let count = tx.query_optional(sql, params![account.as_str()], |row| Ok(row.integer(0)))?;
    Ok(count.unwrap_or_default())
}

/// Writes client ids and thumbprints.
pub(crate) fn update(tx: &mut Tx<'_>, account: AccountId, row: &OidcProviderRow) -> Result<()> {
    let sql = "UPDATE oidc_providers SET client_ids = ?3, thumbprints = ?4
        WHERE account = ?1 AND name = ?2";
    tx.execute(
        sql,
        params![
            account.as_str(),
            &row.name,
            written(&row.client_ids)?,
            written(&row.thumbprints)?
        ],
    )
    .map(drop)
}

pub(crate) fn delete(tx: &mut Tx<'_>, account: AccountId, name: &str) -> Result<()> {
    let sql = "DELETE FROM oidc_providers WHERE account = ?1 AND name = ?2";
    tx.execute(sql, params![account.as_str(), name]).map(drop)
}

fn provider(row: &Row<'_>) -> Result<OidcProviderRow> {
    Ok(OidcProviderRow {
        name: row.text(0).to_owned(),
        url: row.text(1).to_owned(),
        created_at: Timestamp::from_ms(row.integer(2)),
        client_ids: read(row.text(3))?,
        thumbprints: read(row.text(4))?,
    })
}

fn written(texts: &[String]) -> Result<String> {
    serde_json::to_string(texts).map_err(|error| Error::other(error.to_string()))
}

fn read(list: &str) -> Result<Vec<String>> {
    serde_json::from_str(list).map_err(|error| Error::other(format!("oidc_providers: {error}")))
}
