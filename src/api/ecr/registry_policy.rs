//! `PutRegistryPolicy`, `GetRegistryPolicy`, `DeleteRegistryPolicy`.
//!
//! The policy does not decide about these three operations, so that it cannot lock its account out.

use serde::{Deserialize, Serialize};
use wharfinger_api_core::{Context, Operation, RequestScope};
use wharfinger_aws::AccountId;
use wharfinger_iam::{Grammar, Policy};

use crate::resource::{ResourceId, registry_id};
use crate::{Ecr, Result, error};

/// The output of all three operations.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct RegistryPolicyOutput {
    registry_id: AccountId,
    policy_text: String,
}

/// The output for a stored policy, with the principals that it names as ARNs.
async fn shown(cx: &Context<Ecr>, stored: &str) -> Result<RegistryPolicyOutput> {
    Ok(RegistryPolicyOutput {
        registry_id: cx.resource().registry().account,
        policy_text: cx.state().iam.show_principals(stored).await?,
    })
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct PutRegistryPolicy {
    policy_text: String,
}

impl Operation for PutRegistryPolicy {
    type Service = Ecr;
    type Output = RegistryPolicyOutput;

    const NAME: &'static str = "PutRegistryPolicy";

    fn resource(&self, scope: &RequestScope) -> Result<ResourceId> {
        Ok(ResourceId::Account(registry_id(scope, None)))
    }

    async fn run(self, cx: &Context<Ecr>) -> Result<RegistryPolicyOutput> {
        let check = |text: &str| {
            let parsed = Policy::parse(text, Grammar::Registry);
            parsed.map_err(|why| error::invalid_registry_policy(&why))
        };
        check(&self.policy_text)?;
        let bound = cx.state().iam.bind_principals(&self.policy_text).await;
        let bound = bound.map_err(error::of_registry_policy)?;
        check(&bound)?;
        let registry = cx.resource().registry();
        let settings = &cx.state().registry.settings;
        settings.put_policy(registry, bound).await?;
        Ok(RegistryPolicyOutput {
            registry_id: registry.account,
            policy_text: self.policy_text,
        })
    }
}

#[derive(Debug, Deserialize)]
pub(super) struct GetRegistryPolicy {}

impl Operation for GetRegistryPolicy {
    type Service = Ecr;
    type Output = RegistryPolicyOutput;

    const NAME: &'static str = "GetRegistryPolicy";

    fn resource(&self, scope: &RequestScope) -> Result<ResourceId> {
        Ok(ResourceId::Account(registry_id(scope, None)))
    }

    async fn run(self, cx: &Context<Ecr>) -> Result<RegistryPolicyOutput> {
        let settings = &cx.state().registry.settings;
        let text = settings.policy_text(cx.resource().registry()).await?;
        shown(cx, &text).await
    }
}

#[derive(Debug, Deserialize)]
pub(super) struct DeleteRegistryPolicy {}

impl Operation for DeleteRegistryPolicy {
    type Service = Ecr;
    type Output = RegistryPolicyOutput;

    const NAME: &'static str = "DeleteRegistryPolicy";

    fn resource(&self, scope: &RequestScope) -> Result<ResourceId> {
        Ok(ResourceId::Account(registry_id(scope, None)))
    }

    async fn run(self, cx: &Context<Ecr>) -> Result<RegistryPolicyOutput> {
        let settings = &cx.state().registry.settings;
        let text = settings.delete_policy(cx.resource().registry()).await?;
        shown(cx, &text).await
    }
}
