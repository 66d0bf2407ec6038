//! `DescribeServiceRevisions`.

use serde::{Deserialize, Serialize};
use serde_with::skip_serializing_none;
use wharfinger_api_core::{Context, Demand, Operation, RequestScope};
use wharfinger_orchestrator::model::{
    CapacityProviderStrategyItem, LaunchType, LoadBalancer, NetworkConfiguration, ServiceRegistry,
};
use wharfinger_orchestrator::{ContainerImage, RevisionDescription};

use crate::resource::{EcsResourceId, home};
use crate::service_parts::{Part, REVISION};
use crate::service_view::unless_empty;
use crate::views::{EpochSeconds, Failure};
use crate::{Ecs, Result};

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct DescribeServiceRevisions {
    service_revision_arns: Vec<String>,
}

/// `ServiceRevision` of the service model.
#[skip_serializing_none]
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct RevisionView {
    service_revision_arn: String,
    service_arn: String,
    cluster_arn: String,
    task_definition: Option<String>,
    capacity_provider_strategy: Option<Vec<CapacityProviderStrategyItem>>,
    launch_type: Option<LaunchType>,
    platform_version: Option<String>,
    platform_family: Option<String>,
    load_balancers: Vec<LoadBalancer>,
    service_registries: Vec<ServiceRegistry>,
    network_configuration: Option<NetworkConfiguration>,
    container_images: Vec<ImageView>,
    guard_duty_enabled: bool,
    created_at: EpochSeconds,
    resolved_configuration: ResolvedConfiguration,
}

/// `ContainerImage` of the service model.
#[skip_serializing_none]
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct ImageView {
    container_name: String,
    image: String,
    image_digest: Option<String>,
}

/// `ResolvedConfiguration` of the service model: there are no load balancers yet.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct ResolvedConfiguration {
    load_balancers: [LoadBalancer; 0],
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct DescribeServiceRevisionsOutput {
    service_revisions: Vec<RevisionView>,
    failures: Vec<Failure>,
}

impl RevisionView {
    fn of(part: &Part, described: &RevisionDescription) -> Self {
        let target = &described.deployment.details.target;
        let definition = target.task_definition.as_ref();
        Self {
            service_revision_arn: part.arn.to_string(),
            service_arn: part.cluster.service_arn(&part.service).to_string(),
            cluster_arn: part.cluster.arn().to_string(),
            task_definition: definition.map(|name| name.arn(&part.cluster.home).to_string()),
            capacity_provider_strategy: unless_empty(&target.capacity_provider_strategy),
            launch_type: target.launch_type,
            platform_version: target.platform_version.clone(),
            platform_family: target.platform_family.clone(),
            load_balancers: target.load_balancers.clone(),
            service_registries: target.service_registries.clone(),
            network_configuration: target.network_configuration.clone(),
            container_images: described.images.iter().map(ImageView::of).collect(),
            guard_duty_enabled: false,
            created_at: described.deployment.created_at.into(),
            resolved_configuration: ResolvedConfiguration { load_balancers: [] },
        }
    }
}

impl ImageView {
    fn of(image: &ContainerImage) -> Self {
        Self {
            container_name: image.container_name.clone(),
            image: image.image.clone(),
            image_digest: image.image_digest.clone(),
        }
    }
}

impl Operation for DescribeServiceRevisions {
    type Service = Ecs;
    type Output = DescribeServiceRevisionsOutput;

    const NAME: &'static str = "DescribeServiceRevisions";

    fn resource(&self, scope: &RequestScope) -> Result<EcsResourceId> {
        Ok(EcsResourceId::Account(home(scope)))
    }

    fn demands(&self, scope: &RequestScope) -> Result<Vec<Demand<Ecs>>> {
        let parts = Part::parse_all(scope, REVISION, &self.service_revision_arns)?;
        Ok(parts.iter().map(|part| part.demand(Self::ACTION)).collect())
    }

    async fn run(self, cx: &Context<Ecs>) -> Result<DescribeServiceRevisionsOutput> {
        let parts = Part::parse_all(cx.scope(), REVISION, &self.service_revision_arns)?;
        let orchestrator = &cx.state().orchestrator;
        let (mut service_revisions, mut failures) = (Vec::new(), Vec::new());
        for part in &parts {
            let found = match orchestrator.clusters.get(&part.cluster).await? {
                Some(cluster) => {
                    let services = &orchestrator.services;
                    services.revision(&cluster, &part.service, &part.id).await?
                }
                None => None,
            };
            match found {
                Some(found) => service_revisions.push(RevisionView::of(part, &found)),
                None => failures.push(Failure::missing(&part.arn)),
            }
        }
        Ok(DescribeServiceRevisionsOutput {
            service_revisions,
            failures,
        })
    }
}
