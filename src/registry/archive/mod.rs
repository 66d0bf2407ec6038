//! The archive: a second, cheaper store for the bytes that only archived images need.
//!
//! A blob is in one of two places, and the index says in which:
//!
//! - standard: it has a row in `blobs`, and its bytes are in the blob store.
//! - archived: it has a row in `archived_blobs`, and its bytes are in the archive, compressed or as
//!   they were. Its links stay. For pulls and pushes it does not exist: a HEAD reports that it is
//!   missing, so that a push uploads it again, which makes it standard.
//!
//! One server at a time moves blobs ([`ArchiveMover`]). In either direction the bytes are durable
//! and verified at the new place before one transaction changes the index, and the old bytes are
//! removed some time after it. `archive_at` in `blobs` says which blobs may have to go, so that
//! nothing else is looked at. An image that is restored is `activating` until the archive has
//! nothing more of it; each of its blobs comes back as an upload does, digest and all.

pub(crate) mod encoding;
mod mover;
pub(crate) mod placement;
mod progress;
mod reading;
mod restoring;
mod storing;
#[cfg(test)]
mod tests;

use wharfinger_blobs::BlobStore;

pub(crate) use encoding::Encoding;
pub use mover::ArchiveMover;
pub use progress::ArchiveProgress;
pub(crate) use storing::is_whole;

/// The archive of a registry.
#[derive(Clone, Debug)]
pub struct Archive {
    pub store: BlobStore,
    /// The store is another one than that of the blobs, and cheaper: everything that belongs to
    /// the archive goes there. Otherwise only what gets smaller by it does.
    pub takes_all: bool,
}
