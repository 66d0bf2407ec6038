//! What a reconciler is: a pass that takes no input, does what the state asks for, and can be run
//! again at any time.

use std::time::Duration;

use wharfinger_base::Timestamp;

/// What one pass saw and did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pass {
    pub seen: usize,
    pub done: usize,
    /// There is more to do than one pass takes: come again at once.
    pub again: bool,
}

/// Repeated work. A restart, a second server and a missed wake are all its ordinary course.
pub trait Reconciler: Send + 'static {
    const NAME: &'static str;
    /// The longest time between two passes.
    const EVERY: Duration;

    fn pass(&mut self, now: Timestamp) -> impl Future<Output = anyhow::Result<Pass>> + Send;
}
