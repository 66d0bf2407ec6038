//! The journal: repositories, images, tags and links, written to the blob store, from which the
//! index can be made anew.
//!
//! Each change of a row leaves an entry in the transaction of the change (`store::journal`). The
//! writer takes entries, reads what their rows hold now, and writes that as a numbered segment.
//! A record holds the whole state of its row, so of two records of a row the later one counts, and
//! writing a row twice does no harm.

mod merge;
mod missing;
mod rebuild;
mod rebuild_error;
pub(super) mod record;
mod segment;
mod sequence;
mod start;
mod stored_journal;
#[cfg(test)]
mod tests;
mod writer;

pub(super) use missing::is_nothing_there;
pub use rebuild::{Rebuild, Rebuilt};
pub use rebuild_error::RebuildError;
pub use segment::SegmentError;
pub(super) use sequence::missing_before;
pub use start::JournalStartError;
use wharfinger_blobs as blobs;
use wharfinger_db as db;
pub use writer::JournalWriter;
pub(super) use writer::{needed_after, read_segment, segments};

/// Why the journal was not written or read.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    #[error("the index failed")]
    Index(#[from] db::Error),
    #[error("the blob store failed")]
    Blobs(#[from] blobs::Error),
    #[error("the segment {name} of the journal cannot be read")]
    Segment {
        name: String,
        #[source]
        why: SegmentError,
    },
    #[error("a record cannot be written")]
    Record(#[from] serde_json::Error),
    #[error("the blob store took too long to store a segment")]
    Late,
    #[error("there is no segment {0}")]
    Number(u64),
}
