//! Whether the segments of a journal follow one another without a gap.

use wharfinger_blobs::{self as blobs, BlobStore};

use crate::journal::JournalError;
use crate::journal::merge::Stored;
use crate::journal::writer::read_segment;

/// The segment that is missing before one that names `previous`. `all` are segments that the store
/// had at some time since that one was written, in order; those up to `needed_after` are not
/// needed.
///
/// It is not missing where it is a part of a merged one, or where everything has been written anew
/// since.
pub(crate) async fn missing_before(
    store: &BlobStore,
    all: &[Stored],
    previous: u64,
    needed_after: u64,
) -> Result<Option<u64>, JournalError> {
    if previous == 0 || all.iter().any(|segment| segment.number == previous) {
        return Ok(None);
    }
    for segment in all.iter().filter(|segment| segment.number > previous) {
        match read_segment(store, segment.number).await {
            Ok(read) if read.merged_from.is_some_and(|first| first <= previous) => return Ok(None),
            Ok(_) => break,
            // It may be the merged one, and is told by itself.
            Err(JournalError::Segment { .. }) => return Ok(None),
            // Merged into a later one since it was listed.
            Err(JournalError::Blobs(blobs::Error::NotFound)) => {}
            Err(error) => return Err(error),
        }
    }
    Ok((previous > needed_after).then_some(previous))
}
