//! Keeps the publication and the deletion of the same content apart, within this server.

use wharfinger_oci::Digest;

use crate::keyed_locks::{KeyLock, KeyedLocks};

/// Keeps the file of a digest from being deleted after an upload has put it there and before the
/// index names it: on a disk, both have the same name.
///
/// An upload holds its digest from the rename to the commit; whoever deletes the file holds the
/// digest while it looks at the index and deletes. Other digests go on meanwhile: a publication may
/// take minutes, where it reads a large upload again.
#[derive(Clone, Default)]
pub(super) struct Publishing(KeyedLocks<Digest>);

impl Publishing {
    /// Waits for the digest.
    pub(super) async fn hold(&self, digest: Digest) -> KeyLock<Digest> {
        self.0.lock(digest).await
    }
}
