//! Callers: an account's root, a user or an anonymous caller, with the policies and the limits of
//! the credentials used. PURE.

use std::sync::Arc;

use wharfinger_aws::{AccountId, Arn};

use crate::grants::RegistryGrant;
use crate::policy::Policy;

/// An identity within an account. Roles and their sessions will be further kinds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Principal {
    /// The account itself, to which identity policies do not apply.
    Root,
    User(UserName),
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
    /// The start of every user's unique id.
    pub const ID_PREFIX: &str = "AIDA";

    /// `arn:aws:iam::<account>:user/<path><name>`.
    #[must_use]
    pub fn arn(&self, account: AccountId) -> Arn {
        let resource = format!("user{}{}", self.path, self.name);
        Arn::new("aws", "iam", "", account.as_str(), &resource)
    }
}

/// A policy as it is attached to an identity: under its managed name or its inline name.
#[derive(Clone, Debug)]
pub struct NamedPolicy {
    pub name: Arc<str>,
    pub policy: Arc<Policy>,
}

/// The policies of one identity, compiled.
#[derive(Clone, Debug, Default)]
pub struct IdentityPolicies {
    pub policies: Vec<NamedPolicy>,
}

/// An authenticated caller, shared in an `Arc`: built at most once a second for each credential in
/// use.
#[derive(Clone, Debug)]
pub struct Caller {
    pub account: AccountId,
    pub principal: Principal,
    /// The key that signed, or that the token was issued to; `None` under `--dev` without
    /// credentials.
    pub access_key_id: Option<Arc<str>>,
    pub policies: Arc<IdentityPolicies>,
    /// What a Bearer token is limited to; `None` for callers with other credentials.
    pub registry_grant: Option<Arc<RegistryGrant>>,
    arn: Arn,
}

impl Caller {
    #[must_use]
    pub fn new(account: AccountId, principal: Principal, policies: Arc<IdentityPolicies>) -> Self {
        let arn = match &principal {
            Principal::Root => account.root_arn(),
            Principal::User(user) => user.arn(account),
            Principal::Anonymous => Arn::new("aws", "iam", "", account.as_str(), "anonymous"),
        };
        Self {
            account,
            principal,
            access_key_id: None,
            policies,
            registry_grant: None,
            arn,
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

    /// Limits the caller to what a Bearer token grants.
    #[must_use]
    pub fn with_registry_grant(mut self, grant: Arc<RegistryGrant>) -> Self {
        self.registry_grant = Some(grant);
        self
    }

    /// `arn:aws:iam::<account>:root` or `…:user/<path><name>`, as `GetCallerIdentity` returns it.
    #[must_use]
    pub const fn arn(&self) -> &Arn {
        &self.arn
    }

    /// `UserId` of `GetCallerIdentity` and the key `aws:userid`: the account id for a root, the
    /// unique id for a user.
    #[must_use]
    pub fn user_id(&self) -> &str {
        match &self.principal {
            Principal::User(user) => &user.id,
            Principal::Root | Principal::Anonymous => self.account.as_str(),
        }
    }

    /// The caller's name in error messages.
    #[must_use]
    pub fn display(&self) -> &str {
        if self.principal == Principal::Anonymous {
            "anonymous"
        } else {
            self.arn.as_str()
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
}
