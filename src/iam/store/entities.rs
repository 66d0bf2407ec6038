//! Rows of `entities`: users, groups, roles and instance profiles, with the columns of `roles`.

use std::time::Duration;

use wharfinger_aws::AccountId;
use wharfinger_base::Timestamp;
use wharfinger_db::{Error, Result, Row, Tx, params};

use crate::entity::{EntityKind, EntityName, RoleUse};
use crate::store::{limit, path_range_end};

/// A row of `entities`.
#[derive(Clone, Debug)]
pub(crate) struct EntityRow {
    pub(crate) name: EntityName,
    pub(crate) created_at: Timestamp,
    /// The ARN of the permissions boundary.
    pub(crate) boundary: Option<String>,
    pub(crate) disabled_at: Option<Timestamp>,
    /// Of a role only.
    pub(crate) role: Option<RoleRow>,
}

/// A row of `roles`.
#[derive(Clone, Debug)]
pub(crate) struct RoleRow {
    /// Names principals by their unique ids.
    pub(crate) trust_policy: String,
    pub(crate) description: Option<String>,
    pub(crate) max_session: Duration,
    pub(crate) last_use: Option<RoleUse>,
}

/// Adds an entity; the columns of a role are added apart. False where the name is taken.
pub(crate) fn insert(tx: &mut Tx<'_>, account: AccountId, row: &EntityRow) -> Result<bool> {
    let sql = "INSERT INTO entities
            (account, kind, folded_name, name, path, entity_id, created_at, boundary)
        VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)
        ON CONFLICT (account, kind, folded_name) DO NOTHING";
    let name = &row.name;
    Ok(tx.execute(
        sql,
        params![
            account.as_str(),
            name.kind.as_str(),
            name.name.to_ascii_lowercase(),
            &name.name,
            &name.path,
            &name.id,
            row.created_at,
            row.boundary.as_deref()
        ],
    )? == 1)
}

/// The entity of this kind and name.
pub(crate) fn find(
    tx: &mut Tx<'_>,
    account: AccountId,
    kind: EntityKind,
    name: &str,
) -> Result<Option<EntityRow>> {
    let sql = "SELECT e.kind, e.name, e.path, e.entity_id, e.created_at, e.boundary, e.disabled_at,
            r.trust_policy, r.description, r.max_session_seconds, r.last_used_at, r.last_used_region
        FROM entities e LEFT JOIN roles r ON r.role_id = e.entity_id
        WHERE e.account = ?1 AND e.kind = ?2 AND e.folded_name = ?3";
    let folded = name.to_ascii_lowercase();
    tx.query_optional(sql, params![account.as_str(), kind.as_str(), folded], row)
}

/// The entity with this unique id.
pub(crate) fn find_by_id(
    tx: &mut Tx<'_>,
    account: AccountId,
    id: &str,
) -> Result<Option<EntityRow>> {
    let sql = "SELECT e.kind, e.name, e.path, e.entity_id, e.created_at, e.boundary, e.disabled_at,
            r.trust_policy, r.description, r.max_session_seconds, r.last_used_at, r.last_used_region
        FROM entities e LEFT JOIN roles r ON r.role_id = e.entity_id
        WHERE e.entity_id = ?1 AND e.account = ?2";
    tx.query_optional(sql, params![id, account.as_str()], row)
}

/// The account, kind, path and name of the entity with this unique id, in whichever account.
pub(crate) fn place_of(tx: &mut Tx<'_>, id: &str) -> Result<Option<(String, EntityName)>> {
    let sql = "SELECT account, kind, path, name FROM entities WHERE entity_id = ?1";
    tx.query_optional(sql, params![id], |row| {
        let name = EntityName {
            kind: kind(row.text(1))?,
            path: row.text(2).to_owned(),
            name: row.text(3).to_owned(),
            id: id.to_owned(),
        };
        Ok((row.text(0).to_owned(), name))
    })
}

/// Entities of a kind under a path prefix in order of their folded names, from after `after`
/// (empty: from the first).
pub(crate) fn page(
    tx: &mut Tx<'_>,
    account: AccountId,
    kind: EntityKind,
    path_prefix: &str,
    after: &str,
    most: usize,
) -> Result<Vec<EntityRow>> {
    let sql = "SELECT e.kind, e.name, e.path, e.entity_id, e.created_at, e.boundary, e.disabled_at,
            r.trust_policy, r.description, r.max_session_seconds, r.last_used_at, r.last_used_region
        FROM entities e LEFT JOIN roles r ON r.role_id = e.entity_id
        WHERE e.account = ?1 AND e.kind = ?2 AND e.folded_name > ?3 AND e.path >= ?4 AND e.path < ?5
        ORDER BY e.folded_name LIMIT ?6";
    tx.query(
        sql,
        params![
            account.as_str(),
            kind.as_str(),
            after.to_ascii_lowercase(),
            path_prefix,
            path_range_end(path_prefix),
            limit(most)
        ],
        row,
    )
}

