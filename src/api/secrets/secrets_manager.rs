//! AWS Secrets Manager.

mod error;
mod listing;
mod resource;
mod secrets;
mod tags;
mod values;

use std::sync::LazyLock;

pub use error::Error;
pub use resource::SecretId;
use wharfinger_api_core::{OperationEntry, Service, ServiceModel, operations};
use wharfinger_aws::Family;
use wharfinger_aws::constraints::Limits;
use wharfinger_iam::Caller;
use wharfinger_secrets::Secrets;

use crate::views::StoredResource;

type Result<T, E = Error> = std::result::Result<T, E>;

/// AWS Secrets Manager, API version 2017-10-17.
pub static MODEL: ServiceModel = ServiceModel {
    name: "secretsmanager",
    family: Family::Json,
    target: "secretsmanager",
    version: "2017-10-17",
    namespace: "http://secretsmanager.amazonaws.com/doc/2017-10-17/",
    limits: &LIMITS,
    unsupported: &[],
};

static LIMITS: LazyLock<Limits> =
    LazyLock::new(|| Limits::read(include_str!("secrets_manager_limits.toml")));

/// The service.
pub struct SecretsManager;

/// The handles that the operations use.
pub struct State {
    pub secrets: Secrets,
}

impl Service for SecretsManager {
    type State = State;
    type ResourceId = SecretId;
    type Resource = StoredResource;
    type Error = Error;

    fn model() -> &'static ServiceModel {
        &MODEL
    }

    fn operations() -> &'static [OperationEntry<Self>] {
        OPERATIONS
    }

    async fn load(state: &State, id: &SecretId, _caller: &Caller) -> Result<StoredResource> {
        id.load(&state.secrets).await
    }
}

static OPERATIONS: &[OperationEntry<SecretsManager>] = operations![
    secrets::CreateSecret,
    secrets::UpdateSecret,
    secrets::DescribeSecret,
    secrets::GetResourcePolicy,
    secrets::DeleteSecret,
    secrets::RestoreSecret,
    values::GetSecretValue,
    values::PutSecretValue,
    listing::ListSecrets,
    listing::ListSecretVersionIds,
    tags::TagResource,
    tags::UntagResource,
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
