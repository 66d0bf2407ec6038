//! `TagResource`, `UntagResource`, `ListTagsForResource`: the tags of every kind of resource.

use serde::{Deserialize, Serialize};
use wharfinger_api_core::{Context, Demand, Operation, RequestScope};
use wharfinger_orchestrator::identifiers::{NamedResource, resource};
use wharfinger_orchestrator::model::Tag;

use crate::resource::{EcsResourceId, home, pairs};
use crate::{Ecs, Error, Result};

fn named(scope: &RequestScope, arn: &str) -> Result<NamedResource> {
    Ok(resource(&home(scope), arn)?)
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct TagResource {
    resource_arn: String,
    tags: Vec<Tag>,
}

#[derive(Debug, Serialize)]
pub(super) struct TagResourceOutput {}

impl Operation for TagResource {
    type Service = Ecs;
    type Output = TagResourceOutput;

    const NAME: &'static str = "TagResource";

    fn resource(&self, scope: &RequestScope) -> Result<EcsResourceId> {
        Ok(named(scope, &self.resource_arn)?.into())
    }

    fn demands(&self, scope: &RequestScope) -> Result<Vec<Demand<Ecs>>> {
        let demand = Demand::new(Self::ACTION, self.resource(scope)?);
        Ok(vec![demand.with_tags(pairs(&self.tags))])
    }

    async fn run(self, cx: &Context<Ecs>) -> Result<TagResourceOutput> {
        let named = named(cx.scope(), &self.resource_arn)?;
        cx.state().orchestrator.tags.set(&named, self.tags).await?;
        Ok(TagResourceOutput {})
    }
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct UntagResource {
    resource_arn: String,
    tag_keys: Vec<String>,
}

#[derive(Debug, Serialize)]
pub(super) struct UntagResourceOutput {}

impl Operation for UntagResource {
    type Service = Ecs;
    type Output = UntagResourceOutput;

    const NAME: &'static str = "UntagResource";

    fn resource(&self, scope: &RequestScope) -> Result<EcsResourceId> {
        Ok(named(scope, &self.resource_arn)?.into())
    }

    fn demands(&self, scope: &RequestScope) -> Result<Vec<Demand<Ecs>>> {
        let demand = Demand::new(Self::ACTION, self.resource(scope)?);
        Ok(vec![demand.removing_tags(self.tag_keys.clone())])
    }

    async fn run(self, cx: &Context<Ecs>) -> Result<UntagResourceOutput> {
        let named = named(cx.scope(), &self.resource_arn)?;
        let tags = &cx.state().orchestrator.tags;
        tags.remove(&named, self.tag_keys).await?;
        Ok(UntagResourceOutput {})
    }
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ListTagsForResource {
    resource_arn: String,
}

#[derive(Debug, Serialize)]
pub(super) struct ListTagsForResourceOutput {
    tags: Vec<Tag>,
}

impl Operation for ListTagsForResource {
    type Service = Ecs;
    type Output = ListTagsForResourceOutput;

    const NAME: &'static str = "ListTagsForResource";

    fn resource(&self, scope: &RequestScope) -> Result<EcsResourceId> {
        Ok(named(scope, &self.resource_arn)?.into())
    }

    async fn run(self, cx: &Context<Ecs>) -> Result<ListTagsForResourceOutput> {
        let named = named(cx.scope(), &self.resource_arn)?;
        let tags = cx.state().orchestrator.tags.list(&named).await;
        let tags = tags.map_err(|error| Error::from(error).into_invalid_parameter())?;
        Ok(ListTagsForResourceOutput { tags })
    }
}
