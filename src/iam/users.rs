//! Operations on users and their policies. A change by any process that shares the index takes
//! effect in all of them within a second.

use std::sync::Arc;

use wharfinger_aws::{AccountId, Arn};
use wharfinger_base::{Clock, Ids, Page, Secret, Timestamp};
use wharfinger_db::Tx;

use crate::entities::{existing, insert};
use crate::entity::{EntityKind, EntityName};
use crate::error::Error;
use crate::identity_db::IdentityDb;
use crate::managed::managed_policy_arn;
use crate::policy::{Grammar, Policy};
use crate::policy_lookup::check_policy;
use crate::seal::Seal;
use crate::store;
use crate::store::access_keys::AccessKeySummary;
use crate::store::entities::EntityRow;
use crate::store::policies::{INLINE, MANAGED, PolicyRow};
use crate::unique_ids::{ID_ALPHABET, unique_id};

/// Most policies of a user: twice the IAM quota of ten managed ones, since inline ones count here
/// too.
pub const MAX_POLICIES: usize = 20;
/// Longest user name (the IAM limit), in characters, all of which are ASCII.
const MAX_NAME_BYTES: usize = 64;
/// Longest name of an inline policy (the IAM limit).
const MAX_POLICY_NAME_BYTES: usize = 128;
/// Most users in one page.
const MAX_PAGE: usize = 1_000;

/// Base 64. The 40 characters of a secret hold 240 bits; the 16 random ones of a key id, 80.
const SECRET_ALPHABET: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// An access key when it has just been made: the only time that its secret can be shown.
#[derive(Clone, Debug)]
pub struct NewAccessKey {
    pub account: AccountId,
    /// `None` for the root.
    pub user: Option<String>,
    pub access_key_id: String,
    pub secret_access_key: Secret<String>,
    pub created_at: Timestamp,
}

/// A policy to attach to a user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PolicyAttachment(PolicyRow);

