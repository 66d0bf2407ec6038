//! Why an index is not made anew, for the person who runs the rebuild.

use wharfinger_db as db;
use wharfinger_oci::Digest;

use crate::journal::JournalError;
use crate::journal::segment::SegmentError;

/// Why an index was not made anew.
#[derive(Debug, thiserror::Error)]
pub enum RebuildError {
    #[error("the index has repositories or blobs: only an empty one can be made anew")]
    NotEmpty,
    #[error("the blob store has no journal")]
    NoJournal,
    #[error(transparent)]
    Journal(#[from] JournalError),
    #[error(
        "the journal holds records of two indexes, which give one number to repository {0} and to \
         another one"
    )]
    TwoIndexes(String),
    #[error("a record of the journal cannot be taken in: {0}")]
    Record(String),
    #[error(
        "the journal has a damaged record of the image {0}: run this again with --accept-loss to \
         leave that record out"
    )]
    DamagedImage(Digest),
    /// A journal that was being written for the first time lacks the segment that its first one
    /// names.
    #[error(
        "segment {0} of the journal is missing, or the journal was still being written for the \
         first time: run this again with --accept-loss to make the index of what there is"
    )]
    MissingSegment(u64),
    #[error(
        "segment {0} of the journal is damaged: run this again with --accept-loss to make the \
         index without it"
    )]
    DamagedSegment(u64, #[source] SegmentError),
    #[error(
        "segment {0} of the journal is of another index, or an older copy, that was served \
         instead of this one, and not all of that one was written: run this again with \
         --accept-loss to make the index without it"
    )]
    OtherIndex(u64),
    #[error(
        "another index has written to the journal since this rebuild was interrupted: run this \
         with a new index"
    )]
    Overtaken,
    #[error(
        "the record of the journal that says which segments are needed is damaged: run this \
         again with --accept-loss to count all"
    )]
    DamagedNeededAfter,
    /// See [`crate::Rebuild::accepting_loss`].
    #[error(
        "the store has none of {0} blobs: if no part of it is missing, such as a folder that is \
         not mounted, run this again with --accept-loss to leave them out"
    )]
    NothingThere(usize),
}

impl From<db::Error> for RebuildError {
    fn from(error: db::Error) -> Self {
        Self::Journal(error.into())
    }
}
