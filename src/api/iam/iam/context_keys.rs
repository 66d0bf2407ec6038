//! `GetContextKeysForCustomPolicy` and `GetContextKeysForPrincipalPolicy`: the condition keys that
//! policies use.

use serde::{Deserialize, Serialize};
use wharfinger_api_core::{Context, Operation, RequestScope};
use wharfinger_iam::{NamedPolicy, context_keys};

use crate::iam::resource::IamResourceId;
use crate::iam::simulator::documents::Documents;
use crate::iam::simulator::{attached, source};
use crate::iam::{IamService, Result};

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct GetContextKeysForCustomPolicy {
    policy_input_list: Vec<String>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct GetContextKeysForPolicyOutput {
    context_key_names: Vec<String>,
}

impl Operation for GetContextKeysForCustomPolicy {
    type Service = IamService;
    type Output = GetContextKeysForPolicyOutput;

    const NAME: &'static str = "GetContextKeysForCustomPolicy";

    fn resource(&self, scope: &RequestScope) -> Result<IamResourceId> {
        Ok(IamResourceId::Account(scope.account))
    }

    async fn run(self, _cx: &Context<IamService>) -> Result<GetContextKeysForPolicyOutput> {
        let mut documents = Documents::default();
        let policies = documents.identity("PolicyInputList", &self.policy_input_list)?;
        Ok(GetContextKeysForPolicyOutput::of(&policies))
    }
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct GetContextKeysForPrincipalPolicy {
    policy_source_arn: String,
    #[serde(default)]
    policy_input_list: Vec<String>,
}

impl Operation for GetContextKeysForPrincipalPolicy {
    type Service = IamService;
    type Output = GetContextKeysForPolicyOutput;

    const NAME: &'static str = "GetContextKeysForPrincipalPolicy";

    fn resource(&self, scope: &RequestScope) -> Result<IamResourceId> {
        let (kind, name) = source(scope, &self.policy_source_arn)?;
        Ok(IamResourceId::Entity(scope.account, kind, name))
    }

    async fn run(self, cx: &Context<IamService>) -> Result<GetContextKeysForPolicyOutput> {
        let attached = attached(cx, &self.policy_source_arn).await?;
        let mut policies = attached.policies.policies.clone();
        let mut documents = Documents::default();
        policies.extend(documents.identity("PolicyInputList", &self.policy_input_list)?);
        Ok(GetContextKeysForPolicyOutput::of(&policies))
    }
}

impl GetContextKeysForPolicyOutput {
    /// The keys of all policies, each once.
    fn of(policies: &[NamedPolicy]) -> Self {
        let mut names: Vec<String> = Vec::new();
        for key in policies
            .iter()
            .flat_map(|policy| context_keys(&policy.policy))
        {
            if names.iter().all(|known| !known.eq_ignore_ascii_case(&key)) {
                names.push(key);
            }
        }
        Self {
            context_key_names: names,
        }
    }
}
