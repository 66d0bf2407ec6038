//! Amazon ECS.

mod agents;
mod attributes;
mod capacity_providers;
mod client_token;
mod cluster_view;
mod clusters;
mod demands;
mod error;
mod instance_view;
mod instances;
mod paging;
mod resource;
mod run_task;
mod service_changes;
mod service_deployments;
mod service_parts;
mod service_revisions;
mod service_view;
mod services;
mod settings;
mod tags;
mod task_definitions;
mod task_protection;
mod task_view;
mod tasks;
mod unsupported;
mod views;

use std::sync::{Arc, LazyLock};

pub use error::Error;
pub use resource::{EcsResource, EcsResourceId};
use wharfinger_api_core::{Names, OperationEntry, Service, ServiceModel, operations};
use wharfinger_aws::Family;
use wharfinger_aws::constraints::Limits;
use wharfinger_iam::{Caller, Iam};
use wharfinger_orchestrator::Orchestrator;

type Result<T, E = Error> = std::result::Result<T, E>;

/// Amazon ECS, API version 2014-11-13.
pub static MODEL: ServiceModel = ServiceModel {
    name: "ecs",
    family: Family::Json,
    target: "AmazonEC2ContainerServiceV20141113",
    version: "2014-11-13",
    namespace: "http://ecs.amazonaws.com/doc/2014-11-13/",
    limits: &LIMITS,
    unsupported: unsupported::OPERATIONS,
};

static LIMITS: LazyLock<Limits> = LazyLock::new(|| Limits::read(include_str!("limits.toml")));

/// The service.
pub struct Ecs;

/// The handles that ECS's operations use.
pub struct State {
    pub orchestrator: Orchestrator,
    pub iam: Arc<Iam>,
    pub names: Arc<Names>,
}

impl Service for Ecs {
    type State = State;
    type ResourceId = EcsResourceId;
    type Resource = EcsResource;
    type Error = Error;

    fn model() -> &'static ServiceModel {
        &MODEL
    }

    fn operations() -> &'static [OperationEntry<Self>] {
        OPERATIONS
    }

    async fn load(state: &State, id: &EcsResourceId, _caller: &Caller) -> Result<EcsResource> {
        EcsResource::load(state, id).await
    }
}

static OPERATIONS: &[OperationEntry<Ecs>] = operations![
    agents::DiscoverPollEndpoint,
    agents::SubmitTaskStateChange,
    agents::SubmitContainerStateChange,
    agents::SubmitAttachmentStateChanges,
    clusters::CreateCluster,
    clusters::DescribeClusters,
    clusters::ListClusters,
    clusters::DeleteCluster,
    clusters::UpdateCluster,
    clusters::UpdateClusterSettings,
    clusters::PutClusterCapacityProviders,
    instances::RegisterContainerInstance,
    instances::DeregisterContainerInstance,
    instances::DescribeContainerInstances,
    instances::ListContainerInstances,
    instances::UpdateContainerInstancesState,
    attributes::PutAttributes,
    attributes::DeleteAttributes,
    attributes::ListAttributes,
    capacity_providers::CreateCapacityProvider,
    capacity_providers::DescribeCapacityProviders,
    capacity_providers::UpdateCapacityProvider,
    capacity_providers::DeleteCapacityProvider,
    services::DescribeServices,
    services::ListServices,
    services::DeleteService,
    service_changes::CreateService,
    service_changes::UpdateService,
    service_deployments::ListServiceDeployments,
    service_deployments::DescribeServiceDeployments,
    service_revisions::DescribeServiceRevisions,
    service_deployments::StopServiceDeployment,
    settings::ListAccountSettings,
    settings::PutAccountSetting,
    settings::PutAccountSettingDefault,
    settings::DeleteAccountSetting,
    task_definitions::RegisterTaskDefinition,
    task_definitions::DescribeTaskDefinition,
    task_definitions::DeregisterTaskDefinition,
    task_definitions::DeleteTaskDefinitions,
    task_definitions::ListTaskDefinitions,
    task_definitions::ListTaskDefinitionFamilies,
    run_task::RunTask,
    run_task::StartTask,
    tasks::StopTask,
    tasks::DescribeTasks,
    tasks::ListTasks,
    task_protection::GetTaskProtection,
    task_protection::UpdateTaskProtection,
    tags::TagResource,
    tags::UntagResource,
    tags::ListTagsForResource,
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_operation_has_limits_and_no_other_has() {
        let mut served: Vec<&str> = OPERATIONS.iter().map(OperationEntry::name).collect();
        served.sort_unstable();
        let known: Vec<&str> = MODEL.limits.operations().map(|(name, _)| name).collect();
        assert_eq!(served, known);
    }
}
