//! The tags of log groups, by ARN and, as older clients do, by name.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use wharfinger_api_core::{Context, Demand, Operation, RequestScope};

use crate::output::Nothing;
use crate::resource::{LogResourceId, group_of_arn};
use crate::{LogsService, Result, error};

/// Most tags of a group (API reference, `TagResource`).
const MAX_TAGS: usize = 50;

/// Checks tags that a group shall get.
pub(super) fn check(tags: &BTreeMap<String, String>) -> Result<()> {
    let reserved = |key: &&String| key.get(..4).is_some_and(|p| p.eq_ignore_ascii_case("aws:"));
    match tags.keys().find(reserved) {
        Some(_) => Err(error::invalid(
            "aws: prefixed tag key names are not allowed for external use.",
        )),
        None => Ok(()),
    }
}

/// Sets tags of the group that the context holds.
async fn set(cx: &Context<LogsService>, tags: BTreeMap<String, String>) -> Result<Nothing> {
    check(&tags)?;
    let group = cx.resource().group()?;
    let added = tags
        .keys()
        .filter(|key| !group.tags.contains_key(*key))
        .count();
    if group.tags.len() + added > MAX_TAGS {
        return Err(error::too_many_tags(MAX_TAGS));
    }
    let logs = &cx.state().logs;
    logs.change_tags(&group.account, &group.name, tags, Vec::new())
        .await?;
    Ok(Nothing {})
}

async fn remove(cx: &Context<LogsService>, keys: Vec<String>) -> Result<Nothing> {
    let group = cx.resource().group()?;
    let logs = &cx.state().logs;
    logs.change_tags(&group.account, &group.name, BTreeMap::new(), keys)
        .await?;
    Ok(Nothing {})
}

fn list(cx: &Context<LogsService>) -> Result<TagsOutput> {
    Ok(TagsOutput {
        tags: cx.resource().group()?.tags.clone(),
    })
}

#[derive(Debug, Serialize)]
pub(super) struct TagsOutput {
    tags: BTreeMap<String, String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct TagResource {
    resource_arn: String,
    tags: BTreeMap<String, String>,
}

impl Operation for TagResource {
    type Service = LogsService;
    const NAME: &'static str = "TagResource";
    type Output = Nothing;

    fn resource(&self, scope: &RequestScope) -> Result<LogResourceId> {
        Ok(LogResourceId::tagged(
            scope,
            &group_of_arn(scope, &self.resource_arn)?,
        ))
    }

    fn demands(&self, scope: &RequestScope) -> Result<Vec<Demand<LogsService>>> {
        let tags = self.tags.clone().into_iter().collect();
        Ok(vec![
            Demand::new(Self::NAME, self.resource(scope)?).with_tags(tags),
        ])
    }

    async fn run(self, cx: &Context<LogsService>) -> Result<Nothing> {
        set(cx, self.tags).await
    }
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct UntagResource {
    resource_arn: String,
    tag_keys: Vec<String>,
}

impl Operation for UntagResource {
    type Service = LogsService;
    const NAME: &'static str = "UntagResource";
    type Output = Nothing;

    fn resource(&self, scope: &RequestScope) -> Result<LogResourceId> {
        Ok(LogResourceId::tagged(
            scope,
            &group_of_arn(scope, &self.resource_arn)?,
        ))
    }

    fn demands(&self, scope: &RequestScope) -> Result<Vec<Demand<LogsService>>> {
        let demand = Demand::new(Self::NAME, self.resource(scope)?);
        Ok(vec![demand.removing_tags(self.tag_keys.clone())])
    }

    async fn run(self, cx: &Context<LogsService>) -> Result<Nothing> {
        remove(cx, self.tag_keys).await
    }
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ListTagsForResource {
    resource_arn: String,
}

impl Operation for ListTagsForResource {
    type Service = LogsService;
    const NAME: &'static str = "ListTagsForResource";
    type Output = TagsOutput;

    fn resource(&self, scope: &RequestScope) -> Result<LogResourceId> {
        Ok(LogResourceId::tagged(
            scope,
            &group_of_arn(scope, &self.resource_arn)?,
        ))
    }

    async fn run(self, cx: &Context<LogsService>) -> Result<TagsOutput> {
        list(cx)
    }
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct TagLogGroup {
    log_group_name: String,
    tags: BTreeMap<String, String>,
}

impl Operation for TagLogGroup {
    type Service = LogsService;
    const NAME: &'static str = "TagLogGroup";
    type Output = Nothing;

    fn resource(&self, scope: &RequestScope) -> Result<LogResourceId> {
        Ok(LogResourceId::tagged(scope, &self.log_group_name))
    }

    fn demands(&self, scope: &RequestScope) -> Result<Vec<Demand<LogsService>>> {
        let tags = self.tags.clone().into_iter().collect();
        Ok(vec![
            Demand::new(Self::NAME, self.resource(scope)?).with_tags(tags),
        ])
    }

    async fn run(self, cx: &Context<LogsService>) -> Result<Nothing> {
        set(cx, self.tags).await
    }
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct UntagLogGroup {
    log_group_name: String,
    tags: Vec<String>,
}

impl Operation for UntagLogGroup {
    type Service = LogsService;
    const NAME: &'static str = "UntagLogGroup";
    type Output = Nothing;

    fn resource(&self, scope: &RequestScope) -> Result<LogResourceId> {
        Ok(LogResourceId::tagged(scope, &self.log_group_name))
    }

    fn demands(&self, scope: &RequestScope) -> Result<Vec<Demand<LogsService>>> {
        let demand = Demand::new(Self::NAME, self.resource(scope)?);
        Ok(vec![demand.removing_tags(self.tags.clone())])
    }

    async fn run(self, cx: &Context<LogsService>) -> Result<Nothing> {
        remove(cx, self.tags).await
    }
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ListTagsLogGroup {
    log_group_name: String,
}

impl Operation for ListTagsLogGroup {
    type Service = LogsService;
    const NAME: &'static str = "ListTagsLogGroup";
    type Output = TagsOutput;

    fn resource(&self, scope: &RequestScope) -> Result<LogResourceId> {
        Ok(LogResourceId::tagged(scope, &self.log_group_name))
    }

    async fn run(self, cx: &Context<LogsService>) -> Result<TagsOutput> {
        list(cx)
    }
}
