//! `StartLifecyclePolicyPreview`, `GetLifecyclePolicyPreview`.

use serde::{Deserialize, Serialize};
use wharfinger_api_core::{Context, Operation, RequestScope};
use wharfinger_aws::AccountId;
use wharfinger_base::PageToken;
use wharfinger_oci::{Digest, RepositoryName, Tag};
use wharfinger_registry::{Action, Preview, PreviewResult, PreviewStatus, StorageClass, TagStatus};

use crate::images::ImageId;
use crate::resource::{RepositoryRef, ResourceId};
use crate::{Ecr, Result, error, paging};

/// `ARCHIVE`, the only class that rules move images to.
const ARCHIVE: &str = "ARCHIVE";
/// Before all positions of results.
const BEGINNING: i64 = -1;

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct StartLifecyclePolicyPreview {
    #[serde(flatten)]
    repository: RepositoryRef,
    lifecycle_policy_text: Option<String>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct StartLifecyclePolicyPreviewOutput {
    registry_id: AccountId,
    repository_name: RepositoryName,
    lifecycle_policy_text: String,
    status: &'static str,
}

impl Operation for StartLifecyclePolicyPreview {
    type Service = Ecr;
    type Output = StartLifecyclePolicyPreviewOutput;

    const NAME: &'static str = "StartLifecyclePolicyPreview";

    fn resource(&self, scope: &RequestScope) -> Result<ResourceId> {
        Ok(self.repository.id(scope))
    }

    async fn run(self, cx: &Context<Ecr>) -> Result<StartLifecyclePolicyPreviewOutput> {
        let repository = cx.resource().repository()?;
        let lifecycle = &cx.state().registry.lifecycle;
        let started = lifecycle.start_preview(repository, self.lifecycle_policy_text);
        Ok(StartLifecyclePolicyPreviewOutput {
            registry_id: repository.registry.account,
            repository_name: repository.name.clone(),
            lifecycle_policy_text: started.await?,
            status: preview_status(PreviewStatus::InProgress),
        })
    }
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct GetLifecyclePolicyPreview {
    #[serde(flatten)]
    repository: RepositoryRef,
    image_ids: Option<Vec<ImageId>>,
    next_token: Option<String>,
    max_results: Option<u32>,
    filter: Option<Filter>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Filter {
    tag_status: Option<String>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct GetLifecyclePolicyPreviewOutput {
    registry_id: AccountId,
    repository_name: RepositoryName,
    lifecycle_policy_text: String,
    status: &'static str,
    preview_results: Vec<ResultView>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_token: Option<String>,
    summary: Summary,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct ResultView {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    image_tags: Vec<Tag>,
    image_digest: Digest,
    image_pushed_at: f64,
    action: ActionView,
    applied_rule_priority: u32,
    storage_class: &'static str,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct ActionView {
    r#type: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    target_storage_class: Option<&'static str>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Summary {
    expiring_image_total_count: u64,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    transitioning_image_total_counts: Vec<TransitioningCount>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct TransitioningCount {
    target_storage_class: &'static str,
    image_total_count: u64,
}

impl Operation for GetLifecyclePolicyPreview {
    type Service = Ecr;
    type Output = GetLifecyclePolicyPreviewOutput;

    const NAME: &'static str = "GetLifecyclePolicyPreview";

    fn resource(&self, scope: &RequestScope) -> Result<ResourceId> {
        Ok(self.repository.id(scope))
    }

    async fn run(self, cx: &Context<Ecr>) -> Result<GetLifecyclePolicyPreviewOutput> {
        let repository = cx.resource().repository()?;
        let lifecycle = &cx.state().registry.lifecycle;
        let number = repository.id.0.to_string();
        let page = if let Some(ids) = self.image_ids {
            if self.next_token.is_some() || self.max_results.is_some() {
                return Err(error::invalid_request(
                    "nextToken and maxResults cannot be used with imageIds",
                ));
            }
            let named = ids.iter().map(|id| match id.named() {
                Ok(named) => Ok(named.reference()),
                Err((_, reason)) => Err(error::invalid_request(reason)),
            });
            let named = named.collect::<Result<Vec<_>>>()?;
            lifecycle.preview_of(repository, named).await?
        } else {
            let token = paging::position(Self::NAME, self.next_token.as_deref())?;
            let after = match &token {
                None => BEGINNING,
                Some([of, _, position]) if *of == number => {
                    position.parse().map_err(|_| paging::bad_token())?
                }
                Some(_) => return Err(paging::bad_token()),
            };
            let filter = self.filter.unwrap_or_default();
            let status = match filter.tag_status.as_deref() {
                Some("TAGGED") => TagStatus::Tagged,
                Some("UNTAGGED") => TagStatus::Untagged,
                _ => TagStatus::Any,
            };
            let limit = paging::limit(self.max_results);
            let page = lifecycle.preview(repository, status, after, limit).await?;
            // The positions of another preview lead nowhere in this one.
            if token.is_some_and(|[_, preview, _]| preview != page.id) {
                return Err(paging::bad_token());
            }
            page
        };
        let next_token = page.results.next.map(|position| {
            PageToken::encode(Self::NAME, &[&number, &page.id, &position.to_string()])
        });
        Ok(GetLifecyclePolicyPreviewOutput {
            registry_id: repository.registry.account,
            repository_name: repository.name.clone(),
            status: preview_status(page.preview.status),
            preview_results: page.results.items.into_iter().map(view).collect(),
            next_token,
            summary: summary(&page.preview),
            lifecycle_policy_text: page.preview.text,
        })
    }
}

fn view(result: PreviewResult) -> ResultView {
    ResultView {
        image_tags: result.tags,
        image_digest: result.digest,
        image_pushed_at: result.pushed_at.as_epoch_seconds(),
        action: match result.action {
            Action::Expire => ActionView {
                r#type: "EXPIRE",
                target_storage_class: None,
            },
            Action::Archive => ActionView {
                r#type: "TRANSITION",
                target_storage_class: Some(ARCHIVE),
            },
        },
        applied_rule_priority: result.priority,
        storage_class: match result.class {
            StorageClass::Standard => "STANDARD",
            StorageClass::Archive => ARCHIVE,
        },
    }
}

fn summary(preview: &Preview) -> Summary {
    let archiving = (preview.archiving > 0).then_some(TransitioningCount {
        target_storage_class: ARCHIVE,
        image_total_count: preview.archiving,
    });
    Summary {
        expiring_image_total_count: preview.expiring,
        transitioning_image_total_counts: archiving.into_iter().collect(),
    }
}

const fn preview_status(status: PreviewStatus) -> &'static str {
    match status {
        PreviewStatus::InProgress => "IN_PROGRESS",
        PreviewStatus::Complete => "COMPLETE",
        PreviewStatus::Expired => "EXPIRED",
        PreviewStatus::Failed => "FAILED",
    }
}
