//! Garbage collection: takes content that nothing needs out of repositories and out of the blob
//! store, in short steps, while pushes and pulls go on.
//!
//! A blob is in one of four states:
//!
//! - needed: it is linked, and an image of the repository references it. Until the last such image
//!   is deleted.
//! - leased: `lease_until` is to come, since a push may be about to need it.
//! - unused: neither. The collector unlinks it, and condemns it once no repository links it.
//! - condemned: it has no row in `blobs`, but one in `blob_deletions`. Its bytes are removed, then
//!   the row.
//!
//! A condemned blob does not exist for anybody: an upload of the same content makes a new row. On
//! an object store its bytes have another key; on a disk they have the same one, so bytes are
//! removed and published under a lock of the digest, after another look at the index.

mod collector;
mod progress;
mod reconciler;
mod survey;
#[cfg(test)]
mod tests;
mod unlink;
mod verdict;

pub use collector::Collector;
pub use progress::Progress;
pub use reconciler::GarbageCollection;
pub(crate) use reconciler::pause;
pub use survey::Survey;
pub(crate) use unlink::delete_image;
pub(crate) use verdict::BlobLease;
