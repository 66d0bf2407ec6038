//! Replications and backfills, as they are queued and as they are shown.

use uuid::Uuid;
use wharfinger_base::Timestamp;
use wharfinger_oci::{Digest, RepositoryName, Tag};

use crate::model::{RegistryId, RepositoryId};

/// What is to be done at a destination.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Work {
    /// Copy the image, with the tag if the row has one.
    Copy,
    /// Remove the tag, which was removed at the source.
    Untag,
    /// Delete the image, which was deleted at the source.
    Delete,
}

/// A replication that somebody has claimed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Replication {
    pub(crate) repository: RepositoryId,
    /// The id of the backfill that it belongs to; empty for none.
    pub(crate) backfill: String,
    pub(crate) digest: Digest,
    pub(crate) destination: RegistryId,
    pub(crate) tag: Option<Tag>,
    /// Of the repository, at the source and at the destination.
    pub(crate) name: RepositoryName,
    pub(crate) work: Work,
    pub(crate) version: i64,
    /// With the one that this claim is for.
    pub(crate) attempts: u32,
}

/// What has become of a replication.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReplicationState {
    InProgress,
    Complete,
    Failed,
}

/// What has become of the replications of an image to one destination.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReplicationStatus {
    pub destination: RegistryId,
    pub state: ReplicationState,
    /// Of one that has failed.
    pub failure_code: Option<String>,
}

impl ReplicationStatus {
    /// One status for each destination, of rows that are ordered by it: in progress while any tag
    /// is, and failed if any has failed.
    pub(crate) fn by_destination(rows: Vec<Self>) -> Vec<Self> {
        let rank = |state| match state {
            ReplicationState::Complete => 0,
            ReplicationState::Failed => 1,
            ReplicationState::InProgress => 2,
        };
        let mut statuses: Vec<Self> = Vec::new();
        for row in rows {
            match statuses.last_mut() {
                Some(last) if last.destination == row.destination => {
                    if rank(row.state) > rank(last.state) {
                        *last = row;
                    }
                }
                _ => statuses.push(row),
            }
        }
        statuses
    }
}

/// The state of a backfill.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BackfillStatus {
    /// The images to replicate are being listed.
    Preparing,
    InProgress,
    Complete,
    Failed,
    /// Replications under way are still to end.
    Stopping,
    Stopped,
}

impl BackfillStatus {
    const ALL: [Self; 6] = [
        Self::Preparing,
        Self::InProgress,
        Self::Complete,
        Self::Failed,
        Self::Stopping,
        Self::Stopped,
    ];

    /// ECR's name for it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Preparing => "PREPARING",
            Self::InProgress => "IN_PROGRESS",
            Self::Complete => "COMPLETE",
            Self::Failed => "FAILED",
            Self::Stopping => "STOPPING",
            Self::Stopped => "STOPPED",
        }
    }

    pub(crate) fn of_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|status| status.as_str() == name)
    }

    /// Whether it changes no more.
    pub const fn is_terminal(self) -> bool {
        matches!(self, Self::Complete | Self::Failed | Self::Stopped)
    }
}

/// Replications of the images that a registry has already, to one destination.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Backfill {
    pub id: Uuid,
    pub registry: RegistryId,
    pub destination: RegistryId,
    pub status: BackfillStatus,
    pub failure_code: Option<String>,
    pub started_at: Timestamp,
    pub ended_at: Option<Timestamp>,
    /// `None` until all images are listed.
    pub progress: Option<BackfillProgress>,
}

/// How far a backfill is. Each tag of an image counts, and an image without tags once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BackfillProgress {
    pub total: u64,
    pub completed: u64,
    pub failed: u64,
    /// Each code once.
    pub failure_codes: Vec<String>,
}

/// How the replication of an image within a backfill ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BackfillResult {
    pub repository: RepositoryName,
    pub digest: Digest,
    pub tag: Option<Tag>,
    /// `None` where it is complete.
    pub failure_code: Option<String>,
    /// Why members of an index were not replicated, each code once.
    pub member_failures: Vec<String>,
}

/// Where a page of backfills ends: the time of the last one's start, and its id.
pub type BackfillPosition = (Timestamp, String);

/// Where a page of results ends.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct ResultPosition {
    /// `complete` or `failed`; the former come first.
    pub state: String,
    pub repository: String,
    /// In stored form.
    pub digest: Vec<u8>,
    pub tag: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_is_in_progress_while_a_tag_is_and_failed_if_one_has() {
        use ReplicationState::{Complete, Failed, InProgress};
        let row = |region: &str, state, code: Option<&str>| ReplicationStatus {
            destination: RegistryId {
                account: "123456789012".parse().expect("an account"),
                region: region.parse().expect("a region"),
            },
            state,
            failure_code: code.map(ToOwned::to_owned),
        };
        let rows = vec![
            row("eu-west-1", Complete, None),
            row("eu-west-1", Failed, Some("AccessDenied")),
            row("eu-west-1", Complete, None),
            row("us-west-2", Failed, Some("AccessDenied")),
            row("us-west-2", InProgress, None),
            row("us-west-1", Complete, None),
        ];
        let expected = [
            row("eu-west-1", Failed, Some("AccessDenied")),
            row("us-west-2", InProgress, None),
            row("us-west-1", Complete, None),
        ];
        assert_eq!(ReplicationStatus::by_destination(rows), expected);
    }

    #[test]
    fn the_names_of_statuses_are_read_back() {
        for status in BackfillStatus::ALL {
            assert_eq!(BackfillStatus::of_name(status.as_str()), Some(status));
        }
        assert_eq!(BackfillStatus::of_name("ENDED"), None);
    }
}
