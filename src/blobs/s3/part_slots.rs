//! Bounds the memory that parts on their way to the bucket take, of all uploads together.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

/// Parts in memory, of all uploads together: 8 are 128 MiB.
const PARTS_IN_MEMORY: usize = 8;
/// How long an upload may fill a part while others wait for a slot. Then it stores the received
/// bytes as an object and waits for another slot, so that a slow sender cannot block the others.
pub(crate) const TURN: Duration = Duration::from_secs(5);
/// Bytes of an append that need no slot, so that a small one never waits. Connections are limited
/// in number, which bounds the sum.
pub(crate) const FREE_BYTES: u64 = 64 * 1024;
/// How often an upload whose turn is over looks whether others wait.
const LOOK: Duration = Duration::from_millis(250);

/// The slots for parts in memory.
#[derive(Clone)]
pub(crate) struct PartSlots {
    free: Arc<Semaphore>,
    waiting: Arc<AtomicUsize>,
}

impl Default for PartSlots {
    fn default() -> Self {
        Self {
            free: Arc::new(Semaphore::new(PARTS_IN_MEMORY)),
            waiting: Arc::default(),
        }
    }
}

/// The right to hold one part in memory. A slot moves with its part: its holder never waits for
/// another one while it fills, so somebody always gets on.
pub(crate) struct PartSlot {
    _permit: OwnedSemaphorePermit,
    taken_at: Instant,
    waiting: Arc<AtomicUsize>,
}

impl PartSlots {
    /// Waits for a slot, in the order of the calls; `None` only if the store is being dropped.
    pub(crate) async fn take(&self) -> Option<PartSlot> {
        let permit = match Arc::clone(&self.free).try_acquire_owned() {
            Ok(permit) => permit,
            Err(_) => {
                let _waiting = Waiting::new(&self.waiting);
                Arc::clone(&self.free).acquire_owned().await.ok()?
            }
        };
        Some(PartSlot {
            _permit: permit,
            taken_at: Instant::now(),
            waiting: Arc::clone(&self.waiting),
        })
    }
}

impl PartSlot {
    /// Whether the holder should let others have a turn.
    pub(crate) fn is_overdue(&self) -> bool {
        self.taken_at.elapsed() >= TURN && self.waiting.load(Ordering::Relaxed) > 0
    }

    /// Waits until [`PartSlot::is_overdue`].
    pub(crate) async fn overdue(&self) {
        tokio::time::sleep_until(self.taken_at + TURN).await;
        while !self.is_overdue() {
            tokio::time::sleep(LOOK).await;
        }
    }
}

struct Waiting<'a>(&'a AtomicUsize);

impl<'a> Waiting<'a> {
    fn new(counter: &'a AtomicUsize) -> Self {
        counter.fetch_add(1, Ordering::Relaxed);
        Self(counter)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}
