//! The users, groups and roles that use a managed policy.

use wharfinger_aws::AccountId;
use wharfinger_db::{Result, Row, Tx, params};

use crate::store::{limit, path_range_end};

/// A user, group or role that a policy is attached to, or that it bounds.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct PolicyEntity {
    /// `AIDA…`, `AGPA…` or `AROA…`.
    pub id: String,
    pub name: String,
}

/// Which entities are wanted, in the order of their ids.
#[derive(Clone, Copy, Debug)]
pub(crate) struct EntityRange<'a> {
    /// The id to continue after.
    pub(crate) after: &'a str,
    /// The first id that is not wanted any more.
    pub(crate) before: &'a str,
    pub(crate) path_prefix: &'a str,
    pub(crate) limit: usize,
}

/// The entities that the policy is attached to.
pub(crate) fn attached(
    tx: &mut Tx<'_>,
    account: AccountId,
    arn: &str,
    range: EntityRange<'_>,
) -> Result<Vec<PolicyEntity>> {
    let sql = "SELECT e.id, e.name FROM (
            SELECT p.owner_id AS id, u.name AS name, u.path AS path
            FROM identity_policies p
            JOIN users u ON u.account = p.account AND u.user_id = p.owner_id
            WHERE p.account = ?1 AND p.kind = 'managed' AND p.name = ?2
            UNION ALL
            SELECT p.owner_id AS id, g.name AS name, g.path AS path
            FROM identity_policies p
            JOIN groups g ON g.account = p.account AND g.group_id = p.owner_id
            WHERE p.account = ?1 AND p.kind = 'managed' AND p.name = ?2
        ) e WHERE e.id > ?3 AND e.id < ?4 AND e.path >= ?5 AND e.path < ?6
        ORDER BY e.id LIMIT ?7";
    entities(tx, sql, account, arn, range)
}

/// The users that the policy is the permissions boundary of.
pub(crate) fn bounded(
    tx: &mut Tx<'_>,
    account: AccountId,
    arn: &str,
    range: EntityRange<'_>,
) -> Result<Vec<PolicyEntity>> {
    let sql = "SELECT user_id, name FROM users
        WHERE account = ?1 AND boundary = ?2 AND user_id > ?3 AND user_id < ?4
            AND path >= ?5 AND path < ?6
        ORDER BY user_id LIMIT ?7";
    entities(tx, sql, account, arn, range)
}

fn entities(
    tx: &mut Tx<'_>,
    sql: &'static str,
    account: AccountId,
    arn: &str,
    range: EntityRange<'_>,
) -> Result<Vec<PolicyEntity>> {
    tx.query(
        sql,
        params![
            account.as_str(),
            arn,
            range.after,
            range.before,
            range.path_prefix,
            path_range_end(range.path_prefix),
            limit(range.limit)
        ],
        |row: &Row<'_>| {
            Ok(PolicyEntity {
                id: row.text(0).to_owned(),
                name: row.text(1).to_owned(),
            })
        },
    )
}
