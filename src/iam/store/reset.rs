//! Removes the identities of an account from all tables.

use wharfinger_aws::AccountId;
use wharfinger_db::{self as db, Tx, params};

/// What is removed. The keys of the account's root stay.
const STATEMENTS: [&str; 8] = [
    "DELETE FROM access_keys WHERE account = ?1 AND owner_id IN (SELECT user_id FROM users WHERE \
     account = ?1)",
    "DELETE FROM identity_policies WHERE account = ?1",
    "DELETE FROM identity_tags WHERE account = ?1",
    "DELETE FROM group_members WHERE account = ?1",
    "DELETE FROM groups WHERE account = ?1",
    "DELETE FROM managed_policy_versions WHERE policy_id IN (SELECT policy_id FROM \
     managed_policies WHERE account = ?1)",
    "DELETE FROM managed_policies WHERE account = ?1",
    "DELETE FROM users WHERE account = ?1",
];

/// Removes the users, groups and managed policies of the account.
pub(crate) fn remove_identities(tx: &mut Tx<'_>, account: AccountId) -> db::Result<()> {
    STATEMENTS
        .iter()
        .try_for_each(|sql| tx.execute(sql, params![account.as_str()]).map(drop))
}