/// How many entities of a kind the account has.
pub(crate) fn count(tx: &mut Tx<'_>, account: AccountId, kind: EntityKind) -> Result<i64> {
    let sql = "SELECT COUNT(*) FROM entities WHERE account = ?1 AND kind = ?2";
    let found = tx.query_optional(sql, params![account.as_str(), kind.as_str()], |row| {
        Ok(row.integer(0))
    })?;
    Ok(found.unwrap_or_default())
}

/// Reads the columns kind, name, path, id, creation, boundary, disabling, and those of `roles`.
pub(super) fn row(row: &Row<'_>) -> Result<EntityRow> {
    let role = row.optional_text(7).map(|trust_policy| RoleRow {
        trust_policy: trust_policy.to_owned(),
        description: row.optional_text(8).map(ToOwned::to_owned),
        max_session: seconds(row.optional_integer(9)),
        last_use: row.optional_integer(10).map(|at| RoleUse {
            at: Timestamp::from_ms(at),
            region: row.optional_text(11).unwrap_or_default().to_owned(),
        }),
    });
    Ok(EntityRow {
        name: EntityName {
            kind: kind(row.text(0))?,
            name: row.text(1).to_owned(),
            path: row.text(2).to_owned(),
            id: row.text(3).to_owned(),
        },
        created_at: Timestamp::from_ms(row.integer(4)),
        boundary: row.optional_text(5).map(ToOwned::to_owned),
        disabled_at: row.optional_integer(6).map(Timestamp::from_ms),
        role,
    })
}

fn seconds(stored: Option<i64>) -> Duration {
    let stored = stored.and_then(|seconds| u64::try_from(seconds).ok());
    Duration::from_secs(stored.unwrap_or_default())
}

fn kind(text: &str) -> Result<EntityKind> {
    EntityKind::of(text).ok_or_else(|| Error::other(format!("entities.kind is {text}")))
}

/// Gives the entity another name and path. The name is not taken by another one.
pub(crate) fn rename(tx: &mut Tx<'_>, account: AccountId, name: &EntityName) -> Result<()> {
    let sql = "UPDATE entities SET folded_name = ?3, name = ?4, path = ?5
        WHERE account = ?1 AND entity_id = ?2";
    tx.execute(
        sql,
        params![
            account.as_str(),
            &name.id,
            name.name.to_ascii_lowercase(),
            &name.name,
            &name.path
        ],
    )
    .map(drop)
}

/// Disables a user or enables it.
pub(crate) fn set_disabled(
    tx: &mut Tx<'_>,
    account: AccountId,
    id: &str,
    at: Option<Timestamp>,
) -> Result<()> {
    let sql = "UPDATE entities SET disabled_at = ?3 WHERE account = ?1 AND entity_id = ?2";
    tx.execute(sql, params![account.as_str(), id, at]).map(drop)
}

/// Sets or removes the permissions boundary.
pub(crate) fn set_boundary(
    tx: &mut Tx<'_>,
    account: AccountId,
    id: &str,
    arn: Option<&str>,
) -> Result<()> {
    let sql = "UPDATE entities SET boundary = ?3 WHERE account = ?1 AND entity_id = ?2";
    tx.execute(sql, params![account.as_str(), id, arn])
        .map(drop)
}

/// Removes the entity with all that belongs to it: keys, policies, tags, memberships, the settings
/// of a role and its place in instance profiles.
pub(crate) fn delete(tx: &mut Tx<'_>, account: AccountId, id: &str) -> Result<()> {
    for sql in [
        "DELETE FROM access_keys WHERE account = ?1 AND owner_id = ?2",
        "DELETE FROM identity_policies WHERE account = ?1 AND owner_id = ?2",
        "DELETE FROM identity_tags WHERE account = ?1 AND owner_id = ?2",
        "DELETE FROM group_members WHERE account = ?1 AND user_id = ?2",
        "DELETE FROM group_members WHERE account = ?1 AND group_id = ?2",
        "DELETE FROM instance_profile_roles WHERE account = ?1 AND profile_id = ?2",
        "DELETE FROM instance_profile_roles WHERE account = ?1 AND role_id = ?2",
        "DELETE FROM roles WHERE account = ?1 AND role_id = ?2",
        "DELETE FROM entities WHERE account = ?1 AND entity_id = ?2",
    ] {
        tx.execute(sql, params![account.as_str(), id])?;
    }
    Ok(())
}