impl PolicyAttachment {
    /// A managed policy: one of AWS by name or ARN, or a customer managed one by its ARN.
    pub fn managed(name: &str) -> Result<Self, Error> {
        if name.starts_with("arn:aws:iam::") && name.contains(":policy/") {
            return Ok(Self(PolicyRow {
                name: name.to_owned(),
                document: None,
            }));
        }
        let arn = managed_policy_arn(name).ok_or_else(|| Error::NoSuchPolicy(name.to_owned()))?;
        Ok(Self(PolicyRow {
            name: arn,
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

impl PolicyAttachment {
    /// Checks that a managed policy exists.
    fn check(&self, tx: &mut Tx<'_>, account: AccountId) -> Result<(), Error> {
        match self.0.document {
            None => check_policy(tx, account, &self.0.name),
            Some(_) => Ok(()),
        }
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

/// Users, access keys and attached policies of all accounts in the index.
#[derive(Clone)]
pub struct Users {
    pub(super) db: IdentityDb,
    pub(super) seal: Arc<Seal>,
    pub(super) clock: Clock,
    pub(super) ids: Ids,
}

impl Users {
    /// Creates a user with a first access key.
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
        let user = EntityName {
            kind: EntityKind::User,
            path: "/".to_owned(),
            name: name.to_owned(),
            id: unique_id(&self.ids, EntityKind::User.id_prefix()),
        };
        let (key, sealed) = self.new_key(account, Some(name));
        let (now, stored) = (self.clock.now(), key.access_key_id.clone());
        self.db
            .write(move |tx| {
                let row = EntityRow {
                    name: user.clone(),
                    created_at: now,
                    disabled_at: None,
                    boundary: None,
                    role: None,
                };
                insert(tx, account, &row)?;
                for policy in &policies {
                    policy.check(tx, account)?;
                }
                store::access_keys::insert(tx, account, &user.id, &stored, &sealed, now)?;
                policies
                    .iter()
                    .try_for_each(|policy| {
                        store::policies::put(tx, account, &user.id, &policy.0, now)
                    })
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
            let rows =
                store::entities::page(tx, account, EntityKind::User, "/", &after, limit + 1)?;
            rows.into_iter()
                .map(|row| summary(tx, account, row))
                .collect::<Result<Vec<_>, Error>>()
        });
        Ok(Page::of(users.await?, limit, |user| user.name.clone()))
    }

    /// Refuses the user's keys, passwords and tokens until the user is enabled.
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
            Ok(store::entities::set_disabled(
                tx,
                account,
                &row.name.id,
                at,
            )?)
        })
        .await
    }

    /// Deletes the user, its keys and its policies.
    pub async fn delete(&self, account: AccountId, name: &str) -> Result<(), Error> {
        self.change(account, name, move |tx, row| {
            Ok(store::entities::delete(tx, account, &row.name.id)?)
        })
        .await
    }

    /// Attaches a policy to the user; an inline one replaces the one of the same name.
    pub async fn attach(
        &self,
        account: AccountId,
        name: &str,
        policy: PolicyAttachment,
    ) -> Result<(), Error> {
        let now = self.clock.now();
        self.change(account, name, move |tx, row| {
            policy.check(tx, account)?;
            let held = store::policies::of_owner(tx, account, &row.name.id)?;
            if held.len() >= MAX_POLICIES && !held.iter().any(|held| held.name == policy.0.name) {
                return Err(Error::LimitExceeded {
                    what: "policies",
                    limit: MAX_POLICIES,
                });
            }
            Ok(store::policies::put(
                tx,
                account,
                &row.name.id,
                &policy.0,
                now,
            )?)
        })
        .await
    }

    /// Detaches a policy (managed or inline, by name or ARN) from the user.
    pub async fn detach(&self, account: AccountId, name: &str, policy: &str) -> Result<(), Error> {
        let managed = managed_policy_arn(policy);
        let policy = policy.to_owned();
        self.change(account, name, move |tx, row| {
            let inline = Some((INLINE, &policy));
            let managed = managed.as_ref().map(|arn| (MANAGED, arn));
            for (kind, name) in inline.into_iter().chain(managed) {
                if store::policies::delete(tx, account, &row.name.id, kind, name)? {
                    return Ok(());
                }
            }
            Err(Error::NotAttached(policy.clone()))
        })
        .await
    }

    /// A new key, and its secret as it will be stored.
    pub(super) fn new_key(
        &self,
        account: AccountId,
        user: Option<&str>,
    ) -> (NewAccessKey, Vec<u8>) {
        let access_key_id = format!("AKIA{}", self.ids.text(ID_ALPHABET, 16));
        let secret = self.ids.text(SECRET_ALPHABET, 40);
        let sealed = self.seal.seal(&access_key_id, secret.as_bytes());
        (
            NewAccessKey {
                account,
                user: user.map(ToOwned::to_owned),
                access_key_id,
                secret_access_key: Secret::new(secret),
                created_at: self.clock.now(),
            },
            sealed,
        )
    }

    /// Finds the user and changes something of it, in one transaction.
    async fn change(
        &self,
        account: AccountId,
        name: &str,
        work: impl Fn(&mut Tx<'_>, EntityRow) -> Result<(), Error> + Send + 'static,
    ) -> Result<(), Error> {
        let name = name.to_owned();
        self.db
            .write(move |tx| {
                existing(tx, account, EntityKind::User, &name).and_then(|row| work(tx, row))
            })
            .await
    }
}

/// The policy's name without the ARN that managed ones are stored under.
fn shown_name(policy: &PolicyRow) -> String {
    let name = policy.name.as_str();
    match &policy.document {
        Some(_) => name.to_owned(),
        None => name.rsplit('/').next().unwrap_or(name).to_owned(),
    }
}

fn summary(tx: &mut Tx<'_>, account: AccountId, row: EntityRow) -> Result<UserSummary, Error> {
    let keys = store::access_keys::of_owner(tx, account, &row.name.id)?;
    let policies = store::policies::of_owner(tx, account, &row.name.id)?
        .into_iter()
        .map(|policy| shown_name(&policy))
        .collect();
    Ok(UserSummary {
        arn: row.name.arn(account),
        name: row.name.name,
        id: row.name.id,
        created_at: row.created_at,
        disabled_at: row.disabled_at,
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
