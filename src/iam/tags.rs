//! The tags of identities. Keys are compared without regard to the case of the letters A to Z, as
//! conditions compare them, and kept as they were set.
//!
//! Source: IAM user guide, "Tags for IAM resources".

use wharfinger_aws::AccountId;
use wharfinger_db::Tx;

use crate::error::Error;
use crate::store;

/// Most tags of an identity (the IAM quota).
const MAX_TAGS: usize = 50;

/// Sets tags of an identity.
///
/// # Errors
/// [`Error::Quota`], with the name of the quota for this kind of identity.
pub(super) fn set_tags(
    tx: &mut Tx<'_>,
    account: AccountId,
    owner_id: &str,
    tags: &[(String, String)],
    quota: &'static str,
) -> Result<(), Error> {
    remove_tags(
        tx,
        account,
        owner_id,
        tags.iter().map(|(key, _)| key.as_str()),
    )?;
    for tag in tags {
        store::tags::put(tx, account, owner_id, tag)?;
    }
    let count = store::tags::of_owner(tx, account, owner_id)?.len();
    if count > MAX_TAGS {
        let limit = MAX_TAGS;
        return Err(Error::Quota { quota, limit });
    }
    Ok(())
}

/// Removes the tags with these keys.
pub(super) fn remove_tags<'a>(
    tx: &mut Tx<'_>,
    account: AccountId,
    owner_id: &str,
    keys: impl Iterator<Item = &'a str>,
) -> Result<(), Error> {
    let keys: Vec<&str> = keys.collect();
    for (key, _) in store::tags::of_owner(tx, account, owner_id)? {
        if keys
            .iter()
            .any(|removed| removed.eq_ignore_ascii_case(&key))
        {
            store::tags::delete(tx, account, owner_id, &key)?;
        }
    }
    Ok(())
}
