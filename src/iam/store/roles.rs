//! Rows of `roles`.

use wharfinger_aws::AccountId;
use wharfinger_base::Timestamp;
use wharfinger_db::{Result, Tx, params};

use crate::entity::RoleUse;
use crate::store::entities::RoleRow;

/// Adds the settings of a role that has just been made.
pub(crate) fn insert(
    tx: &mut Tx<'_>,
    account: AccountId,
    role_id: &str,
    role: &RoleRow,
) -> Result<()> {
    let sql = "INSERT INTO roles
            (role_id, account, trust_policy, description, max_session_seconds)
        VALUES (?1, ?2, ?3, ?4, ?5)";
    tx.execute(
        sql,
        params![
            role_id,
            account.as_str(),
            &role.trust_policy,
            role.description.as_deref(),
            seconds(role)
        ],
    )
    .map(drop)
}

/// Writes all settings but the last use.
pub(crate) fn update(
    tx: &mut Tx<'_>,
    account: AccountId,
    role_id: &str,
    role: &RoleRow,
) -> Result<()> {
    let sql = "UPDATE roles SET trust_policy = ?3, description = ?4, max_session_seconds = ?5
        WHERE role_id = ?1 AND account = ?2";
    tx.execute(
        sql,
        params![
            role_id,
            account.as_str(),
            &role.trust_policy,
            role.description.as_deref(),
            seconds(role)
        ],
    )
    .map(drop)
}

fn seconds(role: &RoleRow) -> i64 {
    i64::try_from(role.max_session.as_secs()).unwrap_or(i64::MAX)
}

/// Records a use of the role, unless one at `since` or later is recorded.
pub(crate) fn record_use(
    tx: &mut Tx<'_>,
    role_id: &str,
    last_use: &RoleUse,
    since: Timestamp,
) -> Result<()> {
    let sql = "UPDATE roles SET last_used_at = ?2, last_used_region = ?3
        WHERE role_id = ?1 AND (last_used_at IS NULL OR last_used_at < ?4)";
    let params = params![role_id, last_use.at, &last_use.region, since];
    tx.execute(sql, params).map(drop)
}
