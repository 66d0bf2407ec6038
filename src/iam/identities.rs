//! The owners of access keys and of sessions. Each is read from the index at most once a second, so
//! that a change by any process takes effect within one second.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::time::Duration;

use quick_cache::sync::Cache;
use wharfinger_aws::AccountId;
use wharfinger_base::{Clock, Secret, Timestamp};
use wharfinger_db::{Db, Tx};

use crate::compiled::CompiledPolicies;
use crate::entity::EntityKind;
use crate::error::Error;
use crate::managed::managed_policy;
use crate::policy::{Grammar, Policy};
use crate::policy_lookup::load_documents;
use crate::principal::{Caller, IdentityPolicies, NamedPolicy, Principal, RoleName, UserName};
use crate::seal::Seal;
use crate::store;
use crate::store::access_keys::{self, KeyRow, KeyUse};
use crate::store::entities::EntityRow;
use crate::store::policies::PolicyRow;

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
/// Shortest time between two recorded uses of a key, so that using keys costs few writes.
const USE_PERIOD: Duration = Duration::from_hours(1);
/// Longest name of a service that is recorded, far longer than those of AWS.
const MAX_SERVICE_BYTES: usize = 64;

/// The owner of a key.
pub(super) struct Identity {
    pub(super) caller: Arc<Caller>,
    pub(super) secret: Secret<String>,
    /// The key or its owner is disabled.
    pub(super) disabled: bool,
    /// The time of the last recorded use, in milliseconds; 0 for none.
    last_used_ms: AtomicI64,
}

impl Identity {
    /// The holder of temporary credentials, whose use is not recorded.
    pub(super) const fn of_session(
        caller: Arc<Caller>,
        secret: Secret<String>,
        disabled: bool,
    ) -> Self {
        Self {
            caller,
            secret,
            disabled,
            last_used_ms: AtomicI64::new(i64::MAX),
        }
    }
}

/// A root, user or role as its sessions use it, read at most one second ago.
pub(super) struct Owner {
    account: AccountId,
    kind: OwnerKind,
    policies: Arc<IdentityPolicies>,
    boundary: Option<NamedPolicy>,
    tags: Vec<(String, String)>,
    pub(super) disabled: bool,
}

/// Whose the sessions are.
enum OwnerKind {
    Root,
    User(UserName),
    Role(AssumableRole),
}

/// A role as it is assumed.
#[cfg_attr(not(test), expect(dead_code, reason = "for AssumeRole"))]
pub(super) struct AssumableRole {
    pub(super) name: RoleName,
    /// Who may assume it. It names principals by their unique ids.
    pub(super) trust_policy: Arc<Policy>,
    pub(super) max_session: Duration,
}

impl Owner {
    fn root(account: AccountId) -> Self {
        Self {
            account,
            kind: OwnerKind::Root,
            policies: Arc::default(),
            boundary: None,
            tags: Vec::new(),
            disabled: false,
        }
    }

    /// The caller of a session: with the owner's policies, boundary and tags. The name is that of a
    /// role's session and means nothing for others.
    pub(super) fn caller(&self, session_name: &str) -> Caller {
        let principal = match &self.kind {
            OwnerKind::Root => Principal::Root,
            OwnerKind::User(user) => Principal::User(user.clone()),
            OwnerKind::Role(role) => Principal::AssumedRole {
                role: role.name.clone(),
                session_name: session_name.to_owned(),
            },
        };
        let mut caller = Caller::new(self.account, principal, Arc::clone(&self.policies));
        caller.boundary.clone_from(&self.boundary);
        caller.tags.clone_from(&self.tags);
        caller
    }

    /// The role; `None` for a root or user.
    #[cfg_attr(not(test), expect(dead_code, reason = "for AssumeRole"))]
    pub(super) const fn role(&self) -> Option<&AssumableRole> {
        match &self.kind {
            OwnerKind::Role(role) => Some(role),
            OwnerKind::Root | OwnerKind::User(_) => None,
        }
    }
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

    /// The owner of sessions, a user or role with this unique id (`root` for the account's root),
    /// enabled or not; `None` after it was deleted.
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

    /// The role of this name, as [`Identities::owner`] returns it; `None` where there is none.
    #[cfg_attr(not(test), expect(dead_code, reason = "for AssumeRole"))]
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

    async fn load_owner(&self, account: AccountId, owner_id: &str) -> Result<Option<Owner>, Error> {
        if owner_id == store::ROOT {
            return Ok(Some(Owner::root(account)));
        }
        let id = owner_id.to_owned();
        let found = self.db.get(move |tx| -> Result<_, Error> {
            let Some(row) = store::entities::find_by_id(tx, account, &id)? else {
                return Ok(None);
            };
            let attached = Attached::of(tx, account, &row)?;
            Ok(Some((row, attached)))
        });
        let Some((row, attached)) = found.await? else {
            return Ok(None);
        };
        let kind = match (row.name.kind, row.role) {
            (EntityKind::User, _) => OwnerKind::User(row.name.into()),
            (EntityKind::Role, Some(role)) => OwnerKind::Role(AssumableRole {
                trust_policy: self
                    .policies
                    .get(&role.trust_policy, Grammar::Trust)
                    .map_err(|_| corrupt("of trust"))?,
                max_session: role.max_session,
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

    /// Records that a key signed a request, at most once in [`USE_PERIOD`] and in the background:
    /// the request does not wait for it. A record that fails is tried again by a later request,
    /// once the key was read again.
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
        let last = identity.last_used_ms.load(Ordering::Relaxed);
        if now.since(Timestamp::from_ms(last)) < USE_PERIOD {
            return;
        }
        let claimed = identity.last_used_ms.compare_exchange(
            last,
            now.as_ms(),
            Ordering::Relaxed,
            Ordering::Relaxed,
        );
        if claimed.is_err() {
            return;
        }
        let (db, id) = (self.db.clone(), access_key_id.to_owned());
        let used = KeyUse {
            at: now,
            region: region.to_owned(),
            service: service.to_owned(),
        };
        tokio::spawn(async move {
            let since = used.at.minus(USE_PERIOD);
            let written = db.write(move |tx| access_keys::record_use(tx, &id, &used, since));
            if let Err(error) = written.await {
                tracing::warn!(%error, "the last use of an access key was not recorded");
            }
        });
    }

    async fn load(&self, access_key_id: &str) -> Result<Option<Arc<Identity>>, Error> {
        let id = access_key_id.to_owned();
        let found = self.db.get(move |tx| -> Result<_, Error> {
            let Some(key) = access_keys::find(tx, &id)? else {
                return Ok(None);
            };
            let account: AccountId = key
                .account
                .parse()
                .map_err(|_| Error::Corrupt("access_keys.account".to_owned()))?;
            let attached = match &key.owner {
                Some(row) => Attached::of(tx, account, row)?,
                None => Attached::default(),
            };
            Ok(Some((account, key, attached)))
        });
        found
            .await?
            .map(|(account, key, attached)| {
                self.identity(access_key_id, account, key, attached)
                    .map(Arc::new)
            })
            .transpose()
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
            last_used_ms: AtomicI64::new(last_used_ms),
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

fn corrupt(policy: &str) -> Error {
    Error::Corrupt(format!("policy {policy}"))
}
