//! Container instances.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_with::skip_serializing_none;
use wharfinger_api_core::{Context, Demand, Operation, RequestScope};
use wharfinger_orchestrator::identifiers::instance_id;
use wharfinger_orchestrator::model::{
    Attribute, ClusterName, InstanceId, InstanceStatus, Resource, Tag, VersionInfo,
};
use wharfinger_orchestrator::placement::Expression;
use wharfinger_orchestrator::{InstanceFilter, Registration, StateFailure, registrant};

use crate::demands::{administered, in_cluster, with_tags};
use crate::instance_view::{InstanceField, InstanceView};
use crate::paging::{self, MAX_ITEMS};
use crate::resource::{EcsResourceId, cluster_id, cluster_of};
use crate::views::Failure;
use crate::{Ecs, Result, error};

/// Most instances whose state one request sets (ECS API reference,
/// `UpdateContainerInstancesState`).
const MAX_UPDATED: usize = 10;

/// The response of the operations that work on one instance.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct InstanceOutput {
    container_instance: InstanceView,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct RegisterContainerInstance {
    cluster: Option<String>,
    instance_identity_document: Option<String>,
    total_resources: Option<Vec<Resource>>,
    version_info: Option<VersionInfo>,
    container_instance_arn: Option<String>,
    attributes: Option<Vec<Attribute>>,
    tags: Option<Vec<Tag>>,
    /// Agents send it, though the public model does not name it: repeated requests register one
    /// instance.
    client_token: Option<String>,
}

impl Operation for RegisterContainerInstance {
    type Service = Ecs;
    type Output = InstanceOutput;

    const NAME: &'static str = "RegisterContainerInstance";

    fn resource(&self, scope: &RequestScope) -> Result<EcsResourceId> {
        cluster_id(scope, self.cluster.as_deref())
    }

    fn demands(&self, scope: &RequestScope) -> Result<Vec<Demand<Ecs>>> {
        let cluster = cluster_of(scope, self.cluster.as_deref())?;
        let own = Demand::new(Self::ACTION, self.resource(scope)?);
        let all = format!("container-instance/{}/*", cluster.name);
        let created = EcsResourceId::Named(cluster.home, all);
        Ok(with_tags::<Self>(own, created, self.tags.as_deref()))
    }

    async fn run(self, cx: &Context<Ecs>) -> Result<InstanceOutput> {
        let cluster = cx.resource().active_cluster()?;
        let known = self.container_instance_arn.filter(|arn| !arn.is_empty());
        let known = known
            .map(|arn| instance_id(&cluster.name, &arn))
            .transpose()?;
        let token = self.client_token.filter(|token| !token.is_empty());
        if token
            .as_ref()
            .is_some_and(|token| token.len() > MAX_TOKEN_BYTES)
        {
            return Err(error::invalid_parameter("The client token is too long."));
        }
        let mut request = Registration {
            total_resources: self.total_resources.unwrap_or_default(),
            attributes: self.attributes.unwrap_or_default(),
            version_info: self.version_info.unwrap_or_default(),
            identity_document: self.instance_identity_document,
            tags: self.tags.unwrap_or_default(),
            registered_by: registrant(cx.caller()).to_owned(),
            administers: None,
        };
        let instances = &cx.state().orchestrator.instances;
        let registered = instances.register(cluster, known.clone(), token.clone(), request.clone());
        let instance = match registered.await {
            Ok(instance) => instance,
            Err(refused) => {
                request.administers = Some(administered(cx, &cluster.name, refused).await?);
                instances.register(cluster, known, token, request).await?
            }
        };
        Ok(InstanceOutput {
            container_instance: InstanceView::of(&cluster.name, instance, &[InstanceField::Tags]),
        })
    }
}

/// Longest client token, in bytes: agents send UUIDs.
const MAX_TOKEN_BYTES: usize = 64;

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct DeregisterContainerInstance {
    cluster: Option<String>,
    container_instance: String,
    force: Option<bool>,
}

