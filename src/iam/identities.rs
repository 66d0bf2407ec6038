//! The owners of access keys and of sessions. Each is kept in memory for as long as no process
//! changes any identity, and a change takes effect within one second.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use quick_cache::sync::Cache;
use wharfinger_aws::AccountId;
use wharfinger_base::{Clock, Secret, Timestamp};
use wharfinger_db::Tx;

use crate::compiled::CompiledPolicies;
use crate::entity::{EntityKind, RoleUse};
use crate::error::Error;
use crate::freshness::{Entry, Freshness, Generation};
use crate::identity_db::IdentityDb;
use crate::managed::managed_policy;
use crate::owner::{AssumableRole, Identity, Owner, OwnerKind, Used};
use crate::policy::Grammar;
use crate::policy_lookup::{check_policy, load_documents};
use crate::principal::{Caller, IdentityPolicies, NamedPolicy, Principal};
use crate::seal::Seal;
use crate::store;
use crate::store::access_keys::{self, KeyRow, KeyUse};
use crate::store::entities::EntityRow;
use crate::store::policies::PolicyRow;

/// Keys remembered, known and unknown ones, at about 500 bytes each. Policies are shared. The cache
/// keeps those in use when many unknown ids are tried.
const CAPACITY: usize = 4_096;
/// Longest access key id (the IAM API's own limit): longer ones are unknown without a look.
const MAX_KEY_ID_BYTES: usize = 128;
/// Shortest time between two recorded uses of a key, so that using keys costs few writes.
const USE_PERIOD: Duration = Duration::from_hours(1);
/// Longest name of a service that is recorded, far longer than those of AWS.
const MAX_SERVICE_BYTES: usize = 64;

/// What is attached to a user or role.
#[derive(Default)]
struct Attached {
    /// Its own, and those of a user's groups, each with the identity that it is attached to.
    policies: Vec<(PolicyRow, Arc<str>)>,
    boundary: Option<PolicyRow>,
    tags: Vec<(String, String)>,
}

impl Attached {
    fn of(tx: &mut Tx<'_>, account: AccountId, row: &EntityRow) -> Result<Self, Error> {
        let id = row.name.id.as_str();
        let (kind, path, name) = (row.name.kind, &row.name.path, &row.name.name);
        let own: Arc<str> = format!("{}{path}{name}", kind.as_str()).into();
        let policies = store::policies::of_owner(tx, account, id)?;
        let policies = policies
            .into_iter()
            .map(|policy| (policy, Arc::clone(&own)));
        let mut policies: Vec<_> = policies.collect();
        if kind == EntityKind::User {
            let of_groups = store::policies::of_groups(tx, account, id)?;
            let of_groups = of_groups.into_iter();
            policies
                .extend(of_groups.map(|(policy, group)| (policy, format!("group{group}").into())));
        }
        let mut boundary = row.boundary.clone().map(|name| PolicyRow {
            name,
            document: None,
        });
        let attached = policies.iter_mut().map(|(policy, _)| policy);
        load_documents(tx, account, attached.chain(&mut boundary))?;
        let tags = store::tags::of_owner(tx, account, id)?;
        Ok(Self {
            policies,
            boundary,
            tags,
        })
    }
}

pub(super) struct Identities {
    db: IdentityDb,
    seal: Arc<Seal>,
    clock: Clock,
    policies: CompiledPolicies,
    freshness: Freshness,
    known: Cache<Box<str>, Arc<Entry<Identity>>>,
    owners: Cache<(AccountId, Box<str>), Arc<Entry<Owner>>>,
}

