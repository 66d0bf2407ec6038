//! Operations on access keys, of users and of the account's root.

use wharfinger_aws::AccountId;
use wharfinger_base::Timestamp;
use wharfinger_db::Tx;

use crate::entities::existing;
use crate::entity::EntityKind;
use crate::error::Error;
use crate::store::access_keys::AccessKeySummary;
use crate::store::{self, access_keys};
use crate::users::{NewAccessKey, Users};

/// Access keys that a user or the root may have (the IAM quota): the one in use, and its successor
/// while it is being replaced.
pub const MAX_KEYS: usize = 2;

impl Users {
    /// The access keys of a user, or of the account's root where `name` is `None`.
    pub async fn keys(
        &self,
        account: AccountId,
        name: Option<&str>,
    ) -> Result<Vec<AccessKeySummary>, Error> {
        let name = name.map(ToOwned::to_owned);
        self.db
            .read(move |tx| {
                let owner = owner_id(tx, account, name.as_deref())?;
                Ok(access_keys::of_owner(tx, account, &owner)?)
            })
            .await
    }

    /// Creates another access key, of [`MAX_KEYS`] at most; for the account's root where `name` is
    /// `None`.
    pub async fn add_key(
        &self,
        account: AccountId,
        name: Option<&str>,
    ) -> Result<NewAccessKey, Error> {
        self.new_key_for(account, name, |_, _, _| Ok(())).await
    }

    /// Replaces all access keys of the user (or root) by a new one.
    pub async fn rotate_key(
        &self,
        account: AccountId,
        name: Option<&str>,
    ) -> Result<NewAccessKey, Error> {
        self.new_key_for(account, name, move |tx, account, owner| {
            for key in access_keys::of_owner(tx, account, owner)? {
                access_keys::delete(tx, account, &key.access_key_id)?;
            }
            Ok(())
        })
        .await
    }

    async fn new_key_for(
        &self,
        account: AccountId,
        name: Option<&str>,
        first: impl Fn(&mut Tx<'_>, AccountId, &str) -> Result<(), Error> + Send + 'static,
    ) -> Result<NewAccessKey, Error> {
        let (key, sealed) = self.new_key(account, name);
        let (now, id, name) = (
            self.clock.now(),
            key.access_key_id.clone(),
            name.map(ToOwned::to_owned),
        );
        self.db
            .write(move |tx| {
                let owner = owner_id(tx, account, name.as_deref())?;
                first(tx, account, &owner)?;
                insert_key(tx, account, &owner, &id, &sealed, now)
            })
            .await?;
        Ok(key)
    }

    pub async fn disable_key(&self, account: AccountId, access_key_id: &str) -> Result<(), Error> {
        let now = self.clock.now();
        self.change_key(access_key_id, move |tx, id| {
            access_keys::set_disabled(tx, account, id, Some(now))
        })
        .await
    }

    pub async fn enable_key(&self, account: AccountId, access_key_id: &str) -> Result<(), Error> {
        self.change_key(access_key_id, move |tx, id| {
            access_keys::set_disabled(tx, account, id, None)
        })
        .await
    }

    pub async fn delete_key(&self, account: AccountId, access_key_id: &str) -> Result<(), Error> {
        self.change_key(access_key_id, move |tx, id| {
            access_keys::delete(tx, account, id)
        })
        .await
    }

    async fn change_key(
        &self,
        access_key_id: &str,
        work: impl Fn(&mut Tx<'_>, &str) -> wharfinger_db::Result<bool> + Send + 'static,
    ) -> Result<(), Error> {
        let id = access_key_id.to_owned();
        self.db
            .write(move |tx| {
                if work(tx, &id)? {
                    Ok(())
                } else {
                    Err(Error::NoSuchKey(id.clone()))
                }
            })
            .await
    }

    /// Makes the account, and an access key of its root where the root has none, enabled or not.
    /// Deleting the last key of the root therefore means a new one at the next start; a disabled
    /// key keeps the root without access.
    pub(super) async fn bootstrap(
        &self,
        account: AccountId,
    ) -> Result<Option<NewAccessKey>, Error> {
        let (key, sealed) = self.new_key(account, None);
        let (now, id) = (self.clock.now(), key.access_key_id.clone());
        let made = self.db.write(move |tx| -> Result<bool, Error> {
            store::insert_account(tx, account, now)?;
            let missing = access_keys::of_owner(tx, account, store::ROOT)?.is_empty();
            if missing {
                access_keys::insert(tx, account, store::ROOT, &id, &sealed, now)?;
            }
            Ok(missing)
        });
        Ok(made.await?.then_some(key))
    }
}

fn owner_id(tx: &mut Tx<'_>, account: AccountId, name: Option<&str>) -> Result<String, Error> {
    match name {
        Some(name) => Ok(existing(tx, account, EntityKind::User, name)?.name.id),
        None => Ok(store::ROOT.to_owned()),
    }
}

/// Adds a key of an owner that has fewer than [`MAX_KEYS`].
pub(super) fn insert_key(
    tx: &mut Tx<'_>,
    account: AccountId,
    owner_id: &str,
    access_key_id: &str,
    sealed_secret: &[u8],
    now: Timestamp,
) -> Result<(), Error> {
    if access_keys::of_owner(tx, account, owner_id)?.len() >= MAX_KEYS {
        return Err(Error::LimitExceeded {
            what: "access keys",
            limit: MAX_KEYS,
        });
    }
    store::insert_account(tx, account, now)?;
    Ok(access_keys::insert(
        tx,
        account,
        owner_id,
        access_key_id,
        sealed_secret,
        now,
    )?)
}
