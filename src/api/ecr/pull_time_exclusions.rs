//! `RegisterPullTimeUpdateExclusion`, `DeregisterPullTimeUpdateExclusion`,
//! `ListPullTimeUpdateExclusions`.

use serde::{Deserialize, Serialize};
use wharfinger_api_core::{Context, Operation, RequestScope};

use crate::resource::{ResourceId, registry_id};
use crate::{Ecr, Result, paging};

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct RegisterPullTimeUpdateExclusion {
    principal_arn: String,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct RegisterPullTimeUpdateExclusionOutput {
    principal_arn: String,
    created_at: f64,
}

impl Operation for RegisterPullTimeUpdateExclusion {
    type Service = Ecr;
    type Output = RegisterPullTimeUpdateExclusionOutput;

    const NAME: &'static str = "RegisterPullTimeUpdateExclusion";

    fn resource(&self, scope: &RequestScope) -> Result<ResourceId> {
        Ok(ResourceId::Registry(registry_id(scope, None)))
    }

    async fn run(self, cx: &Context<Ecr>) -> Result<RegisterPullTimeUpdateExclusionOutput> {
        let settings = &cx.state().registry.settings;
        let added = settings.add_exclusion(cx.resource().registry(), &self.principal_arn);
        Ok(RegisterPullTimeUpdateExclusionOutput {
            created_at: added.await?.as_epoch_seconds(),
            principal_arn: self.principal_arn,
        })
    }
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct DeregisterPullTimeUpdateExclusion {
    principal_arn: String,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct DeregisterPullTimeUpdateExclusionOutput {
    principal_arn: String,
}

impl Operation for DeregisterPullTimeUpdateExclusion {
    type Service = Ecr;
    type Output = DeregisterPullTimeUpdateExclusionOutput;

    const NAME: &'static str = "DeregisterPullTimeUpdateExclusion";

    fn resource(&self, scope: &RequestScope) -> Result<ResourceId> {
        Ok(ResourceId::Registry(registry_id(scope, None)))
    }

    async fn run(self, cx: &Context<Ecr>) -> Result<DeregisterPullTimeUpdateExclusionOutput> {
        let (registry, principal_arn) = (cx.resource().registry(), self.principal_arn);
        let settings = &cx.state().registry.settings;
        settings.remove_exclusion(registry, &principal_arn).await?;
        Ok(DeregisterPullTimeUpdateExclusionOutput { principal_arn })
    }
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ListPullTimeUpdateExclusions {
    max_results: Option<u32>,
    next_token: Option<String>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ListPullTimeUpdateExclusionsOutput {
    pull_time_update_exclusions: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_token: Option<String>,
}

impl Operation for ListPullTimeUpdateExclusions {
    type Service = Ecr;
    type Output = ListPullTimeUpdateExclusionsOutput;

    const NAME: &'static str = "ListPullTimeUpdateExclusions";

    fn resource(&self, scope: &RequestScope) -> Result<ResourceId> {
        Ok(ResourceId::Registry(registry_id(scope, None)))
    }

    async fn run(self, cx: &Context<Ecr>) -> Result<ListPullTimeUpdateExclusionsOutput> {
        let registry = cx.resource().registry();
        let after = paging::registry_position(Self::NAME, registry, self.next_token.as_deref())?;
        let settings = &cx.state().registry.settings;
        let page = settings
            .exclusions(registry, &after, paging::limit(self.max_results))
            .await?;
        let token = |last: String| paging::registry_token(Self::NAME, registry, &last);
        Ok(ListPullTimeUpdateExclusionsOutput {
            pull_time_update_exclusions: page.items,
            next_token: page.next.map(token),
        })
    }
}
