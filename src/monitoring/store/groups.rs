//! Rows of `log_groups`.

use std::collections::BTreeMap;

use wharfinger_base::Timestamp;
use wharfinger_db::{self as db, Row, Tx, params};

use crate::model::{Account, LogGroup};

/// Adds a group unless there is one of its name.
pub(crate) fn insert(tx: &mut Tx<'_>, group: &LogGroup) -> db::Result<bool> {
    let added = tx.execute(
        "INSERT INTO log_groups (group_id, account, region, name, created_at, class, tags)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7) ON CONFLICT (account, region, name) DO NOTHING",
        params![
            &group.id,
            group.account.id.as_str(),
            group.account.region.as_str(),
            &group.name,
            group.created_at,
            &group.class,
            tags_text(&group.tags)
        ],
    )?;
    Ok(added == 1)
}

pub(crate) fn by_name(
    tx: &mut Tx<'_>,
    account: &Account,
    name: &str,
) -> db::Result<Option<LogGroup>> {
    tx.query_optional(
        "SELECT group_id, name, created_at, retention_days, class, tags FROM log_groups
         WHERE account = ?1 AND region = ?2 AND name = ?3",
        params![account.id.as_str(), account.region.as_str(), name],
        |row| read(row, account),
    )
}

/// Up to `limit` groups with names from `from` on (after it, with `exclusive`) to below `to`.
pub(crate) fn page(
    tx: &mut Tx<'_>,
    account: &Account,
    after: &str,
    from: &str,
    to: &str,
    limit: i64,
) -> db::Result<Vec<LogGroup>> {
    tx.query(
        "SELECT group_id, name, created_at, retention_days, class, tags FROM log_groups
         WHERE account = ?1 AND region = ?2 AND name > ?3 AND name >= ?4 AND name < ?5
         ORDER BY name LIMIT ?6",
        params![
            account.id.as_str(),
            account.region.as_str(),
            after,
            from,
            to,
            limit
        ],
        |row| read(row, account),
    )
}

/// Up to `limit` groups of all accounts that expire events, after this identifier.
pub(crate) fn expiring(tx: &mut Tx<'_>, after: &str, limit: i64) -> db::Result<Vec<(String, i64)>> {
    tx.query(
        "SELECT group_id, retention_days FROM log_groups
         WHERE group_id > ?1 AND retention_days IS NOT NULL ORDER BY group_id LIMIT ?2",
        params![after, limit],
        |row| Ok((row.text(0).to_owned(), row.integer(1))),
    )
}

pub(crate) fn set_retention(tx: &mut Tx<'_>, id: &str, days: Option<i64>) -> db::Result<()> {
    tx.execute(
        "UPDATE log_groups SET retention_days = ?2 WHERE group_id = ?1",
        params![id, days],
    )?;
    Ok(())
}

pub(crate) fn set_tags(
    tx: &mut Tx<'_>,
    id: &str,
    tags: &BTreeMap<String, String>,
) -> db::Result<()> {
    tx.execute(
        "UPDATE log_groups SET tags = ?2 WHERE group_id = ?1",
        params![id, tags_text(tags)],
    )?;
    Ok(())
}

pub(crate) fn remove(tx: &mut Tx<'_>, id: &str) -> db::Result<()> {
    tx.execute("DELETE FROM log_groups WHERE group_id = ?1", params![id])?;
    Ok(())
}

/// The bytes of messages that a group's streams hold.
pub(crate) fn stored_bytes(tx: &mut Tx<'_>, id: &str) -> db::Result<i64> {
    let sum = tx.query_optional(
        "SELECT CAST(COALESCE(SUM(stored_bytes), 0) AS BIGINT) FROM log_streams \
         WHERE group_id = ?1",
        params![id],
        |row| Ok(row.integer(0)),
    )?;
    Ok(sum.unwrap_or_default())
}

fn read(row: &Row<'_>, account: &Account) -> db::Result<LogGroup> {
    let tags = serde_json::from_str(row.text(5));
    Ok(LogGroup {
        id: row.text(0).to_owned(),
        account: account.clone(),
        name: row.text(1).to_owned(),
        created_at: Timestamp::from_ms(row.integer(2)),
        retention_days: row.optional_integer(3),
        class: row.text(4).to_owned(),
        tags: tags.map_err(|_| db::Error::other("stored tags"))?,
    })
}

fn tags_text(tags: &BTreeMap<String, String>) -> String {
    serde_json::to_string(tags).unwrap_or_default()
}
