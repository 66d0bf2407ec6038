//! The shapes of ECR that more than one output contains.

use serde::{Deserialize, Serialize};
use wharfinger_api_core::Names;
use wharfinger_aws::{AccountId, Arn};
use wharfinger_base::Timestamp;
use wharfinger_oci::{Digest, RepositoryName, Tag};
use wharfinger_registry::{
    AppliedScan, Encryption, ImageStatus, MutabilityMode, RegistryId, Repository, Scan, ScanStatus,
    TagMutability, TaggedImage,
};

use crate::scans::status::{FindingsSummary, ScanStatusView};

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct RepositoryView {
    repository_arn: Arn,
    registry_id: AccountId,
    repository_name: RepositoryName,
    repository_uri: String,
    created_at: f64,
    image_tag_mutability: MutabilityMode,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    image_tag_mutability_exclusion_filters: Vec<ExclusionFilter>,
    image_scanning_configuration: ScanningConfiguration,
    encryption_configuration: EncryptionView,
}

#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct ScanningConfiguration {
    pub(super) scan_on_push: bool,
}

/// `{"filterType": "WILDCARD", "filter": "…"}`; the type has one value only.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ExclusionFilter {
    filter_type: String,
    pub(super) filter: String,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct EncryptionView {
    pub(super) encryption_type: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) kms_key: Option<String>,
}

pub(super) fn repository(names: &Names, repository: &Repository) -> RepositoryView {
    let RegistryId { account, region } = &repository.registry;
    RepositoryView {
        repository_arn: repository.arn(),
        registry_id: *account,
        repository_uri: names
            .repository_uri
            .of(account, region, repository.name.as_str()),
        created_at: repository.created_at.as_epoch_seconds(),
        image_tag_mutability: repository.settings.mutability.mode,
        image_tag_mutability_exclusion_filters: exclusion_filters(&repository.settings.mutability),
        image_scanning_configuration: ScanningConfiguration {
            scan_on_push: repository.settings.scan_on_push,
        },
        encryption_configuration: encryption(&repository.settings.encryption),
        repository_name: repository.name.clone(),
    }
}

impl EncryptionView {
    /// The same with no key in place of an empty one, which templates may have.
    pub(super) fn without_empty_key(self) -> Self {
        Self {
            kms_key: self.kms_key.filter(|key| !key.is_empty()),
            ..self
        }
    }
}

pub(super) fn encryption(encryption: &Encryption) -> EncryptionView {
    EncryptionView {
        encryption_type: encryption.kind.clone(),
        kms_key: encryption.kms_key.clone(),
    }
}

pub(super) fn exclusion_filters(mutability: &TagMutability) -> Vec<ExclusionFilter> {
    let filter = |pattern: &String| ExclusionFilter {
        filter_type: "WILDCARD".to_owned(),
        filter: pattern.clone(),
    };
    mutability.exclusions.iter().map(filter).collect()
}

/// An image identifier in outputs.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ImageIdView {
    pub(super) image_digest: Digest,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) image_tag: Option<Tag>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ImageDetail {
    registry_id: AccountId,
    repository_name: RepositoryName,
    image_digest: Digest,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    image_tags: Vec<Tag>,
    image_size_in_bytes: u64,
    image_pushed_at: f64,
    image_manifest_media_type: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    artifact_media_type: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_recorded_pull_time: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    subject_manifest_digest: Option<Digest>,
    #[serde(skip_serializing_if = "Option::is_none")]
    image_scan_status: Option<ScanStatusView>,
    #[serde(skip_serializing_if = "Option::is_none")]
    image_scan_findings_summary: Option<FindingsSummary>,
    image_status: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_archived_at: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_activated_at: Option<f64>,
}

/// ECR's `imageStatus` and `artifactStatus`.
pub(super) const fn image_status(status: ImageStatus) -> &'static str {
    match status {
        ImageStatus::Active => "ACTIVE",
        ImageStatus::Archived => "ARCHIVED",
        ImageStatus::Activating => "ACTIVATING",
    }
}

pub(super) fn image_detail(
    repository: &Repository,
    TaggedImage { image, tags }: TaggedImage,
    scan: Option<&Scan>,
    applied: AppliedScan,
) -> ImageDetail {
    let is_active = image.status == ImageStatus::Active;
    let complete = scan.filter(|scan| is_active && scan.status == ScanStatus::Complete);
    ImageDetail {
        registry_id: repository.registry.account,
        repository_name: repository.name.clone(),
        image_digest: image.digest,
        image_tags: tags,
        image_size_in_bytes: image.content_size,
        image_pushed_at: image.pushed_at.as_epoch_seconds(),
        image_manifest_media_type: image.media_type.to_string(),
        artifact_media_type: image.artifact_type,
        last_recorded_pull_time: image.pulled_at.map(Timestamp::as_epoch_seconds),
        subject_manifest_digest: image.subject,
        image_scan_status: scan.map(|scan| ScanStatusView::of(scan, applied, image.status)),
        image_scan_findings_summary: complete.map(FindingsSummary::of),
        image_status: image_status(image.status),
        last_archived_at: image.archived_at.map(Timestamp::as_epoch_seconds),
        last_activated_at: image.activated_at.map(Timestamp::as_epoch_seconds),
    }
}
