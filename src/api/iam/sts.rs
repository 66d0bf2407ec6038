//! AWS STS: who a caller is, and temporary credentials.

mod access_key;
mod assume_role;
mod authorization_message;
mod caller;
mod credentials;
mod error;
mod federation;
mod session;
mod web_identity;

use std::sync::{Arc, LazyLock};

pub use error::Error;
use wharfinger_api_core::{OperationEntry, Service, ServiceModel, operations};
use wharfinger_aws::constraints::Limits;
use wharfinger_aws::{AccountId, Arn, Family};
use wharfinger_iam::{Caller, Iam, Resource, TargetRole, TrustPolicy, federated_arn};

type Result<T, E = Error> = std::result::Result<T, E>;

/// AWS STS, API version 2011-06-15.
pub static MODEL: ServiceModel = ServiceModel {
    name: "sts",
    family: Family::Query,
    target: "",
    version: "2011-06-15",
    namespace: "https://sts.amazonaws.com/doc/2011-06-15/",
    limits: &LIMITS,
    // SAML, the root's sessions of organizations, and tokens for others.
    unsupported: &[
        "AssumeRoleWithSAML",
        "AssumeRoot",
        "GetDelegatedAccessToken",
        "GetWebIdentityToken",
    ],
};

static LIMITS: LazyLock<Limits> = LazyLock::new(|| Limits::read(include_str!("sts_limits.toml")));

/// The service.
pub struct Sts;

/// The handles that STS's operations use.
pub struct State {
    pub iam: Arc<Iam>,
}

/// The name of a resource.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StsResourceId {
    /// The caller's account, for operations that work on nothing else.
    Account(AccountId),
    /// A role that shall be assumed.
    Role(Arn),
    /// A federated user of the caller's account, by its name.
    FederatedUser(AccountId, String),
}

/// A resource as decisions and operations use it.
pub enum StsResource {
    Account(AccountId),
    Role(Box<TargetRole>),
    FederatedUser(AccountId, Arn),
}

impl StsResource {
    /// The role.
    ///
    /// # Errors
    /// An internal one for an operation that did not name a role.
    fn role(&self) -> Result<&TargetRole> {
        match self {
            Self::Role(role) => Ok(role),
            Self::Account(_) | Self::FederatedUser(..) => Err(Error::wrong_resource()),
        }
    }
}

impl Resource for StsResource {
    fn arn(&self) -> Option<&Arn> {
        match self {
            Self::Account(_) => None,
            Self::Role(role) => role.arn(),
            Self::FederatedUser(_, arn) => Some(arn),
        }
    }

    fn account(&self) -> AccountId {
        match self {
            Self::Account(account) | Self::FederatedUser(account, _) => *account,
            Self::Role(role) => role.account(),
        }
    }

    fn trust_policy(&self) -> TrustPolicy<'_> {
        match self {
            Self::Account(_) | Self::FederatedUser(..) => TrustPolicy::NotNeeded,
            Self::Role(role) => role.trust_policy(),
        }
    }

    fn tags(&self) -> &[(String, String)] {
        match self {
            Self::Account(_) | Self::FederatedUser(..) => &[],
            Self::Role(role) => role.tags(),
        }
    }
}

impl Service for Sts {
    type State = State;
    type ResourceId = StsResourceId;
    type Resource = StsResource;
    type Error = Error;

    fn model() -> &'static ServiceModel {
        &MODEL
    }

    fn operations() -> &'static [OperationEntry<Self>] {
        OPERATIONS
    }

    async fn load(state: &State, id: &StsResourceId, _caller: &Caller) -> Result<StsResource> {
        match id {
            StsResourceId::Account(account) => Ok(StsResource::Account(*account)),
            StsResourceId::FederatedUser(account, name) => {
                let arn = federated_arn(*account, name);
                Ok(StsResource::FederatedUser(*account, arn))
            }
            StsResourceId::Role(arn) => {
                let role = state.iam.role_sessions().role(arn).await?;
                Ok(StsResource::Role(Box::new(role)))
            }
        }
    }
}

/// In the order of their names, as the limits are.
static OPERATIONS: &[OperationEntry<Sts>] = operations![
    assume_role::AssumeRole,
    web_identity::AssumeRoleWithWebIdentity,
    authorization_message::DecodeAuthorizationMessage,
    access_key::GetAccessKeyInfo,
    caller::GetCallerIdentity,
    federation::GetFederationToken,
    credentials::GetSessionToken,
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_operation_has_limits_and_no_other_has() {
        let served: Vec<&str> = OPERATIONS.iter().map(OperationEntry::name).collect();
        let known: Vec<&str> = MODEL.limits.operations().map(|(name, _)| name).collect();
        assert_eq!(served, known);
        assert!(!MODEL.unsupported.iter().any(|name| served.contains(name)));
    }
}
