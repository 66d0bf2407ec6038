//! `PutReplicationConfiguration`, `DescribeRegistry`, `DescribeImageReplicationStatus`.

use serde::{Deserialize, Serialize};
use wharfinger_api_core::{Context, Operation, RequestScope};
use wharfinger_aws::{AccountId, Region};
use wharfinger_oci::RepositoryName;
use wharfinger_registry::{
    RegistryId, ReplicationConfiguration, ReplicationRule, ReplicationState, ReplicationStatus,
};

use crate::images::{ImageId, find};
use crate::resource::{RepositoryRef, ResourceId, registry_id};
use crate::{Ecr, Result};

/// `{"region": "…", "registryId": "…"}`.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct DestinationView {
    region: Region,
    registry_id: AccountId,
}

impl From<DestinationView> for RegistryId {
    fn from(view: DestinationView) -> Self {
        Self {
            account: view.registry_id,
            region: view.region,
        }
    }
}

impl From<RegistryId> for DestinationView {
    fn from(destination: RegistryId) -> Self {
        Self {
            region: destination.region,
            registry_id: destination.account,
        }
    }
}

/// `{"filter": "…", "filterType": "PREFIX_MATCH"}`; the type has one value only.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct FilterView {
    filter: String,
    filter_type: String,
}

#[derive(Debug, Serialize, Deserialize)]
struct DeleteReplicationView {
    enabled: bool,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct RuleView {
    destinations: Vec<DestinationView>,
    #[serde(skip_serializing_if = "Option::is_none")]
    repository_filters: Option<Vec<FilterView>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    delete_replication: Option<DeleteReplicationView>,
}

#[derive(Debug, Serialize, Deserialize)]
struct ConfigurationView {
    rules: Vec<RuleView>,
}

impl From<ConfigurationView> for ReplicationConfiguration {
    fn from(view: ConfigurationView) -> Self {
        let rule = |rule: RuleView| ReplicationRule {
            destinations: rule
                .destinations
                .into_iter()
                .map(RegistryId::from)
                .collect(),
            prefixes: rule
                .repository_filters
                .into_iter()
                .flatten()
                .map(|filter| filter.filter)
                .collect(),
            deletes: rule.delete_replication.map(|deletes| deletes.enabled),
        };
        Self {
            rules: view.rules.into_iter().map(rule).collect(),
        }
    }
}

impl From<ReplicationConfiguration> for ConfigurationView {
    fn from(configuration: ReplicationConfiguration) -> Self {
        let filter = |filter: String| FilterView {
            filter,
            filter_type: "PREFIX_MATCH".to_owned(),
        };
        let rule = |rule: ReplicationRule| RuleView {
            destinations: rule
                .destinations
                .into_iter()
                .map(DestinationView::from)
                .collect(),
            repository_filters: (!rule.prefixes.is_empty())
                .then(|| rule.prefixes.into_iter().map(filter).collect()),
            delete_replication: rule
                .deletes
                .map(|enabled| DeleteReplicationView { enabled }),
        };
        Self {
            rules: configuration.rules.into_iter().map(rule).collect(),
        }
    }
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct PutReplicationConfiguration {
    replication_configuration: ConfigurationView,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct PutReplicationConfigurationOutput {
    replication_configuration: ConfigurationView,
}

impl Operation for PutReplicationConfiguration {
    type Service = Ecr;
    type Output = PutReplicationConfigurationOutput;

    const NAME: &'static str = "PutReplicationConfiguration";

    fn resource(&self, scope: &RequestScope) -> Result<ResourceId> {
        Ok(ResourceId::Registry(registry_id(scope, None)))
    }

    async fn run(self, cx: &Context<Ecr>) -> Result<PutReplicationConfigurationOutput> {
        let configuration = ReplicationConfiguration::from(self.replication_configuration);
        let replications = &cx.state().registry.replications;
        let put = replications.put_configuration(cx.resource().registry(), &configuration);
        put.await?;
        Ok(PutReplicationConfigurationOutput {
            replication_configuration: configuration.into(),
        })
    }
}

#[derive(Debug, Deserialize)]
pub(super) struct DescribeRegistry {}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct DescribeRegistryOutput {
    registry_id: AccountId,
    replication_configuration: ConfigurationView,
}

impl Operation for DescribeRegistry {
    type Service = Ecr;
    type Output = DescribeRegistryOutput;

    const NAME: &'static str = "DescribeRegistry";

    fn resource(&self, scope: &RequestScope) -> Result<ResourceId> {
        Ok(ResourceId::Registry(registry_id(scope, None)))
    }

    async fn run(self, cx: &Context<Ecr>) -> Result<DescribeRegistryOutput> {
        let registry = cx.resource().registry();
        let replications = &cx.state().registry.replications;
        let configuration = replications.configuration(registry).await?;
        Ok(DescribeRegistryOutput {
            registry_id: registry.account,
            replication_configuration: configuration.into(),
        })
    }
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct DescribeImageReplicationStatus {
    #[serde(flatten)]
    repository: RepositoryRef,
    image_id: ImageId,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct DescribeImageReplicationStatusOutput {
    repository_name: RepositoryName,
    image_id: ImageId,
    replication_statuses: Vec<StatusView>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct StatusView {
    region: Region,
    registry_id: AccountId,
    status: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    failure_code: Option<String>,
}

impl From<ReplicationStatus> for StatusView {
    fn from(replication: ReplicationStatus) -> Self {
        Self {
            region: replication.destination.region,
            registry_id: replication.destination.account,
            status: match replication.state {
                ReplicationState::InProgress => "IN_PROGRESS",
                ReplicationState::Complete => "COMPLETE",
                ReplicationState::Failed => "FAILED",
            },
            failure_code: replication.failure_code,
        }
    }
}

impl Operation for DescribeImageReplicationStatus {
    type Service = Ecr;
    type Output = DescribeImageReplicationStatusOutput;

    const NAME: &'static str = "DescribeImageReplicationStatus";

    fn resource(&self, scope: &RequestScope) -> Result<ResourceId> {
        Ok(self.repository.id(scope))
    }

    async fn run(self, cx: &Context<Ecr>) -> Result<DescribeImageReplicationStatusOutput> {
        let repository = cx.resource().repository()?;
        let (_, image) = find(cx, repository, &self.image_id).await?;
        let registry = &cx.state().registry;
        let statuses = registry
            .replications
            .of_image(repository.id, &image.digest)
            .await?;
        Ok(DescribeImageReplicationStatusOutput {
            repository_name: repository.name.clone(),
            image_id: ImageId {
                image_digest: Some(image.digest.to_string()),
                image_tag: self.image_id.image_tag,
            },
            replication_statuses: statuses.into_iter().map(StatusView::from).collect(),
        })
    }
}
