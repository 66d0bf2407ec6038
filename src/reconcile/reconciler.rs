//! The interface of a reconciler: a pass that takes no input, does what the stored state requires,
//! and can be repeated at any time.

use std::time::Duration;

use wharfinger_base::Timestamp;

use crate::wake::Wake;

/// What one pass saw and did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pass {
    pub seen: usize,
    pub done: usize,
    /// There is more to do than one pass takes: the next one follows at once.
    pub again: bool,
}

/// Work that repeats. It must be correct after a restart, beside a second server, and where a pass
/// was cut off.
pub trait Reconciler: Send + 'static {
    const NAME: &'static str;
    /// The longest time between two passes.
    const EVERY: Duration;
    /// The shortest time between the end of a pass and the next one that a wake-up brings: what
    /// happens meanwhile is looked at together.
    const REST: Duration = Duration::ZERO;

    /// What wakes the reconciler besides its period.
    fn wake(&self) -> Wake {
        Wake::default()
    }

    fn pass(&mut self, now: Timestamp) -> impl Future<Output = anyhow::Result<Pass>> + Send;
}
