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

    pub(crate) fn of(scan: &Scan, applied: AppliedScan, image: ImageStatus) -> Self {
        let description = match image {
            ImageStatus::Active => Some(scan.description.clone()),
            ImageStatus::Archived | ImageStatus::Activating => None,
        };
        Self {
            status: status(scan.status, applied, image),
            description: description.filter(|text| !text.is_empty()),
        }
    }
}

/// The status of a scan. Basic scans that wait are in progress to ECR, and images that are scanned
/// continuously are active. An image that is not active is not scanned, whatever its last scan came
/// to: on its way back from the archive it is still archived to scans, as `StartImageScan` says.
fn status(scan: ScanStatus, applied: AppliedScan, image: ImageStatus) -> &'static str {
    if image != ImageStatus::Active {
        return "IMAGE_ARCHIVED";
    }
    let continuous = applied.scan_type == ScanType::Enhanced
        && applied.frequency == ScanFrequency::ContinuousScan;
    match (scan, applied.scan_type) {
        (ScanStatus::Pending, ScanType::Basic) => ScanStatus::InProgress.as_str(),
        (ScanStatus::Complete, _) if continuous => "ACTIVE",
        (status, _) => status.as_str(),
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_is_scanned_only_while_it_is_active() {
        let applied = AppliedScan {
            scan_type: ScanType::Basic,
            frequency: ScanFrequency::Manual,
        };
        for (image, expected) in [
            (ImageStatus::Active, "COMPLETE"),
            (ImageStatus::Archived, "IMAGE_ARCHIVED"),
            (ImageStatus::Activating, "IMAGE_ARCHIVED"),
        ] {
            assert_eq!(status(ScanStatus::Complete, applied, image), expected);
        }
    }
}
