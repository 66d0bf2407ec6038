//! Services and their deployments as responses show them.

use serde::Serialize;
use serde_with::skip_serializing_none;
use wharfinger_orchestrator::model::{
    AvailabilityZoneRebalancing, CapacityProviderStrategyItem, ClusterName, Deployment,
    DeploymentConfiguration, DeploymentController, DeploymentRolloutState, DeploymentStatus,
    LaunchType, LoadBalancer, NetworkConfiguration, PlacementConstraint, PlacementStrategy,
    PropagateTags, SchedulingStrategy, ServiceEvent, ServiceRegistry, ServiceStatus, Tag,
};
use wharfinger_orchestrator::{DeploymentCounts, ServiceDescription};

use crate::views::EpochSeconds;

/// `Service` of the service model.
#[skip_serializing_none]
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ServiceView {
    service_arn: String,
    service_name: String,
    cluster_arn: String,
    load_balancers: Vec<LoadBalancer>,
    service_registries: Vec<ServiceRegistry>,
    status: ServiceStatus,
    desired_count: i64,
    running_count: i64,
    pending_count: i64,
    launch_type: Option<LaunchType>,
    capacity_provider_strategy: Option<Vec<CapacityProviderStrategyItem>>,
    platform_version: Option<String>,
    platform_family: Option<String>,
    task_definition: Option<String>,
    deployment_configuration: DeploymentConfiguration,
    deployments: Vec<DeploymentView>,
    role_arn: Option<String>,
    events: Vec<EventView>,
    created_at: EpochSeconds,
    current_service_deployment: Option<String>,
    current_service_revisions: Vec<RevisionSummaryView>,
    placement_constraints: Vec<PlacementConstraint>,
    placement_strategy: Vec<PlacementStrategy>,
    network_configuration: Option<NetworkConfiguration>,
    health_check_grace_period_seconds: Option<i32>,
    scheduling_strategy: SchedulingStrategy,
    deployment_controller: DeploymentController,
    tags: Option<Vec<Tag>>,
    created_by: String,
    #[serde(rename = "enableECSManagedTags")]
    enable_ecs_managed_tags: bool,
    propagate_tags: PropagateTags,
    enable_execute_command: bool,
    availability_zone_rebalancing: AvailabilityZoneRebalancing,
}

/// `Deployment` of the service model.
#[skip_serializing_none]
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct DeploymentView {
    id: String,
    status: DeploymentStatus,
    task_definition: Option<String>,
    desired_count: i64,
    pending_count: i64,
    running_count: i64,
    failed_tasks: i64,
    created_at: EpochSeconds,
    updated_at: EpochSeconds,
    capacity_provider_strategy: Option<Vec<CapacityProviderStrategyItem>>,
    launch_type: Option<LaunchType>,
    platform_version: Option<String>,
    platform_family: Option<String>,
    network_configuration: Option<NetworkConfiguration>,
    rollout_state: DeploymentRolloutState,
    rollout_state_reason: String,
}

/// `ServiceEvent` of the service model.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct EventView {
    id: String,
    created_at: EpochSeconds,
    message: String,
}

/// `ServiceRevisionSummary` and `ServiceCurrentRevisionSummary` of the service model.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct RevisionSummaryView {
    pub(super) arn: String,
    pub(super) requested_task_count: i64,
    pub(super) running_task_count: i64,
    pub(super) pending_task_count: i64,
}

/// The ARN of a service deployment.
pub(super) fn service_deployment_arn(cluster: &ClusterName, service: &str, id: &str) -> String {
    part_arn("service-deployment", cluster, service, id)
}

/// The ARN of a service revision.
pub(super) fn revision_arn(cluster: &ClusterName, service: &str, id: &str) -> String {
    part_arn("service-revision", cluster, service, id)
}

fn part_arn(kind: &str, cluster: &ClusterName, service: &str, id: &str) -> String {
    let name = format!("{kind}/{}/{service}/{id}", cluster.name);
    cluster.home.arn(&name).to_string()
}

