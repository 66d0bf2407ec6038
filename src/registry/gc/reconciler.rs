//! Runs the collector for as long as the server does, at a limited share of its time.

use std::time::{Duration, Instant};

use wharfinger_base::Timestamp;
use wharfinger_reconcile::{Pass, Reconciler};

use crate::error::Error;
use crate::gc::collector::Collector;
use crate::gc::progress::Progress;
use crate::store::gc as store;

/// How often what waits for the end of its lease is counted for metrics: the count reads an index
/// entry for each.
const COUNTED_EVERY: Duration = Duration::from_mins(1);
/// Longest pause after a step, however slow the step was.
const LONGEST_PAUSE: Duration = Duration::from_secs(10);

/// The reconciler around [`Collector::step`].
pub struct GarbageCollection {
    collector: Collector,
    load_percent: u32,
    counted_at: Option<Instant>,
}

impl GarbageCollection {
    /// Collects for as much of the time as is configured; `None` where that is none.
    pub fn of(collector: &Collector) -> Option<Self> {
        let load_percent = collector.uploads.config.gc_load_percent;
        (load_percent > 0).then(|| Self {
            collector: collector.clone(),
            load_percent,
            counted_at: None,
        })
    }

    async fn count(&mut self) -> anyhow::Result<()> {
        let is_recent = |at: Instant| at.elapsed() < COUNTED_EVERY;
        if !self.counted_at.is_some_and(is_recent) {
            self.counted_at = Some(Instant::now());
            let waiting = self.collector.db.read(store::count_unlinked).await?;
            self.collector.progress().set_waiting(waiting);
        }
        Ok(())
    }
}

impl Collector {
    /// Collects until nothing is due, for at most so many percent of the time; `progress` is called
    /// after each step.
    pub async fn collect(
        &self,
        load_percent: u32,
        mut progress: impl FnMut(&Progress),
    ) -> Result<(), Error> {
        loop {
            let started = Instant::now();
            let step = self.step().await?;
            progress(self.progress());
            if !step.more {
                return Ok(());
            }
            tokio::time::sleep(pause(started.elapsed(), load_percent)).await;
        }
    }
}

/// The pause after a step, so that steps take `load_percent` of the time.
pub(crate) fn pause(step: Duration, load_percent: u32) -> Duration {
    let load = load_percent.clamp(1, 100);
    (step * (100 - load) / load).min(LONGEST_PAUSE)
}

impl Reconciler for GarbageCollection {
    const NAME: &'static str = "garbage-collection";
    const EVERY: Duration = Duration::from_secs(1);

    async fn pass(&mut self, now: Timestamp) -> anyhow::Result<Pass> {
        let started = Instant::now();
        let step = self.collector.step().await;
        let step = step.inspect_err(|_| self.collector.progress().add_failure())?;
        if step.more {
            tokio::time::sleep(pause(started.elapsed(), self.load_percent)).await;
        } else {
            self.collector.progress().end_pass(now);
        }
        self.count().await?;
        if step.removed > 0 {
            tracing::debug!(
                seen = step.seen,
                removed = step.removed,
                "garbage collection"
            );
        }
        Ok(Pass {
            seen: step.seen,
            done: step.removed,
            again: step.more,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pause_leaves_the_rest_of_the_time_to_requests() {
        let step = Duration::from_millis(10);
        assert_eq!(pause(step, 25), Duration::from_millis(30));
        assert_eq!(pause(step, 50), step);
        assert_eq!(pause(step, 100), Duration::ZERO);
        assert_eq!(pause(Duration::from_hours(1), 1), LONGEST_PAUSE);
    }
}
