//! Rows of `registry_policies`, `registry_settings` and `pull_time_exclusions`.

use wharfinger_base::Timestamp;
use wharfinger_db::{self as db, Tx, params};

use crate::model::{PolicyId, RegistryId};
use crate::replication::rules::ReplicationConfiguration;
use crate::scanning_rules::ScanningConfiguration;
use crate::signing::rules::SigningConfiguration;
use crate::store::{from_json, journal_entries, settings_tables};

/// The names of settings that are JSON.
pub(crate) const SCANNING: &str = "scanning";
pub(crate) const SIGNING: &str = "signing";
pub(crate) const REPLICATION: &str = "replication";

/// Removes what is set for all registries, and their replications.
pub(crate) fn delete_all(tx: &mut Tx<'_>) -> db::Result<()> {
    journal_entries::note_all_registries(tx)?;
    let of_work = [
        "DELETE FROM image_replications",
        "DELETE FROM replication_backfills",
    ];
    for statement in settings_tables::DELETIONS_OF_ALL.iter().chain(&of_work) {
        tx.execute(statement, params![])?;
    }
    Ok(())
}

/// Which policy the registry has.
pub(crate) fn policy_id(tx: &mut Tx<'_>, registry: &RegistryId) -> db::Result<Option<PolicyId>> {
    tx.query_optional(
        "SELECT id, set_at FROM registry_policies WHERE account = ?1 AND region = ?2",
        params![registry.account.as_str(), registry.region.as_str()],
        |row| {
            Ok(PolicyId {
                row: row.integer(0),
                set_at: Timestamp::from_ms(row.integer(1)),
            })
        },
    )
}

/// The text of a policy by its id.
pub(crate) fn policy_text(tx: &mut Tx<'_>, id: PolicyId) -> db::Result<Option<String>> {
    tx.query_optional(
        "SELECT text FROM registry_policies WHERE id = ?1",
        params![id.row],
        |row| Ok(row.text(0).to_owned()),
    )
}

/// Stores a policy under a new id, in place of the one that the registry has.
pub(crate) fn put_policy(
    tx: &mut Tx<'_>,
    registry: &RegistryId,
    text: &str,
    now: Timestamp,
) -> db::Result<()> {
    delete_policy(tx, registry)?;
    tx.execute(
        "INSERT INTO registry_policies (account, region, text, set_at) VALUES (?1, ?2, ?3, ?4)",
        params![
            registry.account.as_str(),
            registry.region.as_str(),
            text,
            now.as_ms()
        ],
    )?;
    journal_entries::note_registry(tx, registry)
}

pub(crate) fn delete_policy(tx: &mut Tx<'_>, registry: &RegistryId) -> db::Result<()> {
    tx.execute(
        "DELETE FROM registry_policies WHERE account = ?1 AND region = ?2",
        params![registry.account.as_str(), registry.region.as_str()],
    )?;
    journal_entries::note_registry(tx, registry)
}

pub(crate) fn get(
    tx: &mut Tx<'_>,
    registry: &RegistryId,
    name: &str,
) -> db::Result<Option<String>> {
    tx.query_optional(
        "SELECT value FROM registry_settings WHERE account = ?1 AND region = ?2 AND name = ?3",
        params![registry.account.as_str(), registry.region.as_str(), name],
        |row| Ok(row.text(0).to_owned()),
    )
}

/// All settings by name.
pub(crate) fn all(tx: &mut Tx<'_>, registry: &RegistryId) -> db::Result<Vec<(String, String)>> {
    tx.query(
        "SELECT name, value FROM registry_settings WHERE account = ?1 AND region = ?2
         ORDER BY name",
        params![registry.account.as_str(), registry.region.as_str()],
        |row| Ok((row.text(0).to_owned(), row.text(1).to_owned())),
    )
}

/// The scanning configuration: the default where none was set.
pub(crate) fn scanning(
    tx: &mut Tx<'_>,
    registry: &RegistryId,
) -> db::Result<ScanningConfiguration> {
    let text = get(tx, registry, SCANNING)?;
    text.map_or_else(
        || Ok(ScanningConfiguration::default()),
        |text| from_json(&text),
    )
}

/// The signing configuration, if there is one.
pub(crate) fn signing(
    tx: &mut Tx<'_>,
    registry: &RegistryId,
) -> db::Result<Option<SigningConfiguration>> {
    let text = get(tx, registry, SIGNING)?;
    text.map(|text| from_json(&text)).transpose()
}

