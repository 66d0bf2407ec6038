//! What can go wrong with a backup.

use wharfinger_blobs::{self as blobs, CopyBlobError};
use wharfinger_db::CopyError;
use wharfinger_oci::Digest;

use crate::part::PartError;

/// Why a backup was not made, checked or restored.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    #[error("the rows of the index were not copied")]
    Rows(#[from] CopyError),
    #[error("the store of the backups failed")]
    Store(#[source] blobs::Error),
    #[error("the blob {digest} was not copied")]
    Blob {
        digest: Digest,
        #[source]
        why: Box<CopyBlobError>,
    },
    #[error("the blob {digest} is missing or has another size: run `wharfinger fsck`")]
    MissingBlob { digest: Digest },
    #[error("part {part} of the backup cannot be read")]
    Part {
        part: u64,
        #[source]
        why: PartError,
    },
    #[error("the backup {id} cannot be read: {why}")]
    Manifest { id: String, why: String },
    #[error("the master key of the backup {0} is missing")]
    NoKey(String),
    #[error("there is no backup {0}")]
    NoSuchBackup(String),
    #[error("there is no whole backup")]
    NoBackup,
    #[error(
        "the store holds other things than backups: name an empty folder or prefix, or one that \
         holds backups"
    )]
    NotABackupStore,
    #[error("another command is at work on these backups; it has them for another {0} s at most")]
    Locked(u64),
    #[error("another command has taken over these backups")]
    LockLost,
    #[error("a record cannot be written")]
    Record(#[from] serde_json::Error),
    #[error(
        "the blob store of this server is not empty: a restore needs a new one, without \
         `identity`, `blobs` and `records`"
    )]
    StoreNotEmpty,
    #[error(
        "the archive of this server is not empty: a restore brings archived images back into the \
         blob store, from where they go to the archive again; name a new archive, since another \
         server may need this one"
    )]
    ArchiveNotEmpty,
    #[error(
        "the backup was made by a newer version of Wharfinger: it has migration {version}, this \
         program knows up to {known}"
    )]
    Newer { version: i64, known: i64 },
    #[error("the backup has rows of the table {0}, which this program does not know")]
    UnknownTable(String),
    #[error("a thread of the copy ended early")]
    Thread(#[from] tokio::task::JoinError),
}

impl From<blobs::Error> for BackupError {
    fn from(error: blobs::Error) -> Self {
        Self::Store(error)
    }
}
