//! What can go wrong in the index, in the few kinds that a caller tells apart.

use std::path::PathBuf;

/// A failed statement or transaction. Cloneable, because a failed commit is the result of every
/// job in its batch.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The transaction lost a race too often; nothing of it was kept.
    #[error("the transaction lost a race with another one")]
    Conflict,
    /// A row with this key exists already. The transaction is lost: use `ON CONFLICT` where that is
    /// an expected case.
    #[error("a row with this key already exists")]
    Unique,
    /// The index cannot be used now (full disk, full queue, lost connection); the same request may
    /// succeed later.
    #[error("the index is unavailable: {0}")]
    Unavailable(String),
    /// A fault in a statement, in stored data, or in the engine.
    #[error("index: {0}")]
    Other(String),
}

impl Error {
    /// Any other fault, for example a stored value that its type refuses.
    pub fn other(why: impl std::fmt::Display) -> Self {
        Self::Other(why.to_string())
    }
}

pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why a database could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error(
        "the data folder belongs to a newer version of Wharfinger: it holds migration {version} \
         ({name}), this program knows up to {known}"
    )]
    NewerVersion {
        version: i64,
        name: String,
        known: i64,
    },
    #[error(
        "the index was made by an older version of Wharfinger: start this version's server \
         first, which migrates the index"
    )]
    OlderVersion,
    #[error("migration {version} ({name}) in the database differs from the one in this program")]
    Divergent { version: i64, name: String },
    #[error(
        "the PostgreSQL database has collation {collation:?} and encoding {encoding:?}: create \
         it with `LC_COLLATE 'C' ENCODING 'UTF8' TEMPLATE template0`, because text order must be \
         byte order"
    )]
    Collation { collation: String, encoding: String },
    #[error(
        "the PostgreSQL role or server has synchronous_commit=off: a crash would lose writes \
         that were reported as done; run `ALTER ROLE … SET synchronous_commit = on`"
    )]
    SynchronousCommit,
    #[error(
        "a restore of backup {0} into this index was interrupted: run `wharfinger restore` again, \
         or begin with a new index"
    )]
    Restoring(String),
    #[error("the database URL is not usable: {0}")]
    Url(String),
    #[error("another process is migrating the database; waited {0} s")]
    Migrating(u64),
    #[error("cannot migrate the database: {0}")]
    Migration(String),
    #[error("cannot open {path}: {why}")]
    File { path: PathBuf, why: String },
    #[error("cannot connect to the database: {0}")]
    Connect(String),
    #[error("cannot start a thread")]
    Thread(#[from] std::io::Error),
}
