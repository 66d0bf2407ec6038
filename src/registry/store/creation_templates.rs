//! Rows of `creation_templates`.

use wharfinger_base::Timestamp;
use wharfinger_db::{self as db, Row, Tx, params};

use crate::creation_templates::model::CreationTemplate;
use crate::model::RegistryId;
use crate::store::{from_json, journal_entries, json};

pub(crate) fn find(
    tx: &mut Tx<'_>,
    registry: &RegistryId,
    prefix: &str,
) -> db::Result<Option<CreationTemplate>> {
    tx.query_optional(
        "SELECT settings, created_at, updated_at FROM creation_templates \
         WHERE account = ?1 AND region = ?2 AND prefix = ?3",
        params![registry.account.as_str(), registry.region.as_str(), prefix],
        read,
    )
}

/// Up to `limit` templates with prefixes after `after`, in byte order.
pub(crate) fn page(
    tx: &mut Tx<'_>,
    registry: &RegistryId,
    after: &str,
    limit: i64,
) -> db::Result<Vec<CreationTemplate>> {
    tx.query(
        "SELECT settings, created_at, updated_at FROM creation_templates \
         WHERE account = ?1 AND region = ?2 AND prefix > ?3 ORDER BY prefix LIMIT ?4",
        params![
            registry.account.as_str(),
            registry.region.as_str(),
            after,
            limit
        ],
        read,
    )
}

pub(crate) fn count(tx: &mut Tx<'_>, registry: &RegistryId) -> db::Result<i64> {
    let count = tx.query_optional(
        "SELECT COUNT(*) FROM creation_templates WHERE account = ?1 AND region = ?2",
        params![registry.account.as_str(), registry.region.as_str()],
        |row| Ok(row.integer(0)),
    )?;
    Ok(count.unwrap_or_default())
}

/// Stores the template, in place of one with the same prefix.
pub(crate) fn put(
    tx: &mut Tx<'_>,
    registry: &RegistryId,
    prefix: &str,
    template: &CreationTemplate,
) -> db::Result<()> {
    tx.execute(
        "INSERT INTO creation_templates (account, region, prefix, settings, created_at, updated_at)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6)
         ON CONFLICT (account, region, prefix) DO UPDATE SET \
         settings = excluded.settings, updated_at = excluded.updated_at",
        params![
            registry.account.as_str(),
            registry.region.as_str(),
            prefix,
            json(&template.settings),
            template.created_at.as_ms(),
            template.updated_at.as_ms()
        ],
    )?;
    journal_entries::note_registry(tx, registry)
}

pub(crate) fn delete(tx: &mut Tx<'_>, registry: &RegistryId, prefix: &str) -> db::Result<()> {
    tx.execute(
        "DELETE FROM creation_templates WHERE account = ?1 AND region = ?2 AND prefix = ?3",
        params![registry.account.as_str(), registry.region.as_str(), prefix],
    )?;
    journal_entries::note_registry(tx, registry)
}

fn read(row: &Row<'_>) -> db::Result<CreationTemplate> {
    Ok(CreationTemplate {
        settings: from_json(row.text(0))?,
        created_at: Timestamp::from_ms(row.integer(1)),
        updated_at: Timestamp::from_ms(row.integer(2)),
    })
}
