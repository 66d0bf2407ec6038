//! Who owns an access key, as the index says it: read at most once a second a key, so that a change
//! by any process is felt within one.

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

/// Longest that an answer of the index is used.
const MAX_AGE: Duration = Duration::from_secs(1);
/// From this age on, one caller of many reads anew while the others still use what is known: no
/// herd each second.
const REFRESH_AGE: Duration = Duration::from_millis(500);
/// Keys remembered, known and unknown ones. The cache keeps those in use when a scan of made-up ids
/// passes through.
const CAPACITY: usize = 4_096;
/// Longest access key id (the IAM API's own limit): longer ones are unknown without a look.
const MAX_KEY_ID_BYTES: usize = 128;

/// The owner of a key.
pub(super) struct Identity {
    pub(super) caller: Arc<Caller>,
    pub(super) secret: Secret<String>,
    /// The key or its owner is switched off.
    pub(super) disabled: bool,
}

/// What the index said of a key, and when.
struct Answer {
    at: Timestamp,
    being_refreshed: AtomicBool,
    identity: Option<Arc<Identity>>,
}

pub(super) struct Identities {
    db: Db,
    seal: Arc<Seal>,
    clock: Clock,
    policies: Arc<CompiledPolicies>,
    answers: Cache<Box<str>, Arc<Answer>>,
}

impl Identities {
    pub(super) fn new(
        db: Db,
        seal: Arc<Seal>,
        clock: Clock,
        policies: Arc<CompiledPolicies>,
    ) -> Self {
        Self {
            db,
            seal,
            clock,
            policies,
            answers: Cache::new(CAPACITY),
        }
    }

    /// The owner of the key, enabled or not; `None` for an unknown key.
    pub(super) async fn get(&self, access_key_id: &str) -> Result<Option<Arc<Identity>>, Error> {
        let now = self.clock.now();
        if access_key_id.len() > MAX_KEY_ID_BYTES {
            return Ok(None);
        }
        if let Some(answer) = self.answers.get(access_key_id) {
            // A clock set back makes an answer from the future: read anew rather than trust it for
            // long.
            let age = now.since(answer.at);
            let usable = age < MAX_AGE && answer.at <= now;
            if usable && (age < REFRESH_AGE || answer.being_refreshed.swap(true, Ordering::Relaxed))
            {
                return Ok(answer.identity.clone());
            }
        }
        let identity = self.load(access_key_id).await?;
        // `at` is from before the read: what changed meanwhile is still seen within MAX_AGE.
        let answer = Answer {
            at: now,
            being_refreshed: AtomicBool::new(false),
            identity: identity.clone(),
        };
        self.answers.insert(access_key_id.into(), Arc::new(answer));
        Ok(identity)
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
        let policies = policies
            .iter()
            .map(|row| self.named(row))
            .collect::<Result<_, _>>()?;
        let caller = Caller::new(account, principal, Arc::new(IdentityPolicies { policies }))
            .with_access_key(access_key_id.into());
        Ok(Identity {
            caller: Arc::new(caller),
            secret: Secret::new(secret),
            disabled: key.disabled || owner_disabled,
        })
    }

    /// A policy that cannot be read might have denied, so it lets nobody in.
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
