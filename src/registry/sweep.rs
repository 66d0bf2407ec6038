//! Ends uploads that nobody goes on with, so that staging holds no orphan for longer than its
//! expiry.

use std::time::Duration;

use wharfinger_base::Timestamp;
use wharfinger_reconcile::{Pass, Reconciler};

use crate::uploads::Uploads;

/// The reconciler around [`Uploads::sweep`].
pub struct UploadSweep(pub Uploads);

impl Reconciler for UploadSweep {
    const NAME: &'static str = "upload-sweep";
    const EVERY: Duration = Duration::from_mins(1);

    async fn pass(&mut self, _now: Timestamp) -> anyhow::Result<Pass> {
        let (ended, orphans) = self.0.sweep().await?;
        if ended + orphans > 0 {
            tracing::info!(ended, orphans, "idle uploads ended");
        }
        Ok(Pass {
            seen: ended + orphans,
            done: ended + orphans,
            again: false,
        })
    }
}
