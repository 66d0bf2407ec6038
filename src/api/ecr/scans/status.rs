//! The shapes that tell how far a scan is, and what it found in all.

use std::collections::BTreeMap;

use serde::Serialize;
use wharfinger_base::Timestamp;
use wharfinger_registry::{AppliedScan, ImageStatus, Scan, ScanFrequency, ScanStatus, ScanType};

/// `imageScanStatus`.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct ScanStatusView {
    status: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    description: Option<String>,
}

impl ScanStatusView {
    /// The status of a scan that was requested just now.
    pub(super) fn waiting() -> Self {
        Self {
            status: ScanStatus::InProgress.as_str(),
            description: None,
        }
    }

    /// The status of a scan. Basic scans that wait are in progress to ECR, and images that are
    /// scanned continuously are active. An archived image is not scanned, whatever its last scan
    /// came to.
    pub(crate) fn of(scan: &Scan, applied: AppliedScan, image: ImageStatus) -> Self {
        if image == ImageStatus::Archived {
            return Self {
                status: "IMAGE_ARCHIVED",
                description: None,
            };
        }
        let continuous = applied.scan_type == ScanType::Enhanced
            && applied.frequency == ScanFrequency::ContinuousScan;
        let status = match (scan.status, applied.scan_type) {
            (ScanStatus::Pending, ScanType::Basic) => ScanStatus::InProgress.as_str(),
            (ScanStatus::Complete, _) if continuous => "ACTIVE",
            (status, _) => status.as_str(),
        };
        let description = Some(scan.description.clone());
        Self {
            status,
            description: description.filter(|text| !text.is_empty()),
        }
    }
}

/// `imageScanFindingsSummary`, and the beginning of `imageScanFindings`.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct FindingsSummary {
    #[serde(skip_serializing_if = "Option::is_none")]
    image_scan_completed_at: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    vulnerability_source_updated_at: Option<f64>,
    finding_severity_counts: BTreeMap<String, u64>,
}

impl FindingsSummary {
    pub(crate) fn of(scan: &Scan) -> Self {
        Self {
            image_scan_completed_at: scan.completed_at.map(Timestamp::as_epoch_seconds),
            vulnerability_source_updated_at: scan.advisories_at.map(Timestamp::as_epoch_seconds),
            finding_severity_counts: scan.severity_counts.clone(),
        }
    }
}