impl Operation for DeregisterContainerInstance {
    type Service = Ecs;
    type Output = InstanceOutput;

    const NAME: &'static str = "DeregisterContainerInstance";

    fn resource(&self, scope: &RequestScope) -> Result<EcsResourceId> {
        cluster_id(scope, self.cluster.as_deref())
    }

    async fn run(self, cx: &Context<Ecs>) -> Result<InstanceOutput> {
        let cluster = cx.resource().active_cluster()?;
        let id = instance_id(&cluster.name, &self.container_instance)?;
        let instances = &cx.state().orchestrator.instances;
        let force = self.force.unwrap_or(false);
        let instance = instances.deregister(&cluster.id, &id, force).await?;
        Ok(InstanceOutput {
            container_instance: InstanceView::of(&cluster.name, instance, &[InstanceField::Tags]),
        })
    }
}

/// The instances that a request names, each once, and at most `max`.
fn named(cluster: &ClusterName, given: &[String], max: usize) -> Result<Vec<InstanceId>> {
    if given.is_empty() {
        return Err(error::invalid_parameter(
            "Container instances can not be empty.",
        ));
    }
    if given.len() > max {
        let message = format!("Container instances can not have more than {max} items.");
        return Err(error::invalid_parameter(message));
    }
    let mut ids = Vec::new();
    for text in given {
        let id = instance_id(cluster, text)?;
        if !ids.contains(&id) {
            ids.push(id);
        }
    }
    Ok(ids)
}

