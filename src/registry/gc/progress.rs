//! What a collector has done since its server started, for metrics and messages.

use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;

use wharfinger_base::Timestamp;

/// Counters of one server's collector.
#[derive(Debug, Default)]
pub struct Progress {
    links: AtomicU64,
    blobs: AtomicU64,
    bytes: AtomicU64,
    failures: AtomicU64,
    waiting: AtomicU64,
    last_pass: AtomicU64,
}

impl Progress {
    /// Links that were removed because no image needed them.
    pub fn links(&self) -> u64 {
        self.links.load(Relaxed)
    }

    /// Blobs whose bytes were removed.
    pub fn blobs(&self) -> u64 {
        self.blobs.load(Relaxed)
    }

    /// Bytes that were removed.
    pub fn bytes(&self) -> u64 {
        self.bytes.load(Relaxed)
    }

    /// Passes that failed, and removals of bytes that did; all are tried again.
    pub fn failures(&self) -> u64 {
        self.failures.load(Relaxed)
    }

    /// Blobs that no repository links, as last counted.
    pub fn waiting(&self) -> u64 {
        self.waiting.load(Relaxed)
    }

    /// When the last pass ended that left nothing to do, in seconds since the epoch; 0 before the
    /// first one.
    pub fn last_pass_seconds(&self) -> u64 {
        self.last_pass.load(Relaxed)
    }

    pub(super) fn add_links(&self, count: usize) {
        self.links.fetch_add(count as u64, Relaxed);
    }

    pub(super) fn add_blob(&self, bytes: u64) {
        self.blobs.fetch_add(1, Relaxed);
        self.bytes.fetch_add(bytes, Relaxed);
    }

    pub(super) fn add_failure(&self) {
        self.failures.fetch_add(1, Relaxed);
    }

    pub(super) fn set_waiting(&self, count: u64) {
        self.waiting.store(count, Relaxed);
    }

    pub(super) fn end_pass(&self, now: Timestamp) {
        let seconds = u64::try_from(now.as_ms() / 1_000).unwrap_or_default();
        self.last_pass.store(seconds, Relaxed);
    }
}
