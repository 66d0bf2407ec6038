//! Backups: a folder or bucket that holds all rows of an index as of one moment, and every blob
//! that they name.
//!
//! A store keeps several backups, which share their blobs:
//!
//! ```text
//! blobs/<algorithm>/<ab>/<hex>   the blobs of all backups, by digest
//! records/backups/<id>           a whole backup: its manifest, written last
//! records/started/<id>           a backup that is being made or removed
//! records/rows-<id>/<number>     its rows, in parts
//! records/keys/<id>              the master key, where the operator wants it there
//! records/target/about           says that the folder holds backups and nothing else
//! records/target/lock            who is at work on a bucket, and until when
//! ```
//! Rows are exported first, in one snapshot; then the blobs that they name are copied, those in the
//! archive of the server as they were before they were archived. Meanwhile the caller keeps the
//! server from removing blobs. A restore puts all of them into the blob store, and leaves it to the
//! server to archive them again.

mod backup_store;
mod create;
mod error;
mod manifest;
mod part;
mod prune;
mod restore;
mod rows;
#[cfg(test)]
mod tests;
mod verify;

pub use backup_store::{BackupStore, BackupStoreLock, LOCK_RENEWAL};
pub use create::{Create, CreateProgress, OpenArchived};
pub use error::BackupError;
pub use manifest::{BackupId, BackupManifest};
pub use prune::{Prune, Pruned};
pub use restore::{Restore, RestoreProgress, RestoredDatabase};
pub use rows::{ArchivedBytes, LEFT_OUT};
pub use verify::{Verify, VerifyProgress};
