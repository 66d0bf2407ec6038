//! AWS STS: `GetCallerIdentity`.

use std::sync::LazyLock;

use serde::{Deserialize, Serialize};
use wharfinger_api_core::{
    Context, Demand, Operation, OperationEntry, RequestScope, Service, ServiceModel, operations,
};
use wharfinger_aws::constraints::Limits;
use wharfinger_aws::{AccountId, Arn, Family, Fault};
use wharfinger_iam::Resource;

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

/// The caller's account, which is all that STS operations work on.
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
    type State = ();
    type ResourceId = AccountId;
    type Resource = Account;
    type Error = Fault;

    fn model() -> &'static ServiceModel {
        &MODEL
    }

    fn operations() -> &'static [OperationEntry<Self>] {
        OPERATIONS
    }

    async fn load(_state: &(), account: &AccountId) -> Result<Account, Fault> {
        Ok(Account(*account))
    }
}

static OPERATIONS: &[OperationEntry<Sts>] = operations![GetCallerIdentity];

#[derive(Debug, Deserialize)]
struct GetCallerIdentity {}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct GetCallerIdentityOutput {
    user_id: String,
    account: AccountId,
    arn: String,
}

impl Operation for GetCallerIdentity {
    type Service = Sts;
    type Output = GetCallerIdentityOutput;

    const NAME: &'static str = "GetCallerIdentity";

    fn resource(&self, scope: &RequestScope) -> Result<AccountId, Fault> {
        Ok(scope.account)
    }

    /// The operation needs no permission, and no policy can deny it (STS API reference).
    fn demands(&self, _scope: &RequestScope) -> Result<Vec<Demand<Sts>>, Fault> {
        Ok(Vec::new())
    }

    async fn run(self, cx: &Context<Sts>) -> Result<GetCallerIdentityOutput, Fault> {
        let caller = cx.caller();
        Ok(GetCallerIdentityOutput {
            user_id: caller.user_id().to_owned(),
            account: caller.account,
            arn: caller.arn().to_string(),
        })
    }
}

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
