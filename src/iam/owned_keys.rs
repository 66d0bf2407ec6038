//! Access keys as the IAM API manages them: through the user or root that owns them, so that a
//! permission on one user reaches the keys of no other.

use wharfinger_aws::AccountId;
use wharfinger_db::Tx;

use crate::error::Error;
use crate::principal::UserName;
use crate::store;
use crate::store::access_keys::{self, KeyUse};
use crate::user_records::same_user;
use crate::users::Users;

/// Who owns access keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyOwner<'a> {
    Root,
    User(&'a UserName),
}

impl<'a> KeyOwner<'a> {
    fn to_user(self) -> Option<UserName> {
        match self {
            Self::Root => None,
            Self::User(user) => Some(user.clone()),
        }
    }

    /// The user's name; `None` for the root.
    #[must_use]
    pub fn name(self) -> Option<&'a str> {
        match self {
            Self::Root => None,
            Self::User(user) => Some(&user.name),
        }
    }
}

/// An access key, the name of the user that owns it, and its last use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyRecord {
    /// `None` for the root's keys.
    pub user: Option<String>,
    /// At most an hour old; `None` for a key that never signed a request.
    pub last_use: Option<KeyUse>,
}

impl Users {
    /// Disables or enables a key of this owner.
    ///
    /// # Errors
    /// [`Error::NoSuchKey`] also for a key of another owner.
    pub async fn set_key_disabled(
        &self,
        account: AccountId,
        owner: KeyOwner<'_>,
        access_key_id: &str,
        disabled: bool,
    ) -> Result<(), Error> {
        let at = disabled.then(|| self.clock.now());
        self.change_owned_key(account, owner, access_key_id, move |tx, id| {
            access_keys::set_disabled(tx, account, id, at)
        })
        .await
    }

    /// Deletes a key of this owner.
    ///
    /// # Errors
    /// [`Error::NoSuchKey`] also for a key of another owner.
    pub async fn remove_key(
        &self,
        account: AccountId,
        owner: KeyOwner<'_>,
        access_key_id: &str,
    ) -> Result<(), Error> {
        self.change_owned_key(account, owner, access_key_id, move |tx, id| {
            access_keys::delete(tx, account, id)
        })
        .await
    }

    async fn change_owned_key(
        &self,
        account: AccountId,
        owner: KeyOwner<'_>,
        access_key_id: &str,
        work: impl Fn(&mut Tx<'_>, &str) -> wharfinger_db::Result<bool> + Send + 'static,
    ) -> Result<(), Error> {
        let (owner, id) = (owner.to_user(), access_key_id.to_owned());
        self.db
            .write(move |tx| {
                let owner_id = match &owner {
                    Some(user) => same_user(tx, account, user)?.user.id,
                    None => store::ROOT.to_owned(),
                };
                let keys = access_keys::of_owner(tx, account, &owner_id)?;
                if keys.iter().any(|key| key.access_key_id == id) && work(tx, &id)? {
                    Ok(())
                } else {
                    Err(Error::NoSuchKey(id.clone()))
                }
            })
            .await
    }

    /// The owner and the last use of a key of the account.
    pub async fn key_record(
        &self,
        account: AccountId,
        access_key_id: &str,
    ) -> Result<Option<KeyRecord>, Error> {
        let id = access_key_id.to_owned();
        let found = self.db.read(move |tx| access_keys::find(tx, &id)).await?;
        let found = found.filter(|row| row.account == account.as_str());
        Ok(found.map(|row| KeyRecord {
            user: row.owner.map(|owner| owner.user.name),
            last_use: row.last_use,
        }))
    }
}
