//! The verbs on users, their access keys and their policies. A change by any process that shares
//! the index is felt by all within a second.

use std::sync::Arc;

use wharfinger_aws::{AccountId, Arn};
use wharfinger_base::{Clock, Ids, Page, Secret, Timestamp};
use wharfinger_db::{Db, Tx};

use crate::error::Error;
use crate::managed::managed_policy;
use crate::policy::{Grammar, Policy};
use crate::principal::{Caller, Principal, UserName};
use crate::seal::Seal;
use crate::store::{self, AccessKeySummary, PolicyRow, UserRow};

/// Access keys a user or root may have (the IAM quota): the one in use, and its successor while it
/// is being replaced.
pub const MAX_KEYS: usize = 2;
/// Policies a user may carry: twice the IAM quota of ten managed ones, since inline ones count here
/// too.
pub const MAX_POLICIES: usize = 20;
/// Longest user name (the IAM limit), in characters, all of which are ASCII.
const MAX_NAME_BYTES: usize = 64;
/// Longest name of an inline policy (the IAM limit).
const MAX_POLICY_NAME_BYTES: usize = 128;
/// Most users in one page.
const MAX_PAGE: usize = 1_000;

/// Ids are base 32 as AWS's are; secrets base 64. 16 characters of the one hold 80 bits, 40 of the
/// other 240.
const ID_ALPHABET: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
const SECRET_ALPHABET: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// An access key at the only moment when its secret can be shown.
#[derive(Clone, Debug)]
pub struct NewAccessKey {
    pub account: AccountId,
    /// `None` for the root.
    pub user: Option<String>,
    pub access_key_id: String,
    pub secret_access_key: Secret<String>,
}

/// A policy to hang on a user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PolicyAttachment(PolicyRow);

impl PartialEq for PolicyRow {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name && self.document == other.document
    }
}

impl Eq for PolicyRow {}

impl PolicyAttachment {
    /// A managed policy by name or ARN.
    pub fn managed(name: &str) -> Result<Self, Error> {
        let policy = managed_policy(name).ok_or_else(|| Error::NoSuchPolicy(name.to_owned()))?;
        Ok(Self(PolicyRow {
            name: policy.name.as_ref().to_owned(),
            document: None,
        }))
    }

    /// A document of the user's own, under a name of 1 to 128 letters, digits and `+=,.@_-`.
    pub fn inline(name: &str, document: &str) -> Result<Self, Error> {
        check_name(name, MAX_POLICY_NAME_BYTES)?;
        Policy::parse(document, Grammar::Identity)?;
        Ok(Self(PolicyRow {
            name: name.to_owned(),
            document: Some(document.to_owned()),
        }))
    }
}

/// A user as listed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UserSummary {
    pub name: String,
    pub id: String,
    pub arn: Arn,
    pub created_at: Timestamp,
    pub disabled_at: Option<Timestamp>,
    pub keys: Vec<AccessKeySummary>,
    /// Names of the policies, managed ones last.
    pub policies: Vec<String>,
}

/// Users, keys and attachments of all accounts in the index.
#[derive(Clone)]
pub struct Users {
    pub(super) db: Db,
    pub(super) seal: Arc<Seal>,
    pub(super) clock: Clock,
    pub(super) ids: Ids,
}

impl Users {
    /// Makes a user with a first access key.
    pub async fn create(
        &self,
        account: AccountId,
        name: &str,
        policies: Vec<PolicyAttachment>,
    ) -> Result<NewAccessKey, Error> {
        check_name(name, MAX_NAME_BYTES)?;
        if policies.len() > MAX_POLICIES {
            return Err(Error::LimitExceeded {
                what: "policies",
                limit: MAX_POLICIES,
            });
        }
        let id = format!("AIDA{}", self.ids.text(ID_ALPHABET, 17));
        let user = UserName {
            path: "/".to_owned(),
            name: name.to_owned(),
            id,
        };
        let (key, sealed) = self.new_key(account, Some(name));
        let (now, stored) = (self.clock.now(), key.access_key_id.clone());
        self.db
            .write(move |tx| {
                store::insert_account(tx, account, now)?;
                if !store::insert_user(tx, account, &user, now)? {
                    return Err(Error::UserExists(user.name.clone()));
                }
                store::insert_key(tx, account, &user.id, &stored, &sealed, now)?;
                policies
                    .iter()
                    .try_for_each(|policy| store::put_policy(tx, account, &user.id, &policy.0, now))
                    .map_err(Error::from)
            })
            .await?;
        Ok(key)
    }

