//! The tags of parameters.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use wharfinger_api_core::{Context, Demand, Operation, RequestScope};
use wharfinger_secrets::{Error as DomainError, ParameterRef};

use crate::parameter_store::{Error, ParameterId, ParameterStore, Result, error};
use crate::views::home;

/// The only kind of resource that is served.
const PARAMETER: &str = "Parameter";

/// `Tag` of the service model.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Tag {
    key: String,
    value: String,
}

/// Tags by their keys.
///
/// # Errors
/// A reserved key, or a key that is given twice.
pub(super) fn map(tags: Option<&[Tag]>) -> Result<BTreeMap<String, String>> {
    let mut found = BTreeMap::new();
    for Tag { key, value } in tags.unwrap_or_default() {
        if key
            .get(..4)
            .is_some_and(|start| start.eq_ignore_ascii_case("aws:"))
        {
            return Err(error::invalid(
                "Tag keys that start with aws: are reserved for AWS.",
            ));
        }
        if found.insert(key.clone(), value.clone()).is_some() {
            return Err(error::invalid("A tag key is given more than once."));
        }
    }
    Ok(found)
}

/// The output of operations that return nothing.
#[derive(Debug, Serialize)]
pub(super) struct Nothing {}

fn check_type(resource_type: &str) -> Result<()> {
    if resource_type == PARAMETER {
        return Ok(());
    }
    Err(error::resource_type())
}

/// A parameter that does not exist is a wrong resource for these operations.
fn of_resource(error: DomainError) -> Error {
    match error {
        DomainError::NoSuchParameter(_) => error::resource_id(),
        other => other.into(),
    }
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct AddTagsToResource {
    resource_type: String,
    resource_id: String,
    tags: Vec<Tag>,
}

impl Operation for AddTagsToResource {
    type Service = ParameterStore;
    type Output = Nothing;

    const NAME: &'static str = "AddTagsToResource";

    fn resource(&self, scope: &RequestScope) -> Result<ParameterId> {
        Ok(ParameterId::named(scope, &self.resource_id))
    }

    fn demands(&self, scope: &RequestScope) -> Result<Vec<Demand<ParameterStore>>> {
        let tags = map(Some(&self.tags))?.into_iter().collect();
        Ok(vec![
            Demand::new(Self::ACTION, self.resource(scope)?).with_tags(tags),
        ])
    }

    async fn run(self, cx: &Context<ParameterStore>) -> Result<Nothing> {
        check_type(&self.resource_type)?;
        let new = map(Some(&self.tags))?;
        let change = move |tags: &mut BTreeMap<String, String>| tags.extend(new.clone());
        let (home, parameters) = (home(cx.scope()), &cx.state().parameters);
        let changed = parameters
            .change_tags(&home, &self.resource_id, change)
            .await;
        changed.map_err(of_resource)?;
        Ok(Nothing {})
    }
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct RemoveTagsFromResource {
    resource_type: String,
    resource_id: String,
    tag_keys: Vec<String>,
}

impl Operation for RemoveTagsFromResource {
    type Service = ParameterStore;
    type Output = Nothing;

    const NAME: &'static str = "RemoveTagsFromResource";

    fn resource(&self, scope: &RequestScope) -> Result<ParameterId> {
        Ok(ParameterId::named(scope, &self.resource_id))
    }

    fn demands(&self, scope: &RequestScope) -> Result<Vec<Demand<ParameterStore>>> {
        let demand = Demand::new(Self::ACTION, self.resource(scope)?);
        Ok(vec![demand.removing_tags(self.tag_keys.clone())])
    }

    async fn run(self, cx: &Context<ParameterStore>) -> Result<Nothing> {
        check_type(&self.resource_type)?;
        let keys = self.tag_keys;
        let change = move |tags: &mut BTreeMap<String, String>| {
            tags.retain(|key, _| !keys.contains(key));
        };
        let (home, parameters) = (home(cx.scope()), &cx.state().parameters);
        let changed = parameters
            .change_tags(&home, &self.resource_id, change)
            .await;
        changed.map_err(of_resource)?;
        Ok(Nothing {})
    }
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct ListTagsForResource {
    resource_type: String,
    resource_id: String,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct ListTagsForResourceOutput {
    tag_list: Vec<Tag>,
}

impl Operation for ListTagsForResource {
    type Service = ParameterStore;
    type Output = ListTagsForResourceOutput;

    const NAME: &'static str = "ListTagsForResource";

    fn resource(&self, scope: &RequestScope) -> Result<ParameterId> {
        Ok(ParameterId::named(scope, &self.resource_id))
    }

    async fn run(self, cx: &Context<ParameterStore>) -> Result<ListTagsForResourceOutput> {
        check_type(&self.resource_type)?;
        let named = ParameterRef::named(&home(cx.scope()), &self.resource_id);
        let tags = cx.state().parameters.tags(&named).await?;
        let tags = tags.ok_or_else(error::resource_id)?;
        Ok(ListTagsForResourceOutput {
            tag_list: tags
                .into_iter()
                .map(|(key, value)| Tag { key, value })
                .collect(),
        })
    }
}
