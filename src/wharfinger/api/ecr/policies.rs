//! `SetRepositoryPolicy`, `GetRepositoryPolicy`, `DeleteRepositoryPolicy`.

use serde::{Deserialize, Serialize};
use wharfinger_aws::{AccountId, Fault};
use wharfinger_iam::{Grammar, Policy};
use wharfinger_oci::RepositoryName;

use wharfinger_api_core::RequestScope as Scope;

use crate::api::context::{Context, Demand};
use crate::api::ecr::error;
use crate::api::ecr::place::Place;
use crate::api::operation::Operation;

const SET: &str = "ecr:SetRepositoryPolicy";

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct PolicyView {
    registry_id: AccountId,
    repository_name: RepositoryName,
    policy_text: String,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct SetRepositoryPolicy {
    #[serde(flatten)]
    place: Place,
    policy_text: String,
    force: Option<bool>,
}

impl Operation for SetRepositoryPolicy {
    const NAME: &'static str = "SetRepositoryPolicy";
    type Output = PolicyView;

    fn demands(&self, scope: &Scope) -> Result<Vec<Demand>, Fault> {
        Ok(vec![self.place.demand(SET, scope)])
    }

    async fn run(self, cx: &Context) -> Result<PolicyView, Fault> {
        let registry = self.place.registry(cx.scope());
        let policy = Policy::parse(&self.policy_text, Grammar::Repository).map_err(|why| {
            // ECR's words alone help nobody: what is wrong comes after them.
            error::invalid(
                "PolicyText",
                &format!("Invalid repository policy provided: {why}"),
            )
        })?;
        let force = self.force.unwrap_or_default();
        if !force
            && !cx
                .would_allow(&registry, &self.place.repository_name, SET, &policy)
                .await?
        {
            let message = "The policy would prevent you from setting another one in the future. Use force to set it all the same.";
            return Err(error::invalid_request(message));
        }
        let verbs = &cx.app().registry.repositories;
        let set = verbs
            .set_policy(
                &registry,
                &self.place.repository_name,
                self.policy_text.clone(),
            )
            .await;
        set.map_err(|error| error::fault(cx, &error))?;
        Ok(PolicyView {
            registry_id: registry.account,
            repository_name: self.place.repository_name,
            policy_text: self.policy_text,
        })
    }
}

#[derive(Debug, Deserialize)]
pub(super) struct GetRepositoryPolicy {
    #[serde(flatten)]
    place: Place,
}

impl Operation for GetRepositoryPolicy {
    const NAME: &'static str = "GetRepositoryPolicy";
    type Output = PolicyView;

    fn demands(&self, scope: &Scope) -> Result<Vec<Demand>, Fault> {
        Ok(vec![self.place.demand("ecr:GetRepositoryPolicy", scope)])
    }

    async fn run(self, cx: &Context) -> Result<PolicyView, Fault> {
        let registry = self.place.registry(cx.scope());
        let found = cx
            .app()
            .registry
            .repositories
            .policy(&registry, &self.place.repository_name)
            .await;
        let policy_text = found.map_err(|error| error::fault(cx, &error))?;
        Ok(PolicyView {
            registry_id: registry.account,
            repository_name: self.place.repository_name,
            policy_text,
        })
    }
}

#[derive(Debug, Deserialize)]
pub(super) struct DeleteRepositoryPolicy {
    #[serde(flatten)]
    place: Place,
}

impl Operation for DeleteRepositoryPolicy {
    const NAME: &'static str = "DeleteRepositoryPolicy";
    type Output = PolicyView;

    fn demands(&self, scope: &Scope) -> Result<Vec<Demand>, Fault> {
        Ok(vec![self.place.demand("ecr:DeleteRepositoryPolicy", scope)])
    }

    async fn run(self, cx: &Context) -> Result<PolicyView, Fault> {
        let registry = self.place.registry(cx.scope());
        let gone = cx
            .app()
            .registry
            .repositories
            .delete_policy(&registry, &self.place.repository_name)
            .await;
        let policy_text = gone.map_err(|error| error::fault(cx, &error))?;
        Ok(PolicyView {
            registry_id: registry.account,
            repository_name: self.place.repository_name,
            policy_text,
        })
    }
}
