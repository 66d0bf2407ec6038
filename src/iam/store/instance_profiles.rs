//! Rows of `instance_profile_roles`.

use wharfinger_aws::AccountId;
use wharfinger_base::Timestamp;
use wharfinger_db::{Result, Tx, params};

use crate::store::entities::{EntityRow, row};
use crate::store::limit;

/// The role of an instance profile.
pub(crate) fn role_of(
    tx: &mut Tx<'_>,
    account: AccountId,
    profile_id: &str,
) -> Result<Option<EntityRow>> {
    let sql = "SELECT e.kind, e.name, e.path, e.entity_id, e.created_at, e.boundary, e.disabled_at,
            r.trust_policy, r.description, r.max_session_seconds, r.last_used_at, r.last_used_region
        FROM instance_profile_roles p
        JOIN entities e ON e.entity_id = p.role_id JOIN roles r ON r.role_id = p.role_id
        WHERE p.account = ?1 AND p.profile_id = ?2";
    tx.query_optional(sql, params![account.as_str(), profile_id], row)
}

/// The instance profiles of a role in order of their folded names, from after `after` (empty: from
/// the first).
pub(crate) fn of_role(
    tx: &mut Tx<'_>,
    account: AccountId,
    role_id: &str,
    after: &str,
    most: usize,
) -> Result<Vec<EntityRow>> {
    let sql = "SELECT e.kind, e.name, e.path, e.entity_id, e.created_at, e.boundary, e.disabled_at,
            NULL
        FROM instance_profile_roles p JOIN entities e ON e.entity_id = p.profile_id
        WHERE p.account = ?1 AND p.role_id = ?2 AND e.folded_name > ?3
        ORDER BY e.folded_name LIMIT ?4";
    let after = after.to_ascii_lowercase();
    let params = params![account.as_str(), role_id, after, limit(most)];
    tx.query(sql, params, row)
}

/// Gives a profile its role. False where it has one.
pub(crate) fn insert(
    tx: &mut Tx<'_>,
    account: AccountId,
    profile_id: &str,
    role_id: &str,
    now: Timestamp,
) -> Result<bool> {
    let sql = "INSERT INTO instance_profile_roles (account, profile_id, role_id, added_at)
        VALUES (?1, ?2, ?3, ?4) ON CONFLICT (account, profile_id) DO NOTHING";
    Ok(tx.execute(sql, params![account.as_str(), profile_id, role_id, now])? == 1)
}

/// False where the profile has not this role.
pub(crate) fn delete(
    tx: &mut Tx<'_>,
    account: AccountId,
    profile_id: &str,
    role_id: &str,
) -> Result<bool> {
    let sql = "DELETE FROM instance_profile_roles
        WHERE account = ?1 AND profile_id = ?2 AND role_id = ?3";
    Ok(tx.execute(sql, params![account.as_str(), profile_id, role_id])? == 1)
}
