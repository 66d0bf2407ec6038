//! Runs reconcilers, each in its own task: by period, by wake, backing off when a pass fails, until
//! the server drains.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Notify, watch};
use tokio::task::JoinSet;
use wharfinger_base::Clock;

use crate::reconciler::{Pass, Reconciler};

/// Wait after a failed pass; doubled up to the reconciler's own period.
const FIRST_RETRY: Duration = Duration::from_secs(1);

/// Asks a reconciler to look now. A wake carries no data, and several before the next pass are one.
#[derive(Clone, Debug, Default)]
pub struct Waker(Arc<Notify>);

impl Waker {
    pub fn wake(&self) {
        self.0.notify_one();
    }
}

/// The running reconcilers.
pub struct Driver {
    clock: Clock,
    stop: watch::Sender<bool>,
    tasks: JoinSet<()>,
}

impl Driver {
    pub fn new(clock: Clock) -> Self {
        Self {
            clock,
            stop: watch::Sender::new(false),
            tasks: JoinSet::new(),
        }
    }

    /// Starts `reconciler`; its first pass comes at once.
    pub fn run<R: Reconciler>(&mut self, mut reconciler: R) -> Waker {
        let (waker, clock, mut stop) =
            (Waker::default(), self.clock.clone(), self.stop.subscribe());
        let notified_by = waker.clone();
        self.tasks.spawn(async move {
            let mut retry = FIRST_RETRY;
            while !*stop.borrow() {
                let wait = match reconciler.pass(clock.now()).await {
                    Ok(Pass { again: true, .. }) => Duration::ZERO,
                    Ok(pass) => {
                        retry = FIRST_RETRY;
                        tracing::debug!(
                            reconciler = R::NAME,
                            seen = pass.seen,
                            done = pass.done,
                            "pass"
                        );
                        R::EVERY
                    }
                    Err(error) => {
                        tracing::warn!(
                            reconciler = R::NAME,
                            error = format!("{error:#}"),
                            "a pass failed"
                        );
                        retry = (2 * retry).min(R::EVERY);
                        retry
                    }
                };
                tokio::select! {
                    () = tokio::time::sleep(wait) => {}
                    () = notified_by.0.notified() => {}
                    _ = stop.changed() => {}
                }
            }
        });
        waker
    }

    /// Lets passes that are under way end, and starts no more.
    pub async fn stop(mut self) {
        self.stop.send_replace(true);
        while self.tasks.join_next().await.is_some() {}
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use wharfinger_base::Timestamp;

    use super::*;

    struct Counting(Arc<AtomicUsize>);

    impl Reconciler for Counting {
        const NAME: &'static str = "counting";
        const EVERY: Duration = Duration::from_hours(1);

        async fn pass(&mut self, _now: Timestamp) -> anyhow::Result<Pass> {
            self.0.fetch_add(1, Ordering::SeqCst);
            Ok(Pass::default())
        }
    }

    #[tokio::test]
    async fn a_wake_brings_a_pass_and_stopping_ends_it() {
        let (passes, mut driver) = (Arc::new(AtomicUsize::new(0)), Driver::new(Clock::System));
        let waker = driver.run(Counting(passes.clone()));
        for _ in 0..200 {
            waker.wake();
            tokio::time::sleep(Duration::from_millis(5)).await;
            if passes.load(Ordering::SeqCst) >= 2 {
                break;
            }
        }
        driver.stop().await;
        assert!(passes.load(Ordering::SeqCst) >= 2);
    }
}
