//! What happened: one variant for each type of event that Amazon ECR sends.
//!
//! Source: ECR user guide, "Amazon ECR events and `EventBridge`".

use std::collections::BTreeMap;

use wharfinger_base::Timestamp;
use wharfinger_oci::{Digest, RepositoryName, Tag};

use crate::model::RegistryId;
use crate::scanning_rules::{ScanFrequency, ScanType};

/// Something that happened in a registry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RegistryEvent {
    /// `ECR Image Action`, or `ECR Referrer Action` where the image has a subject.
    Image {
        repository: RepositoryName,
        digest: Digest,
        tag: Option<Tag>,
        action: ImageAction,
        /// Whether the image refers to another one.
        is_referrer: bool,
    },
    /// `ECR Image Scan`: a scan has ended.
    ImageScan {
        repository: RepositoryName,
        digest: Digest,
        tags: Vec<Tag>,
        /// `COMPLETE` or `FAILED`.
        status: &'static str,
        /// Only severities that occur.
        severity_counts: BTreeMap<String, u64>,
    },
    /// `ECR Scan Resource Change`: repositories are scanned at other times than before.
    ScanResourceChange {
        scan_type: ScanType,
        repositories: Vec<FrequencyChange>,
    },
    /// `ECR Pull Through Cache Action`: an image was fetched from upstream, or could not be.
    PullThroughCache {
        repository: RepositoryName,
        prefix: String,
        upstream_url: String,
        digest: Option<Digest>,
        tag: Option<Tag>,
        succeeded: bool,
    },
    /// `ECR Replication Action`, an event of the destination.
    Replication {
        repository: RepositoryName,
        digest: Digest,
        tag: Option<Tag>,
        source: RegistryId,
        succeeded: bool,
    },
}

/// What was done to an image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ImageAction {
    Push,
    Delete,
    UpdateStorageClass {
        /// `STANDARD` or `ARCHIVE`.
        target: &'static str,
        media_type: String,
        artifact_type: Option<String>,
        last_activated_at: Option<Timestamp>,
    },
}

/// A repository that is scanned at other times than before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FrequencyChange {
    pub repository: RepositoryName,
    pub frequency: ScanFrequency,
    pub previous: ScanFrequency,
}

impl RegistryEvent {
    /// The event's `detail-type`.
    pub(super) const fn detail_type(&self) -> &'static str {
        match self {
            Self::Image {
                is_referrer: false, ..
            } => "ECR Image Action",
            Self::Image {
                is_referrer: true, ..
            } => "ECR Referrer Action",
            Self::ImageScan { .. } => "ECR Image Scan",
            Self::ScanResourceChange { .. } => "ECR Scan Resource Change",
            Self::PullThroughCache { .. } => "ECR Pull Through Cache Action",
            Self::Replication { .. } => "ECR Replication Action",
        }
    }

    /// The repositories that the event is about.
    pub(super) fn repositories(&self) -> Vec<&RepositoryName> {
        match self {
            Self::Image { repository, .. }
            | Self::ImageScan { repository, .. }
            | Self::PullThroughCache { repository, .. }
            | Self::Replication { repository, .. } => vec![repository],
            Self::ScanResourceChange { repositories, .. } => repositories
                .iter()
                .map(|change| &change.repository)
                .collect(),
        }
    }
}
