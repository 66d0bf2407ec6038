//! AWS STS: who a caller is, and temporary credentials.

mod access_key;
mod caller;
mod credentials;
mod error;

use std::sync::{Arc, LazyLock};

pub use error::Error;
use wharfinger_api_core::{OperationEntry, Service, ServiceModel, operations};
use wharfinger_aws::constraints::Limits;
use wharfinger_aws::{AccountId, Arn, Family};
use wharfinger_iam::{Caller, Iam, Resource};

type Result<T, E = Error> = std::result::Result<T, E>;

/// AWS STS, API version 2011-06-15.
pub static MODEL: ServiceModel = ServiceModel {
    name: "sts",
    family: Family::Query,
    target: "",
    version: "2011-06-15",
    namespace: "https://sts.amazonaws.com/doc/2011-06-15/",
    limits: &LIMITS,
};

static LIMITS: LazyLock<Limits> = LazyLock::new(|| Limits::read(include_str!("sts_limits.toml")));

/// The service.
pub struct Sts;

/// The handles that STS's operations use.
pub struct State {
    pub iam: Arc<Iam>,
}

/// The caller's account, which is all that these operations work on.
pub struct Account(AccountId);

impl Resource for Account {
    fn arn(&self) -> Option<&Arn> {
        None
    }

    fn account(&self) -> AccountId {
        self.0
    }
}

impl Service for Sts {
    type State = State;
    type ResourceId = AccountId;
    type Resource = Account;
    type Error = Error;

    fn model() -> &'static ServiceModel {
        &MODEL
    }

    fn operations() -> &'static [OperationEntry<Self>] {
        OPERATIONS
    }

    async fn load(_state: &State, account: &AccountId, _caller: &Caller) -> Result<Account> {
        Ok(Account(*account))
    }
}

/// In the order of their names, as the limits are.
static OPERATIONS: &[OperationEntry<Sts>] = operations![
    access_key::GetAccessKeyInfo,
    caller::GetCallerIdentity,
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
    }
}
