//! `StartReplicationBackfill`, `StopReplicationBackfill`, `ListReplicationBackfills`,
//! `DescribeReplicationBackfillResults`.

use serde::{Deserialize, Serialize};
use wharfinger_api_core::{Context, Operation, RequestScope};
use wharfinger_aws::AccountId;
use wharfinger_base::{PageToken, Timestamp};
use wharfinger_oci::RepositoryName;
use wharfinger_registry::{
    Backfill, BackfillPosition, BackfillProgress, BackfillResult, RegistryId, ResultFilter,
    ResultPosition,
};

use crate::images::ImageId;
use crate::replication::DestinationView;
use crate::resource::{ResourceId, registry_id};
use crate::{Ecr, Result, paging};

/// Backfills on a page where the request does not say (ECR API reference).
const DEFAULT_BACKFILLS: usize = 25;

/// The output of the operations that start and stop a backfill.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct BackfillOutput {
    replication_backfill_id: String,
    registry_id: AccountId,
    destination: DestinationView,
    status: &'static str,
    started_at: f64,
}

impl From<Backfill> for BackfillOutput {
    fn from(backfill: Backfill) -> Self {
        Self {
            replication_backfill_id: backfill.id.to_string(),
            registry_id: backfill.registry.account,
            destination: backfill.destination.into(),
            status: backfill.status.as_str(),
            started_at: backfill.started_at.as_epoch_seconds(),
        }
    }
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct StartReplicationBackfill {
    registry_id: Option<AccountId>,
    destination: DestinationView,
}

impl Operation for StartReplicationBackfill {
    type Service = Ecr;
    type Output = BackfillOutput;

    const NAME: &'static str = "StartReplicationBackfill";

    fn resource(&self, scope: &RequestScope) -> Result<ResourceId> {
        Ok(ResourceId::Registry(registry_id(scope, self.registry_id)))
    }

    async fn run(self, cx: &Context<Ecr>) -> Result<BackfillOutput> {
        let destination = RegistryId::from(self.destination);
        let replications = &cx.state().registry.replications;
        let started = replications.start_backfill(cx.resource().registry(), &destination);
        Ok(started.await?.into())
    }
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct StopReplicationBackfill {
    registry_id: Option<AccountId>,
    replication_backfill_id: String,
}

impl Operation for StopReplicationBackfill {
    type Service = Ecr;
    type Output = BackfillOutput;

    const NAME: &'static str = "StopReplicationBackfill";

    fn resource(&self, scope: &RequestScope) -> Result<ResourceId> {
        Ok(ResourceId::Registry(registry_id(scope, self.registry_id)))
    }

