//! What a server has replicated, and what waits, for metrics.

use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;

/// Counters of one server, and the number that waited when it looked last.
#[derive(Debug, Default)]
pub struct ReplicationProgress {
    ended: AtomicU64,
    failed: AtomicU64,
    repeated: AtomicU64,
    waiting: AtomicU64,
}

impl ReplicationProgress {
    /// Copies and deletions that this server has carried out, or that were no longer needed.
    pub fn ended(&self) -> u64 {
        self.ended.load(Relaxed)
    }

    /// Copies and deletions that this server has given up.
    pub fn failed(&self) -> u64 {
        self.failed.load(Relaxed)
    }

    /// Attempts of this server that failed and are repeated.
    pub fn repeated(&self) -> u64 {
        self.repeated.load(Relaxed)
    }

    /// Copies and deletions that waited for any server when this one counted last.
    pub fn waiting(&self) -> u64 {
        self.waiting.load(Relaxed)
    }

    pub(super) fn add_ended(&self) {
        self.ended.fetch_add(1, Relaxed);
    }

    pub(super) fn add_failed(&self) {
        self.failed.fetch_add(1, Relaxed);
    }

    pub(super) fn add_repeated(&self) {
        self.repeated.fetch_add(1, Relaxed);
    }

    pub(super) fn set_waiting(&self, waiting: u64) {
        self.waiting.store(waiting, Relaxed);
    }
}