impl Identities {
    pub(super) fn new(db: IdentityDb, seal: Arc<Seal>, clock: Clock) -> Self {
        Self {
            db,
            seal,
            clock,
            policies: CompiledPolicies::new(),
            freshness: Freshness::default(),
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
        if let Some(entry) = self.known.get(access_key_id)
            && self.freshness.stands(&self.db, now, &entry).await?
        {
            return Ok(entry.value.clone());
        }
        let (generation, identity) = self.load(access_key_id).await?;
        let entry = self.freshness.entry(now, generation, identity.clone());
        self.known.insert(access_key_id.into(), entry);
        Ok(identity)
    }

    /// The owner of sessions, a user or role with this unique id (`root` for the account's root),
    /// enabled or not; `None` after it was deleted.
    pub(super) async fn owner(
        &self,
        account: AccountId,
        owner_id: &str,
    ) -> Result<Option<Arc<Owner>>, Error> {
        let now = self.clock.now();
        let key = (account, Box::from(owner_id));
        if let Some(entry) = self.owners.get(&key)
            && self.freshness.stands(&self.db, now, &entry).await?
        {
            return Ok(entry.value.clone());
        }
        let (generation, owner) = self.load_owner(account, owner_id).await?;
        let owner = owner.map(Arc::new);
        let entry = self.freshness.entry(now, generation, owner.clone());
        self.owners.insert(key, entry);
        Ok(owner)
    }

    /// The role of this name, as [`Identities::owner`] returns it; `None` where there is none.
    pub(super) async fn role(
        &self,
        account: AccountId,
        name: &str,
    ) -> Result<Option<Arc<Owner>>, Error> {
        let name = name.to_owned();
        let found = self
            .db
            .get(move |tx| store::entities::find(tx, account, EntityKind::Role, &name));
        match found.await? {
            Some(row) => self.owner(account, &row.name.id).await,
            None => Ok(None),
        }
    }

    /// The policies of a group; `None` where there is none of this name.
    pub(super) async fn group(
        &self,
        account: AccountId,
        name: &str,
    ) -> Result<Option<Arc<IdentityPolicies>>, Error> {
        let name = name.to_owned();
        let found = self.db.get(move |tx| -> Result<_, Error> {
            let found = store::entities::find(tx, account, EntityKind::Group, &name)?;
            found.map(|row| Attached::of(tx, account, &row)).transpose()
        });
        let attached = found.await?;
        attached
            .map(|attached| self.policies(&attached.policies))
            .transpose()
    }

    async fn load_owner(
        &self,
        account: AccountId,
        owner_id: &str,
    ) -> Result<(Generation, Option<Owner>), Error> {
        let is_root = owner_id == store::ROOT;
        let id = owner_id.to_owned();
        let found = self.db.get(move |tx| -> Result<_, Error> {
            let generation = Generation::of(tx)?;
            if is_root {
                return Ok((generation, None));
            }
            let Some(row) = store::entities::find_by_id(tx, account, &id)? else {
                return Ok((generation, None));
            };
            let attached = Attached::of(tx, account, &row)?;
            Ok((generation, Some((row, attached))))
        });
        let (generation, found) = found.await?;
        let owner = match found {
            None => is_root.then(|| Owner::root(account)),
            Some((row, attached)) => self.owner_of(account, row, attached)?,
        };
        Ok((generation, owner))
    }

    /// A user or role as an owner of sessions; `None` for another entity.
    fn owner_of(
        &self,
        account: AccountId,
        row: EntityRow,
        attached: Attached,
    ) -> Result<Option<Owner>, Error> {
        let kind = match (row.name.kind, row.role) {
            (EntityKind::User, _) => OwnerKind::User(row.name.into()),
            (EntityKind::Role, Some(role)) => OwnerKind::Role(AssumableRole {
                trust_policy: self
                    .policies
                    .get(&role.trust_policy, Grammar::Trust)
                    .map_err(|_| corrupt("of trust"))?,
                max_session: role.max_session,
                last_used_ms: AtomicI64::new(role.last_use.map_or(0, |used| used.at.as_ms())),
                name: row.name.into(),
            }),
            _ => return Ok(None),
        };
        Ok(Some(Owner {
            account,
            kind,
            policies: self.policies(&attached.policies)?,
            boundary: self.boundary(&attached)?,
            tags: attached.tags,
            disabled: row.disabled_at.is_some(),
        }))
    }

    /// The managed policies of a session that still exist, as they stand now.
    pub(super) async fn session_policies(
        &self,
        account: AccountId,
        arns: &[String],
    ) -> Result<Vec<NamedPolicy>, Error> {
        if arns.is_empty() {
            return Ok(Vec::new());
        }
        let arns = arns.to_vec();
        let rows = self.db.get(move |tx| existing_policies(tx, account, &arns));
        rows.await?
            .iter()
            .map(|row| self.named(row, None))
            .collect()
    }

    /// Checks that sessions in the account can have these managed policies.
    ///
    /// # Errors
    /// [`Error::NotAttachable`].
    pub(super) async fn check_policies(
        &self,
        account: AccountId,
        arns: &[String],
    ) -> Result<(), Error> {
        if arns.is_empty() {
            return Ok(());
        }
        let arns = arns.to_vec();
        let checked = self.db.get(move |tx| {
            let mut arns = arns.iter();
            arns.try_for_each(|arn| check_policy(tx, account, arn))
        });
        checked.await
    }

    /// Records that a key signed a request, or a session of a role did, at most once in
    /// [`USE_PERIOD`] and in the background: the request does not wait for it. A record that fails
    /// is tried again by a later request, once the key or role was read again.
    pub(super) fn note_use(
        &self,
        identity: &Identity,
        access_key_id: &str,
        region: &str,
        service: &str,
    ) {
        if service.len() > MAX_SERVICE_BYTES {
            return;
        }
        let now = self.clock.now();
        let since = now.minus(USE_PERIOD);
        let (db, region) = (self.db.clone(), region.to_owned());
        match &identity.used {
            Used::Key(last) if claims_use(last, now) => {
                let (id, service) = (access_key_id.to_owned(), service.to_owned());
                let used = KeyUse {
                    at: now,
                    region,
                    service,
                };
                tokio::spawn(async move {
                    let record =
                        move |tx: &mut Tx<'_>| access_keys::record_use(tx, &id, &used, since);
                    warn_of_lost_use(db.note(record).await);
                });
            }
            Used::Owner(owner) => {
                let role = owner.role();
                let Some(role) = role.filter(|role| claims_use(&role.last_used_ms, now)) else {
                    return;
                };
                let (id, used) = (role.name.id.clone(), RoleUse { at: now, region });
                tokio::spawn(async move {
                    let record =
                        move |tx: &mut Tx<'_>| store::roles::record_use(tx, &id, &used, since);
                    warn_of_lost_use(db.note(record).await);
                });
            }
            Used::Key(_) => {}
        }
    }

    async fn load(
        &self,
        access_key_id: &str,
    ) -> Result<(Generation, Option<Arc<Identity>>), Error> {
        let id = access_key_id.to_owned();
        let found = self.db.get(move |tx| -> Result<_, Error> {
            let generation = Generation::of(tx)?;
            let Some(key) = access_keys::find(tx, &id)? else {
                return Ok((generation, None));
            };
            let account: AccountId = key
                .account
                .parse()
                .map_err(|_| Error::Corrupt("access_keys.account".to_owned()))?;
            let attached = match &key.owner {
                Some(row) => Attached::of(tx, account, row)?,
                None => Attached::default(),
            };
            Ok((generation, Some((account, key, attached))))
        });
        let (generation, found) = found.await?;
        let identity = found.map(|(account, key, attached)| {
            self.identity(access_key_id, account, key, attached)
                .map(Arc::new)
        });
        Ok((generation, identity.transpose()?))
    }

    fn identity(
        &self,
        access_key_id: &str,
        account: AccountId,
        key: KeyRow,
        attached: Attached,
    ) -> Result<Identity, Error> {
        let secret = self
            .seal
            .open(access_key_id, &key.sealed_secret)
            .map_err(|broken| Error::Corrupt(broken.to_string()))?;
        let secret = String::from_utf8(secret.into_inner())
            .map_err(|_| Error::Corrupt("a secret that is not text".to_owned()))?;
        let last_used_ms = key.last_use.as_ref().map_or(0, |used| used.at.as_ms());
        let (caller, owner_disabled) = match key.owner {
            Some(row) => {
                let disabled = row.disabled_at.is_some();
                (self.user(account, row, attached)?, disabled)
            }
            None if key.owner_id == store::ROOT => (Caller::root(account), false),
            None => return Err(Error::Corrupt("an access key without its user".to_owned())),
        };
        let caller = caller.with_access_key(access_key_id.into());
        Ok(Identity {
            caller: Arc::new(caller),
            secret: Secret::new(secret),
            disabled: key.disabled || owner_disabled,
            used: Used::Key(AtomicI64::new(last_used_ms)),
        })
    }

    /// A user as a caller, within its boundary.
    fn user(
        &self,
        account: AccountId,
        row: EntityRow,
        attached: Attached,
    ) -> Result<Caller, Error> {
        let policies = self.policies(&attached.policies)?;
        let principal = Principal::User(row.name.into());
        let mut caller = Caller::new(account, principal, policies);
        caller.boundary = self.boundary(&attached)?;
        caller.tags = attached.tags;
        Ok(caller)
    }

    fn boundary(&self, attached: &Attached) -> Result<Option<NamedPolicy>, Error> {
        let boundary = attached.boundary.as_ref();
        boundary.map(|row| self.named(row, None)).transpose()
    }

    fn policies(&self, rows: &[(PolicyRow, Arc<str>)]) -> Result<Arc<IdentityPolicies>, Error> {
        let policies = rows.iter();
        let policies = policies.map(|(row, owner)| self.named(row, Some(Arc::clone(owner))));
        let policies = policies.collect::<Result<_, _>>()?;
        Ok(Arc::new(IdentityPolicies { policies }))
    }

    /// A policy that cannot be read might deny, so it is an error.
    fn named(&self, row: &PolicyRow, owner: Option<Arc<str>>) -> Result<NamedPolicy, Error> {
        let name = row.name.as_str().into();
        let Some(document) = &row.document else {
            let managed = managed_policy(&row.name).ok_or_else(|| corrupt(&row.name))?;
            return Ok(NamedPolicy {
                name,
                owner,
                ..managed
            });
        };
        let policy = self
            .policies
            .get(document, Grammar::Inline)
            .map_err(|_| corrupt(&row.name))?;
        Ok(NamedPolicy {
            name,
            owner,
            policy,
        })
    }
}

/// Whether a use now is to be recorded, by the caller of this: none was for [`USE_PERIOD`].
fn claims_use(last_used_ms: &AtomicI64, now: Timestamp) -> bool {
    let last = last_used_ms.load(Ordering::Relaxed);
    let (relaxed, now_ms) = (Ordering::Relaxed, now.as_ms());
    now.since(Timestamp::from_ms(last)) >= USE_PERIOD
        && last_used_ms
            .compare_exchange(last, now_ms, relaxed, relaxed)
            .is_ok()
}

fn warn_of_lost_use(written: Result<(), wharfinger_db::Error>) {
    if let Err(error) = written {
        tracing::warn!(%error, "the last use of an access key or role was not recorded");
    }
}

/// Those of the managed policies that exist, with the documents of the account's own.
fn existing_policies(
    tx: &mut Tx<'_>,
    account: AccountId,
    arns: &[String],
) -> Result<Vec<PolicyRow>, Error> {
    let mut rows = Vec::with_capacity(arns.len());
    for name in arns {
        match check_policy(tx, account, name) {
            Ok(()) => rows.push(PolicyRow {
                name: name.clone(),
                document: None,
            }),
            Err(Error::NotAttachable(_)) => {}
            Err(error) => return Err(error),
        }
    }
    load_documents(tx, account, rows.iter_mut())?;
    Ok(rows)
}

fn corrupt(policy: &str) -> Error {
    Error::Corrupt(format!("policy {policy}"))
}
