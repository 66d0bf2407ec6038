//! Compares the index with the blob store and with itself, and repairs what can be repaired.
//!
//! A check goes through all blobs, images, tags, links, stored objects (those of the archive, too)
//! and segments of the journal, page by page. Its [`Position`] is all that a later run needs to go
//! on. What is found while a server is at work is looked at again, since it may have changed
//! meanwhile.

mod archive;
mod checks;
mod findings;
mod known;
mod position;
mod refetch;
mod repair;
#[cfg(test)]
mod tests;

pub use findings::Finding;
pub use position::{Phase, Position};
pub use refetch::{RepairSource, ReplicaSource};
use serde::{Deserialize, Serialize};
use wharfinger_base::Clock;
use wharfinger_blobs::BlobStore;
use wharfinger_db::Db;

use crate::error::Error;
use crate::fsck::known::KnownKeys;
use crate::journal::JournalError;

/// Why a check did not go on.
#[derive(Debug, thiserror::Error)]
pub enum FsckError {
    #[error(transparent)]
    Registry(#[from] Error),
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// See [`FsckOptions::accept_loss`].
    #[error(
        "the store has none of {0} blobs: if no part of it is missing, such as a folder that is \
         not mounted, run this again with --accept-loss to take them out of the index"
    )]
    NothingThere(usize),
}

/// How a check is made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FsckOptions {
    /// Read all bytes and compare their digests. Without it, only sizes are compared.
    pub checksums: bool,
    /// Put damaged and unknown objects aside, and take out of the index what is not there, so that
    /// a push brings it again. Only while no server serves the index.
    pub repair: bool,
    /// Take blobs out of the index also where the store has none of many, as where part of it is
    /// not mounted.
    #[serde(default)]
    pub accept_loss: bool,
}

/// A check of the index and its blob store.
pub struct Fsck {
    pub(crate) db: Db,
    pub(crate) store: BlobStore,
    /// Without it, archived blobs are not looked at.
    pub(crate) archive: Option<BlobStore>,
    pub(crate) clock: Clock,
    pub(crate) options: FsckOptions,
    /// Where a repair fetches blobs from, in this order.
    pub(crate) sources: Vec<Box<dyn RepairSource>>,
    /// Manifests may name what the repository does not have.
    pub(crate) lenient: bool,
    /// Read once where stored objects are looked at whose keys do not name digests.
    pub(crate) known: Option<KnownKeys>,
}

/// What a page of a check brought.
#[derive(Debug)]
pub struct CheckedPage {
    /// Rows or objects that were looked at.
    pub seen: u64,
    pub found: Vec<Finding>,
    /// Where to go on; `None` at the end.
    pub next: Option<Position>,
}

impl Fsck {
    /// Lets repairs fetch blobs from there.
    #[must_use]
    pub fn with_sources(self, sources: Vec<Box<dyn RepairSource>>) -> Self {
        Self { sources, ..self }
    }

    /// Checks the rows or objects that follow the position, and repairs what it finds if that is
    /// wanted.
    ///
    /// # Errors
    /// Where the index or the blob store fails. Nothing is concluded then.
    pub async fn page(&mut self, after: &Position) -> Result<CheckedPage, FsckError> {
        let page = match after.phase {
            Phase::Blobs => self.blobs(&after.bytes).await?,
            Phase::ArchivedBlobs => self.archived_blobs(&after.bytes).await?,
            Phase::Links => self.links(after.number, &after.bytes).await?,
            Phase::Images => self.images(after.number).await?,
            Phase::Tags => self.tags(after.number, &after.text).await?,
            Phase::Objects => self.objects(&after.text).await?,
            Phase::ArchiveObjects => self.archive_objects(&after.text).await?,
            Phase::Journal => self.journal(after.number).await?,
        };
        if self.options.repair {
            self.repair_all(&page).await?;
        }
        Ok(page)
    }
}
