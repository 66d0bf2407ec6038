//! `PutSigningConfiguration`, `GetSigningConfiguration`, `DeleteSigningConfiguration`,
//! `DescribeImageSigningStatus`.

use serde::{Deserialize, Serialize};
use wharfinger_api_core::{Context, Operation, RequestScope};
use wharfinger_aws::AccountId;
use wharfinger_oci::RepositoryName;
use wharfinger_registry::{SignatureState, SignatureStatus, SigningConfiguration, SigningRule};

use crate::images::{ImageId, find};
use crate::resource::{RepositoryRef, ResourceId, registry_id};
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

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct DescribeImageSigningStatus {
    #[serde(flatten)]
    repository: RepositoryRef,
    image_id: ImageId,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct DescribeImageSigningStatusOutput {
    registry_id: AccountId,
    repository_name: RepositoryName,
    image_id: ImageId,
    signing_statuses: Vec<StatusView>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct StatusView {
    signing_profile_arn: String,
    status: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    failure_code: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    failure_reason: Option<String>,
}

impl From<SignatureStatus> for StatusView {
    fn from(signature: SignatureStatus) -> Self {
        let (failure_code, failure_reason) = match signature.failure {
            Some(failure) => (Some(failure.code), Some(failure.reason)),
            None => (None, None),
        };
        Self {
            signing_profile_arn: signature.profile,
            status: match signature.state {
                SignatureState::Waiting => "IN_PROGRESS",
                SignatureState::Complete => "COMPLETE",
                SignatureState::Failed => "FAILED",
            },
            failure_code,
            failure_reason,
        }
    }
}

impl Operation for DescribeImageSigningStatus {
    type Service = Ecr;
    type Output = DescribeImageSigningStatusOutput;

    const NAME: &'static str = "DescribeImageSigningStatus";

    fn resource(&self, scope: &RequestScope) -> Result<ResourceId> {
        Ok(self.repository.id(scope))
    }

    async fn run(self, cx: &Context<Ecr>) -> Result<DescribeImageSigningStatusOutput> {
        let repository = cx.resource().repository()?;
        let (_, image) = find(cx, repository, &self.image_id).await?;
        let registry = &cx.state().registry;
        let signatures = registry.signatures.of_image(repository.id, &image.digest);
        Ok(DescribeImageSigningStatusOutput {
            registry_id: repository.registry.account,
            repository_name: repository.name.clone(),
            image_id: ImageId {
                image_digest: Some(image.digest.to_string()),
                image_tag: self.image_id.image_tag,
            },
            signing_statuses: signatures
                .await?
                .into_iter()
                .map(StatusView::from)
                .collect(),
        })
    }
}
