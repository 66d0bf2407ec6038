//! Callers: an account's root, a user, a session of a role, a web identity, a service or an
//! anonymous caller, with the policies and the limits of the credentials used. PURE.

use std::sync::Arc;

use wharfinger_aws::{AccountId, Arn};
use wharfinger_base::{Secret, Timestamp};

use crate::entity::{EntityKind, EntityName};
use crate::grants::RegistryGrant;
use crate::policy::Policy;
use crate::session_claims::RoleSession;

/// An identity within an account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Principal {
    /// The account itself, to which identity policies do not apply.
    Root,
    User(UserName),
    /// Whoever assumed a role, under the session name chosen then: 2 to 64 letters, digits and
    /// `+=,.@_-`.
    AssumedRole {
        role: RoleName,
        session_name: String,
    },
    /// Somebody to whom a user or the root lends some of its permissions.
    FederatedUser {
        /// `None` where the root lends them.
        lender: Option<UserName>,
        /// 2 to 32 letters, digits and `+=,.@_-`.
        name: String,
    },
    /// Whoever a token of an OIDC provider is about, while it assumes a role.
    WebIdentity {
        /// `arn:aws:iam::<account>:oidc-provider/<host and path>`.
        provider: Arn,
        /// The claim `sub`.
        subject: String,
    },
    /// An AWS service by name, such as `ecs-tasks.amazonaws.com`, while it assumes a role.
    Service(Box<str>),
    /// A request without credentials. Only a resource policy that names `*` allows it anything.
    Anonymous,
}

/// What names a user: in ARNs by path and name, in `GetCallerIdentity` by id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UserName {
    /// `/` or `/division/team/`.
    pub path: String,
    /// 1 to 64 letters, digits and `+=,.@_-`.
    pub name: String,
    /// `AIDA` and 17 more characters; never used again after the user is deleted.
    pub id: String,
}

impl UserName {
    /// `arn:aws:iam::<account>:user/<path><name>`.
    #[must_use]
    pub fn arn(&self, account: AccountId) -> Arn {
        EntityKind::User.arn(account, &self.path, &self.name)
    }
}

/// The name of the entity, which is a user.
impl From<EntityName> for UserName {
    fn from(name: EntityName) -> Self {
        let EntityName { path, name, id, .. } = name;
        Self { path, name, id }
    }
}

/// What names a role: in ARNs of the role by path and name, in those of its sessions by name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RoleName {
    /// `/` or `/service-role/`.
    pub path: String,
    /// 1 to 64 letters, digits and `+=,.@_-`.
    pub name: String,
    /// `AROA` and 17 more characters; never used again after the role is deleted.
    pub id: String,
}

impl RoleName {
    /// `arn:aws:iam::<account>:role/<path><name>`.
    #[must_use]
    pub fn arn(&self, account: AccountId) -> Arn {
        EntityKind::Role.arn(account, &self.path, &self.name)
    }

    /// `arn:aws:sts::<account>:assumed-role/<name>/<session>`: without the path.
    #[must_use]
    pub fn session_arn(&self, account: AccountId, session_name: &str) -> Arn {
        let resource = format!("assumed-role/{}/{session_name}", self.name);
        Arn::new("aws", "sts", "", account.as_str(), &resource)
    }
}

/// The name of the entity, which is a role.
impl From<EntityName> for RoleName {
    fn from(name: EntityName) -> Self {
        let EntityName { path, name, id, .. } = name;
        Self { path, name, id }
    }
}

/// `arn:aws:sts::<account>:federated-user/<name>`.
#[must_use]
pub fn federated_arn(account: AccountId, name: &str) -> Arn {
    let resource = format!("federated-user/{name}");
    Arn::new("aws", "sts", "", account.as_str(), &resource)
}

/// A policy as it is attached to an identity: under its ARN or its inline name.
#[derive(Clone, Debug)]
pub struct NamedPolicy {
    pub name: Arc<str>,
    /// The identity that it is attached to, as in ARNs: `user/ann`, `group/team/ops`. `None` for
    /// boundaries and the policies of a session.
    pub owner: Option<Arc<str>>,
    pub policy: Arc<Policy>,
}

/// The policies of one identity, compiled.
#[derive(Clone, Debug, Default)]
pub struct IdentityPolicies {
    /// The identity's own, and those of its groups.
    pub policies: Vec<NamedPolicy>,
}

