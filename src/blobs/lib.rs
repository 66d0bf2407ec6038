//! Bytes under keys: uploads that are staged, hashed while they stream and made durable under their
//! digest; reads by range.
//!
//! Content is addressed by digest; repositories and permissions are the concern of higher layers.

mod append;
mod buffers;
mod config;
mod copying;
mod disk;
mod error;
mod folders;
mod identity;
mod key;
mod listing;
mod object_reader;
mod open_files;
mod reader;
mod records;
mod s3;
mod serving;
mod staged_files;
mod staging;
mod store;
#[cfg(test)]
mod tests;
mod verify;
mod writer;

pub use config::{BlobsConfig, S3Config, S3Keys};
pub use copying::{BlobBytes, CopyBlobError};
pub use error::{AppendError, BodyError, ConfigError, Error, FinishError, Result};
pub use key::{BlobKey, InvalidRecordName, RecordName};
pub use listing::StoredObject;
pub use reader::BlobReader;
pub use records::RecordEntry;
pub use serving::{LockError, RootLock};
pub use staging::{AppendLimits, Staged, StoredBlob};
pub use store::BlobStore;
