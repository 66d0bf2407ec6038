//! Tags of users, roles, instance profiles and managed policies: `Tag…`, `Untag…`, `List…Tags`.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use wharfinger_api_core::{Context, Demand, Operation, RequestScope};
use wharfinger_iam::Resource as _;

use crate::iam::kinds::{InstanceProfile, Kind, Named, Role, User};
use crate::iam::managed_policies::policy_id;
use crate::iam::oidc_providers::ProviderByArn;
use crate::iam::paging::{PageEnd, Paging};
use crate::iam::resource::IamResourceId;
use crate::iam::views::{TagView, checked_tags};
use crate::iam::{IamService, Result};

/// A request's name of something with tags.
pub(super) trait Tagged: DeserializeOwned + Send + Sync + 'static {
    const TAG: &'static str;
    const UNTAG: &'static str;
    const LIST_TAGS: &'static str;

    fn id(&self, scope: &RequestScope) -> Result<IamResourceId>;
}

/// A kind of entity that has tags.
pub(super) trait TaggedKind: Kind {
    const TAG: &'static str;
    const UNTAG: &'static str;
    const LIST_TAGS: &'static str;
}

impl TaggedKind for User {
    const TAG: &'static str = "TagUser";
    const UNTAG: &'static str = "UntagUser";
    const LIST_TAGS: &'static str = "ListUserTags";
}

impl TaggedKind for Role {
    const TAG: &'static str = "TagRole";
    const UNTAG: &'static str = "UntagRole";
    const LIST_TAGS: &'static str = "ListRoleTags";
}

impl TaggedKind for InstanceProfile {
    const TAG: &'static str = "TagInstanceProfile";
    const UNTAG: &'static str = "UntagInstanceProfile";
    const LIST_TAGS: &'static str = "ListInstanceProfileTags";
}

impl<K: TaggedKind> Tagged for Named<K> {
    const TAG: &'static str = K::TAG;
    const UNTAG: &'static str = K::UNTAG;
    const LIST_TAGS: &'static str = K::LIST_TAGS;

    fn id(&self, scope: &RequestScope) -> Result<IamResourceId> {
        Ok(self.id(scope))
    }
}

/// A managed policy by its ARN.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct PolicyByArn {
    policy_arn: String,
}

impl Tagged for PolicyByArn {
    const TAG: &'static str = "TagPolicy";
    const UNTAG: &'static str = "UntagPolicy";
    const LIST_TAGS: &'static str = "ListPolicyTags";

    fn id(&self, scope: &RequestScope) -> Result<IamResourceId> {
        policy_id(scope, &self.policy_arn)
    }
}

impl Tagged for ProviderByArn {
    const TAG: &'static str = "TagOpenIDConnectProvider";
    const UNTAG: &'static str = "UntagOpenIDConnectProvider";
    const LIST_TAGS: &'static str = "ListOpenIDConnectProviderTags";

    fn id(&self, _scope: &RequestScope) -> Result<IamResourceId> {
        self.id()
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", bound = "")]
pub(super) struct Tag<T: Tagged> {
    #[serde(flatten)]
    tagged: T,
    tags: Vec<TagView>,
}

impl<T: Tagged> Operation for Tag<T> {
    type Service = IamService;
    type Output = ();

    const NAME: &'static str = T::TAG;

    fn resource(&self, scope: &RequestScope) -> Result<IamResourceId> {
        self.tagged.id(scope)
    }

    fn demands(&self, scope: &RequestScope) -> Result<Vec<Demand<IamService>>> {
        let tags = self.tags.iter().map(TagView::pair).collect();
        let demand = Demand::new(Self::ACTION, self.resource(scope)?);
        Ok(vec![demand.with_tags(tags)])
    }

    async fn run(self, cx: &Context<IamService>) -> Result<()> {
        cx.resource().check_exists()?;
        let tags = checked_tags(&self.tags)?;
        let (iam, account) = (&cx.state().iam, cx.scope().account);
        if let Some(entity) = cx.resource().any_entity() {
            return Ok(iam.entities().tag(account, &entity.name, tags).await?);
        }
        if cx.resource().is_oidc_provider() {
            let (account, arn) = cx.resource().place();
            return Ok(iam.oidc_providers().tag(account, arn, tags).await?);
        }
        let policy = cx.resource().policy()?;
        Ok(iam.managed_policies().tag(account, policy, tags).await?)
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", bound = "")]
pub(super) struct Untag<T: Tagged> {
    #[serde(flatten)]
    tagged: T,
    tag_keys: Vec<String>,
}

impl<T: Tagged> Operation for Untag<T> {
    type Service = IamService;
    type Output = ();

    const NAME: &'static str = T::UNTAG;

    fn resource(&self, scope: &RequestScope) -> Result<IamResourceId> {
        self.tagged.id(scope)
    }

    fn demands(&self, scope: &RequestScope) -> Result<Vec<Demand<IamService>>> {
        let demand = Demand::new(Self::ACTION, self.resource(scope)?);
        Ok(vec![demand.removing_tags(self.tag_keys.clone())])
    }

    async fn run(self, cx: &Context<IamService>) -> Result<()> {
        cx.resource().check_exists()?;
        let (iam, account) = (&cx.state().iam, cx.scope().account);
        if let Some(entity) = cx.resource().any_entity() {
            let entities = iam.entities();
            return Ok(entities.untag(account, &entity.name, self.tag_keys).await?);
        }
        if cx.resource().is_oidc_provider() {
            let (account, arn) = cx.resource().place();
            let providers = iam.oidc_providers();
            return Ok(providers.untag(account, arn, self.tag_keys).await?);
        }
        let policy = cx.resource().policy()?;
        let policies = iam.managed_policies();
        Ok(policies.untag(account, policy, self.tag_keys).await?)
    }
}

#[derive(Deserialize)]
#[serde(bound = "")]
pub(super) struct ListTags<T: Tagged> {
    #[serde(flatten)]
    tagged: T,
    #[serde(flatten)]
    paging: Paging,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct ListTagsOutput {
    tags: Vec<TagView>,
    #[serde(flatten)]
    end: PageEnd,
}

impl<T: Tagged> Operation for ListTags<T> {
    type Service = IamService;
    type Output = ListTagsOutput;

    const NAME: &'static str = T::LIST_TAGS;

    fn resource(&self, scope: &RequestScope) -> Result<IamResourceId> {
        self.tagged.id(scope)
    }

    async fn run(self, cx: &Context<IamService>) -> Result<ListTagsOutput> {
        cx.resource().check_exists()?;
        let (tags, end) = self.paging.counted(Self::NAME, cx.resource().tags())?;
        Ok(ListTagsOutput {
            tags: tags.into_iter().map(TagView::from_pair).collect(),
            end,
        })
    }
}
