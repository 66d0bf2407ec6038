//! What can go wrong with logs.

use wharfinger_db as db;

/// An error of an operation on logs.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("the log group does not exist")]
    NoSuchGroup,
    #[error("the log stream does not exist")]
    NoSuchStream,
    #[error("the log group exists already")]
    GroupExists,
    #[error("the log stream exists already")]
    StreamExists,
    /// Events of one request that are not in the order of their times.
    #[error("the events are not in chronological order")]
    OutOfOrder,
    /// Events of one request that are more than 24 hours apart.
    #[error("the events span more than 24 hours")]
    LongSpan,
    #[error("a batch has at most {limit} bytes")]
    BatchTooLarge { limit: usize },
    /// A search that has to look at more streams, or at more segments at once, than one page may.
    #[error("the search covers too many log streams")]
    TooManyStreams,
    #[error(transparent)]
    Index(#[from] db::Error),
}
