//! Rows of `secrets` and `secret_versions`.

use wharfinger_base::Timestamp;
use wharfinger_db::{self as db, Row, Tx, params};

use crate::model::{SecretVersion, SecretsHome, StoredSecret};
use crate::store::{document, from_document, row_count};

/// Inserts a secret. Its name must be free.
pub(crate) fn insert(tx: &mut Tx<'_>, secret: &StoredSecret) -> db::Result<()> {
    tx.execute(
        "INSERT INTO secrets (account, region, name, suffix, created_at, deleted_at, details)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
        params![
            secret.home.account.as_str(),
            secret.home.region.as_str(),
            &secret.name,
            &secret.suffix,
            secret.created_at,
            secret.deleted_at.map(Timestamp::as_ms),
            document(&secret.details)?
        ],
    )?;
    Ok(())
}

/// The secret of this name, also one that is marked for deletion.
pub(crate) fn by_name(
    tx: &mut Tx<'_>,
    home: &SecretsHome,
    name: &str,
) -> db::Result<Option<StoredSecret>> {
    tx.query_optional(
        "SELECT name, suffix, created_at, deleted_at, details FROM secrets
         WHERE account = ?1 AND region = ?2 AND name = ?3",
        params![home.account.as_str(), home.region.as_str(), name],
        |row| read(row, home),
    )
}

/// Writes what changes of a secret.
pub(crate) fn update(tx: &mut Tx<'_>, secret: &StoredSecret) -> db::Result<()> {
    tx.execute(
        "UPDATE secrets SET deleted_at = ?1, details = ?2
         WHERE account = ?3 AND region = ?4 AND name = ?5",
        params![
            secret.deleted_at.map(Timestamp::as_ms),
            document(&secret.details)?,
            secret.home.account.as_str(),
            secret.home.region.as_str(),
            &secret.name
        ],
    )?;
    Ok(())
}

/// Deletes a secret and its versions.
pub(crate) fn delete(tx: &mut Tx<'_>, home: &SecretsHome, name: &str) -> db::Result<()> {
    let (account, region) = (home.account.as_str(), home.region.as_str());
    tx.execute(
        "DELETE FROM secret_versions WHERE account = ?1 AND region = ?2 AND name = ?3",
        params![account, region, name],
    )?;
    tx.execute(
        "DELETE FROM secrets WHERE account = ?1 AND region = ?2 AND name = ?3",
        params![account, region, name],
    )?;
    Ok(())
}

/// A position in the listing by age: the time and name of the last secret that was listed.
pub(crate) type AgePosition = (Timestamp, String);

/// Up to `limit` secrets after a position, from the oldest.
pub(crate) fn page(
    tx: &mut Tx<'_>,
    home: &SecretsHome,
    after: &AgePosition,
    limit: usize,
) -> db::Result<Vec<StoredSecret>> {
    tx.query(
        "SELECT name, suffix, created_at, deleted_at, details FROM secrets
         WHERE account = ?1 AND region = ?2 AND (created_at, name) > (?3, ?4)
         ORDER BY created_at, name LIMIT ?5",
        params![
            home.account.as_str(),
            home.region.as_str(),
            after.0,
            &after.1,
            row_count(limit)
        ],
        |row| read(row, home),
    )
}

/// Up to `limit` secrets before a position, from the newest.
pub(crate) fn page_back(
    tx: &mut Tx<'_>,
    home: &SecretsHome,
    before: &AgePosition,
    limit: usize,
) -> db::Result<Vec<StoredSecret>> {
    tx.query(
        "SELECT name, suffix, created_at, deleted_at, details FROM secrets
         WHERE account = ?1 AND region = ?2 AND (created_at, name) < (?3, ?4)
         ORDER BY created_at DESC, name DESC LIMIT ?5",
        params![
            home.account.as_str(),
            home.region.as_str(),
            before.0,
            &before.1,
            row_count(limit)
        ],
        |row| read(row, home),
    )
}

