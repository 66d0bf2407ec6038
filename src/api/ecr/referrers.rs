//! `ListImageReferrers`.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use wharfinger_api_core::{Context, Operation, RequestScope};
use wharfinger_base::PageToken;
use wharfinger_oci::Digest;
use wharfinger_registry::{Referrer, ReferrerPosition};

use crate::resource::{RepositoryRef, ResourceId};
use crate::{Ecr, Result, error, paging, views};

/// Items on a page where the request does not say (ECR API reference).
const DEFAULT_ITEMS: u32 = 20;

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ListImageReferrers {
    #[serde(flatten)]
    repository: RepositoryRef,
    subject_id: SubjectId,
    filter: Option<Filter>,
    next_token: Option<String>,
    max_results: Option<u32>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct SubjectId {
    image_digest: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Filter {
    artifact_types: Option<Vec<String>>,
    artifact_status: Option<String>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ListImageReferrersOutput {
    referrers: Vec<ReferrerView>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_token: Option<String>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct ReferrerView {
    digest: Digest,
    media_type: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    artifact_type: Option<String>,
    size: u64,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    annotations: BTreeMap<String, String>,
    artifact_status: &'static str,
}

impl Operation for ListImageReferrers {
    type Service = Ecr;
    const NAME: &'static str = "ListImageReferrers";
    /// AWS demands the permission to read the image, which a referrer tells no more about.
    const ACTION: &'static str = "BatchGetImage";
    type Output = ListImageReferrersOutput;

    fn resource(&self, scope: &RequestScope) -> Result<ResourceId> {
        Ok(self.repository.id(scope))
    }

    async fn run(self, cx: &Context<Ecr>) -> Result<ListImageReferrersOutput> {
        let repository = cx.resource().repository()?;
        let subject: Digest = self.subject_id.image_digest.parse().map_err(|_| {
            error::invalid(
                "subjectId.imageDigest",
                "must satisfy regular expression '[a-zA-Z0-9-_+.]+:[a-fA-F0-9]+'",
            )
        })?;
        let filter = self.filter.unwrap_or_default();
        let types = filter.artifact_types.unwrap_or_default();
        let status = filter.artifact_status.as_deref().unwrap_or("ACTIVE");
        let repository_id = repository.id.0.to_string();
        let after = match paging::position(Self::NAME, self.next_token.as_deref())? {
            None => None,
            Some([id, of, artifact_type, digest])
                if id == repository_id && of == subject.to_string() =>
            {
                Some(ReferrerPosition {
                    artifact_type,
                    digest: hex::decode(digest).map_err(|_| paging::bad_token())?,
                })
            }
            Some(_) => return Err(paging::bad_token()),
        };
        // One type is the index's to find; of several, and of a status, each page is sifted
        // here, and may come out short.
        let single = if let [single] = types.as_slice() {
            Some(single.as_str())
        } else {
            None
        };
        let limit = paging::limit(Some(self.max_results.unwrap_or(DEFAULT_ITEMS)));
        let page = cx
            .state()
            .registry
            .images
            .referrers(repository.id, &subject, single, after, limit)
            .await?;
        let wanted = |found: &Referrer| {
            let has_status = status == "ANY" || status == views::image_status(found.status);
            let has_type = types.is_empty()
                || found
                    .artifact_type
                    .as_ref()
                    .is_some_and(|artifact| types.contains(artifact));
            has_status && has_type
        };
        let next_token = page.next.map(|next| {
            PageToken::encode(
                Self::NAME,
                &[
                    &repository_id,
                    &subject.to_string(),
                    &next.artifact_type,
                    &hex::encode(&next.digest),
                ],
            )
        });
        Ok(ListImageReferrersOutput {
            referrers: page.items.into_iter().filter(wanted).map(view).collect(),
            next_token,
        })
    }
}

fn view(found: Referrer) -> ReferrerView {
    ReferrerView {
        digest: found.digest,
        media_type: found.media_type,
        artifact_type: found.artifact_type,
        size: found.size,
        annotations: found.annotations,
        artifact_status: views::image_status(found.status),
    }
}
