//! A wake-up: work may be waiting. It carries no data, and several before a pass are one.

use std::sync::Arc;

use tokio::sync::Notify;

/// Wakes one reconciler. Cloning shares it.
#[derive(Clone, Debug, Default)]
pub struct Wake(Arc<Notify>);

impl Wake {
    /// Makes the reconciler run a pass soon. During a pass, another one follows.
    pub fn wake(&self) {
        self.0.notify_one();
    }

    /// Waits for a wake-up since the last return.
    pub(crate) async fn woken(&self) {
        self.0.notified().await;
    }
}
