//! Rows of `access_keys`.

use wharfinger_aws::AccountId;
use wharfinger_base::Timestamp;
use wharfinger_db::{Result, Tx, params};

use crate::store::entities::{EntityRow, row};

/// When and for what an access key was used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyUse {
    pub at: Timestamp,
    pub region: String,
    pub service: String,
}

/// A row of `access_keys`, with the user that owns it.
#[derive(Clone, Debug)]
pub(crate) struct KeyRow {
    pub(crate) account: String,
    pub(crate) owner_id: String,
    pub(crate) sealed_secret: Vec<u8>,
    pub(crate) disabled: bool,
    pub(crate) last_use: Option<KeyUse>,
    /// `None` for the root's keys.
    pub(crate) owner: Option<EntityRow>,
}

/// A row of `access_keys` without its secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccessKeySummary {
    pub access_key_id: String,
    pub created_at: Timestamp,
    pub disabled_at: Option<Timestamp>,
}

/// Whether the index holds any access key.
pub(crate) fn any(tx: &mut Tx<'_>) -> Result<bool> {
    let sql = "SELECT access_key_id FROM access_keys LIMIT 1";
    let found = tx.query_optional(sql, params![], |row| Ok(row.text(0).to_owned()))?;
    Ok(found.is_some())
}

pub(crate) fn find(tx: &mut Tx<'_>, access_key_id: &str) -> Result<Option<KeyRow>> {
    let sql = "SELECT u.kind, u.name, u.path, u.entity_id, u.created_at, u.boundary, u.disabled_at,
            NULL, k.account, k.owner_id, k.sealed_secret, k.disabled_at,
            k.last_used_at, k.last_used_region, k.last_used_service
        FROM access_keys k
        LEFT JOIN entities u ON u.entity_id = k.owner_id AND u.account = k.account
        WHERE k.access_key_id = ?1";
    tx.query_optional(sql, params![access_key_id], |found| {
        let owner = found.optional_text(0).map(|_| row(found)).transpose()?;
        let last_use = found.optional_integer(12).map(|at| KeyUse {
            at: Timestamp::from_ms(at),
            region: found.optional_text(13).unwrap_or_default().to_owned(),
            service: found.optional_text(14).unwrap_or_default().to_owned(),
        });
        Ok(KeyRow {
            account: found.text(8).to_owned(),
            owner_id: found.text(9).to_owned(),
            sealed_secret: found.bytes(10).to_owned(),
            disabled: found.optional_integer(11).is_some(),
            last_use,
            owner,
        })
    })
}

/// The account of the access key.
pub(crate) fn account_of(tx: &mut Tx<'_>, access_key_id: &str) -> Result<Option<String>> {
    let sql = "SELECT account FROM access_keys WHERE access_key_id = ?1";
    tx.query_optional(sql, params![access_key_id], |row| {
        Ok(row.text(0).to_owned())
    })
}

pub(crate) fn insert(
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

pub(crate) fn of_owner(
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

/// Records a use of the key, unless one at `since` or later is recorded.
pub(crate) fn record_use(
    tx: &mut Tx<'_>,
    access_key_id: &str,
    last_use: &KeyUse,
    since: Timestamp,
) -> Result<()> {
    let sql = "UPDATE access_keys
        SET last_used_at = ?2, last_used_region = ?3, last_used_service = ?4
        WHERE access_key_id = ?1 AND (last_used_at IS NULL OR last_used_at < ?5)";
    tx.execute(
        sql,
        params![
            access_key_id,
            last_use.at,
            &last_use.region,
            &last_use.service,
            since
        ],
    )
    .map(drop)
}

/// False where the account has no such key.
pub(crate) fn set_disabled(
    tx: &mut Tx<'_>,
    account: AccountId,
    access_key_id: &str,
    at: Option<Timestamp>,
) -> Result<bool> {
    let sql = "UPDATE access_keys SET disabled_at = ?3 WHERE account = ?1 AND access_key_id = ?2";
    Ok(tx.execute(sql, params![account.as_str(), access_key_id, at])? == 1)
}

/// False where the account has no such key.
pub(crate) fn delete(tx: &mut Tx<'_>, account: AccountId, access_key_id: &str) -> Result<bool> {
    let sql = "DELETE FROM access_keys WHERE account = ?1 AND access_key_id = ?2";
    Ok(tx.execute(sql, params![account.as_str(), access_key_id])? == 1)
}
