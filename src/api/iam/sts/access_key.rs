//! `GetAccessKeyInfo`.

use serde::{Deserialize, Serialize};
use wharfinger_api_core::{Context, Operation, RequestScope};
use wharfinger_aws::AccountId;

use crate::sts::{Error, Result, Sts, StsResourceId};

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct GetAccessKeyInfo {
    access_key_id: String,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct GetAccessKeyInfoOutput {
    account: AccountId,
}

impl Operation for GetAccessKeyInfo {
    type Service = Sts;
    type Output = GetAccessKeyInfoOutput;

    const NAME: &'static str = "GetAccessKeyInfo";

    fn resource(&self, scope: &RequestScope) -> Result<StsResourceId> {
        Ok(StsResourceId::Account(scope.account))
    }

    async fn run(self, cx: &Context<Sts>) -> Result<GetAccessKeyInfoOutput> {
        let account = cx.state().iam.account_of_key(&self.access_key_id).await?;
        let account = account.ok_or_else(Error::unknown_access_key)?;
        Ok(GetAccessKeyInfoOutput { account })
    }
}
