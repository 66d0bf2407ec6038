//! What a server has moved, and what the archive holds, for metrics.

use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;

/// Counters of one server, and the sizes that it counted last.
#[derive(Debug, Default)]
pub struct ArchiveProgress {
    stored: AtomicU64,
    restored: AtomicU64,
    failures: AtomicU64,
    blobs: AtomicU64,
    bytes: AtomicU64,
    stored_bytes: AtomicU64,
}

impl ArchiveProgress {
    /// Blobs that this server has moved to the archive.
    pub fn stored(&self) -> u64 {
        self.stored.load(Relaxed)
    }

    /// Blobs that this server has brought back.
    pub fn restored(&self) -> u64 {
        self.restored.load(Relaxed)
    }

    /// Moves and removals that failed; all are tried again.
    pub fn failures(&self) -> u64 {
        self.failures.load(Relaxed)
    }

    /// Blobs in the archive, as last counted.
    pub fn blobs(&self) -> u64 {
        self.blobs.load(Relaxed)
    }

    /// The bytes of these blobs when they are restored.
    pub fn bytes(&self) -> u64 {
        self.bytes.load(Relaxed)
    }

    /// The bytes that they take in the archive.
    pub fn stored_bytes(&self) -> u64 {
        self.stored_bytes.load(Relaxed)
    }

    pub(super) fn add_stored(&self) {
        self.stored.fetch_add(1, Relaxed);
    }

    pub(super) fn add_restored(&self) {
        self.restored.fetch_add(1, Relaxed);
    }

    pub(super) fn add_failure(&self) {
        self.failures.fetch_add(1, Relaxed);
    }

    pub(super) fn set_totals(&self, (blobs, bytes, stored_bytes): (u64, u64, u64)) {
        self.blobs.store(blobs, Relaxed);
        self.bytes.store(bytes, Relaxed);
        self.stored_bytes.store(stored_bytes, Relaxed);
    }
}
