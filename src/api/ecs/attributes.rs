//! Attributes of container instances.

use serde::{Deserialize, Serialize};
use serde_with::skip_serializing_none;
use wharfinger_api_core::{Context, Demand, Operation, RequestScope};
use wharfinger_base::PageToken;
use wharfinger_orchestrator::identifiers::instance_id;
use wharfinger_orchestrator::model::{Attribute, ClusterName, TargetType};
use wharfinger_orchestrator::{AttributeFilter, TargetAttribute, check_attribute_count};

use crate::demands::in_cluster;
use crate::paging::{self, MAX_ITEMS};
use crate::resource::{EcsResourceId, cluster_id, cluster_of};
use crate::{Ecs, Result, error};

/// An attribute as responses show it: its target by the full ARN.
fn view(cluster: &ClusterName, attribute: TargetAttribute) -> Attribute {
    Attribute {
        name: attribute.name,
        value: attribute.value,
        target_type: Some(TargetType::ContainerInstance),
        target_id: Some(cluster.instance_arn(&attribute.target).to_string()),
    }
}

/// The attributes of a request with the instances that they are for. There are few, before anything
/// is looked up for them.
fn targets(cluster: &ClusterName, given: &[Attribute]) -> Result<Vec<TargetAttribute>> {
    if !given.is_empty() {
        check_attribute_count(given.len())?;
    }
    let target = |attribute: &Attribute| {
        let Some(id) = &attribute.target_id else {
            return Err(error::invalid_parameter("Target ID can not be blank."));
        };
        if attribute.target_type.is_none() && !id.starts_with("arn:") {
            return Err(error::invalid_parameter(
                "Target type must be specified with the short form of a target ID.",
            ));
        }
        Ok(TargetAttribute {
            target: instance_id(cluster, id)?,
            name: attribute.name.clone(),
            value: attribute.value.clone(),
        })
    };
    given.iter().map(target).collect()
}

/// A permission on each of the instances, once.
fn demands(action: &str, cluster: &ClusterName, targets: Vec<TargetAttribute>) -> Vec<Demand<Ecs>> {
    let mut ids = Vec::new();
    for one in targets {
        if !ids.contains(&one.target) {
            ids.push(one.target);
        }
    }
    let demand = |id| {
        in_cluster(
            action,
            EcsResourceId::Instance(cluster.clone(), id),
            cluster,
        )
    };
    let mut demands: Vec<_> = ids.into_iter().map(demand).collect();
    if demands.is_empty() {
        // A request without attributes is refused, though not before the caller is known to may
        // make it.
        demands.push(in_cluster(
            action,
            EcsResourceId::Cluster(cluster.clone()),
            cluster,
        ));
    }
    demands
}

#[derive(Debug, Deserialize)]
pub(super) struct PutAttributes {
    cluster: Option<String>,
    attributes: Vec<Attribute>,
}

#[derive(Debug, Serialize)]
pub(super) struct AttributesOutput {
    attributes: Vec<Attribute>,
}

impl Operation for PutAttributes {
    type Service = Ecs;
    type Output = AttributesOutput;

    const NAME: &'static str = "PutAttributes";

    fn resource(&self, scope: &RequestScope) -> Result<EcsResourceId> {
        cluster_id(scope, self.cluster.as_deref())
    }

    fn demands(&self, scope: &RequestScope) -> Result<Vec<Demand<Ecs>>> {
        let cluster = cluster_of(scope, self.cluster.as_deref())?;
        let targets = targets(&cluster, &self.attributes)?;
        Ok(demands(Self::ACTION, &cluster, targets))
    }

    async fn run(self, cx: &Context<Ecs>) -> Result<AttributesOutput> {
        let cluster = cx.resource().active_cluster()?;
        let given = targets(&cluster.name, &self.attributes)?;
        let attributes = &cx.state().orchestrator.attributes;
        attributes.put(&cluster.id, given.clone()).await?;
        let given = given.into_iter().map(|one| view(&cluster.name, one));
        Ok(AttributesOutput {
            attributes: given.collect(),
        })
    }
}

#[derive(Debug, Deserialize)]
pub(super) struct DeleteAttributes {
    cluster: Option<String>,
    attributes: Vec<Attribute>,
}

impl Operation for DeleteAttributes {
    type Service = Ecs;
    type Output = AttributesOutput;

    const NAME: &'static str = "DeleteAttributes";

    fn resource(&self, scope: &RequestScope) -> Result<EcsResourceId> {
        cluster_id(scope, self.cluster.as_deref())
    }

    fn demands(&self, scope: &RequestScope) -> Result<Vec<Demand<Ecs>>> {
        let cluster = cluster_of(scope, self.cluster.as_deref())?;
        let targets = targets(&cluster, &self.attributes)?;
        Ok(demands(Self::ACTION, &cluster, targets))
    }

    async fn run(self, cx: &Context<Ecs>) -> Result<AttributesOutput> {
        let cluster = cx.resource().active_cluster()?;
        let given = targets(&cluster.name, &self.attributes)?;
        let attributes = &cx.state().orchestrator.attributes;
        let deleted = attributes.delete(&cluster.id, given).await?;
        let deleted = deleted.into_iter().map(|one| view(&cluster.name, one));
        Ok(AttributesOutput {
            attributes: deleted.collect(),
        })
    }
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ListAttributes {
    cluster: Option<String>,
    attribute_name: Option<String>,
    attribute_value: Option<String>,
    next_token: Option<String>,
    max_results: Option<i64>,
}

#[skip_serializing_none]
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ListAttributesOutput {
    attributes: Vec<Attribute>,
    next_token: Option<String>,
}

impl Operation for ListAttributes {
    type Service = Ecs;
    type Output = ListAttributesOutput;

    const NAME: &'static str = "ListAttributes";

    fn resource(&self, scope: &RequestScope) -> Result<EcsResourceId> {
        cluster_id(scope, self.cluster.as_deref())
    }

    async fn run(self, cx: &Context<Ecs>) -> Result<ListAttributesOutput> {
        let cluster = cx.resource().active_cluster()?;
        let limit = paging::limit(self.max_results, MAX_ITEMS)?;
        if self.attribute_value.is_some() && self.attribute_name.is_none() {
            return Err(error::invalid_parameter(
                "An attribute name must be specified with an attribute value.",
            ));
        }
        let after = position(&cluster.id.0, self.next_token.as_deref())?;
        let filter = AttributeFilter {
            name: self.attribute_name,
            value: self.attribute_value,
        };
        let attributes = &cx.state().orchestrator.attributes;
        let page = attributes.page(&cluster.id, filter, after, limit).await?;
        let next = page.next.as_ref();
        let next_token = next.map(|(instance, name)| {
            PageToken::encode(Self::NAME, &[&cluster.id.0, instance, name])
        });
        let items = page.items.into_iter().map(|one| view(&cluster.name, one));
        Ok(ListAttributesOutput {
            attributes: items.collect(),
            next_token,
        })
    }
}

/// The instance and the name of an attribute that a token encodes.
fn position(cluster: &str, token: Option<&str>) -> Result<(String, String)> {
    let Some(token) = token else {
        return Ok((String::new(), String::new()));
    };
    let parts = PageToken::decode(ListAttributes::NAME, token);
    match parts.and_then(|parts| <[String; 3]>::try_from(parts).ok()) {
        Some([of, instance, name]) if of == cluster => Ok((instance, name)),
        _ => Err(paging::bad_token()),
    }
}
