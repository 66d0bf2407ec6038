//! Rows of `repositories` and `repository_policies`.

use std::collections::BTreeMap;
use std::sync::Arc;

use wharfinger_base::Timestamp;
use wharfinger_db::{self as db, Row, Tx, params};
use wharfinger_iam::Policy;
use wharfinger_oci::RepositoryName;

use crate::model::{
    Encryption, MutabilityMode, PolicyId, RegistryId, Repository, RepositoryId, RepositorySettings,
    TagMutability,
};
use crate::store::{deletions, from_json, journal_entries, json, lifecycle, parsed, previews};

/// A row of `repositories`; the policies are only their row numbers.
#[derive(Clone, Debug)]
pub(crate) struct RepositoryRow {
    pub(crate) id: RepositoryId,
    pub(crate) registry: RegistryId,
    pub(crate) name: RepositoryName,
    pub(crate) created_at: Timestamp,
    pub(crate) settings: RepositorySettings,
    pub(crate) policy: Option<PolicyId>,
    /// That of the registry.
    pub(crate) registry_policy: Option<PolicyId>,
}

impl RepositoryRow {
    /// The repository with its policies, which must come from the row's own snapshot.
    pub(crate) fn with_policies(
        self,
        policy: Option<Arc<Policy>>,
        registry_policy: Option<Arc<Policy>>,
    ) -> Repository {
        Repository {
            id: self.id,
            registry: self.registry,
            name: self.name,
            created_at: self.created_at,
            settings: self.settings,
            policy,
            registry_policy,
        }
    }
}

pub(crate) fn insert(
    tx: &mut Tx<'_>,
    registry: &RegistryId,
    name: &RepositoryName,
    settings: &RepositorySettings,
    now: Timestamp,
) -> db::Result<RepositoryId> {
    let row = tx.query_optional(
        "INSERT INTO repositories (account, region, name, created_at, mutability, \
         mutability_filters, scan, encryption, tags)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9) RETURNING id",
        params![
            registry.account.as_str(),
            registry.region.as_str(),
            name.as_str(),
            now.as_ms(),
            mode_text(settings.mutability.mode),
            filters_text(&settings.mutability.exclusions),
            scan_text(settings.scan_on_push),
            json(&settings.encryption),
            tags_text(settings)
        ],
        |row| Ok(RepositoryId(row.integer(0))),
    )?;
    let id = row.ok_or_else(|| db::Error::other("an insert that returned no row"))?;
    journal_entries::note_repository(tx, id)?;
    Ok(id)
}

pub(crate) fn by_name(
    tx: &mut Tx<'_>,
    registry: &RegistryId,
    name: &RepositoryName,
) -> db::Result<Option<RepositoryRow>> {
    tx.query_optional(
        "SELECT r.id, r.name, r.created_at, r.mutability, r.mutability_filters, r.scan, \
         r.encryption, r.tags, r.policy_id, p.set_at, g.id, g.set_at
         FROM repositories r LEFT JOIN repository_policies p ON p.id = r.policy_id
         LEFT JOIN registry_policies g ON g.account = r.account AND g.region = r.region
         WHERE r.account = ?1 AND r.region = ?2 AND r.name = ?3",
        params![
            registry.account.as_str(),
            registry.region.as_str(),
            name.as_str()
        ],
        |row| read(row, registry),
    )
}

/// The registry and the name of the repository with this row number.
pub(crate) fn name_of(
    tx: &mut Tx<'_>,
    id: RepositoryId,
) -> db::Result<Option<(RegistryId, RepositoryName)>> {
    tx.query_optional(
        "SELECT account, region, name FROM repositories WHERE id = ?1",
        params![id.0],
        |row| {
            let registry = RegistryId {
                account: parsed(row.text(0))?,
                region: parsed(row.text(1))?,
            };
            Ok((registry, parsed(row.text(2))?))
        },
    )
}

/// The repository with this row number.
pub(crate) fn by_id(tx: &mut Tx<'_>, id: RepositoryId) -> db::Result<Option<RepositoryRow>> {
    match name_of(tx, id)? {
        Some((registry, name)) => by_name(tx, &registry, &name),
        None => Ok(None),
    }
}

/// Whether the repository still exists: operations that were given one check again inside their
/// transaction.
pub(crate) fn exists(tx: &mut Tx<'_>, id: RepositoryId) -> db::Result<bool> {
    Ok(tx
        .query_optional(
            "SELECT id FROM repositories WHERE id = ?1",
            params![id.0],
            |row| Ok(row.integer(0)),
        )?
        .is_some())
}