/// Up to `limit` secrets of all accounts whose time is over.
pub(crate) fn expired(
    tx: &mut Tx<'_>,
    now: Timestamp,
    limit: usize,
) -> db::Result<Vec<(SecretsHome, String)>> {
    let damaged = || db::Error::other("a stored account or region");
    tx.query(
        "SELECT account, region, name FROM secrets WHERE deleted_at <= ?1
         ORDER BY deleted_at LIMIT ?2",
        params![now, row_count(limit)],
        |row| {
            let home = SecretsHome {
                account: row.text(0).parse().map_err(|_| damaged())?,
                region: row.text(1).parse().map_err(|_| damaged())?,
            };
            Ok((home, row.text(2).to_owned()))
        },
    )
}

/// The value of a version as it is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SealedValue {
    pub(crate) is_binary: bool,
    pub(crate) sealed: Vec<u8>,
}

pub(crate) fn insert_version(
    tx: &mut Tx<'_>,
    secret: &StoredSecret,
    version: &SecretVersion,
    value: &SealedValue,
) -> db::Result<()> {
    tx.execute(
        "INSERT INTO secret_versions (account, region, name, version_id, created_at, is_binary, \
         stages, sealed) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
        params![
            secret.home.account.as_str(),
            secret.home.region.as_str(),
            &secret.name,
            &version.id,
            version.created_at,
            i64::from(value.is_binary),
            document(&version.stages)?,
            value.sealed.as_slice()
        ],
    )?;
    Ok(())
}

/// All versions of a secret, by identifier.
pub(crate) fn versions(
    tx: &mut Tx<'_>,
    home: &SecretsHome,
    name: &str,
) -> db::Result<Vec<SecretVersion>> {
    tx.query(
        "SELECT version_id, created_at, stages FROM secret_versions
         WHERE account = ?1 AND region = ?2 AND name = ?3 ORDER BY version_id",
        params![home.account.as_str(), home.region.as_str(), name],
        |row| {
            Ok(SecretVersion {
                id: row.text(0).to_owned(),
                created_at: Timestamp::from_ms(row.integer(1)),
                stages: from_document(row.text(2))?,
            })
        },
    )
}

/// The value of a version.
pub(crate) fn value(
    tx: &mut Tx<'_>,
    home: &SecretsHome,
    name: &str,
    version: &str,
) -> db::Result<Option<SealedValue>> {
    tx.query_optional(
        "SELECT is_binary, sealed FROM secret_versions
         WHERE account = ?1 AND region = ?2 AND name = ?3 AND version_id = ?4",
        params![home.account.as_str(), home.region.as_str(), name, version],
        |row| {
            Ok(SealedValue {
                is_binary: row.integer(0) != 0,
                sealed: row.bytes(1).to_vec(),
            })
        },
    )
}

pub(crate) fn update_stages(
    tx: &mut Tx<'_>,
    home: &SecretsHome,
    name: &str,
    version: &SecretVersion,
) -> db::Result<()> {
    tx.execute(
        "UPDATE secret_versions SET stages = ?1
         WHERE account = ?2 AND region = ?3 AND name = ?4 AND version_id = ?5",
        params![
            document(&version.stages)?,
            home.account.as_str(),
            home.region.as_str(),
            name,
            &version.id
        ],
    )?;
    Ok(())
}

pub(crate) fn delete_version(
    tx: &mut Tx<'_>,
    home: &SecretsHome,
    name: &str,
    version: &str,
) -> db::Result<()> {
    tx.execute(
        "DELETE FROM secret_versions
         WHERE account = ?1 AND region = ?2 AND name = ?3 AND version_id = ?4",
        params![home.account.as_str(), home.region.as_str(), name, version],
    )?;
    Ok(())
}

fn read(row: &Row<'_>, home: &SecretsHome) -> db::Result<StoredSecret> {
    Ok(StoredSecret {
        home: home.clone(),
        name: row.text(0).to_owned(),
        suffix: row.text(1).to_owned(),
        created_at: Timestamp::from_ms(row.integer(2)),
        deleted_at: row.optional_integer(3).map(Timestamp::from_ms),
        details: from_document(row.text(4))?,
    })
}
