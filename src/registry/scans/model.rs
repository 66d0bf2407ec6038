//! The scan of an image, as the index stores it.

use std::collections::BTreeMap;
use std::str::FromStr;

use wharfinger_base::Timestamp;

use crate::scanning_rules::{ScanFrequency, ScanType};

/// How far a scan is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ScanStatus {
    /// It waits.
    Pending,
    InProgress,
    Complete,
    Failed,
    /// The image is of a kind that is not scanned, or of a system that is not known.
    UnsupportedImage,
    /// The image is larger than what is scanned.
    ImageSizeExceeded,
}

impl ScanStatus {
    const ALL: [Self; 6] = [
        Self::Pending,
        Self::InProgress,
        Self::Complete,
        Self::Failed,
        Self::UnsupportedImage,
        Self::ImageSizeExceeded,
    ];

    /// As ECR names it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "PENDING",
            Self::InProgress => "IN_PROGRESS",
            Self::Complete => "COMPLETE",
            Self::Failed => "FAILED",
            Self::UnsupportedImage => "UNSUPPORTED_IMAGE",
            Self::ImageSizeExceeded => "IMAGE_SIZE_EXCEEDED",
        }
    }
}

impl FromStr for ScanStatus {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let found = Self::ALL.into_iter().find(|one| one.as_str() == text);
        found.ok_or(())
    }
}

/// How the images of a repository are scanned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AppliedScan {
    pub scan_type: ScanType,
    pub frequency: ScanFrequency,
}

/// The last scan of an image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scan {
    pub status: ScanStatus,
    pub description: String,
    pub(crate) requested_at: Timestamp,
    pub completed_at: Option<Timestamp>,
    /// When the advisories that it was compared with were imported.
    pub advisories_at: Option<Timestamp>,
    /// Only severities that occur.
    pub severity_counts: BTreeMap<String, u64>,
    /// Which findings count.
    pub(crate) result: i64,
}

impl Scan {
    /// The number of its result: each scan has another one.
    pub fn result_number(&self) -> i64 {
        self.result
    }
}