/// Up to `limit` repositories with names after `after`, in byte order.
pub(crate) fn page(
    tx: &mut Tx<'_>,
    registry: &RegistryId,
    after: &str,
    limit: i64,
) -> db::Result<Vec<RepositoryRow>> {
    tx.query(
        "SELECT r.id, r.name, r.created_at, r.mutability, r.mutability_filters, r.scan, \
         r.encryption, r.tags, r.policy_id, p.set_at, g.id, g.set_at
         FROM repositories r LEFT JOIN repository_policies p ON p.id = r.policy_id
         LEFT JOIN registry_policies g ON g.account = r.account AND g.region = r.region
         WHERE r.account = ?1 AND r.region = ?2 AND r.name > ?3 ORDER BY r.name LIMIT ?4",
        params![
            registry.account.as_str(),
            registry.region.as_str(),
            after,
            limit
        ],
        |row| read(row, registry),
    )
}

/// Repositories of the registry that link `digest`, up to `limit`, for a mount that names no
/// source.
pub(crate) fn linking(
    tx: &mut Tx<'_>,
    registry: &RegistryId,
    digest: &[u8],
    limit: i64,
) -> db::Result<Vec<RepositoryRow>> {
    tx.query(
        "SELECT r.id, r.name, r.created_at, r.mutability, r.mutability_filters, r.scan, \
         r.encryption, r.tags, r.policy_id, p.set_at, g.id, g.set_at
         FROM blob_links l JOIN repositories r ON r.id = l.repository_id
         LEFT JOIN repository_policies p ON p.id = r.policy_id
         LEFT JOIN registry_policies g ON g.account = r.account AND g.region = r.region
         WHERE l.digest = ?1 AND r.account = ?2 AND r.region = ?3 ORDER BY l.repository_id LIMIT \
         ?4",
        params![
            digest,
            registry.account.as_str(),
            registry.region.as_str(),
            limit
        ],
        |row| read(row, registry),
    )
}

pub(crate) fn update_mutability(
    tx: &mut Tx<'_>,
    id: RepositoryId,
    mutability: &TagMutability,
) -> db::Result<u64> {
    journal_entries::note_repository(tx, id)?;
    tx.execute(
        "UPDATE repositories SET mutability = ?1, mutability_filters = ?2 WHERE id = ?3",
        params![
            mode_text(mutability.mode),
            filters_text(&mutability.exclusions),
            id.0
        ],
    )
}

pub(crate) fn update_scan(
    tx: &mut Tx<'_>,
    id: RepositoryId,
    scan_on_push: bool,
) -> db::Result<u64> {
    journal_entries::note_repository(tx, id)?;
    tx.execute(
        "UPDATE repositories SET scan = ?1 WHERE id = ?2",
        params![scan_text(scan_on_push), id.0],
    )
}

pub(crate) fn update_tags(
    tx: &mut Tx<'_>,
    id: RepositoryId,
    settings: &RepositorySettings,
) -> db::Result<u64> {
    journal_entries::note_repository(tx, id)?;
    tx.execute(
        "UPDATE repositories SET tags = ?1 WHERE id = ?2",
        params![tags_text(settings), id.0],
    )
}

/// Deletes the repository's row, which frees its name, and records it for the cleanup, which
/// deletes its rows in other tables in batches.
pub(crate) fn delete(tx: &mut Tx<'_>, id: RepositoryId, now: Timestamp) -> db::Result<()> {
    journal_entries::note_repository(tx, id)?;
    tx.execute(
        "DELETE FROM repository_policies WHERE repository_id = ?1",
        params![id.0],
    )?;
    lifecycle::delete(tx, id)?;
    previews::delete(tx, id)?;
    tx.execute("DELETE FROM repositories WHERE id = ?1", params![id.0])?;
    deletions::insert(tx, id, now)
}

/// Up to `limit` repositories of all registries, numbered up to `last`.
pub(crate) fn ids_up_to(
    tx: &mut Tx<'_>,
    last: RepositoryId,
    limit: i64,
) -> db::Result<Vec<RepositoryId>> {
    tx.query(
        "SELECT id FROM repositories WHERE id <= ?1 ORDER BY id LIMIT ?2",
        params![last.0, limit],
        |row| Ok(RepositoryId(row.integer(0))),
    )
}

/// The newest repository of all registries.
pub(crate) fn last_id(tx: &mut Tx<'_>) -> db::Result<Option<RepositoryId>> {
    tx.query_optional(
        "SELECT id FROM repositories ORDER BY id DESC LIMIT 1",
        params![],
        |row| Ok(RepositoryId(row.integer(0))),
    )
}

