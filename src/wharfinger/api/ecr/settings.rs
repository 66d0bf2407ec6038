//! `PutImageTagMutability`, `PutImageScanningConfiguration`, `DescribeRegistry`.

use serde::{Deserialize, Serialize};
use wharfinger_aws::{AccountId, Fault};
use wharfinger_oci::RepositoryName;
use wharfinger_registry::{MutabilityMode, TagMutability};

use wharfinger_api_core::RequestScope as Scope;

use crate::api::context::{Context, Demand};
use crate::api::ecr::error;
use crate::api::ecr::place::{Place, registry};
use crate::api::ecr::views::{self, ExclusionFilter, ScanningConfiguration};
use crate::api::operation::Operation;

/// Most `*` in one exclusion filter (ECR user guide, "Image tag mutability": two).
const MAX_WILDCARDS: usize = 2;

/// Mode and filters, which belong together: filters are required with exclusion and refused
/// without.
pub(super) fn mutability(
    mode: MutabilityMode,
    filters: Option<Vec<ExclusionFilter>>,
) -> Result<TagMutability, Fault> {
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
    place: Place,
    image_tag_mutability: MutabilityMode,
    image_tag_mutability_exclusion_filters: Option<Vec<ExclusionFilter>>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct MutabilityNow {
    registry_id: AccountId,
    repository_name: RepositoryName,
    image_tag_mutability: MutabilityMode,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    image_tag_mutability_exclusion_filters: Vec<ExclusionFilter>,
}

impl Operation for PutImageTagMutability {
    const NAME: &'static str = "PutImageTagMutability";
    type Output = MutabilityNow;

    fn demands(&self, scope: &Scope) -> Result<Vec<Demand>, Fault> {
        Ok(vec![self.place.demand("ecr:PutImageTagMutability", scope)])
    }

    async fn run(self, cx: &Context) -> Result<MutabilityNow, Fault> {
        let mutability = mutability(
            self.image_tag_mutability,
            self.image_tag_mutability_exclusion_filters,
        )?;
        let registry = self.place.registry(cx.scope());
        let changed = cx
            .app()
            .registry
            .repositories
            .set_mutability(&registry, &self.place.repository_name, mutability)
            .await;
        let repository = changed.map_err(|error| error::fault(cx, &error))?;
        Ok(MutabilityNow {
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
    place: Place,
    image_scanning_configuration: ScanningConfiguration,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ScanningNow {
    registry_id: AccountId,
    repository_name: RepositoryName,
    image_scanning_configuration: ScanningConfiguration,
}

impl Operation for PutImageScanningConfiguration {
    const NAME: &'static str = "PutImageScanningConfiguration";
    type Output = ScanningNow;

    fn demands(&self, scope: &Scope) -> Result<Vec<Demand>, Fault> {
        Ok(vec![
            self.place
                .demand("ecr:PutImageScanningConfiguration", scope),
        ])
    }

    async fn run(self, cx: &Context) -> Result<ScanningNow, Fault> {
        let registry = self.place.registry(cx.scope());
        let on = self.image_scanning_configuration.scan_on_push;
        let changed = cx
            .app()
            .registry
            .repositories
            .set_scan_on_push(&registry, &self.place.repository_name, on)
            .await;
        let repository = changed.map_err(|error| error::fault(cx, &error))?;
        Ok(ScanningNow {
            registry_id: repository.registry.account,
            repository_name: repository.name,
            image_scanning_configuration: ScanningConfiguration {
                scan_on_push: repository.settings.scan_on_push,
            },
        })
    }
}

#[derive(Debug, Deserialize)]
pub(super) struct DescribeRegistry {}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct RegistryView {
    registry_id: AccountId,
    replication_configuration: ReplicationConfiguration,
}

/// No rules: nothing is replicated yet.
#[derive(Debug, Serialize)]
struct ReplicationConfiguration {
    rules: [(); 0],
}

impl Operation for DescribeRegistry {
    const NAME: &'static str = "DescribeRegistry";
    type Output = RegistryView;

    fn demands(&self, scope: &Scope) -> Result<Vec<Demand>, Fault> {
        Ok(vec![Demand::new(
            "ecr:DescribeRegistry",
            None,
            scope.account,
        )])
    }

    async fn run(self, cx: &Context) -> Result<RegistryView, Fault> {
        let registry_id = registry(cx.scope(), None).account;
        Ok(RegistryView {
            registry_id,
            replication_configuration: ReplicationConfiguration { rules: [] },
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
