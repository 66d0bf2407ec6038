//! Amazon ECR: the operations of the private registry's control plane.

mod authorization;
mod error;
mod images;
mod layers;
mod manifests;
mod paging;
mod place;
mod policies;
mod referrers;
mod repositories;
mod settings;
mod tags;
mod views;

use wharfinger_aws::Family;
use wharfinger_aws::constraints::ECR;

use crate::api::operation::{Service, operations};

/// The service as the gateway serves it.
pub static SERVICE: Service = Service {
    name: "ecr",
    family: Family::Json,
    target: "AmazonEC2ContainerRegistry_V20150921",
    version: "2015-09-21",
    namespace: "http://ecr.amazonaws.com/doc/2015-09-21/",
    limits: &ECR,
    operations: operations![
        repositories::CreateRepository,
        repositories::DescribeRepositories,
        repositories::DeleteRepository,
        settings::PutImageTagMutability,
        settings::PutImageScanningConfiguration,
        settings::DescribeRegistry,
        images::ListImages,
        images::DescribeImages,
        images::BatchDeleteImage,
        manifests::BatchGetImage,
        manifests::PutImage,
        referrers::ListImageReferrers,
        layers::BatchCheckLayerAvailability,
        layers::GetDownloadUrlForLayer,
        layers::InitiateLayerUpload,
        layers::UploadLayerPart,
        layers::CompleteLayerUpload,
        policies::SetRepositoryPolicy,
        policies::GetRepositoryPolicy,
        policies::DeleteRepositoryPolicy,
        tags::TagResource,
        tags::UntagResource,
        tags::ListTagsForResource,
        authorization::GetAuthorizationToken,
    ],
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_operation_has_its_limits_and_the_other_way_round() {
        let mut served: Vec<&str> = SERVICE.operations.iter().map(|entry| entry.name).collect();
        served.sort_unstable();
        let known: Vec<&str> = SERVICE.limits.operations().map(|(name, _)| name).collect();
        assert_eq!(served, known);
    }
}