    async fn run(self, cx: &Context<Ecr>) -> Result<BackfillOutput> {
        let replications = &cx.state().registry.replications;
        let registry = cx.resource().registry();
        let stopped = replications.stop_backfill(registry, &self.replication_backfill_id);
        Ok(stopped.await?.into())
    }
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct ProgressView {
    total_replication_count: u64,
    completed_replication_count: u64,
    failed_replication_count: u64,
    failure_codes: Vec<String>,
}

impl From<BackfillProgress> for ProgressView {
    fn from(progress: BackfillProgress) -> Self {
        Self {
            total_replication_count: progress.total,
            completed_replication_count: progress.completed,
            failed_replication_count: progress.failed,
            failure_codes: progress.failure_codes,
        }
    }
}

/// A backfill as listings show it.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct SummaryView {
    replication_backfill_id: String,
    destination: DestinationView,
    status: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    failure_code: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    progress: Option<ProgressView>,
    started_at: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    ended_at: Option<f64>,
}

impl From<Backfill> for SummaryView {
    fn from(backfill: Backfill) -> Self {
        Self {
            replication_backfill_id: backfill.id.to_string(),
            destination: backfill.destination.into(),
            status: backfill.status.as_str(),
            failure_code: backfill.failure_code,
            progress: backfill.progress.map(ProgressView::from),
            started_at: backfill.started_at.as_epoch_seconds(),
            ended_at: backfill.ended_at.map(Timestamp::as_epoch_seconds),
        }
    }
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ListReplicationBackfills {
    registry_id: Option<AccountId>,
    max_results: Option<u32>,
    next_token: Option<String>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ListReplicationBackfillsOutput {
    registry_id: AccountId,
    backfills: Vec<SummaryView>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_token: Option<String>,
}

impl ListReplicationBackfills {
    /// The position that the token encodes.
    fn position(&self, registry: &RegistryId) -> Result<Option<BackfillPosition>> {
        let token = self.next_token.as_deref();
        let after = paging::registry_position(Self::NAME, registry, token)?;
        if after.is_empty() {
            return Ok(None);
        }
        let parts = after.split_once('/');
        let position = parts.and_then(|(at, id)| {
            let at = at.parse().ok()?;
            Some((Timestamp::from_ms(at), id.to_owned()))
        });
        position.map(Some).ok_or_else(paging::bad_token)
    }
}

impl Operation for ListReplicationBackfills {
    type Service = Ecr;
    type Output = ListReplicationBackfillsOutput;

    const NAME: &'static str = "ListReplicationBackfills";

    fn resource(&self, scope: &RequestScope) -> Result<ResourceId> {
        Ok(ResourceId::Registry(registry_id(scope, self.registry_id)))
    }

    async fn run(self, cx: &Context<Ecr>) -> Result<ListReplicationBackfillsOutput> {
        let registry = cx.resource().registry();
        let before = self.position(registry)?;
        let limit = self
            .max_results
            .map_or(DEFAULT_BACKFILLS, |_| paging::limit(self.max_results));
        let replications = &cx.state().registry.replications;
        let page = replications.backfills(registry, before, limit).await?;
        let token = |(at, id): BackfillPosition| {
            let last = format!("{}/{id}", at.as_ms());
            paging::registry_token(Self::NAME, registry, &last)
        };
        Ok(ListReplicationBackfillsOutput {
            registry_id: registry.account,
            backfills: page.items.into_iter().map(SummaryView::from).collect(),
            next_token: page.next.map(token),
        })
    }
}

/// ECR's `ReplicationBackfillResultStatus`.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
enum ResultStatus {
    Complete,
    Failed,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct DescribeReplicationBackfillResults {
    registry_id: Option<AccountId>,
    replication_backfill_id: String,
    result_status_filter: Option<ResultStatus>,
    max_results: Option<u32>,
    next_token: Option<String>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct ResultView {
    repository_name: RepositoryName,
    image_id: ImageId,
    status: ResultStatus,
    #[serde(skip_serializing_if = "Option::is_none")]
    failure_code: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    sub_image_failure_codes: Vec<String>,
}

impl From<BackfillResult> for ResultView {
    fn from(result: BackfillResult) -> Self {
        Self {
            repository_name: result.repository,
            image_id: ImageId {
                image_digest: Some(result.digest.to_string()),
                image_tag: result.tag.map(|tag| tag.to_string()),
            },
            status: match result.failure_code {
                None => ResultStatus::Complete,
                Some(_) => ResultStatus::Failed,
            },
            failure_code: result.failure_code,
            sub_image_failure_codes: result.member_failures,
        }
    }
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct DescribeReplicationBackfillResultsOutput {
    registry_id: AccountId,
    #[serde(flatten)]
    backfill: SummaryView,
    results: Vec<ResultView>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_token: Option<String>,
}

impl DescribeReplicationBackfillResults {
    fn token(backfill: &str, position: &ResultPosition) -> String {
        let digest = hex::encode(&position.digest);
        let parts = [
            backfill,
            position.state.as_str(),
            position.repository.as_str(),
            &digest,
            position.tag.as_str(),
        ];
        PageToken::encode(Self::NAME, &parts)
    }

    /// The position that the token encodes; the beginning without one.
    fn position(&self, backfill: &str) -> Result<ResultPosition> {
        let parts = paging::position(Self::NAME, self.next_token.as_deref())?;
        let Some([of, state, repository, digest, tag]) = parts else {
            return Ok(ResultPosition::default());
        };
        let digest = hex::decode(digest).map_err(|_| paging::bad_token())?;
        if of != backfill {
            return Err(paging::bad_token());
        }
        Ok(ResultPosition {
            state,
            repository,
            digest,
            tag,
        })
    }
}

impl Operation for DescribeReplicationBackfillResults {
    type Service = Ecr;
    type Output = DescribeReplicationBackfillResultsOutput;

    const NAME: &'static str = "DescribeReplicationBackfillResults";

    fn resource(&self, scope: &RequestScope) -> Result<ResourceId> {
        Ok(ResourceId::Registry(registry_id(scope, self.registry_id)))
    }

    async fn run(self, cx: &Context<Ecr>) -> Result<DescribeReplicationBackfillResultsOutput> {
        let registry = cx.resource().registry();
        let replications = &cx.state().registry.replications;
        let found = replications.backfill(registry, &self.replication_backfill_id);
        let backfill = found.await?;
        let id = backfill.id.to_string();
        let filter = match self.result_status_filter {
            None => ResultFilter::Any,
            Some(ResultStatus::Complete) => ResultFilter::Complete,
            Some(ResultStatus::Failed) => ResultFilter::Failed,
        };
        let (after, limit) = (self.position(&id)?, paging::limit(self.max_results));
        let page = replications
            .backfill_results(&backfill, filter, after, limit)
            .await?;
        Ok(DescribeReplicationBackfillResultsOutput {
            registry_id: registry.account,
            backfill: backfill.into(),
            results: page.items.into_iter().map(ResultView::from).collect(),
            next_token: page.next.map(|position| Self::token(&id, &position)),
        })
    }
}
