//! `StartImageScan`, `DescribeImageScanFindings`.

mod basic;
mod enhanced;
pub(super) mod status;

use serde::{Deserialize, Serialize};
use wharfinger_api_core::{Context, Operation, RequestScope};
use wharfinger_aws::AccountId;
use wharfinger_base::PageToken;
use wharfinger_oci::{Reference, RepositoryName};
use wharfinger_registry::{self as registry, Image, ImageStatus, Scan, ScanStatus, ScanType};

use crate::images::{ImageId, find};
use crate::resource::{RepositoryRef, ResourceId};
use crate::scans::basic::BasicFinding;
use crate::scans::enhanced::EnhancedFinding;
use crate::scans::status::{FindingsSummary, ScanStatusView};
use crate::views::ImageIdView;
use crate::{Ecr, Error, Result, error, paging};

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct StartImageScan {
    #[serde(flatten)]
    repository: RepositoryRef,
    image_id: ImageId,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct StartImageScanOutput {
    registry_id: AccountId,
    repository_name: RepositoryName,
    image_id: ImageIdView,
    image_scan_status: ScanStatusView,
}

impl Operation for StartImageScan {
    type Service = Ecr;
    const NAME: &'static str = "StartImageScan";
    type Output = StartImageScanOutput;

    fn resource(&self, scope: &RequestScope) -> Result<ResourceId> {
        Ok(self.repository.id(scope))
    }

    async fn run(self, cx: &Context<Ecr>) -> Result<StartImageScanOutput> {
        let repository = cx.resource().repository()?;
        let (named, image) = find(cx, repository, &self.image_id).await?;
        let scans = &cx.state().registry.scans;
        let reference = Reference::Digest(image.digest);
        let image = match scans.start(repository.id, &reference).await {
            Err(registry::Error::UnsupportedImage) => {
                return Err(error::unsupported_image(repository, &image.digest));
            }
            Err(registry::Error::ImageArchived(_)) => return Err(error::image_archived()),
            started => started?,
        };
        Ok(StartImageScanOutput {
            registry_id: repository.registry.account,
            repository_name: repository.name.clone(),
            image_id: ImageIdView {
                image_digest: image.digest,
                image_tag: named.tag().cloned(),
            },
            image_scan_status: ScanStatusView::waiting(),
        })
    }
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct DescribeImageScanFindings {
    #[serde(flatten)]
    repository: RepositoryRef,
    image_id: ImageId,
    next_token: Option<String>,
    max_results: Option<u32>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct DescribeImageScanFindingsOutput {
    registry_id: AccountId,
    repository_name: RepositoryName,
    image_id: ImageIdView,
    image_scan_status: ScanStatusView,
    #[serde(skip_serializing_if = "Option::is_none")]
    image_scan_findings: Option<ScanFindings>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_token: Option<String>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct ScanFindings {
    #[serde(flatten)]
    summary: FindingsSummary,
    #[serde(skip_serializing_if = "Option::is_none")]
    findings: Option<Vec<BasicFinding>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    enhanced_findings: Option<Vec<EnhancedFinding>>,
}

impl Operation for DescribeImageScanFindings {
    type Service = Ecr;
    const NAME: &'static str = "DescribeImageScanFindings";
    type Output = DescribeImageScanFindingsOutput;

    fn resource(&self, scope: &RequestScope) -> Result<ResourceId> {
        Ok(self.repository.id(scope))
    }

    async fn run(self, cx: &Context<Ecr>) -> Result<DescribeImageScanFindingsOutput> {
        let repository = cx.resource().repository()?;
        let (named, image) = find(cx, repository, &self.image_id).await?;
        let registry = &cx.state().registry;
        let Some(scan) = registry.scans.of_image(&image).await? else {
            let (digest, tag) = (&self.image_id.image_digest, &self.image_id.image_tag);
            return Err(error::no_scan(
                repository,
                digest.as_deref(),
                tag.as_deref(),
            ));
        };
        let applied = registry.scans.applied(repository).await?;
        let from = position(&image, &scan, self.next_token.as_deref())?;
        let limit = paging::limit(self.max_results);
        // The findings of an archived image are kept, and shown once it is restored.
        let (findings, next_token) = match (scan.status, image.status) {
            (ScanStatus::Complete, ImageStatus::Active) => {
                let page = registry.scans.findings(&image, &scan, from, limit).await?;
                let next = page.next.map(|position| token(&image, &scan, position));
                let enhanced = applied.scan_type == ScanType::Enhanced;
                let findings = ScanFindings {
                    summary: FindingsSummary::of(&scan),
                    findings: (!enhanced).then(|| page.items.iter().map(basic::finding).collect()),
                    enhanced_findings: if enhanced {
                        let digest = Reference::Digest(image.digest);
                        let tagged = registry.images.describe_one(repository.id, &digest);
                        let tags = tagged.await?.tags;
                        let about = enhanced::About {
                            repository,
                            image: &image,
                            tags: &tags,
                            scan: &scan,
                        };
                        Some(
                            page.items
                                .iter()
                                .map(|found| about.finding(found))
                                .collect(),
                        )
                    } else {
                        None
                    },
                };
                (Some(findings), next)
            }
            _ => (None, None),
        };
        Ok(DescribeImageScanFindingsOutput {
            registry_id: repository.registry.account,
            repository_name: repository.name.clone(),
            image_id: ImageIdView {
                image_digest: image.digest,
                image_tag: named.tag().cloned(),
            },
            image_scan_status: ScanStatusView::of(&scan, applied, image.status),
            image_scan_findings: findings,
            next_token,
        })
    }
}

/// A token belongs to one result: after another scan the positions are others.
fn token(image: &Image, scan: &Scan, position: i64) -> String {
    let parts = [
        &image.id.to_string(),
        &scan.result_number().to_string(),
        &position.to_string(),
    ];
    PageToken::encode(DescribeImageScanFindings::NAME, &parts.map(String::as_str))
}

fn position(image: &Image, scan: &Scan, token: Option<&str>) -> Result<i64, Error> {
    let Some(parts) = paging::position(DescribeImageScanFindings::NAME, token)? else {
        return Ok(0);
    };
    let [id, result, position]: [String; 3] = parts;
    let known = id == image.id.to_string() && result == scan.result_number().to_string();
    let position = position.parse().ok().filter(|_| known);
    position.ok_or_else(paging::bad_token)
}
