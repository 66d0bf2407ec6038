//! Whether the segments of a journal follow one another without a gap.

use wharfinger_blobs::{self as blobs, BlobStore};

use crate::journal::JournalError;
use crate::journal::merge::Stored;
use crate::journal::writer::read_segment;

/// The segment that is missing before one that names `previous`. `all` are the segments that the
/// store had before that one was read, in order.
///
/// Where everything has been written anew, the segments before go one by one, and the first of
/// those that are left names one that is gone.
pub(crate) async fn missing_before(
    store: &BlobStore,
    all: &[Stored],
    number: u64,
    previous: Option<u64>,
) -> Result<Option<u64>, JournalError> {
    let Some(previous) = previous.filter(|previous| *previous > 0) else {
        return Ok(None);
    };
    if all.iter().any(|segment| segment.number == previous) {
        return Ok(None);
    }
    let is_first = all.first().is_some_and(|first| first.number == number);
    if is_first && is_begun_anew(store, all).await? {
        return Ok(None);
    }
    Ok(Some(previous))
}

/// Whether one of the segments is the first of those that hold everything.
async fn is_begun_anew(store: &BlobStore, all: &[Stored]) -> Result<bool, JournalError> {
    for segment in all {
        match read_segment(store, segment.number).await {
            Ok(read) if read.previous == Some(0) => return Ok(true),
            Ok(_)
            | Err(JournalError::Segment { .. } | JournalError::Blobs(blobs::Error::NotFound)) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(false)
}
