//! The owners of access keys and of sessions. Each is read from the index at most once a second, so
//! that a change by any process takes effect within one second.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use quick_cache::sync::Cache;
use wharfinger_aws::AccountId;
use wharfinger_base::{Clock, Secret, Timestamp};
use wharfinger_db::Db;

use crate::compiled::CompiledPolicies;
use crate::error::Error;
use crate::managed::managed_policy;
use crate::policy::Grammar;
use crate::principal::{Caller, IdentityPolicies, NamedPolicy, Principal};
use crate::seal::Seal;
use crate::store::{self, KeyRow, PolicyRow};

/// Longest time that an entry is used.
const MAX_AGE: Duration = Duration::from_secs(1);
/// From this age on, one caller reads the key again while the others still use the entry, so that
/// they do not all read at the same time.
const REFRESH_AGE: Duration = Duration::from_millis(500);
/// Keys remembered, known and unknown ones, at about 500 bytes each. Policies are shared. The cache
/// keeps those in use when many unknown ids are tried.
const CAPACITY: usize = 4_096;
/// Longest access key id (the IAM API's own limit): longer ones are unknown without a look.
const MAX_KEY_ID_BYTES: usize = 128;

/// The owner of a key.
pub(super) struct Identity {
    pub(super) caller: Arc<Caller>,
    pub(super) secret: Secret<String>,
    /// The key or its owner is disabled.
    pub(super) disabled: bool,
}

/// A user or a root as its sessions use it.
pub(super) struct Owner {
    pub(super) caller: Caller,
    pub(super) disabled: bool,
}

/// What the index said about a key or an owner, and when.
struct Cached<T> {
    at: Timestamp,
    being_refreshed: AtomicBool,
    value: Option<Arc<T>>,
}

impl<T> Cached<T> {
    /// `at` is from before the read, so that what changed meanwhile is still seen within
    /// [`MAX_AGE`].
    fn new(at: Timestamp, value: Option<Arc<T>>) -> Arc<Self> {
        Arc::new(Self {
            at,
            being_refreshed: AtomicBool::new(false),
            value,
        })
    }

    /// Whether the value may be used now; if not, the caller of this reads it again.
    fn is_usable(&self, now: Timestamp) -> bool {
        // After the clock was set back, an entry may be from the future: read again rather than
        // trust it for long.
        let age = now.since(self.at);
        let usable = age < MAX_AGE && self.at <= now;
        usable && (age < REFRESH_AGE || self.being_refreshed.swap(true, Ordering::Relaxed))
    }
}

pub(super) struct Identities {
    db: Db,
    seal: Arc<Seal>,
    clock: Clock,
    policies: CompiledPolicies,
    known: Cache<Box<str>, Arc<Cached<Identity>>>,
    owners: Cache<(AccountId, Box<str>), Arc<Cached<Owner>>>,
}

impl Identities {
    pub(super) fn new(db: Db, seal: Arc<Seal>, clock: Clock) -> Self {
        Self {
            db,
            seal,
            clock,
            policies: CompiledPolicies::new(),
            known: Cache::new(CAPACITY),
            owners: Cache::new(CAPACITY),
        }
    }

    /// The owner of the key, enabled or not; `None` for an unknown key.
    pub(super) async fn get(&self, access_key_id: &str) -> Result<Option<Arc<Identity>>, Error> {
        let now = self.clock.now();
        if access_key_id.len() > MAX_KEY_ID_BYTES {
            return Ok(None);
        }
        if let Some(cached) = self.known.get(access_key_id)
            && cached.is_usable(now)
        {
            return Ok(cached.value.clone());
        }
        let identity = self.load(access_key_id).await?;
        let cached = Cached::new(now, identity.clone());
        self.known.insert(access_key_id.into(), cached);
        Ok(identity)
    }

