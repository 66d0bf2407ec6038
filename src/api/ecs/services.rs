//! `DescribeServices`, `ListServices`, `DeleteService`.

use serde::{Deserialize, Serialize};
use serde_with::skip_serializing_none;
use wharfinger_api_core::{Context, Demand, Operation, RequestScope};
use wharfinger_orchestrator::identifiers::service_name;
use wharfinger_orchestrator::model::{ClusterName, LaunchType, SchedulingStrategy, Service};

use crate::demands::in_cluster;
use crate::paging::{self, MAX_ITEMS};
use crate::resource::{EcsResourceId, cluster_id, cluster_of};
use crate::service_view::ServiceView;
use crate::views::Failure;
use crate::{Ecs, Result, error};

/// Most services that one request describes, and how many a page has where the request does not say
/// (ECS API reference).
const MAX_DESCRIBED: usize = 10;
const USUAL_PAGE: i64 = 10;

/// The response of the operations that work on one service.
#[derive(Debug, Serialize)]
pub(super) struct ServiceOutput {
    pub(super) service: ServiceView,
}

/// The cluster and the name of the service that a request names.
pub(super) fn named(
    scope: &RequestScope,
    cluster: Option<&str>,
    service: &str,
) -> Result<(ClusterName, String)> {
    let cluster = cluster_of(scope, cluster)?;
    let name = service_name(&cluster, service)?;
    Ok((cluster, name))
}

/// The demand of an action on a service.
pub(super) fn on_service(action: &str, cluster: &ClusterName, name: &str) -> Demand<Ecs> {
    let id = EcsResourceId::Service(cluster.clone(), name.to_owned());
    in_cluster(action, id, cluster)
}

#[derive(Debug, Deserialize)]
pub(super) struct DeleteService {
    cluster: Option<String>,
    service: String,
    force: Option<bool>,
}

impl Operation for DeleteService {
    type Service = Ecs;
    type Output = ServiceOutput;

    const NAME: &'static str = "DeleteService";

    fn resource(&self, scope: &RequestScope) -> Result<EcsResourceId> {
        cluster_id(scope, self.cluster.as_deref())
    }

    fn demands(&self, scope: &RequestScope) -> Result<Vec<Demand<Ecs>>> {
        let (cluster, name) = named(scope, self.cluster.as_deref(), &self.service)?;
        Ok(vec![on_service(Self::ACTION, &cluster, &name)])
    }

    async fn run(self, cx: &Context<Ecs>) -> Result<ServiceOutput> {
        let (_, name) = named(cx.scope(), self.cluster.as_deref(), &self.service)?;
        let cluster = cx.resource().active_cluster()?;
        let services = &cx.state().orchestrator.services;
        let force = self.force.unwrap_or_default();
        let deleted = services.delete(cluster, &name, force).await?;
        Ok(ServiceOutput {
            service: ServiceView::of(&cluster.name, &deleted, true),
        })
    }
}

/// `ServiceField` of the service model.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
enum ServiceField {
    #[serde(rename = "TAGS")]
    Tags,
}

#[derive(Debug, Deserialize)]
pub(super) struct DescribeServices {
    cluster: Option<String>,
    services: Vec<String>,
    include: Option<Vec<ServiceField>>,
}

#[derive(Debug, Serialize)]
pub(super) struct DescribeServicesOutput {
    services: Vec<ServiceView>,
    failures: Vec<Failure>,
}

impl DescribeServices {
    /// The services, each once.
    fn names(&self, scope: &RequestScope) -> Result<(ClusterName, Vec<String>)> {
        let cluster = cluster_of(scope, self.cluster.as_deref())?;
        if self.services.is_empty() {
            return Err(error::invalid_parameter("Services cannot be empty."));
        }
        if self.services.len() > MAX_DESCRIBED {
            let message = format!("Services can not have more than {MAX_DESCRIBED} items.");
            return Err(error::invalid_parameter(message));
        }
        let mut names = Vec::new();
        for text in &self.services {
            let name = service_name(&cluster, text)?;
            if !names.contains(&name) {
                names.push(name);
            }
        }
        Ok((cluster, names))
    }
}

