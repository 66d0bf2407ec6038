//! The reconciler that evaluates lifecycle policies as they come due, and removes old previews.

use std::time::Duration;

use wharfinger_base::Timestamp;
use wharfinger_reconcile::{Pass, Reconciler, Wake};

use crate::lifecycle::service::Lifecycle;

/// The reconciler. A pass evaluates one policy.
pub struct LifecycleReconciler(pub Lifecycle);

impl Reconciler for LifecycleReconciler {
    const NAME: &'static str = "lifecycle";
    const EVERY: Duration = Duration::from_secs(10);

    fn wake(&self) -> Wake {
        self.0.waker()
    }

    async fn pass(&mut self, _now: Timestamp) -> anyhow::Result<Pass> {
        let removed = self.0.remove_old_results().await?;
        let mut pass = Pass {
            seen: 0,
            done: usize::try_from(removed).unwrap_or(usize::MAX),
            again: removed > 0,
        };
        // The clock of the policies, which may be ahead of the driver's.
        let Some(repository) = self.0.due(self.0.clock.now()).await? else {
            return Ok(pass);
        };
        (pass.seen, pass.again) = (1, true);
        match self.0.evaluate(repository).await {
            Ok(Some(report)) => {
                pass.done += usize::try_from(report.expired + report.archived).unwrap_or(0);
                tracing::info!(
                    repository = repository.0,
                    expired = report.expired,
                    archived = report.archived,
                    "a lifecycle policy was evaluated"
                );
            }
            Ok(None) => {}
            Err(error) if error.is_unavailable() => return Err(error.into()),
            // The others are due later again, and must not wait for this one.
            Err(error) => {
                tracing::warn!(%error, repository = repository.0, "a lifecycle policy failed");
            }
        }
        Ok(pass)
    }
}
