//! Access keys as the IAM API manages them: through the user or root that owns them, so that a
//! permission on one user reaches the keys of no other.

use wharfinger_aws::AccountId;
use wharfinger_base::Timestamp;
use wharfinger_db::Tx;

use crate::access_keys::insert_key;
use crate::entities::current;
use crate::entity::EntityName;
use crate::error::Error;
use crate::store;
use crate::store::access_keys::{self, AccessKeySummary, KeyUse};
use crate::users::{NewAccessKey, Users};

/// Who owns access keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyOwner<'a> {
    Root,
    User(&'a EntityName),
}

impl<'a> KeyOwner<'a> {
    fn to_user(self) -> Option<EntityName> {
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
    /// Creates another access key of this owner, of [`crate::MAX_KEYS`] at most.
    ///
    /// # Errors
    /// [`Error::LimitExceeded`], [`Error::NoSuchEntity`].
    pub async fn add_owned_key(
        &self,
        account: AccountId,
        owner: KeyOwner<'_>,
    ) -> Result<NewAccessKey, Error> {
        let (key, sealed) = self.new_key(account, owner.name());
        let (owner, id, now) = (owner.to_user(), key.access_key_id.clone(), self.clock.now());
        self.db
            .write(move |tx| {
                let owner_id = owner_id(tx, account, owner.as_ref())?;
                insert_key(tx, account, &owner_id, &id, &sealed, now)
            })
            .await?;
        Ok(key)
    }

    /// The access keys of this owner.
    pub async fn owned_keys(
        &self,
        account: AccountId,
        owner: KeyOwner<'_>,
    ) -> Result<Vec<AccessKeySummary>, Error> {
        let owner = owner.to_user();
        self.db
            .read(move |tx| {
                let owner_id = owner_id(tx, account, owner.as_ref())?;
                Ok(access_keys::of_owner(tx, account, &owner_id)?)
            })
            .await
    }

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
                let owner_id = owner_id(tx, account, owner.as_ref())?;
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
            user: row.owner.map(|owner| owner.name.name),
            last_use: row.last_use,
        }))
    }

    /// When the account was made: what the IAM API shows as the creation of its root.
    pub async fn root_created_at(&self, account: AccountId) -> Result<Timestamp, Error> {
        let found = self
            .db
            .read(move |tx| store::account_created_at(tx, account));
        Ok(found.await?.unwrap_or_else(|| self.clock.now()))
    }
}

/// What keys name their owner by: the id of a user that still exists, or the root's.
fn owner_id(
    tx: &mut Tx<'_>,
    account: AccountId,
    user: Option<&EntityName>,
) -> Result<String, Error> {
    match user {
        Some(user) => Ok(current(tx, account, user)?.name.id),
        None => Ok(store::ROOT.to_owned()),
    }
}