/// The replication configuration: no rules where none was set.
pub(crate) fn replication(
    tx: &mut Tx<'_>,
    registry: &RegistryId,
) -> db::Result<ReplicationConfiguration> {
    let text = get(tx, registry, REPLICATION)?;
    text.map_or_else(
        || Ok(ReplicationConfiguration::default()),
        |text| from_json(&text),
    )
}

/// Whether any registry has the setting of this name.
pub(crate) fn any(tx: &mut Tx<'_>, name: &str) -> db::Result<bool> {
    let found = tx.query_optional(
        "SELECT account FROM registry_settings WHERE name = ?1 LIMIT 1",
        params![name],
        |row| Ok(row.text(0).to_owned()),
    )?;
    Ok(found.is_some())
}

pub(crate) fn put(
    tx: &mut Tx<'_>,
    registry: &RegistryId,
    name: &str,
    value: &str,
    now: Timestamp,
) -> db::Result<()> {
    tx.execute(
        "INSERT INTO registry_settings (account, region, name, value, updated_at)
         VALUES (?1, ?2, ?3, ?4, ?5)
         ON CONFLICT (account, region, name) DO UPDATE SET \
         value = excluded.value, updated_at = excluded.updated_at",
        params![
            registry.account.as_str(),
            registry.region.as_str(),
            name,
            value,
            now.as_ms()
        ],
    )?;
    journal_entries::note_registry(tx, registry)
}

pub(crate) fn delete(tx: &mut Tx<'_>, registry: &RegistryId, name: &str) -> db::Result<()> {
    tx.execute(
        "DELETE FROM registry_settings WHERE account = ?1 AND region = ?2 AND name = ?3",
        params![registry.account.as_str(), registry.region.as_str(), name],
    )?;
    journal_entries::note_registry(tx, registry)
}

/// Adds an exclusion. Returns false where there is one of this principal.
pub(crate) fn insert_exclusion(
    tx: &mut Tx<'_>,
    registry: &RegistryId,
    principal: &str,
    now: Timestamp,
) -> db::Result<bool> {
    let inserted = tx.execute(
        "INSERT INTO pull_time_exclusions (account, region, principal, created_at)
         VALUES (?1, ?2, ?3, ?4) ON CONFLICT DO NOTHING",
        params![
            registry.account.as_str(),
            registry.region.as_str(),
            principal,
            now.as_ms()
        ],
    )?;
    journal_entries::note_registry(tx, registry)?;
    Ok(inserted > 0)
}

/// Removes an exclusion. Returns false where there is none of this principal.
pub(crate) fn delete_exclusion(
    tx: &mut Tx<'_>,
    registry: &RegistryId,
    principal: &str,
) -> db::Result<bool> {
    let deleted = tx.execute(
        "DELETE FROM pull_time_exclusions \
         WHERE account = ?1 AND region = ?2 AND principal = ?3",
        params![
            registry.account.as_str(),
            registry.region.as_str(),
            principal
        ],
    )?;
    journal_entries::note_registry(tx, registry)?;
    Ok(deleted > 0)
}

pub(crate) fn is_excluded(
    tx: &mut Tx<'_>,
    registry: &RegistryId,
    principal: &str,
) -> db::Result<bool> {
    let found = tx.query_optional(
        "SELECT created_at FROM pull_time_exclusions \
         WHERE account = ?1 AND region = ?2 AND principal = ?3",
        params![
            registry.account.as_str(),
            registry.region.as_str(),
            principal
        ],
        |row| Ok(row.integer(0)),
    )?;
    Ok(found.is_some())
}

pub(crate) fn count_exclusions(tx: &mut Tx<'_>, registry: &RegistryId) -> db::Result<i64> {
    let count = tx.query_optional(
        "SELECT COUNT(*) FROM pull_time_exclusions WHERE account = ?1 AND region = ?2",
        params![registry.account.as_str(), registry.region.as_str()],
        |row| Ok(row.integer(0)),
    )?;
    Ok(count.unwrap_or_default())
}

/// Up to `limit` excluded principals after `after`, in byte order.
pub(crate) fn exclusions(
    tx: &mut Tx<'_>,
    registry: &RegistryId,
    after: &str,
    limit: i64,
) -> db::Result<Vec<String>> {
    tx.query(
        "SELECT principal FROM pull_time_exclusions \
         WHERE account = ?1 AND region = ?2 AND principal > ?3 ORDER BY principal LIMIT ?4",
        params![
            registry.account.as_str(),
            registry.region.as_str(),
            after,
            limit
        ],
        |row| Ok(row.text(0).to_owned()),
    )
}
