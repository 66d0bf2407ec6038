//! Amazon ECR: the control plane of the private registry.

mod account_settings;
mod authorization;
mod backfills;
mod creation_templates;
mod error;
mod images;
mod layers;
mod lifecycle;
mod manifests;
mod paging;
mod policies;
mod previews;
mod pull_through;
mod pull_time_exclusions;
mod referrers;
mod registry_policy;
mod replication;
mod repositories;
mod resource;
mod scanning_configuration;
mod scans;
mod settings;
mod signing;
mod storage_class;
mod tags;
mod upstream;
mod views;

use std::sync::{Arc, LazyLock};

pub use error::Error;
pub use resource::{EcrResource, ResourceId};
use wharfinger_api_core::{Names, OperationEntry, Service, ServiceModel, operations};
use wharfinger_aws::Family;
use wharfinger_aws::constraints::Limits;
use wharfinger_iam::{Caller, Iam};
use wharfinger_registry::{PullThrough, Registry};

type Result<T, E = Error> = std::result::Result<T, E>;

/// Amazon ECR, API version 2015-09-21.
pub static MODEL: ServiceModel = ServiceModel {
    name: "ecr",
    family: Family::Json,
    target: "AmazonEC2ContainerRegistry_V20150921",
    version: "2015-09-21",
    namespace: "http://ecr.amazonaws.com/doc/2015-09-21/",
    limits: &LIMITS,
    unsupported: &[],
};

static LIMITS: LazyLock<Limits> = LazyLock::new(|| Limits::read(include_str!("limits.toml")));

/// The service.
pub struct Ecr;

/// The handles that ECR's operations use.
pub struct State {
    pub registry: Registry,
    pub pull_through: PullThrough,
    pub iam: Arc<Iam>,
    pub names: Arc<Names>,
    /// Whether `GetDownloadUrlForLayer` returns the blob store's own signed URL where it has one.
    pub presigned_downloads: bool,
}

impl Service for Ecr {
    type State = State;
    type ResourceId = ResourceId;
    type Resource = EcrResource;
    type Error = Error;

    fn model() -> &'static ServiceModel {
        &MODEL
    }

    fn operations() -> &'static [OperationEntry<Self>] {
        OPERATIONS
    }

    async fn load(state: &State, id: &ResourceId, _caller: &Caller) -> Result<EcrResource> {
        EcrResource::load(&state.registry.repositories, id).await
    }
}

static OPERATIONS: &[OperationEntry<Ecr>] = operations![
    repositories::CreateRepository,
    repositories::DescribeRepositories,
    repositories::DeleteRepository,
    settings::PutImageTagMutability,
    settings::PutImageScanningConfiguration,
    replication::DescribeRegistry,
    replication::PutReplicationConfiguration,
    replication::DescribeImageReplicationStatus,
    backfills::StartReplicationBackfill,
    backfills::StopReplicationBackfill,
    backfills::ListReplicationBackfills,
    backfills::DescribeReplicationBackfillResults,
    registry_policy::PutRegistryPolicy,
    registry_policy::GetRegistryPolicy,
    registry_policy::DeleteRegistryPolicy,
    creation_templates::CreateRepositoryCreationTemplate,
    creation_templates::UpdateRepositoryCreationTemplate,
    creation_templates::DeleteRepositoryCreationTemplate,
    creation_templates::DescribeRepositoryCreationTemplates,
    account_settings::GetAccountSetting,
    account_settings::PutAccountSetting,
    pull_time_exclusions::RegisterPullTimeUpdateExclusion,
    pull_time_exclusions::DeregisterPullTimeUpdateExclusion,
    pull_time_exclusions::ListPullTimeUpdateExclusions,
    scanning_configuration::PutRegistryScanningConfiguration,
    scanning_configuration::GetRegistryScanningConfiguration,
    scanning_configuration::BatchGetRepositoryScanningConfiguration,
    signing::PutSigningConfiguration,
    signing::GetSigningConfiguration,
    signing::DeleteSigningConfiguration,
    scans::StartImageScan,
    scans::DescribeImageScanFindings,
    signing::DescribeImageSigningStatus,
    images::ListImages,
    images::DescribeImages,
    images::BatchDeleteImage,
    manifests::BatchGetImage,
    manifests::PutImage,
    referrers::ListImageReferrers,
    storage_class::UpdateImageStorageClass,
    layers::BatchCheckLayerAvailability,
    layers::GetDownloadUrlForLayer,
    layers::InitiateLayerUpload,
    layers::UploadLayerPart,
    layers::CompleteLayerUpload,
    policies::SetRepositoryPolicy,
    policies::GetRepositoryPolicy,
    policies::DeleteRepositoryPolicy,
    lifecycle::PutLifecyclePolicy,
    lifecycle::GetLifecyclePolicy,
    lifecycle::DeleteLifecyclePolicy,
    previews::StartLifecyclePolicyPreview,
    previews::GetLifecyclePolicyPreview,
    tags::TagResource,
    tags::UntagResource,
    tags::ListTagsForResource,
    authorization::GetAuthorizationToken,
    pull_through::CreatePullThroughCacheRule,
    pull_through::UpdatePullThroughCacheRule,
    pull_through::DeletePullThroughCacheRule,
    pull_through::DescribePullThroughCacheRules,
    pull_through::ValidatePullThroughCacheRule,
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
