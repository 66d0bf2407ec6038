//! Rows of `role_deletions`.

use wharfinger_aws::AccountId;
use wharfinger_base::Timestamp;
use wharfinger_db::{Result, Tx, params};

/// Records the deletion of a service-linked role, and forgets those before `oldest`.
pub(crate) fn insert(
    tx: &mut Tx<'_>,
    account: AccountId,
    task_id: &str,
    now: Timestamp,
    oldest: Timestamp,
) -> Result<()> {
    let forget = "DELETE FROM role_deletions WHERE account = ?1 AND deleted_at < ?2";
    tx.execute(forget, params![account.as_str(), oldest])?;
    let sql = "INSERT INTO role_deletions (account, task_id, deleted_at) VALUES (?1, ?2, ?3)";
    tx.execute(sql, params![account.as_str(), task_id, now])
        .map(drop)
}

/// Whether a role was deleted under this task, at `oldest` or later.
pub(crate) fn exists(
    tx: &mut Tx<'_>,
    account: AccountId,
    task_id: &str,
    oldest: Timestamp,
) -> Result<bool> {
    let sql = "SELECT task_id FROM role_deletions
        WHERE account = ?1 AND task_id = ?2 AND deleted_at >= ?3";
    let found = tx.query_optional(sql, params![account.as_str(), task_id, oldest], |row| {
        Ok(row.text(0).to_owned())
    })?;
    Ok(found.is_some())
}