/// A list as responses have it that leave an empty one out.
pub(super) fn unless_empty<T: Clone>(list: &[T]) -> Option<Vec<T>> {
    (!list.is_empty()).then(|| list.to_vec())
}

impl ServiceView {
    pub(super) fn of(
        cluster: &ClusterName,
        described: &ServiceDescription,
        with_tags: bool,
    ) -> Self {
        let service = &described.service;
        let (details, name) = (&service.details, &service.name);
        let target = &details.target;
        let definition = target.task_definition.as_ref();
        let under_way = described
            .deployments
            .iter()
            .find(|(deployment, _)| deployment.details.deployment_status.is_under_way());
        let revisions = described.deployments.iter().map(|(deployment, counts)| {
            let id = &deployment.details.revision_id;
            RevisionSummaryView {
                arn: revision_arn(cluster, name, id),
                requested_task_count: counts.desired,
                running_task_count: counts.running,
                pending_task_count: counts.pending,
            }
        });
        let deployments = described.deployments.iter();
        Self {
            service_arn: cluster.service_arn(name).to_string(),
            service_name: name.clone(),
            cluster_arn: cluster.arn().to_string(),
            load_balancers: target.load_balancers.clone(),
            service_registries: target.service_registries.clone(),
            status: service.status,
            desired_count: service.desired_count,
            running_count: described.running,
            pending_count: described.pending,
            launch_type: target.launch_type,
            capacity_provider_strategy: unless_empty(&target.capacity_provider_strategy),
            platform_version: target.platform_version.clone(),
            platform_family: target.platform_family.clone(),
            task_definition: definition.map(|name| name.arn(&cluster.home).to_string()),
            deployment_configuration: details.deployment_configuration.clone(),
            deployments: deployments
                .map(|(deployment, counts)| DeploymentView::of(cluster, deployment, *counts))
                .collect(),
            role_arn: details.role_arn.clone(),
            events: described.events.iter().map(EventView::of).collect(),
            created_at: service.created_at.into(),
            current_service_deployment: under_way.map(|(deployment, _)| {
                let id = &deployment.details.service_deployment_id;
                service_deployment_arn(cluster, name, id)
            }),
            current_service_revisions: revisions.collect(),
            placement_constraints: details.placement_constraints.clone(),
            placement_strategy: details.placement_strategy.clone(),
            network_configuration: target.network_configuration.clone(),
            health_check_grace_period_seconds: details.health_check_grace_period_seconds,
            scheduling_strategy: details.scheduling_strategy,
            deployment_controller: details.deployment_controller.clone(),
            tags: with_tags.then(|| details.tags.clone()),
            created_by: details.created_by.clone(),
            enable_ecs_managed_tags: details.enable_ecs_managed_tags,
            propagate_tags: details.propagate_tags,
            enable_execute_command: details.enable_execute_command,
            availability_zone_rebalancing: details.availability_zone_rebalancing,
        }
    }
}

impl DeploymentView {
    fn of(cluster: &ClusterName, deployment: &Deployment, counts: DeploymentCounts) -> Self {
        let details = &deployment.details;
        let target = &details.target;
        let definition = target.task_definition.as_ref();
        Self {
            id: deployment.id.0.clone(),
            status: deployment.status,
            task_definition: definition.map(|name| name.arn(&cluster.home).to_string()),
            desired_count: counts.desired,
            pending_count: counts.pending,
            running_count: counts.running,
            failed_tasks: details.failed_tasks,
            created_at: deployment.created_at.into(),
            updated_at: details.updated_at.into(),
            capacity_provider_strategy: unless_empty(&target.capacity_provider_strategy),
            launch_type: target.launch_type,
            platform_version: target.platform_version.clone(),
            platform_family: target.platform_family.clone(),
            network_configuration: target.network_configuration.clone(),
            rollout_state: details.rollout_state,
            rollout_state_reason: details.rollout_state_reason.clone(),
        }
    }
}

impl EventView {
    fn of(event: &ServiceEvent) -> Self {
        Self {
            id: event.id.clone(),
            created_at: event.created_at.into(),
            message: event.message.clone(),
        }
    }
}
