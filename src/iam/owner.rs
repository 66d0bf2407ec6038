//! The owners of access keys and sessions, as they were read from the index.

use std::sync::Arc;
use std::sync::atomic::AtomicI64;
use std::time::Duration;

use wharfinger_aws::AccountId;
use wharfinger_base::Secret;

use crate::managed::managed_policy;
use crate::policy::Policy;
use crate::principal::{Caller, IdentityPolicies, NamedPolicy, Principal, RoleName, UserName};

/// The policy that allows everything.
const EVERYTHING: &str = "arn:aws:iam::aws:policy/AdministratorAccess";

/// The owner of a key.
pub(super) struct Identity {
    pub(super) caller: Arc<Caller>,
    pub(super) secret: Secret<String>,
    /// The key or its owner is disabled.
    pub(super) disabled: bool,
    /// Whose use is recorded.
    pub(super) used: Used,
}

/// Whose use a signature is.
pub(super) enum Used {
    /// That of an access key, with the time of the last recorded use, in milliseconds; 0 for none.
    Key(AtomicI64),
    /// That of the role of a session; those of other sessions are not recorded.
    Owner(Arc<Owner>),
}

impl Identity {
    /// The holder of temporary credentials.
    pub(super) fn of_session(
        caller: Arc<Caller>,
        secret: Secret<String>,
        owner: Arc<Owner>,
    ) -> Self {
        Self {
            caller,
            secret,
            disabled: owner.disabled,
            used: Used::Owner(owner),
        }
    }
}

/// A root, user or role as its sessions use it, as it stood at most one second ago.
pub(super) struct Owner {
    pub(super) account: AccountId,
    pub(super) kind: OwnerKind,
    pub(super) policies: Arc<IdentityPolicies>,
    pub(super) boundary: Option<NamedPolicy>,
    pub(super) tags: Vec<(String, String)>,
    pub(super) disabled: bool,
}

/// Whose the sessions are.
pub(super) enum OwnerKind {
    Root,
    User(UserName),
    Role(AssumableRole),
}

/// A role as it is assumed.
pub(super) struct AssumableRole {
    pub(super) name: RoleName,
    /// Who may assume it. It names principals by their unique ids.
    pub(super) trust_policy: Arc<Policy>,
    pub(super) max_session: Duration,
    /// The time of the last recorded use, in milliseconds; 0 for none.
    pub(super) last_used_ms: AtomicI64,
}

impl Owner {
    pub(super) fn root(account: AccountId) -> Self {
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
    /// role's session or of a federated user; a session of a user or a root itself has none.
    pub(super) fn caller(&self, name: Option<&str>) -> Caller {
        let federated = |lender, name: &str| Principal::FederatedUser {
            lender,
            name: name.to_owned(),
        };
        let mut policies = Arc::clone(&self.policies);
        let principal = match (&self.kind, name) {
            (OwnerKind::Root, None) => Principal::Root,
            (OwnerKind::Root, Some(name)) => {
                // A root lends everything, which only a root has without a policy.
                let all = managed_policy(EVERYTHING).into_iter().collect();
                policies = Arc::new(IdentityPolicies { policies: all });
                federated(None, name)
            }
            (OwnerKind::User(user), None) => Principal::User(user.clone()),
            (OwnerKind::User(user), Some(name)) => federated(Some(user.clone()), name),
            (OwnerKind::Role(role), name) => Principal::AssumedRole {
                role: role.name.clone(),
                session_name: name.unwrap_or_default().to_owned(),
            },
        };
        let mut caller = Caller::new(self.account, principal, policies);
        caller.boundary.clone_from(&self.boundary);
        caller.tags.clone_from(&self.tags);
        caller
    }

    /// The role; `None` for a root or user.
    pub(super) const fn role(&self) -> Option<&AssumableRole> {
        match &self.kind {
            OwnerKind::Role(role) => Some(role),
            OwnerKind::Root | OwnerKind::User(_) => None,
        }
    }
}
