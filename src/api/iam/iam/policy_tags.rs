//! Tags of managed policies: `TagPolicy`, `UntagPolicy`, `ListPolicyTags`.

use serde::{Deserialize, Serialize};
use wharfinger_api_core::{Context, Demand, Operation, RequestScope};
use wharfinger_iam::Resource as _;

use crate::iam::managed_policies::policy_id;
use crate::iam::paging::{PageEnd, Paging};
use crate::iam::resource::IamResourceId;
use crate::iam::views::{TagView, checked_tags};
use crate::iam::{IamService, Result};

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct TagPolicy {
    policy_arn: String,
    tags: Vec<TagView>,
}

impl Operation for TagPolicy {
    type Service = IamService;
    type Output = ();

    const NAME: &'static str = "TagPolicy";

    fn resource(&self, scope: &RequestScope) -> Result<IamResourceId> {
        policy_id(scope, &self.policy_arn)
    }

    fn demands(&self, scope: &RequestScope) -> Result<Vec<Demand<IamService>>> {
        let demand = Demand::new(Self::ACTION, self.resource(scope)?);
        let tags = self.tags.iter().map(TagView::pair).collect();
        Ok(vec![demand.with_tags(tags)])
    }

    async fn run(self, cx: &Context<IamService>) -> Result<()> {
        let policies = cx.state().iam.managed_policies();
        let (account, tags) = (cx.scope().account, checked_tags(&self.tags)?);
        Ok(policies.tag(account, &self.policy_arn, tags).await?)
    }
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct UntagPolicy {
    policy_arn: String,
    tag_keys: Vec<String>,
}

impl Operation for UntagPolicy {
    type Service = IamService;
    type Output = ();

    const NAME: &'static str = "UntagPolicy";

    fn resource(&self, scope: &RequestScope) -> Result<IamResourceId> {
        policy_id(scope, &self.policy_arn)
    }

    fn demands(&self, scope: &RequestScope) -> Result<Vec<Demand<IamService>>> {
        let demand = Demand::new(Self::ACTION, self.resource(scope)?);
        Ok(vec![demand.removing_tags(self.tag_keys.clone())])
    }

    async fn run(self, cx: &Context<IamService>) -> Result<()> {
        let policies = cx.state().iam.managed_policies();
        let account = cx.scope().account;
        Ok(policies
            .untag(account, &self.policy_arn, self.tag_keys)
            .await?)
    }
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct ListPolicyTags {
    policy_arn: String,
    #[serde(flatten)]
    paging: Paging,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct ListPolicyTagsOutput {
    tags: Vec<TagView>,
    #[serde(flatten)]
    end: PageEnd,
}

impl Operation for ListPolicyTags {
    type Service = IamService;
    type Output = ListPolicyTagsOutput;

    const NAME: &'static str = "ListPolicyTags";

    fn resource(&self, scope: &RequestScope) -> Result<IamResourceId> {
        policy_id(scope, &self.policy_arn)
    }

    async fn run(self, cx: &Context<IamService>) -> Result<ListPolicyTagsOutput> {
        cx.resource().policy()?;
        // A key may be longer than a marker, so that the marker counts the tags before it.
        let shown = self.paging.after(Self::NAME)?;
        let shown = shown
            .and_then(|count| count.parse().ok())
            .unwrap_or(0_usize);
        let end = shown.saturating_add(self.paging.limit());
        let all = cx.resource().tags();
        let page = all.get(shown..end.min(all.len())).unwrap_or_default();
        let next = (end < all.len()).then(|| end.to_string());
        Ok(ListPolicyTagsOutput {
            end: PageEnd::of(Self::NAME, next.as_deref()),
            tags: page.iter().cloned().map(TagView::from_pair).collect(),
        })
    }
}
