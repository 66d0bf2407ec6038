//! Removes the identities of an account from all tables.

use wharfinger_aws::AccountId;
use wharfinger_db::{self as db, Tx, params};

/// What is removed. The keys of the account's root stay.
const STATEMENTS: [&str; 13] = [
    "DELETE FROM access_keys WHERE account = ?1 AND owner_id <> 'root'",
    "DELETE FROM identity_policies WHERE account = ?1",
    "DELETE FROM identity_tags WHERE account = ?1",
    "DELETE FROM group_members WHERE account = ?1",
    "DELETE FROM instance_profile_roles WHERE account = ?1",
    "DELETE FROM role_deletions WHERE account = ?1",
    "DELETE FROM roles WHERE account = ?1",
    "DELETE FROM managed_policy_versions WHERE policy_id IN (SELECT policy_id FROM \
     managed_policies WHERE account = ?1)",
    "DELETE FROM managed_policies WHERE account = ?1",
    "DELETE FROM oidc_providers WHERE account = ?1",
    "DELETE FROM entities WHERE account = ?1",
    "DELETE FROM account_aliases WHERE account = ?1",
    "DELETE FROM credential_reports WHERE account = ?1",
];

/// Removes the entities and managed policies of the account.
pub(crate) fn remove_identities(tx: &mut Tx<'_>, account: AccountId) -> db::Result<()> {
    STATEMENTS
        .iter()
        .try_for_each(|sql| tx.execute(sql, params![account.as_str()]).map(drop))
}
