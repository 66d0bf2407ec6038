//! What a preview of a lifecycle policy shows.

use wharfinger_base::Timestamp;
use wharfinger_oci::{Digest, Tag};

use crate::lifecycle::policy::{Action, StorageClass};

/// The last preview of a repository.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Preview {
    /// The policy that was evaluated.
    pub text: String,
    pub status: PreviewStatus,
    /// Images that would expire, and that would go to the archive; 0 until it is complete.
    pub expiring: u64,
    pub archiving: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PreviewStatus {
    InProgress,
    Complete,
    /// It was complete; its results are no longer kept.
    Expired,
    Failed,
}

/// What a policy would do with one image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PreviewResult {
    pub digest: Digest,
    pub tags: Vec<Tag>,
    pub pushed_at: Timestamp,
    pub class: StorageClass,
    pub action: Action,
    /// The rule's priority. A referrer has that of its subject's rule.
    pub priority: u32,
}
