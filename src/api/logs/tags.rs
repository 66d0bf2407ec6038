//! The tags of log groups, by ARN and, as older clients do, by name: each operation is generic over
//! how its request names the group.

use std::collections::BTreeMap;

use serde::de::DeserializeOwned;
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

/// How a request names the group, and what the operations with such requests are called.
pub(super) trait NamedGroup: DeserializeOwned + Send + Sync + 'static {
    const TAG: &'static str;
    const UNTAG: &'static str;
    const LIST: &'static str;

    /// The name of the group.
    ///
    /// # Errors
    /// An ARN of something else.
    fn name(&self, scope: &RequestScope) -> Result<String>;
}

/// `resourceArn`.
#[derive(Debug, Deserialize)]
pub(super) struct ByArn {
    #[serde(rename = "resourceArn")]
    arn: String,
}

impl NamedGroup for ByArn {
    const TAG: &'static str = "TagResource";
    const UNTAG: &'static str = "UntagResource";
    const LIST: &'static str = "ListTagsForResource";

    fn name(&self, scope: &RequestScope) -> Result<String> {
        group_of_arn(scope, &self.arn)
    }
}

/// `logGroupName`.
#[derive(Debug, Deserialize)]
pub(super) struct ByName {
    #[serde(rename = "logGroupName")]
    name: String,
}

impl NamedGroup for ByName {
    const TAG: &'static str = "TagLogGroup";
    const UNTAG: &'static str = "UntagLogGroup";
    const LIST: &'static str = "ListTagsLogGroup";

    fn name(&self, _scope: &RequestScope) -> Result<String> {
        Ok(self.name.clone())
    }
}

/// `TagResource`, `TagLogGroup`.
#[derive(Debug, Deserialize)]
#[serde(bound = "N: NamedGroup")]
pub(super) struct Tag<N: NamedGroup> {
    #[serde(flatten)]
    group: N,
    tags: BTreeMap<String, String>,
}

impl<N: NamedGroup> Operation for Tag<N> {
    type Service = LogsService;
    const NAME: &'static str = N::TAG;
    type Output = Nothing;

    fn resource(&self, scope: &RequestScope) -> Result<LogResourceId> {
        Ok(LogResourceId::tagged(scope, &self.group.name(scope)?))
    }

    fn demands(&self, scope: &RequestScope) -> Result<Vec<Demand<LogsService>>> {
        let tags = self.tags.clone().into_iter().collect();
        let demand = Demand::new(Self::NAME, self.resource(scope)?);
        Ok(vec![demand.with_tags(tags)])
    }

    async fn run(self, cx: &Context<LogsService>) -> Result<Nothing> {
        set(cx, self.tags).await
    }
}

/// `UntagResource`, `UntagLogGroup`. The first calls the keys `tagKeys`, the second `tags`.
#[derive(Debug, Deserialize)]
#[serde(bound = "N: NamedGroup")]
pub(super) struct Untag<N: NamedGroup> {
    #[serde(flatten)]
    group: N,
    #[serde(rename = "tagKeys", alias = "tags")]
    keys: Vec<String>,
}

impl<N: NamedGroup> Operation for Untag<N> {
    type Service = LogsService;
    const NAME: &'static str = N::UNTAG;
    type Output = Nothing;

    fn resource(&self, scope: &RequestScope) -> Result<LogResourceId> {
        Ok(LogResourceId::tagged(scope, &self.group.name(scope)?))
    }

    fn demands(&self, scope: &RequestScope) -> Result<Vec<Demand<LogsService>>> {
        let demand = Demand::new(Self::NAME, self.resource(scope)?);
        Ok(vec![demand.removing_tags(self.keys.clone())])
    }

    async fn run(self, cx: &Context<LogsService>) -> Result<Nothing> {
        remove(cx, self.keys).await
    }
}

/// `ListTagsForResource`, `ListTagsLogGroup`.
#[derive(Debug, Deserialize)]
#[serde(bound = "N: NamedGroup")]
pub(super) struct ListTags<N: NamedGroup> {
    #[serde(flatten)]
    group: N,
}

impl<N: NamedGroup> Operation for ListTags<N> {
    type Service = LogsService;
    const NAME: &'static str = N::LIST;
    type Output = TagsOutput;

    fn resource(&self, scope: &RequestScope) -> Result<LogResourceId> {
        Ok(LogResourceId::tagged(scope, &self.group.name(scope)?))
    }

    async fn run(self, cx: &Context<LogsService>) -> Result<TagsOutput> {
        list(cx)
    }
}