    /// Users by name, at most `limit` (and 1,000) of them, from after the name `after`.
    pub async fn list(
        &self,
        account: AccountId,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Page<UserSummary>, Error> {
        let (after, limit) = (
            after.unwrap_or_default().to_owned(),
            limit.clamp(1, MAX_PAGE),
        );
        let users = self.db.read(move |tx| {
            let rows = store::users(tx, account, &after, limit + 1)?;
            rows.into_iter()
                .map(|row| summary(tx, account, row))
                .collect::<Result<Vec<_>, Error>>()
        });
        Ok(Page::of(users.await?, limit, |user| user.name.clone()))
    }

    /// Refuses the user at every door, keys and tokens alike, until it is enabled.
    pub async fn disable(&self, account: AccountId, name: &str) -> Result<(), Error> {
        self.set_disabled(account, name, Some(self.clock.now()))
            .await
    }

    pub async fn enable(&self, account: AccountId, name: &str) -> Result<(), Error> {
        self.set_disabled(account, name, None).await
    }

    async fn set_disabled(
        &self,
        account: AccountId,
        name: &str,
        at: Option<Timestamp>,
    ) -> Result<(), Error> {
        self.change(account, name, move |tx, row| {
            Ok(store::set_user_disabled(tx, account, &row.user.id, at)?)
        })
        .await
    }

    /// Removes the user, its keys and its policies for good.
    pub async fn delete(&self, account: AccountId, name: &str) -> Result<(), Error> {
        self.change(account, name, move |tx, row| {
            Ok(store::delete_user(tx, account, &row.user.id)?)
        })
        .await
    }

    /// Hangs a policy on the user; an inline one replaces that of the same name.
    pub async fn attach(
        &self,
        account: AccountId,
        name: &str,
        policy: PolicyAttachment,
    ) -> Result<(), Error> {
        let now = self.clock.now();
        self.change(account, name, move |tx, row| {
            let held = store::policies_of(tx, account, &row.user.id)?;
            if held.len() >= MAX_POLICIES && !held.iter().any(|held| held.name == policy.0.name) {
                return Err(Error::LimitExceeded {
                    what: "policies",
                    limit: MAX_POLICIES,
                });
            }
            Ok(store::put_policy(
                tx,
                account,
                &row.user.id,
                &policy.0,
                now,
            )?)
        })
        .await
    }

    /// Takes a policy (managed or inline, by name or ARN) off the user.
    pub async fn detach(&self, account: AccountId, name: &str, policy: &str) -> Result<(), Error> {
        let policy = managed_policy(policy).map_or_else(
            || policy.to_owned(),
            |managed| managed.name.as_ref().to_owned(),
        );
        self.change(account, name, move |tx, row| {
            if store::delete_policy(tx, account, &row.user.id, &policy)? {
                Ok(())
            } else {
                Err(Error::NotAttached(policy.clone()))
            }
        })
        .await
    }

    /// A further access key, at most [`MAX_KEYS`]; for the account's root where `name` is `None`.
    pub async fn add_key(
        &self,
        account: AccountId,
        name: Option<&str>,
    ) -> Result<NewAccessKey, Error> {
        self.new_key_for(account, name, |_, _, _| Ok(())).await
    }

    /// A new access key in place of all that the user (or root) had.
    pub async fn rotate_key(
        &self,
        account: AccountId,
        name: Option<&str>,
    ) -> Result<NewAccessKey, Error> {
        self.new_key_for(account, name, move |tx, account, owner| {
            for key in store::keys_of(tx, account, owner)? {
                store::delete_key(tx, account, &key.access_key_id)?;
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
                let owner = match &name {
                    Some(name) => existing(tx, account, name)?.user.id,
                    None => store::ROOT.to_owned(),
                };
                first(tx, account, &owner)?;
                if store::keys_of(tx, account, &owner)?.len() >= MAX_KEYS {
                    return Err(Error::LimitExceeded {
                        what: "access keys",
                        limit: MAX_KEYS,
                    });
                }
                store::insert_account(tx, account, now)?;
                Ok(store::insert_key(tx, account, &owner, &id, &sealed, now)?)
            })
            .await?;
        Ok(key)
    }

    pub async fn disable_key(&self, account: AccountId, access_key_id: &str) -> Result<(), Error> {
        let now = self.clock.now();
        self.change_key(access_key_id, move |tx, id| {
            store::set_key_disabled(tx, account, id, Some(now))
        })
        .await
    }

    pub async fn enable_key(&self, account: AccountId, access_key_id: &str) -> Result<(), Error> {
        self.change_key(access_key_id, move |tx, id| {
            store::set_key_disabled(tx, account, id, None)
        })
        .await
    }

    pub async fn delete_key(&self, account: AccountId, access_key_id: &str) -> Result<(), Error> {
        self.change_key(access_key_id, move |tx, id| {
            store::delete_key(tx, account, id)
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

    /// Finds the user and changes something of it, in one transaction.
    async fn change(
        &self,
        account: AccountId,
        name: &str,
        work: impl Fn(&mut Tx<'_>, UserRow) -> Result<(), Error> + Send + 'static,
    ) -> Result<(), Error> {
        let name = name.to_owned();
        self.db
            .write(move |tx| existing(tx, account, &name).and_then(|row| work(tx, row)))
            .await
    }

    /// Makes the account and the first key of its root, the first time only.
    pub(super) async fn bootstrap(
        &self,
        account: AccountId,
    ) -> Result<Option<NewAccessKey>, Error> {
        let (key, sealed) = self.new_key(account, None);
        let (now, id) = (self.clock.now(), key.access_key_id.clone());
        let made = self.db.write(move |tx| -> Result<bool, Error> {
            let first = store::insert_account(tx, account, now)?;
            if first {
                store::insert_key(tx, account, store::ROOT, &id, &sealed, now)?;
            }
            Ok(first)
        });
        Ok(made.await?.then_some(key))
    }

    /// A key and its secret as it will be stored.
    fn new_key(&self, account: AccountId, user: Option<&str>) -> (NewAccessKey, Vec<u8>) {
        let access_key_id = format!("AKIA{}", self.ids.text(ID_ALPHABET, 16));
        let secret = self.ids.text(SECRET_ALPHABET, 40);
        let sealed = self.seal.seal(&access_key_id, secret.as_bytes());
        (
            NewAccessKey {
                account,
                user: user.map(ToOwned::to_owned),
                access_key_id,
                secret_access_key: Secret::new(secret),
            },
            sealed,
        )
    }
}

fn existing(tx: &mut Tx<'_>, account: AccountId, name: &str) -> Result<UserRow, Error> {
    store::user(tx, account, name)?.ok_or_else(|| Error::NoSuchUser(name.to_owned()))
}

fn summary(tx: &mut Tx<'_>, account: AccountId, row: UserRow) -> Result<UserSummary, Error> {
    let keys = store::keys_of(tx, account, &row.user.id)?;
    let policies = store::policies_of(tx, account, &row.user.id)?
        .into_iter()
        .map(|policy| policy.name)
        .collect();
    let arn = Caller::new(account, Principal::User(row.user.clone()), Arc::default())
        .arn()
        .clone();
    let UserRow {
        user,
        created_at,
        disabled_at,
    } = row;
    Ok(UserSummary {
        name: user.name,
        id: user.id,
        arn,
        created_at,
        disabled_at,
        keys,
        policies,
    })
}

fn check_name(name: &str, max_bytes: usize) -> Result<(), Error> {
    let legal = name
        .bytes()
        .all(|byte| byte.is_ascii_alphanumeric() || b"+=,.@_-".contains(&byte));
    if legal && (1..=max_bytes).contains(&name.len()) {
        Ok(())
    } else {
        Err(Error::InvalidName(name.chars().take(128).collect()))
    }
}
