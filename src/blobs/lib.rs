//! Bytes under keys: uploads that are staged, hashed while they stream and made durable under their
//! digest; reads by range.
//!
//! Knows digests and nothing of repositories: who may read what is decided above.

mod append;
mod buffers;
mod config;
mod disk;
#[cfg(test)]
mod disk_tests;
mod error;
mod folders;
mod key;
mod object_reader;
mod reader;
mod s3;
mod staging;
mod store;
#[cfg(test)]
mod suite;
mod writer;

pub use config::{BlobsConfig, Durability, S3Config, S3Keys};
pub use error::{AppendError, BodyError, ConfigError, Error, FinishError, Result};
pub use key::BlobKey;
pub use reader::BlobReader;
pub use staging::{AppendLimits, Staged, StoredBlob};
pub use store::BlobStore;