/// What a caller's credentials hold besides the key, where they are those of a session.
#[derive(Debug)]
pub(super) struct TemporaryCredentials {
    pub(super) token: Secret<String>,
    pub(super) expires_at: Timestamp,
    /// Of the session of a role.
    pub(super) role: Option<RoleSession>,
}

/// An authenticated caller, shared in an `Arc`: built for each credential in use once identities
/// have changed.
#[derive(Clone, Debug)]
pub struct Caller {
    pub account: AccountId,
    pub principal: Principal,
    /// The key that signed, or that the token was issued to; `None` under `--dev` without
    /// credentials.
    pub access_key_id: Option<Arc<str>>,
    /// The session; `None` for a caller whose credentials last.
    pub(super) temporary: Option<Arc<TemporaryCredentials>>,
    pub policies: Arc<IdentityPolicies>,
    /// The permissions boundary of the user or role.
    pub boundary: Option<NamedPolicy>,
    /// The policies given when the role was assumed; `None` where none were given. One of them must
    /// allow an action as well.
    pub session_policies: Option<Arc<IdentityPolicies>>,
    /// For `aws:PrincipalTag`: the tags of the user, or those of the role with the session's own in
    /// place of equal keys.
    pub tags: Vec<(String, String)>,
    /// When the credentials were issued, where they are temporary.
    pub issued_at: Option<Timestamp>,
    /// Values of further condition keys that a session keeps from its beginning, such as
    /// `aws:SourceIdentity`, or that a web identity brings. Names are in lower case.
    pub session_keys: Arc<[(String, Vec<String>)]>,
    /// What a Bearer token is limited to; `None` for callers with other credentials.
    pub registry_grant: Option<Arc<RegistryGrant>>,
    arn: Arn,
    principal_arn: Arn,
    user_id: Box<str>,
}

impl Caller {
    /// A caller without a boundary, session policies and tags, with credentials that last.
    #[must_use]
    pub fn new(account: AccountId, principal: Principal, policies: Arc<IdentityPolicies>) -> Self {
        let root_id = || Box::<str>::from(account.as_str());
        let (arn, user_id) = match &principal {
            Principal::Root => (account.root_arn(), root_id()),
            Principal::User(user) => (user.arn(account), user.id.as_str().into()),
            Principal::AssumedRole { role, session_name } => (
                role.session_arn(account, session_name),
                format!("{}:{session_name}", role.id).into(),
            ),
            Principal::FederatedUser { name, .. } => (
                federated_arn(account, name),
                format!("{account}:{name}").into(),
            ),
            Principal::WebIdentity { provider, subject } => {
                (provider.clone(), subject.as_str().into())
            }
            Principal::Service(name) => {
                let arn = Arn::new("aws", "iam", "", account.as_str(), name);
                (arn, name.clone())
            }
            Principal::Anonymous => {
                let arn = Arn::new("aws", "iam", "", account.as_str(), "anonymous");
                (arn, root_id())
            }
        };
        let principal_arn = match &principal {
            Principal::AssumedRole { role, .. } => role.arn(account),
            Principal::Root
            | Principal::User(_)
            | Principal::FederatedUser { .. }
            | Principal::WebIdentity { .. }
            | Principal::Service(_)
            | Principal::Anonymous => arn.clone(),
        };
        Self {
            account,
            principal,
            access_key_id: None,
            temporary: None,
            policies,
            boundary: None,
            session_policies: None,
            tags: Vec::new(),
            issued_at: None,
            session_keys: Arc::default(),
            registry_grant: None,
            arn,
            principal_arn,
            user_id,
        }
    }

    /// The root of `account`.
    #[must_use]
    pub fn root(account: AccountId) -> Self {
        Self::new(account, Principal::Root, Arc::default())
    }

    /// The caller as signed with this key.
    #[must_use]
    pub fn with_access_key(mut self, access_key_id: Arc<str>) -> Self {
        self.access_key_id = Some(access_key_id);
        self
    }

    /// The caller as signed with temporary credentials.
    #[must_use]
    pub(super) fn with_temporary_credentials(
        mut self,
        credentials: Arc<TemporaryCredentials>,
    ) -> Self {
        self.temporary = Some(credentials);
        self
    }

