//! `PutRegistryScanningConfiguration`, `GetRegistryScanningConfiguration`,
//! `BatchGetRepositoryScanningConfiguration`.

use serde::{Deserialize, Serialize};
use wharfinger_api_core::{Context, Demand, Operation, RequestScope};
use wharfinger_aws::{AccountId, Arn};
use wharfinger_oci::RepositoryName;
use wharfinger_registry::{
    ScanFrequency, ScanType, ScanningConfiguration, ScanningRule, scan_frequency,
};

use crate::resource::{EcrResource, ResourceId, registry_id};
use crate::{Ecr, Result, error};

/// `{"filter": "…", "filterType": "WILDCARD"}`; the type has one value only.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct FilterView {
    filter: String,
    filter_type: String,
}

impl FilterView {
    fn of(filter: String) -> Self {
        Self {
            filter,
            filter_type: "WILDCARD".to_owned(),
        }
    }
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct RuleView {
    scan_frequency: ScanFrequency,
    repository_filters: Vec<FilterView>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct ConfigurationView {
    scan_type: ScanType,
    rules: Vec<RuleView>,
}

impl From<ScanningConfiguration> for ConfigurationView {
    fn from(configuration: ScanningConfiguration) -> Self {
        let rule = |rule: ScanningRule| RuleView {
            scan_frequency: rule.frequency,
            repository_filters: rule.filters.into_iter().map(FilterView::of).collect(),
        };
        Self {
            scan_type: configuration.scan_type,
            rules: configuration.rules.into_iter().map(rule).collect(),
        }
    }
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct PutRegistryScanningConfiguration {
    scan_type: Option<ScanType>,
    rules: Option<Vec<RuleView>>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct PutRegistryScanningConfigurationOutput {
    registry_scanning_configuration: ConfigurationView,
}

impl Operation for PutRegistryScanningConfiguration {
    type Service = Ecr;
    type Output = PutRegistryScanningConfigurationOutput;

    const NAME: &'static str = "PutRegistryScanningConfiguration";

    fn resource(&self, scope: &RequestScope) -> Result<ResourceId> {
        Ok(ResourceId::Registry(registry_id(scope, None)))
    }

    async fn run(self, cx: &Context<Ecr>) -> Result<PutRegistryScanningConfigurationOutput> {
        let configuration = checked(self)?;
        let settings = &cx.state().registry.settings;
        let put = settings.put_scanning(cx.resource().registry(), &configuration);
        put.await?;
        Ok(PutRegistryScanningConfigurationOutput {
            registry_scanning_configuration: configuration.into(),
        })
    }
}

/// The configuration that a request sets. Rules have one frequency each, of those that the scan
/// type has.
fn checked(request: PutRegistryScanningConfiguration) -> Result<ScanningConfiguration> {
    let scan_type = request.scan_type.unwrap_or_default();
    let rules = request.rules.unwrap_or_default();
    let mut frequencies: Vec<ScanFrequency> = Vec::new();
    for rule in &rules {
        let frequency = rule.scan_frequency;
        if scan_type == ScanType::Basic && frequency == ScanFrequency::ContinuousScan {
            return Err(error::validation(
                "The scan frequency CONTINUOUS_SCAN requires the scan type ENHANCED",
            ));
        }
        if scan_type == ScanType::Enhanced && frequency == ScanFrequency::Manual {
            return Err(error::validation(
                "The scan frequency MANUAL requires the scan type BASIC",
            ));
        }
        if frequencies.contains(&frequency) {
            return Err(error::validation("A scan frequency can have only one rule"));
        }
        frequencies.push(frequency);
    }
    let rule = |rule: RuleView| ScanningRule {
        frequency: rule.scan_frequency,
        filters: rule
            .repository_filters
            .into_iter()
            .map(|filter| filter.filter)
            .collect(),
    };
    Ok(ScanningConfiguration {
        scan_type,
        rules: rules.into_iter().map(rule).collect(),
    })
}

#[derive(Debug, Deserialize)]
pub(super) struct GetRegistryScanningConfiguration {}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct GetRegistryScanningConfigurationOutput {
    registry_id: AccountId,
    scanning_configuration: ConfigurationView,
}

impl Operation for GetRegistryScanningConfiguration {
    type Service = Ecr;
    type Output = GetRegistryScanningConfigurationOutput;

    const NAME: &'static str = "GetRegistryScanningConfiguration";

    fn resource(&self, scope: &RequestScope) -> Result<ResourceId> {
        Ok(ResourceId::Registry(registry_id(scope, None)))
    }

    async fn run(self, cx: &Context<Ecr>) -> Result<GetRegistryScanningConfigurationOutput> {
        let registry = cx.resource().registry();
        let configuration = cx.state().registry.settings.scanning(registry).await?;
        Ok(GetRegistryScanningConfigurationOutput {
            registry_id: registry.account,
            scanning_configuration: configuration.into(),
        })
    }
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct BatchGetRepositoryScanningConfiguration {
    repository_names: Vec<RepositoryName>,
}

#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct BatchGetRepositoryScanningConfigurationOutput {
    scanning_configurations: Vec<RepositoryView>,
    failures: Vec<FailureView>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct RepositoryView {
    repository_arn: Arn,
    repository_name: RepositoryName,
    scan_on_push: bool,
    scan_frequency: ScanFrequency,
    applied_scan_filters: Vec<FilterView>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct FailureView {
    repository_name: RepositoryName,
    failure_code: &'static str,
    failure_reason: String,
}

impl Operation for BatchGetRepositoryScanningConfiguration {
    type Service = Ecr;
    type Output = BatchGetRepositoryScanningConfigurationOutput;

    const NAME: &'static str = "BatchGetRepositoryScanningConfiguration";

    fn resource(&self, scope: &RequestScope) -> Result<ResourceId> {
        let registry = registry_id(scope, None);
        let names = self.repository_names.first();
        Ok(names.map_or_else(
            || ResourceId::Repositories(registry.clone()),
            |name| ResourceId::Repository(registry.clone(), name.clone()),
        ))
    }

    /// Each repository that is named must be allowed.
    fn demands(&self, scope: &RequestScope) -> Result<Vec<Demand<Ecr>>> {
        let registry = registry_id(scope, None);
        let demand = |name: &RepositoryName| {
            let id = ResourceId::Repository(registry.clone(), name.clone());
            Demand::new(Self::ACTION, id)
        };
        Ok(self.repository_names.iter().map(demand).collect())
    }

    async fn run(self, cx: &Context<Ecr>) -> Result<BatchGetRepositoryScanningConfigurationOutput> {
        let registry = cx.resource().registry();
        let configuration = cx.state().registry.settings.scanning(registry).await?;
        let mut output = BatchGetRepositoryScanningConfigurationOutput::default();
        let mut seen: Vec<&RepositoryName> = Vec::new();
        for resource in cx.resources() {
            let EcrResource::Repository(resource) = resource else {
                continue;
            };
            if seen.contains(&&resource.name) {
                continue;
            }
            seen.push(&resource.name);
            match resource.repository() {
                Ok(repository) => {
                    let on_push = repository.settings.scan_on_push;
                    let applied = scan_frequency(&configuration, &repository.name, on_push);
                    output.scanning_configurations.push(RepositoryView {
                        repository_arn: repository.arn(),
                        repository_name: repository.name.clone(),
                        scan_on_push: applied.frequency > ScanFrequency::Manual,
                        scan_frequency: applied.frequency,
                        applied_scan_filters: applied
                            .filters
                            .into_iter()
                            .map(FilterView::of)
                            .collect(),
                    });
                }
                Err(missing) => output.failures.push(FailureView {
                    repository_name: resource.name.clone(),
                    failure_code: "REPOSITORY_NOT_FOUND",
                    failure_reason: missing.to_string(),
                }),
            }
        }
        Ok(output)
    }
}