    /// The owner of sessions with this unique id (`root` for the account's root), enabled or not;
    /// `None` after it was deleted.
    pub(super) async fn owner(
        &self,
        account: AccountId,
        owner_id: &str,
    ) -> Result<Option<Arc<Owner>>, Error> {
        let now = self.clock.now();
        let key = (account, Box::from(owner_id));
        if let Some(cached) = self.owners.get(&key)
            && cached.is_usable(now)
        {
            return Ok(cached.value.clone());
        }
        let owner = self.load_owner(account, owner_id).await?.map(Arc::new);
        self.owners.insert(key, Cached::new(now, owner.clone()));
        Ok(owner)
    }

    async fn load_owner(&self, account: AccountId, owner_id: &str) -> Result<Option<Owner>, Error> {
        if owner_id == store::ROOT {
            return Ok(Some(Owner {
                caller: Caller::root(account),
                disabled: false,
            }));
        }
        let id = owner_id.to_owned();
        let found = self.db.get(move |tx| -> Result<_, Error> {
            let Some(user) = store::user_by_id(tx, account, &id)? else {
                return Ok(None);
            };
            Ok(Some((user, store::policies_of(tx, account, &id)?)))
        });
        let Some((row, policies)) = found.await? else {
            return Ok(None);
        };
        let (disabled, principal) = (row.disabled_at.is_some(), Principal::User(row.user));
        Ok(Some(Owner {
            caller: Caller::new(account, principal, self.policies(&policies)?),
            disabled,
        }))
    }

    async fn load(&self, access_key_id: &str) -> Result<Option<Arc<Identity>>, Error> {
        let id = access_key_id.to_owned();
        let found = self.db.get(move |tx| -> Result<_, Error> {
            let Some(key) = store::key(tx, &id)? else {
                return Ok(None);
            };
            let account: AccountId = key
                .account
                .parse()
                .map_err(|_| Error::Corrupt("access_keys.account".to_owned()))?;
            let policies = if key.owner.is_some() {
                store::policies_of(tx, account, &key.owner_id)?
            } else {
                Vec::new()
            };
            Ok(Some((account, key, policies)))
        });
        found
            .await?
            .map(|(account, key, policies)| {
                self.identity(access_key_id, account, key, &policies)
                    .map(Arc::new)
            })
            .transpose()
    }

    fn identity(
        &self,
        access_key_id: &str,
        account: AccountId,
        key: KeyRow,
        policies: &[PolicyRow],
    ) -> Result<Identity, Error> {
        let secret = self
            .seal
            .open(access_key_id, &key.sealed_secret)
            .map_err(|broken| Error::Corrupt(broken.to_string()))?;
        let secret = String::from_utf8(secret.into_inner())
            .map_err(|_| Error::Corrupt("a secret that is not text".to_owned()))?;
        let (principal, owner_disabled) = match key.owner {
            Some(row) => (Principal::User(row.user), row.disabled_at.is_some()),
            None if key.owner_id == store::ROOT => (Principal::Root, false),
            None => return Err(Error::Corrupt("an access key without its user".to_owned())),
        };
        let caller = Caller::new(account, principal, self.policies(policies)?)
            .with_access_key(access_key_id.into());
        Ok(Identity {
            caller: Arc::new(caller),
            secret: Secret::new(secret),
            disabled: key.disabled || owner_disabled,
        })
    }

    fn policies(&self, rows: &[PolicyRow]) -> Result<Arc<IdentityPolicies>, Error> {
        let policies = rows.iter().map(|row| self.named(row));
        let policies = policies.collect::<Result<_, _>>()?;
        Ok(Arc::new(IdentityPolicies { policies }))
    }

    /// A policy that cannot be read might deny, so it is an error.
    fn named(&self, row: &PolicyRow) -> Result<NamedPolicy, Error> {
        let corrupt = || Error::Corrupt(format!("policy {}", row.name));
        match &row.document {
            None => managed_policy(&row.name).ok_or_else(corrupt),
            Some(document) => {
                let policy = self
                    .policies
                    .get(document, Grammar::Identity)
                    .map_err(|_| corrupt())?;
                Ok(NamedPolicy {
                    name: row.name.as_str().into(),
                    policy,
                })
            }
        }
    }
}