    /// What rate and memory limits know the caller by: its access key, or for all sessions of one
    /// identity together, that identity. `None` under `--dev` without credentials.
    #[must_use]
    pub fn budget_id(&self) -> Option<&str> {
        if let Principal::FederatedUser { lender, .. } = &self.principal {
            let root = self.account.as_str();
            return Some(lender.as_ref().map_or(root, |user| user.id.as_str()));
        }
        if self.temporary.is_some() {
            return Some(self.principal_arn.as_str());
        }
        self.access_key_id.as_deref()
    }

    /// Limits the caller to what a Bearer token grants.
    #[must_use]
    pub fn with_registry_grant(mut self, grant: Arc<RegistryGrant>) -> Self {
        self.registry_grant = Some(grant);
        self
    }

    /// `arn:aws:iam::<account>:root`, `…:user/<path><name>`,
    /// `arn:aws:sts::<account>:assumed-role/<name>/<session>` or `…:federated-user/<name>`, as
    /// `GetCallerIdentity` returns it.
    #[must_use]
    pub const fn arn(&self) -> &Arn {
        &self.arn
    }

    /// The key `aws:PrincipalArn`: the role's own ARN for a session of it.
    #[must_use]
    pub const fn principal_arn(&self) -> &Arn {
        &self.principal_arn
    }

    /// `UserId` of `GetCallerIdentity` and the key `aws:userid`: the account id for a root, the
    /// unique id for a user, the role's unique id and the session name for a session.
    #[must_use]
    pub fn user_id(&self) -> &str {
        &self.user_id
    }

    /// The unique id of the user or the role, or of the user that lends its permissions, by which
    /// stored resource policies name it.
    #[must_use]
    pub fn unique_id(&self) -> Option<&str> {
        match &self.principal {
            Principal::User(user) => Some(&user.id),
            Principal::AssumedRole { role, .. } => Some(&role.id),
            Principal::FederatedUser { lender, .. } => lender.as_ref().map(|user| user.id.as_str()),
            Principal::Root
            | Principal::WebIdentity { .. }
            | Principal::Service(_)
            | Principal::Anonymous => None,
        }
    }

    /// The caller's name in error messages.
    #[must_use]
    pub fn display(&self) -> &str {
        match &self.principal {
            Principal::Anonymous => "anonymous",
            Principal::Service(name) => name,
            Principal::Root
            | Principal::User(_)
            | Principal::AssumedRole { .. }
            | Principal::FederatedUser { .. }
            | Principal::WebIdentity { .. } => self.arn.as_str(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identities_are_named_as_aws_names_them() {
        let root = Caller::root(AccountId::DEV);
        assert_eq!(
            (root.arn().as_str(), root.user_id()),
            ("arn:aws:iam::123456789012:root", "123456789012")
        );
        let user = |path: &str| UserName {
            path: path.into(),
            name: "ci".into(),
            id: "AIDAEXAMPLE".into(),
        };
        let named = |path| Caller::new(AccountId::DEV, Principal::User(user(path)), Arc::default());
        assert_eq!(
            named("/").arn().as_str(),
            "arn:aws:iam::123456789012:user/ci"
        );
        assert_eq!(
            named("/build/").arn().as_str(),
            "arn:aws:iam::123456789012:user/build/ci"
        );
        assert_eq!(named("/").user_id(), "AIDAEXAMPLE");
        assert_eq!(
            Caller::new(AccountId::DEV, Principal::Anonymous, Arc::default()).display(),
            "anonymous"
        );
    }

    #[test]
    fn a_session_is_named_apart_from_its_role() {
        let role = RoleName {
            path: "/service-role/".into(),
            name: "deploy".into(),
            id: "AROAEXAMPLE".into(),
        };
        let principal = Principal::AssumedRole {
            role,
            session_name: "build-7".into(),
        };
        let caller = Caller::new(AccountId::DEV, principal, Arc::default());
        assert_eq!(
            caller.arn().as_str(),
            "arn:aws:sts::123456789012:assumed-role/deploy/build-7"
        );
        assert_eq!(
            caller.principal_arn().as_str(),
            "arn:aws:iam::123456789012:role/service-role/deploy"
        );
        assert_eq!(caller.user_id(), "AROAEXAMPLE:build-7");
        assert_eq!(caller.unique_id(), Some("AROAEXAMPLE"));
        assert_eq!(caller.display(), caller.arn().as_str());
    }
}
