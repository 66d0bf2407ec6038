//! `GetCallerIdentity`.

use serde::{Deserialize, Serialize};
use wharfinger_api_core::{Context, Demand, Operation, RequestScope};
use wharfinger_aws::AccountId;

use crate::sts::{Result, Sts, StsResourceId};

#[derive(Debug, Deserialize)]
pub(super) struct GetCallerIdentity {}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct GetCallerIdentityOutput {
    user_id: String,
    account: AccountId,
    arn: String,
}

impl Operation for GetCallerIdentity {
    type Service = Sts;
    type Output = GetCallerIdentityOutput;

    const NAME: &'static str = "GetCallerIdentity";

    fn resource(&self, scope: &RequestScope) -> Result<StsResourceId> {
        Ok(StsResourceId::Account(scope.account))
    }

    /// The operation needs no permission, and no policy can deny it (STS API reference).
    fn demands(&self, _scope: &RequestScope) -> Result<Vec<Demand<Sts>>> {
        Ok(Vec::new())
    }

    async fn run(self, cx: &Context<Sts>) -> Result<GetCallerIdentityOutput> {
        let caller = cx.caller();
        Ok(GetCallerIdentityOutput {
            user_id: caller.user_id().to_owned(),
            account: caller.account,
            arn: caller.arn().to_string(),
        })
    }
}
