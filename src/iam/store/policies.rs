//! Rows of `identity_policies`.

use wharfinger_aws::AccountId;
use wharfinger_base::Timestamp;
use wharfinger_db::{Result, Row, Tx, params};

/// The kind of an inline policy, which is stored under its name.
pub(crate) const INLINE: &str = "inline";
/// The kind of a managed policy, which is stored under its ARN.
pub(crate) const MANAGED: &str = "managed";

/// A row of `identity_policies`: an inline policy by its name, with its document, or a managed one
/// by its ARN.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PolicyRow {
    pub(crate) name: String,
    pub(crate) document: Option<String>,
}

impl PolicyRow {
    const fn kind(&self) -> &'static str {
        if self.document.is_some() {
            INLINE
        } else {
            MANAGED
        }
    }
}

fn policy_row(row: &Row<'_>) -> PolicyRow {
    PolicyRow {
        name: row.text(0).to_owned(),
        document: row.optional_text(1).map(ToOwned::to_owned),
    }
}

/// The policies of an identity, inline ones first.
pub(crate) fn of_owner(
    tx: &mut Tx<'_>,
    account: AccountId,
    owner_id: &str,
) -> Result<Vec<PolicyRow>> {
    let sql = "SELECT name, document FROM identity_policies
        WHERE account = ?1 AND owner_id = ?2 ORDER BY kind, name";
    tx.query(sql, params![account.as_str(), owner_id], |row| {
        Ok(policy_row(row))
    })
}

/// The policies of all groups that the user belongs to, each with the path and the name of its
/// group.
pub(crate) fn of_groups(
    tx: &mut Tx<'_>,
    account: AccountId,
    user_id: &str,
) -> Result<Vec<(PolicyRow, String)>> {
    let sql = "SELECT p.name, p.document, e.path, e.name FROM group_members m
        JOIN identity_policies p ON p.account = m.account AND p.owner_id = m.group_id
        JOIN entities e ON e.entity_id = m.group_id
        WHERE m.account = ?1 AND m.user_id = ?2 ORDER BY m.group_id, p.kind, p.name";
    tx.query(sql, params![account.as_str(), user_id], |row| {
        let group = format!("{}{}", row.text(2), row.text(3));
        Ok((policy_row(row), group))
    })
}

/// Attaches a policy, or replaces the inline one of the same name.
pub(crate) fn put(
    tx: &mut Tx<'_>,
    account: AccountId,
    owner_id: &str,
    policy: &PolicyRow,
    now: Timestamp,
) -> Result<()> {
    let sql = "INSERT INTO identity_policies (account, owner_id, kind, name, document, attached_at)
        VALUES (?1, ?2, ?3, ?4, ?5, ?6)
        ON CONFLICT (account, owner_id, kind, name)
        DO UPDATE SET document = excluded.document, attached_at = excluded.attached_at";
    tx.execute(
        sql,
        params![
            account.as_str(),
            owner_id,
            policy.kind(),
            &policy.name,
            policy.document.as_deref(),
            now
        ],
    )
    .map(drop)
}

/// False where no policy of this kind and name hangs on the identity.
pub(crate) fn delete(
    tx: &mut Tx<'_>,
    account: AccountId,
    owner_id: &str,
    kind: &str,
    name: &str,
) -> Result<bool> {
    let sql = "DELETE FROM identity_policies
        WHERE account = ?1 AND owner_id = ?2 AND kind = ?3 AND name = ?4";
    Ok(tx.execute(sql, params![account.as_str(), owner_id, kind, name])? == 1)
}