pub(crate) fn put_policy(
    tx: &mut Tx<'_>,
    id: RepositoryId,
    text: &str,
    now: Timestamp,
) -> db::Result<PolicyId> {
    delete_policy(tx, id)?;
    let row = tx.query_optional(
        "INSERT INTO repository_policies (repository_id, text, set_at) VALUES (?1, ?2, ?3) \
         RETURNING id",
        params![id.0, text, now.as_ms()],
        |row| Ok(row.integer(0)),
    )?;
    let policy = row.ok_or_else(|| db::Error::other("an insert that returned no row"))?;
    tx.execute(
        "UPDATE repositories SET policy_id = ?1 WHERE id = ?2",
        params![policy, id.0],
    )?;
    Ok(PolicyId {
        row: policy,
        set_at: now,
    })
}

pub(crate) fn delete_policy(tx: &mut Tx<'_>, id: RepositoryId) -> db::Result<()> {
    journal_entries::note_repository(tx, id)?;
    tx.execute(
        "DELETE FROM repository_policies WHERE repository_id = ?1",
        params![id.0],
    )?;
    tx.execute(
        "UPDATE repositories SET policy_id = NULL WHERE id = ?1",
        params![id.0],
    )?;
    Ok(())
}

pub(crate) fn policy_text(tx: &mut Tx<'_>, id: PolicyId) -> db::Result<Option<String>> {
    tx.query_optional(
        "SELECT text FROM repository_policies WHERE id = ?1",
        params![id.row],
        |row| Ok(row.text(0).to_owned()),
    )
}

fn read(row: &Row<'_>, registry: &RegistryId) -> db::Result<RepositoryRow> {
    let filters = row.text(4);
    let tags = row.text(7);
    Ok(RepositoryRow {
        id: RepositoryId(row.integer(0)),
        registry: registry.clone(),
        name: parsed(row.text(1))?,
        created_at: Timestamp::from_ms(row.integer(2)),
        settings: RepositorySettings {
            mutability: TagMutability {
                mode: mode_of(row.text(3))?,
                exclusions: if filters.is_empty() {
                    Vec::new()
                } else {
                    from_json(filters)?
                },
            },
            scan_on_push: row.text(5) == "on_push",
            encryption: encryption_of(row.text(6))?,
            tags: if tags.is_empty() {
                BTreeMap::new()
            } else {
                from_json(tags)?
            },
        },
        policy: row.optional_integer(8).map(|policy| PolicyId {
            row: policy,
            // Null where the text is missing, which is an error for whoever reads it.
            set_at: Timestamp::from_ms(row.optional_integer(9).unwrap_or_default()),
        }),
        registry_policy: row.optional_integer(10).map(|policy| PolicyId {
            row: policy,
            set_at: Timestamp::from_ms(row.optional_integer(11).unwrap_or_default()),
        }),
    })
}

/// The default costs no parsing: nearly every repository has it.
fn encryption_of(text: &str) -> db::Result<Encryption> {
    if text == r#"{"kind":"AES256","kms_key":null}"# {
        Ok(Encryption::default())
    } else {
        from_json(text)
    }
}

const fn mode_text(mode: MutabilityMode) -> &'static str {
    match mode {
        MutabilityMode::Mutable => "MUTABLE",
        MutabilityMode::Immutable => "IMMUTABLE",
        MutabilityMode::MutableWithExclusion => "MUTABLE_WITH_EXCLUSION",
        MutabilityMode::ImmutableWithExclusion => "IMMUTABLE_WITH_EXCLUSION",
    }
}

fn mode_of(text: &str) -> db::Result<MutabilityMode> {
    use MutabilityMode::{Immutable, ImmutableWithExclusion, Mutable, MutableWithExclusion};
    let modes = [
        Mutable,
        Immutable,
        MutableWithExclusion,
        ImmutableWithExclusion,
    ];
    modes
        .into_iter()
        .find(|mode| mode_text(*mode) == text)
        .ok_or_else(|| db::Error::other("a stored tag mutability"))
}

const fn scan_text(scan_on_push: bool) -> &'static str {
    if scan_on_push { "on_push" } else { "manual" }
}

fn filters_text(exclusions: &Vec<String>) -> String {
    if exclusions.is_empty() {
        String::new()
    } else {
        json(exclusions)
    }
}

fn tags_text(settings: &RepositorySettings) -> String {
    if settings.tags.is_empty() {
        String::new()
    } else {
        json(&settings.tags)
    }
}
