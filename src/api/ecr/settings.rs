//! `PutImageTagMutability`, `PutImageScanningConfiguration`.

use serde::{Deserialize, Serialize};
use wharfinger_api_core::{Context, Operation, RequestScope};
use wharfinger_aws::AccountId;
use wharfinger_oci::RepositoryName;
use wharfinger_registry::{MutabilityMode, TagMutability};

use crate::resource::{RepositoryRef, ResourceId};
use crate::views::{self, ExclusionFilter, ScanningConfiguration};
use crate::{Ecr, Result, error};

/// Most `*` in one exclusion filter (ECR user guide, "Image tag mutability": two).
const MAX_WILDCARDS: usize = 2;

/// Checks that there are filters if and only if the mode is one with exclusion.
pub(super) fn mutability(
    mode: MutabilityMode,
    filters: Option<Vec<ExclusionFilter>>,
) -> Result<TagMutability> {
    const MEMBER: &str = "imageTagMutabilityExclusionFilters";
    let exclusions: Vec<String> = filters
        .into_iter()
        .flatten()
        .map(|filter| filter.filter)
        .collect();
    let with_exclusion = matches!(
        mode,
        MutabilityMode::MutableWithExclusion | MutabilityMode::ImmutableWithExclusion
    );
    if with_exclusion && exclusions.is_empty() {
        return Err(error::invalid(
            MEMBER,
            "must not be null when imageTagMutability is with exclusion",
        ));
    }
    if !with_exclusion && !exclusions.is_empty() {
        return Err(error::invalid(
            MEMBER,
            "must be null unless imageTagMutability is with exclusion",
        ));
    }
    if exclusions
        .iter()
        .any(|filter| filter.matches('*').count() > MAX_WILDCARDS)
    {
        return Err(error::invalid(
            MEMBER,
            "must not have more than 2 wildcards in a filter",
        ));
    }
    Ok(TagMutability { mode, exclusions })
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct PutImageTagMutability {
    #[serde(flatten)]
    repository: RepositoryRef,
    image_tag_mutability: MutabilityMode,
    image_tag_mutability_exclusion_filters: Option<Vec<ExclusionFilter>>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct PutImageTagMutabilityOutput {
    registry_id: AccountId,
    repository_name: RepositoryName,
    image_tag_mutability: MutabilityMode,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    image_tag_mutability_exclusion_filters: Vec<ExclusionFilter>,
}

impl Operation for PutImageTagMutability {
    type Service = Ecr;
    const NAME: &'static str = "PutImageTagMutability";
    type Output = PutImageTagMutabilityOutput;

    fn resource(&self, scope: &RequestScope) -> Result<ResourceId> {
        Ok(self.repository.id(scope))
    }

    async fn run(self, cx: &Context<Ecr>) -> Result<PutImageTagMutabilityOutput> {
        let mutability = mutability(
            self.image_tag_mutability,
            self.image_tag_mutability_exclusion_filters,
        )?;
        let repository = cx.resource().repository()?;
        let repositories = &cx.state().registry.repositories;
        let repository = repositories.set_mutability(repository, mutability).await?;
        Ok(PutImageTagMutabilityOutput {
            registry_id: repository.registry.account,
            image_tag_mutability: repository.settings.mutability.mode,
            image_tag_mutability_exclusion_filters: views::exclusion_filters(
                &repository.settings.mutability,
            ),
            repository_name: repository.name,
        })
    }
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct PutImageScanningConfiguration {
    #[serde(flatten)]
    repository: RepositoryRef,
    image_scanning_configuration: ScanningConfiguration,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct PutImageScanningConfigurationOutput {
    registry_id: AccountId,
    repository_name: RepositoryName,
    image_scanning_configuration: ScanningConfiguration,
}

impl Operation for PutImageScanningConfiguration {
    type Service = Ecr;
    const NAME: &'static str = "PutImageScanningConfiguration";
    type Output = PutImageScanningConfigurationOutput;

    fn resource(&self, scope: &RequestScope) -> Result<ResourceId> {
        Ok(self.repository.id(scope))
    }

    async fn run(self, cx: &Context<Ecr>) -> Result<PutImageScanningConfigurationOutput> {
        let scan_on_push = self.image_scanning_configuration.scan_on_push;
        let repository = cx.resource().repository()?;
        let repositories = &cx.state().registry.repositories;
        let repository = repositories
            .set_scan_on_push(repository, scan_on_push)
            .await?;
        Ok(PutImageScanningConfigurationOutput {
            registry_id: repository.registry.account,
            repository_name: repository.name,
            image_scanning_configuration: ScanningConfiguration {
                scan_on_push: repository.settings.scan_on_push,
            },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filters_go_with_exclusion_only() {
        let filters = |texts: &[&str]| -> Option<Vec<ExclusionFilter>> {
            let wire: Vec<_> = texts
                .iter()
                .map(|text| serde_json::json!({"filterType": "WILDCARD", "filter": text}))
                .collect();
            serde_json::from_value(wire.into()).ok()
        };
        assert!(mutability(MutabilityMode::Mutable, None).is_ok());
        assert!(mutability(MutabilityMode::ImmutableWithExclusion, filters(&["dev-*"])).is_ok());
        assert!(mutability(MutabilityMode::Immutable, filters(&["dev-*"])).is_err());
        assert!(mutability(MutabilityMode::MutableWithExclusion, None).is_err());
        assert!(mutability(MutabilityMode::MutableWithExclusion, filters(&["*a*b*"])).is_err());
    }
}
