//! Rows of `parameters` and `parameter_versions`.

use std::collections::BTreeMap;

use wharfinger_base::Timestamp;
use wharfinger_db::{self as db, Row, Tx, params};

use crate::model::{ParameterDetails, ParameterType, SecretsHome};
use crate::store::{document, from_document, row_count};

/// A version of a parameter with its sealed value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct StoredParameter {
    pub(crate) name: String,
    pub(crate) version: i64,
    pub(crate) kind: ParameterType,
    pub(crate) modified_at: Timestamp,
    pub(crate) modified_by: String,
    pub(crate) details: ParameterDetails,
    pub(crate) sealed: Vec<u8>,
}

/// The last version of a parameter and its tags.
pub(crate) fn head(
    tx: &mut Tx<'_>,
    home: &SecretsHome,
    name: &str,
) -> db::Result<Option<(i64, BTreeMap<String, String>)>> {
    tx.query_optional(
        "SELECT version, tags FROM parameters WHERE account = ?1 AND region = ?2 AND name = ?3",
        params![home.account.as_str(), home.region.as_str(), name],
        |row| Ok((row.integer(0), from_document(row.text(1))?)),
    )
}

/// Writes the last version of a parameter and its tags.
pub(crate) fn put_head(
    tx: &mut Tx<'_>,
    home: &SecretsHome,
    name: &str,
    version: i64,
    tags: &BTreeMap<String, String>,
) -> db::Result<()> {
    tx.execute(
        "INSERT INTO parameters (account, region, name, version, tags)
         VALUES (?1, ?2, ?3, ?4, ?5) ON CONFLICT (account, region, name)
         DO UPDATE SET version = excluded.version, tags = excluded.tags",
        params![
            home.account.as_str(),
            home.region.as_str(),
            name,
            version,
            document(tags)?
        ],
    )?;
    Ok(())
}

pub(crate) fn insert(
    tx: &mut Tx<'_>,
    home: &SecretsHome,
    parameter: &StoredParameter,
) -> db::Result<()> {
    tx.execute(
        "INSERT INTO parameter_versions (account, region, name, version, kind, modified_at, \
         modified_by, details, sealed) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
        params![
            home.account.as_str(),
            home.region.as_str(),
            &parameter.name,
            parameter.version,
            parameter.kind.as_str(),
            parameter.modified_at,
            &parameter.modified_by,
            document(&parameter.details)?,
            parameter.sealed.as_slice()
        ],
    )?;
    Ok(())
}

/// A version of a parameter.
pub(crate) fn version(
    tx: &mut Tx<'_>,
    home: &SecretsHome,
    name: &str,
    version: i64,
) -> db::Result<Option<StoredParameter>> {
    tx.query_optional(
        "SELECT name, version, kind, modified_at, modified_by, details, sealed
         FROM parameter_versions
         WHERE account = ?1 AND region = ?2 AND name = ?3 AND version = ?4",
        params![home.account.as_str(), home.region.as_str(), name, version],
        read,
    )
}

/// Up to `limit` versions of a parameter after `after`, in rising order.
pub(crate) fn history(
    tx: &mut Tx<'_>,
    home: &SecretsHome,
    name: &str,
    after: i64,
    limit: usize,
) -> db::Result<Vec<StoredParameter>> {
    tx.query(
        "SELECT name, version, kind, modified_at, modified_by, details, sealed
         FROM parameter_versions
         WHERE account = ?1 AND region = ?2 AND name = ?3 AND version > ?4
         ORDER BY version LIMIT ?5",
        params![
            home.account.as_str(),
            home.region.as_str(),
            name,
            after,
            row_count(limit)
        ],
        read,
    )
}

/// Up to `limit` parameters in their last versions, with their tags, with names after `after` and
/// below `end`, by name.
pub(crate) fn page(
    tx: &mut Tx<'_>,
    home: &SecretsHome,
    after: &str,
    end: &str,
    limit: usize,
) -> db::Result<Vec<(StoredParameter, BTreeMap<String, String>)>> {
    tx.query(
        "SELECT v.name, v.version, v.kind, v.modified_at, v.modified_by, v.details, v.sealed, \
         p.tags FROM parameters p JOIN parameter_versions v ON v.account = p.account
         AND v.region = p.region AND v.name = p.name AND v.version = p.version
         WHERE p.account = ?1 AND p.region = ?2 AND p.name > ?3 AND p.name < ?4
         ORDER BY p.name LIMIT ?5",
        params![
            home.account.as_str(),
            home.region.as_str(),
            after,
            end,
            row_count(limit)
        ],
        |row| Ok((read(row)?, from_document(row.text(7))?)),
    )
}

/// Deletes a parameter with its versions. Returns whether there was one.
pub(crate) fn delete(tx: &mut Tx<'_>, home: &SecretsHome, name: &str) -> db::Result<bool> {
    let (account, region) = (home.account.as_str(), home.region.as_str());
    tx.execute(
        "DELETE FROM parameter_versions WHERE account = ?1 AND region = ?2 AND name = ?3",
        params![account, region, name],
    )?;
    let deleted = tx.execute(
        "DELETE FROM parameters WHERE account = ?1 AND region = ?2 AND name = ?3",
        params![account, region, name],
    )?;
    Ok(deleted == 1)
}

/// Deletes the versions of a parameter up to `last`.
pub(crate) fn delete_versions(
    tx: &mut Tx<'_>,
    home: &SecretsHome,
    name: &str,
    last: i64,
) -> db::Result<()> {
    tx.execute(
        "DELETE FROM parameter_versions
         WHERE account = ?1 AND region = ?2 AND name = ?3 AND version <= ?4",
        params![home.account.as_str(), home.region.as_str(), name, last],
    )?;
    Ok(())
}

fn read(row: &Row<'_>) -> db::Result<StoredParameter> {
    let kind = row.text(2).parse();
    Ok(StoredParameter {
        name: row.text(0).to_owned(),
        version: row.integer(1),
        kind: kind.map_err(|()| db::Error::other("a stored type of a parameter"))?,
        modified_at: Timestamp::from_ms(row.integer(3)),
        modified_by: row.text(4).to_owned(),
        details: from_document(row.text(5))?,
        sealed: row.bytes(6).to_vec(),
    })
}
