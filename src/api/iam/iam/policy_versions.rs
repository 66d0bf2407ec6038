//! Versions of managed policies: `CreatePolicyVersion`, `GetPolicyVersion`, `ListPolicyVersions`,
//! `DeletePolicyVersion`, `SetDefaultPolicyVersion`.

use serde::{Deserialize, Serialize};
use wharfinger_api_core::{Context, Operation, RequestScope};
use wharfinger_base::Page;
use wharfinger_iam::ManagedPolicyVersion;

use crate::iam::managed_policies::policy_id;
use crate::iam::paging::{PageEnd, Paging};
use crate::iam::resource::IamResourceId;
use crate::iam::views::{date, encoded};
use crate::iam::{IamService, Result};

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct PolicyVersionView {
    /// URL-encoded; listings leave it out.
    document: Option<String>,
    version_id: String,
    is_default_version: bool,
    create_date: String,
}

impl PolicyVersionView {
    fn listed(version: ManagedPolicyVersion) -> Self {
        Self {
            document: None,
            version_id: version.id,
            is_default_version: version.is_default,
            create_date: date(version.created_at),
        }
    }
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct PolicyVersionOutput {
    policy_version: PolicyVersionView,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct CreatePolicyVersion {
    policy_arn: String,
    policy_document: String,
    #[serde(default)]
    set_as_default: bool,
}

impl Operation for CreatePolicyVersion {
    type Service = IamService;
    type Output = PolicyVersionOutput;

    const NAME: &'static str = "CreatePolicyVersion";

    fn resource(&self, scope: &RequestScope) -> Result<IamResourceId> {
        policy_id(scope, &self.policy_arn)
    }

    async fn run(self, cx: &Context<IamService>) -> Result<PolicyVersionOutput> {
        let policies = cx.state().iam.managed_policies();
        let version = policies
            .create_version(
                cx.scope().account,
                cx.resource().policy()?,
                self.policy_document,
                self.set_as_default,
            )
            .await?;
        Ok(PolicyVersionOutput {
            policy_version: PolicyVersionView::listed(version),
        })
    }
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct GetPolicyVersion {
    policy_arn: String,
    version_id: String,
}

impl Operation for GetPolicyVersion {
    type Service = IamService;
    type Output = PolicyVersionOutput;

    const NAME: &'static str = "GetPolicyVersion";

    fn resource(&self, scope: &RequestScope) -> Result<IamResourceId> {
        policy_id(scope, &self.policy_arn)
    }

    async fn run(self, cx: &Context<IamService>) -> Result<PolicyVersionOutput> {
        let policies = cx.state().iam.managed_policies();
        let version = policies
            .version(
                cx.scope().account,
                cx.resource().policy()?,
                &self.version_id,
            )
            .await?;
        let document = Some(encoded(&version.document));
        Ok(PolicyVersionOutput {
            policy_version: PolicyVersionView {
                document,
                ..PolicyVersionView::listed(version)
            },
        })
    }
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct ListPolicyVersions {
    policy_arn: String,
    #[serde(flatten)]
    paging: Paging,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct ListPolicyVersionsOutput {
    versions: Vec<PolicyVersionView>,
    #[serde(flatten)]
    end: PageEnd,
}

impl Operation for ListPolicyVersions {
    type Service = IamService;
    type Output = ListPolicyVersionsOutput;

    const NAME: &'static str = "ListPolicyVersions";

    fn resource(&self, scope: &RequestScope) -> Result<IamResourceId> {
        policy_id(scope, &self.policy_arn)
    }

    async fn run(self, cx: &Context<IamService>) -> Result<ListPolicyVersionsOutput> {
        let policies = cx.state().iam.managed_policies();
        let (account, policy) = (cx.scope().account, cx.resource().policy()?);
        let mut versions = policies.versions(account, policy).await?;
        if let Some(after) = self.paging.after(Self::NAME)? {
            let known = versions.iter().position(|version| version.id == after);
            versions.drain(..known.map_or(0, |at| at + 1));
        }
        let page = Page::of(versions, self.paging.limit(), |version| version.id.clone());
        Ok(ListPolicyVersionsOutput {
            end: PageEnd::of(Self::NAME, page.next.as_deref()),
            versions: page
                .items
                .into_iter()
                .map(PolicyVersionView::listed)
                .collect(),
        })
    }
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct DeletePolicyVersion {
    policy_arn: String,
    version_id: String,
}

impl Operation for DeletePolicyVersion {
    type Service = IamService;
    type Output = ();

    const NAME: &'static str = "DeletePolicyVersion";

    fn resource(&self, scope: &RequestScope) -> Result<IamResourceId> {
        policy_id(scope, &self.policy_arn)
    }

    async fn run(self, cx: &Context<IamService>) -> Result<()> {
        let policies = cx.state().iam.managed_policies();
        let (account, policy) = (cx.scope().account, cx.resource().policy()?);
        Ok(policies
            .delete_version(account, policy, &self.version_id)
            .await?)
    }
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct SetDefaultPolicyVersion {
    policy_arn: String,
    version_id: String,
}

impl Operation for SetDefaultPolicyVersion {
    type Service = IamService;
    type Output = ();

    const NAME: &'static str = "SetDefaultPolicyVersion";

    fn resource(&self, scope: &RequestScope) -> Result<IamResourceId> {
        policy_id(scope, &self.policy_arn)
    }

    async fn run(self, cx: &Context<IamService>) -> Result<()> {
        let policies = cx.state().iam.managed_policies();
        let (account, policy) = (cx.scope().account, cx.resource().policy()?);
        Ok(policies
            .set_default_version(account, policy, &self.version_id)
            .await?)
    }
}
