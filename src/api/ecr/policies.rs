//! `SetRepositoryPolicy`, `GetRepositoryPolicy`, `DeleteRepositoryPolicy`.

use serde::{Deserialize, Serialize};
use wharfinger_api_core::{Context, Operation, RequestScope};
use wharfinger_aws::AccountId;
use wharfinger_iam::{Grammar, Policy};
use wharfinger_oci::RepositoryName;
use wharfinger_registry::Repository;

use crate::resource::{RepositoryRef, ResourceId};
use crate::{Ecr, Result, error};

/// The output of all three operations.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct RepositoryPolicyOutput {
    registry_id: AccountId,
    repository_name: RepositoryName,
    policy_text: String,
}

impl RepositoryPolicyOutput {
    fn new(repository: &Repository, policy_text: String) -> Self {
        Self {
            registry_id: repository.registry.account,
            repository_name: repository.name.clone(),
            policy_text,
        }
    }
}

/// The output for a stored policy, with the users that it names as ARNs.
async fn shown(
    cx: &Context<Ecr>,
    repository: &Repository,
    stored: &str,
) -> Result<RepositoryPolicyOutput> {
    let text = cx.state().iam.show_principals(stored).await?;
    Ok(RepositoryPolicyOutput::new(repository, text))
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct SetRepositoryPolicy {
    #[serde(flatten)]
    repository: RepositoryRef,
    policy_text: String,
    force: Option<bool>,
}

impl Operation for SetRepositoryPolicy {
    type Service = Ecr;
    type Output = RepositoryPolicyOutput;

    const NAME: &'static str = "SetRepositoryPolicy";

    fn resource(&self, scope: &RequestScope) -> Result<ResourceId> {
        Ok(self.repository.id(scope))
    }

    async fn run(self, cx: &Context<Ecr>) -> Result<RepositoryPolicyOutput> {
        let parse = |text: &str| {
            Policy::parse(text, Grammar::Repository).map_err(|why| error::invalid_policy(&why))
        };
        parse(&self.policy_text)?;
        let bound = cx.state().iam.bind_principals(&self.policy_text).await?;
        let policy = parse(&bound)?;
        let repository = cx.resource().repository()?;
        let force = self.force.unwrap_or_default();
        if !force && !cx.would_allow(Self::ACTION, &policy) {
            return Err(error::invalid_request(
                "The policy would prevent you from setting another one in the future. \
                 Use force to set it all the same.",
            ));
        }
        let repositories = &cx.state().registry.repositories;
        repositories.set_policy(repository, bound).await?;
        Ok(RepositoryPolicyOutput::new(repository, self.policy_text))
    }
}

#[derive(Debug, Deserialize)]
pub(super) struct GetRepositoryPolicy {
    #[serde(flatten)]
    repository: RepositoryRef,
}

impl Operation for GetRepositoryPolicy {
    type Service = Ecr;
    type Output = RepositoryPolicyOutput;

    const NAME: &'static str = "GetRepositoryPolicy";

    fn resource(&self, scope: &RequestScope) -> Result<ResourceId> {
        Ok(self.repository.id(scope))
    }

    async fn run(self, cx: &Context<Ecr>) -> Result<RepositoryPolicyOutput> {
        let repository = cx.resource().repository()?;
        shown(cx, repository, repository.policy_text()?).await
    }
}

#[derive(Debug, Deserialize)]
pub(super) struct DeleteRepositoryPolicy {
    #[serde(flatten)]
    repository: RepositoryRef,
}

impl Operation for DeleteRepositoryPolicy {
    type Service = Ecr;
    type Output = RepositoryPolicyOutput;

    const NAME: &'static str = "DeleteRepositoryPolicy";

    fn resource(&self, scope: &RequestScope) -> Result<ResourceId> {
        Ok(self.repository.id(scope))
    }

    async fn run(self, cx: &Context<Ecr>) -> Result<RepositoryPolicyOutput> {
        let repository = cx.resource().repository()?;
        let repositories = &cx.state().registry.repositories;
        let text = repositories.delete_policy(repository).await?;
        shown(cx, repository, &text).await
    }
}
