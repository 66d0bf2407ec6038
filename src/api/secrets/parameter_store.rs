//! The parameters of AWS Systems Manager.

mod error;
mod filters;
mod listing;
mod parameters;
mod resource;
mod tags;

use std::sync::LazyLock;

pub use error::Error;
pub use resource::ParameterId;
use wharfinger_api_core::{OperationEntry, Service, ServiceModel, operations};
use wharfinger_aws::Family;
use wharfinger_aws::constraints::Limits;
use wharfinger_iam::Caller;
use wharfinger_secrets::Parameters;

use crate::views::StoredResource;

type Result<T, E = Error> = std::result::Result<T, E>;

/// AWS Systems Manager, API version 2014-11-06: its parameters.
pub static MODEL: ServiceModel = ServiceModel {
    name: "ssm",
    family: Family::Json,
    target: "AmazonSSM",
    version: "2014-11-06",
    namespace: "http://ssm.amazonaws.com/doc/2014-11-06/",
    limits: &LIMITS,
    unsupported: &[],
};

static LIMITS: LazyLock<Limits> =
    LazyLock::new(|| Limits::read(include_str!("parameter_store_limits.toml")));

/// The service.
pub struct ParameterStore;

/// The handles that the operations use.
pub struct State {
    pub parameters: Parameters,
}

impl Service for ParameterStore {
    type State = State;
    type ResourceId = ParameterId;
    type Resource = StoredResource;
    type Error = Error;

    fn model() -> &'static ServiceModel {
        &MODEL
    }

    fn operations() -> &'static [OperationEntry<Self>] {
        OPERATIONS
    }

    async fn load(state: &State, id: &ParameterId, _caller: &Caller) -> Result<StoredResource> {
        id.load(&state.parameters).await
    }
}

static OPERATIONS: &[OperationEntry<ParameterStore>] = operations![
    parameters::PutParameter,
    parameters::GetParameter,
    parameters::GetParameters,
    parameters::DeleteParameter,
    parameters::DeleteParameters,
    listing::GetParametersByPath,
    listing::GetParameterHistory,
    listing::DescribeParameters,
    tags::AddTagsToResource,
    tags::RemoveTagsFromResource,
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
