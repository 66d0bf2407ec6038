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
    let sql = "SELECT e.entity_id, e.name
        FROM identity_policies p JOIN entities e ON e.entity_id = p.owner_id
        WHERE p.account = ?1 AND p.kind = 'managed' AND p.name = ?2
            AND e.entity_id > ?3 AND e.entity_id < ?4 AND e.path >= ?5 AND e.path < ?6
        ORDER BY e.entity_id LIMIT ?7";
    entities(tx, sql, account, arn, range)
}

/// The users and roles that the policy is the permissions boundary of.
pub(crate) fn bounded(
    tx: &mut Tx<'_>,
    account: AccountId,
    arn: &str,
    range: EntityRange<'_>,
) -> Result<Vec<PolicyEntity>> {
    let sql = "SELECT entity_id, name FROM entities
        WHERE account = ?1 AND boundary = ?2 AND entity_id > ?3 AND entity_id < ?4
            AND path >= ?5 AND path < ?6
        ORDER BY entity_id LIMIT ?7";
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
