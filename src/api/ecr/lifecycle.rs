//! `PutLifecyclePolicy`, `GetLifecyclePolicy`, `DeleteLifecyclePolicy`.

use serde::{Deserialize, Serialize};
use wharfinger_api_core::{Context, Operation, RequestScope};
use wharfinger_aws::AccountId;
use wharfinger_base::Timestamp;
use wharfinger_oci::RepositoryName;
use wharfinger_registry::{Repository, StoredLifecyclePolicy};

use crate::resource::{RepositoryRef, ResourceId};
use crate::{Ecr, Result};

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct PutLifecyclePolicy {
    #[serde(flatten)]
    repository: RepositoryRef,
    lifecycle_policy_text: String,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct PutLifecyclePolicyOutput {
    registry_id: AccountId,
    repository_name: RepositoryName,
    lifecycle_policy_text: String,
}

impl Operation for PutLifecyclePolicy {
    type Service = Ecr;
    type Output = PutLifecyclePolicyOutput;

    const NAME: &'static str = "PutLifecyclePolicy";

    fn resource(&self, scope: &RequestScope) -> Result<ResourceId> {
        Ok(self.repository.id(scope))
    }

    async fn run(self, cx: &Context<Ecr>) -> Result<PutLifecyclePolicyOutput> {
        let repository = cx.resource().repository()?;
        let text = self.lifecycle_policy_text;
        let lifecycle = &cx.state().registry.lifecycle;
        lifecycle.put(repository, text.clone()).await?;
        Ok(PutLifecyclePolicyOutput {
            registry_id: repository.registry.account,
            repository_name: repository.name.clone(),
            lifecycle_policy_text: text,
        })
    }
}

/// The output of reading and of deleting.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct LifecyclePolicyOutput {
    registry_id: AccountId,
    repository_name: RepositoryName,
    lifecycle_policy_text: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_evaluated_at: Option<f64>,
}

impl LifecyclePolicyOutput {
    fn new(repository: &Repository, policy: StoredLifecyclePolicy) -> Self {
        Self {
            registry_id: repository.registry.account,
            repository_name: repository.name.clone(),
            lifecycle_policy_text: policy.text,
            last_evaluated_at: policy.evaluated_at.map(Timestamp::as_epoch_seconds),
        }
    }
}

#[derive(Debug, Deserialize)]
pub(super) struct GetLifecyclePolicy {
    #[serde(flatten)]
    repository: RepositoryRef,
}

impl Operation for GetLifecyclePolicy {
    type Service = Ecr;
    type Output = LifecyclePolicyOutput;

    const NAME: &'static str = "GetLifecyclePolicy";

    fn resource(&self, scope: &RequestScope) -> Result<ResourceId> {
        Ok(self.repository.id(scope))
    }

    async fn run(self, cx: &Context<Ecr>) -> Result<LifecyclePolicyOutput> {
        let repository = cx.resource().repository()?;
        let policy = cx.state().registry.lifecycle.get(repository).await?;
        Ok(LifecyclePolicyOutput::new(repository, policy))
    }
}

#[derive(Debug, Deserialize)]
pub(super) struct DeleteLifecyclePolicy {
    #[serde(flatten)]
    repository: RepositoryRef,
}

impl Operation for DeleteLifecyclePolicy {
    type Service = Ecr;
    type Output = LifecyclePolicyOutput;

    const NAME: &'static str = "DeleteLifecyclePolicy";

    fn resource(&self, scope: &RequestScope) -> Result<ResourceId> {
        Ok(self.repository.id(scope))
    }

    async fn run(self, cx: &Context<Ecr>) -> Result<LifecyclePolicyOutput> {
        let repository = cx.resource().repository()?;
        let policy = cx.state().registry.lifecycle.delete(repository).await?;
        Ok(LifecyclePolicyOutput::new(repository, policy))
    }
}
