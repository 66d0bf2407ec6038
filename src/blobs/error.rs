//! What can go wrong with stored bytes, in words that name neither HTTP nor a repository.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use wharfinger_oci::Digest;

pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Any error that the sender of a body may end it with.
pub type BodyError = Box<dyn std::error::Error + Send + Sync>;

/// A failure of the store itself.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Error {
    /// No object lies under the key.
    #[error("no such blob")]
    NotFound,
    /// The stored bytes are damaged: not as many as the index says.
    #[error("the stored blob has {actual} bytes instead of {expected}")]
    WrongLength { expected: u64, actual: u64 },
    /// The range does not lie within the blob of this many bytes.
    #[error("the range lies outside of the blob's {size} bytes")]
    OutOfRange { size: u64 },
    /// The staged bytes are no longer (all) there: the machine failed before they were on disk, or
    /// they were swept. Drop the upload.
    #[error("the bytes of this upload are lost")]
    Lost,
    /// Another request is working on the same upload.
    #[error("this upload is in use by another request")]
    Busy,
    /// The disk (or quota) is full.
    #[error("no space is left to store blobs")]
    NoSpace,
    #[error("blob storage failed: {0}")]
    Io(Arc<io::Error>),
    #[error("object storage failed: {0}")]
    Objects(Arc<object_store::Error>),
}

impl Error {
    /// A response of the object store that can't be understood, or a request that got none.
    pub(crate) fn protocol(error: impl Into<BodyError>) -> Self {
        Self::Io(Arc::new(io::Error::other(error)))
    }
}

impl From<io::Error> for Error {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::NotFound => Self::NotFound,
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Self::NoSpace,
            _ => Self::Io(Arc::new(error)),
        }
    }
}

impl From<rustix::io::Errno> for Error {
    fn from(errno: rustix::io::Errno) -> Self {
        io::Error::from(errno).into()
    }
}

impl From<object_store::Error> for Error {
    fn from(error: object_store::Error) -> Self {
        match error {
            object_store::Error::NotFound { .. } => Self::NotFound,
            error => Self::Objects(Arc::new(error)),
        }
    }
}

impl From<tokio::task::JoinError> for Error {
    fn from(error: tokio::task::JoinError) -> Self {
        Self::Io(Arc::new(io::Error::other(error)))
    }
}

/// Why an append ended early. The `Staged` it was given says what is kept.
#[derive(Debug, thiserror::Error)]
pub enum AppendError {
    /// The sender broke off. What had arrived is kept.
    #[error("the body ended early: {0}")]
    Body(BodyError),
    /// The sender fell silent. What had arrived is kept.
    #[error("the sender was silent for {0:?}")]
    Idle(Duration),
    /// The upload would grow past its limit. Nothing of this body is kept.
    #[error("the upload is larger than the limit of {limit} bytes")]
    TooLarge { limit: u64 },
    /// The body was not as long as announced. Nothing of it is kept.
    #[error("the body has {actual} bytes where {expected} were announced")]
    Length { expected: u64, actual: u64 },
    /// The store failed. Nothing of this body is kept; on a disk the whole upload is gone, which
    /// [`crate::BlobStore::check`] tells.
    #[error(transparent)]
    Store(Error),
}

impl<E: Into<Error>> From<E> for AppendError {
    fn from(error: E) -> Self {
        Self::Store(error.into())
    }
}

/// Why an upload did not become a blob.
#[derive(Debug, thiserror::Error)]
pub enum FinishError {
    /// The bytes have another digest. The upload and its bytes are gone.
    #[error("the bytes have the digest {actual}")]
    DigestMismatch { actual: Digest },
    #[error(transparent)]
    Store(Error),
}

impl<E: Into<Error>> From<E> for FinishError {
    fn from(error: E) -> Self {
        Self::Store(error.into())
    }
}

/// Why the configured store of blobs can't be understood.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The text is not shown: it may hold a key.
    #[error("{why}: write the path of a folder, or s3://BUCKET/PREFIX?endpoint=URL&region=NAME")]
    Url { why: &'static str },
}
