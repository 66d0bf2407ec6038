//! `PutSigningConfiguration`, `GetSigningConfiguration`, `DeleteSigningConfiguration`.

use serde::{Deserialize, Serialize};
use wharfinger_api_core::{Context, Operation, RequestScope};
use wharfinger_aws::AccountId;
use wharfinger_registry::{SigningConfiguration, SigningRule};

use crate::resource::{ResourceId, registry_id};
use crate::{Ecr, Result};

/// `{"filter": "…", "filterType": "WILDCARD_MATCH"}`; the type has one value only.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct FilterView {
    filter: String,
    filter_type: String,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct RuleView {
    signing_profile_arn: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    repository_filters: Option<Vec<FilterView>>,
}

#[derive(Debug, Serialize, Deserialize)]
struct ConfigurationView {
    rules: Vec<RuleView>,
}

impl From<ConfigurationView> for SigningConfiguration {
    fn from(view: ConfigurationView) -> Self {
        let rule = |rule: RuleView| SigningRule {
            profile: rule.signing_profile_arn,
            filters: rule
                .repository_filters
                .into_iter()
                .flatten()
                .map(|filter| filter.filter)
                .collect(),
        };
        Self {
            rules: view.rules.into_iter().map(rule).collect(),
        }
    }
}

impl From<SigningConfiguration> for ConfigurationView {
    fn from(configuration: SigningConfiguration) -> Self {
        let filter = |filter: String| FilterView {
            filter,
            filter_type: "WILDCARD_MATCH".to_owned(),
        };
        let rule = |rule: SigningRule| RuleView {
            signing_profile_arn: rule.profile,
            repository_filters: (!rule.filters.is_empty())
                .then(|| rule.filters.into_iter().map(filter).collect()),
        };
        Self {
            rules: configuration.rules.into_iter().map(rule).collect(),
        }
    }
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct PutSigningConfiguration {
    signing_configuration: ConfigurationView,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct PutSigningConfigurationOutput {
    signing_configuration: ConfigurationView,
}

impl Operation for PutSigningConfiguration {
    type Service = Ecr;
    type Output = PutSigningConfigurationOutput;

    const NAME: &'static str = "PutSigningConfiguration";

    fn resource(&self, scope: &RequestScope) -> Result<ResourceId> {
        Ok(ResourceId::Registry(registry_id(scope, None)))
    }

    async fn run(self, cx: &Context<Ecr>) -> Result<PutSigningConfigurationOutput> {
        let configuration = SigningConfiguration::from(self.signing_configuration);
        let settings = &cx.state().registry.settings;
        let put = settings.put_signing(cx.resource().registry(), &configuration);
        put.await?;
        Ok(PutSigningConfigurationOutput {
            signing_configuration: configuration.into(),
        })
    }
}

/// The output of the operations that return a stored configuration.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct SigningConfigurationOutput {
    registry_id: AccountId,
    signing_configuration: ConfigurationView,
}

#[derive(Debug, Deserialize)]
pub(super) struct GetSigningConfiguration {}

impl Operation for GetSigningConfiguration {
    type Service = Ecr;
    type Output = SigningConfigurationOutput;

    const NAME: &'static str = "GetSigningConfiguration";

    fn resource(&self, scope: &RequestScope) -> Result<ResourceId> {
        Ok(ResourceId::Registry(registry_id(scope, None)))
    }

    async fn run(self, cx: &Context<Ecr>) -> Result<SigningConfigurationOutput> {
        let registry = cx.resource().registry();
        let found = cx.state().registry.settings.signing(registry).await?;
        Ok(SigningConfigurationOutput {
            registry_id: registry.account,
            signing_configuration: found.into(),
        })
    }
}

#[derive(Debug, Deserialize)]
pub(super) struct DeleteSigningConfiguration {}

impl Operation for DeleteSigningConfiguration {
    type Service = Ecr;
    type Output = SigningConfigurationOutput;

    const NAME: &'static str = "DeleteSigningConfiguration";

    fn resource(&self, scope: &RequestScope) -> Result<ResourceId> {
        Ok(ResourceId::Registry(registry_id(scope, None)))
    }

    async fn run(self, cx: &Context<Ecr>) -> Result<SigningConfigurationOutput> {
        let registry = cx.resource().registry();
        let settings = &cx.state().registry.settings;
        let deleted = settings.delete_signing(registry).await?;
        Ok(SigningConfigurationOutput {
            registry_id: registry.account,
            signing_configuration: deleted.into(),
        })
    }
}
