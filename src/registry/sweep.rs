//! Ends uploads that have been idle for too long, and removes what ended uploads left.

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
        let swept = self.0.sweep().await?;
        let done = swept.ended + swept.orphans;
        if done > 0 {
            tracing::info!(
                ended = swept.ended,
                orphans = swept.orphans,
                "idle uploads ended"
            );
        }
        Ok(Pass {
            seen: done,
            done,
            again: swept.more,
        })
    }
}
