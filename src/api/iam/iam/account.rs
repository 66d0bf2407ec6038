//! `CreateAccountAlias`, `DeleteAccountAlias`, `ListAccountAliases`, `GetAccountSummary`.

use serde::{Deserialize, Serialize};
use wharfinger_api_core::{Context, Operation, RequestScope};
use wharfinger_aws::xml::MapEntry;

use crate::iam::paging::{PageEnd, Paging};
use crate::iam::resource::IamResourceId;
use crate::iam::{IamService, Result};

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct CreateAccountAlias {
    account_alias: String,
}

impl Operation for CreateAccountAlias {
    type Service = IamService;
    type Output = ();

    const NAME: &'static str = "CreateAccountAlias";

    fn resource(&self, scope: &RequestScope) -> Result<IamResourceId> {
        Ok(IamResourceId::Account(scope.account))
    }

    async fn run(self, cx: &Context<IamService>) -> Result<()> {
        let accounts = cx.state().iam.accounts();
        Ok(accounts
            .set_alias(cx.scope().account, self.account_alias)
            .await?)
    }
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct DeleteAccountAlias {
    account_alias: String,
}

impl Operation for DeleteAccountAlias {
    type Service = IamService;
    type Output = ();

    const NAME: &'static str = "DeleteAccountAlias";

    fn resource(&self, scope: &RequestScope) -> Result<IamResourceId> {
        Ok(IamResourceId::Account(scope.account))
    }

    async fn run(self, cx: &Context<IamService>) -> Result<()> {
        let accounts = cx.state().iam.accounts();
        Ok(accounts
            .remove_alias(cx.scope().account, self.account_alias)
            .await?)
    }
}

#[derive(Debug, Deserialize)]
pub(super) struct ListAccountAliases {
    #[serde(flatten)]
    paging: Paging,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct ListAccountAliasesOutput {
    account_aliases: Vec<String>,
    #[serde(flatten)]
    end: PageEnd,
}

impl Operation for ListAccountAliases {
    type Service = IamService;
    type Output = ListAccountAliasesOutput;

    const NAME: &'static str = "ListAccountAliases";

    fn resource(&self, scope: &RequestScope) -> Result<IamResourceId> {
        Ok(IamResourceId::Account(scope.account))
    }

    async fn run(self, cx: &Context<IamService>) -> Result<ListAccountAliasesOutput> {
        let alias = cx.state().iam.accounts().alias(cx.scope().account).await?;
        let (account_aliases, end) = self.paging.page(Self::NAME, alias, |alias| alias)?;
        Ok(ListAccountAliasesOutput {
            account_aliases,
            end,
        })
    }
}

#[derive(Debug, Deserialize)]
pub(super) struct GetAccountSummary {}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct GetAccountSummaryOutput {
    summary_map: SummaryMap,
}

#[derive(Debug, Serialize)]
struct SummaryMap {
    entry: Vec<MapEntry<&'static str, i64>>,
}

impl Operation for GetAccountSummary {
    type Service = IamService;
    type Output = GetAccountSummaryOutput;

    const NAME: &'static str = "GetAccountSummary";

    fn resource(&self, scope: &RequestScope) -> Result<IamResourceId> {
        Ok(IamResourceId::Account(scope.account))
    }

    async fn run(self, cx: &Context<IamService>) -> Result<GetAccountSummaryOutput> {
        let accounts = cx.state().iam.accounts();
        let summary = accounts.summary(cx.scope().account).await?;
        let entries = summary.into_iter();
        Ok(GetAccountSummaryOutput {
            summary_map: SummaryMap {
                entry: entries
                    .map(|(key, value)| MapEntry { key, value })
                    .collect(),
            },
        })
    }
}