impl Operation for DescribeServices {
    type Service = Ecs;
    type Output = DescribeServicesOutput;

    const NAME: &'static str = "DescribeServices";

    fn resource(&self, scope: &RequestScope) -> Result<EcsResourceId> {
        cluster_id(scope, self.cluster.as_deref())
    }

    fn demands(&self, scope: &RequestScope) -> Result<Vec<Demand<Ecs>>> {
        let (cluster, names) = self.names(scope)?;
        let demand = |name: &String| on_service(Self::ACTION, &cluster, name);
        Ok(names.iter().map(demand).collect())
    }

    async fn run(self, cx: &Context<Ecs>) -> Result<DescribeServicesOutput> {
        let (_, names) = self.names(cx.scope())?;
        let cluster = cx.resource().active_cluster()?;
        let with_tags = self
            .include
            .is_some_and(|fields| fields.contains(&ServiceField::Tags));
        let all = &cx.state().orchestrator.services;
        let found = all.describe(cluster, names.clone()).await?;
        let (mut services, mut failures) = (Vec::new(), Vec::new());
        for (name, described) in names.iter().zip(found) {
            match described {
                Some(described) => {
                    services.push(ServiceView::of(&cluster.name, &described, with_tags));
                }
                None => failures.push(Failure::missing(&cluster.name.service_arn(name))),
            }
        }
        Ok(DescribeServicesOutput { services, failures })
    }
}

/// `ResourceManagementType` of the service model. No service is managed by ECS here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
enum ResourceManagementType {
    Customer,
    Ecs,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ListServices {
    cluster: Option<String>,
    next_token: Option<String>,
    max_results: Option<i64>,
    launch_type: Option<LaunchType>,
    scheduling_strategy: Option<SchedulingStrategy>,
    resource_management_type: Option<ResourceManagementType>,
}

#[skip_serializing_none]
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ListServicesOutput {
    service_arns: Vec<String>,
    next_token: Option<String>,
}

impl Operation for ListServices {
    type Service = Ecs;
    type Output = ListServicesOutput;

    const NAME: &'static str = "ListServices";

    fn resource(&self, scope: &RequestScope) -> Result<EcsResourceId> {
        cluster_id(scope, self.cluster.as_deref())
    }

    fn demands(&self, scope: &RequestScope) -> Result<Vec<Demand<Ecs>>> {
        let cluster = cluster_of(scope, self.cluster.as_deref())?;
        let account = EcsResourceId::Account(cluster.home.clone());
        Ok(vec![in_cluster(Self::ACTION, account, &cluster)])
    }

    async fn run(self, cx: &Context<Ecs>) -> Result<ListServicesOutput> {
        let cluster = cx.resource().active_cluster()?;
        let name = &cluster.name;
        let limit = paging::limit(self.max_results.or(Some(USUAL_PAGE)), MAX_ITEMS)?;
        let after = paging::position(Self::NAME, &name.name, self.next_token.as_deref())?;
        let (launch_type, strategy) = (self.launch_type, self.scheduling_strategy);
        let by_ecs = self.resource_management_type == Some(ResourceManagementType::Ecs);
        let wanted = move |service: &Service| {
            let details = &service.details;
            let has_type = launch_type.is_none_or(|one| details.target.launch_type == Some(one));
            !by_ecs && has_type && strategy.is_none_or(|one| details.scheduling_strategy == one)
        };
        let services = &cx.state().orchestrator.services;
        let page = services.page(cluster, &after, limit, wanted).await?;
        let arns = page
            .items
            .iter()
            .map(|service| name.service_arn(&service.name).to_string());
        let next = page.next.as_deref();
        Ok(ListServicesOutput {
            service_arns: arns.collect(),
            next_token: next.map(|after| paging::token(Self::NAME, &name.name, after)),
        })
    }
}
