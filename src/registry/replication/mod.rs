//! Replication: copies images to other registries as the replication configuration says.

mod remote;

pub use remote::{BlobSource, RemoteDestinations, RemoteError, RemoteManifest, RemoteRegistry};
