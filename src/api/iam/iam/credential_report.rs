//! `GenerateCredentialReport` and `GetCredentialReport`.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde::{Deserialize, Serialize};
use wharfinger_api_core::{Context, Operation, RequestScope};

use crate::iam::resource::IamResourceId;
use crate::iam::views::date;
use crate::iam::{IamService, Result};

#[derive(Debug, Deserialize)]
pub(super) struct GenerateCredentialReport {}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct GenerateCredentialReportOutput {
    state: &'static str,
}

impl Operation for GenerateCredentialReport {
    type Service = IamService;
    type Output = GenerateCredentialReportOutput;

    const NAME: &'static str = "GenerateCredentialReport";

    fn resource(&self, scope: &RequestScope) -> Result<IamResourceId> {
        Ok(IamResourceId::Account(scope.account))
    }

    async fn run(self, cx: &Context<IamService>) -> Result<GenerateCredentialReportOutput> {
        let accounts = cx.state().iam.accounts();
        accounts
            .generate_credential_report(cx.scope().account)
            .await?;
        Ok(GenerateCredentialReportOutput { state: "COMPLETE" })
    }
}

#[derive(Debug, Deserialize)]
pub(super) struct GetCredentialReport {}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct GetCredentialReportOutput {
    content: String,
    report_format: &'static str,
    generated_time: String,
}

impl Operation for GetCredentialReport {
    type Service = IamService;
    type Output = GetCredentialReportOutput;

    const NAME: &'static str = "GetCredentialReport";

    fn resource(&self, scope: &RequestScope) -> Result<IamResourceId> {
        Ok(IamResourceId::Account(scope.account))
    }

    async fn run(self, cx: &Context<IamService>) -> Result<GetCredentialReportOutput> {
        let accounts = cx.state().iam.accounts();
        let report = accounts.credential_report(cx.scope().account).await?;
        Ok(GetCredentialReportOutput {
            content: BASE64_STANDARD.encode(&report.content),
            report_format: "text/csv",
            generated_time: date(report.generated_at),
        })
    }
}