/// A permission on each of the instances.
fn demands(action: &str, cluster: &ClusterName, ids: Vec<InstanceId>) -> Vec<Demand<Ecs>> {
    let demand = |id| {
        in_cluster(
            action,
            EcsResourceId::Instance(cluster.clone(), id),
            cluster,
        )
    };
    ids.into_iter().map(demand).collect()
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct DescribeContainerInstances {
    cluster: Option<String>,
    container_instances: Vec<String>,
    include: Option<Vec<InstanceField>>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct InstancesOutput {
    container_instances: Vec<InstanceView>,
    failures: Vec<Failure>,
}

impl Operation for DescribeContainerInstances {
    type Service = Ecs;
    type Output = InstancesOutput;

    const NAME: &'static str = "DescribeContainerInstances";

    fn resource(&self, scope: &RequestScope) -> Result<EcsResourceId> {
        cluster_id(scope, self.cluster.as_deref())
    }

    fn demands(&self, scope: &RequestScope) -> Result<Vec<Demand<Ecs>>> {
        let cluster = cluster_of(scope, self.cluster.as_deref())?;
        let ids = named(&cluster, &self.container_instances, MAX_ITEMS)?;
        Ok(demands(Self::ACTION, &cluster, ids))
    }

    async fn run(self, cx: &Context<Ecs>) -> Result<InstancesOutput> {
        let cluster = cx.resource().active_cluster()?;
        let ids = named(&cluster.name, &self.container_instances, MAX_ITEMS)?;
        let fields = self.include.unwrap_or_default();
        let instances = &cx.state().orchestrator.instances;
        let (mut container_instances, mut failures) = (Vec::new(), Vec::new());
        let found = instances.find(&cluster.id, &ids).await?;
        for (id, found) in ids.iter().zip(found) {
            // Fargate's own instances are not shown.
            match found.filter(|found| !found.instance.details.is_fargate) {
                Some(found) => {
                    container_instances.push(InstanceView::of(&cluster.name, found, &fields));
                }
                None => failures.push(Failure::missing(&cluster.name.instance_arn(id))),
            }
        }
        Ok(InstancesOutput {
            container_instances,
            failures,
        })
    }
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ListContainerInstances {
    cluster: Option<String>,
    filter: Option<String>,
    next_token: Option<String>,
    max_results: Option<i64>,
    status: Option<String>,
}

#[skip_serializing_none]
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ListContainerInstancesOutput {
    container_instance_arns: Vec<String>,
    next_token: Option<String>,
}

impl Operation for ListContainerInstances {
    type Service = Ecs;
    type Output = ListContainerInstancesOutput;

    const NAME: &'static str = "ListContainerInstances";

    fn resource(&self, scope: &RequestScope) -> Result<EcsResourceId> {
        cluster_id(scope, self.cluster.as_deref())
    }

    async fn run(self, cx: &Context<Ecs>) -> Result<ListContainerInstancesOutput> {
        let cluster = cx.resource().active_cluster()?;
        let limit = paging::limit(self.max_results, MAX_ITEMS)?;
        let after = paging::position(Self::NAME, &cluster.id.0, self.next_token.as_deref())?;
        let expression = self.filter.filter(|text| !text.trim().is_empty());
        let expression = expression.map(|text| Expression::parse(&text)).transpose();
        let expression = expression
            .map_err(|why| error::invalid_parameter(format!("Invalid cluster query: {why}")))?;
        let status = match self.status.as_deref() {
            None => None,
            // The one state that no instance has here.
            Some("REGISTRATION_FAILED") => {
                return Ok(ListContainerInstancesOutput {
                    container_instance_arns: Vec::new(),
                    next_token: None,
                });
            }
            Some(status) => {
                let parsed = status.parse::<InstanceStatus>();
                Some(parsed.map_err(|_| error::invalid_parameter("Invalid status."))?)
            }
        };
        let filter = InstanceFilter {
            status,
            expression: expression.map(Arc::new),
        };
        let instances = &cx.state().orchestrator.instances;
        let page = instances.page(&cluster.id, filter, &after, limit).await?;
        let arn = |id: &InstanceId| cluster.name.instance_arn(id).to_string();
        let next = page.next.as_deref();
        Ok(ListContainerInstancesOutput {
            container_instance_arns: page.items.iter().map(arn).collect(),
            next_token: next.map(|after| paging::token(Self::NAME, &cluster.id.0, after)),
        })
    }
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct UpdateContainerInstancesState {
    cluster: Option<String>,
    container_instances: Vec<String>,
    status: String,
}

impl Operation for UpdateContainerInstancesState {
    type Service = Ecs;
    type Output = InstancesOutput;

    const NAME: &'static str = "UpdateContainerInstancesState";

    fn resource(&self, scope: &RequestScope) -> Result<EcsResourceId> {
        cluster_id(scope, self.cluster.as_deref())
    }

    fn demands(&self, scope: &RequestScope) -> Result<Vec<Demand<Ecs>>> {
        let cluster = cluster_of(scope, self.cluster.as_deref())?;
        let ids = named(&cluster, &self.container_instances, MAX_UPDATED)?;
        Ok(demands(Self::ACTION, &cluster, ids))
    }

    async fn run(self, cx: &Context<Ecs>) -> Result<InstancesOutput> {
        let cluster = cx.resource().active_cluster()?;
        let draining = match self.status.as_str() {
            "ACTIVE" => false,
            "DRAINING" => true,
            _ => {
                let message = "Container instance status should be one of [ACTIVE,DRAINING]";
                return Err(error::invalid_parameter(message));
            }
        };
        let ids = named(&cluster.name, &self.container_instances, MAX_UPDATED)?;
        let instances = &cx.state().orchestrator.instances;
        let changed = instances.set_status(&cluster.id, &ids, draining).await?;
        let (mut container_instances, mut failures) = (Vec::new(), Vec::new());
        for (id, changed) in ids.iter().zip(changed) {
            let arn = cluster.name.instance_arn(id);
            match changed {
                Ok(changed) => {
                    container_instances.push(InstanceView::of(&cluster.name, changed, &[]));
                }
                Err(StateFailure::Missing) => failures.push(Failure::missing(&arn)),
                Err(StateFailure::Inactive) => failures.push(Failure::of(&arn, "INACTIVE")),
            }
        }
        Ok(InstancesOutput {
            container_instances,
            failures,
        })
    }
}
