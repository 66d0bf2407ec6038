//! Runs reconcilers, each in its own task: by period and wake-up, with pauses after failed passes,
//! until the server stops.

use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinSet;
use wharfinger_base::Clock;

use crate::reconciler::{Pass, Reconciler};
use crate::wake::Wake;

/// Pause after a failed pass; it doubles up to the reconciler's own period.
const FIRST_RETRY: Duration = Duration::from_secs(1);

/// How long [`Driver::stop`] waits for passes that are under way. An aborted pass is one of the
/// interruptions that every reconciler must stand anyway.
const STOP_WAIT: Duration = Duration::from_secs(10);

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
    pub fn run<R: Reconciler>(&mut self, mut reconciler: R) {
        let clock = self.clock.clone();
        let mut stop = self.stop.subscribe();
        self.tasks.spawn(async move {
            let mut retry = FIRST_RETRY;
            let wake = reconciler.wake();
            while !*stop.borrow() {
                // After a failed pass no wake-up shortens the pause.
                let (pause, rest) = match reconciler.pass(clock.now()).await {
                    Ok(Pass { seen, done, again }) => {
                        retry = FIRST_RETRY;
                        tracing::debug!(reconciler = R::NAME, seen, done, again, "pass");
                        let pause = if again { Duration::ZERO } else { R::EVERY };
                        (pause, R::REST)
                    }
                    Err(error) => {
                        let cause = format!("{error:#}");
                        tracing::warn!(reconciler = R::NAME, error = cause, "a pass failed");
                        let pause = retry.min(R::EVERY);
                        retry = pause.saturating_mul(2);
                        (pause, pause)
                    }
                };
                tokio::select! {
                    () = tokio::time::sleep(pause) => {}
                    () = woken_after(rest, &wake) => {}
                    _ = stop.changed() => {}
                }
            }
        });
    }

    /// Starts no more passes and waits for those under way, but not longer than [`STOP_WAIT`].
    pub async fn stop(mut self) {
        self.stop.send_replace(true);
        let ended = async { while self.tasks.join_next().await.is_some() {} };
        if tokio::time::timeout(STOP_WAIT, ended).await.is_err() {
            tracing::warn!(left = self.tasks.len(), "passes were aborted");
            self.tasks.abort_all();
        }
    }
}

/// Waits for `rest`, and then for a wake-up, which may have come meanwhile.
async fn woken_after(rest: Duration, wake: &Wake) {
    tokio::time::sleep(rest).await;
    wake.woken().await;
}

#[cfg(test)]
mod tests {
    use tokio::sync::mpsc;
    use tokio::time::Instant;
    use wharfinger_base::Timestamp;

    use super::*;

    /// What the next pass does.
    #[derive(Clone, Copy)]
    enum Script {
        Fail,
        Succeed,
        Hang,
    }

    /// Reports when each of its passes began.
    struct Scripted(
        std::vec::IntoIter<Script>,
        mpsc::UnboundedSender<Instant>,
        Wake,
    );

    impl Reconciler for Scripted {
        const NAME: &'static str = "scripted";
        const EVERY: Duration = Duration::from_secs(5);
        const REST: Duration = Duration::from_millis(200);

        fn wake(&self) -> Wake {
            self.2.clone()
        }

        async fn pass(&mut self, _now: Timestamp) -> anyhow::Result<Pass> {
            self.1.send(Instant::now())?;
            match self.0.next() {
                Some(Script::Fail) => anyhow::bail!("by script"),
                Some(Script::Hang) => std::future::pending().await,
                Some(Script::Succeed) | None => Ok(Pass::default()),
            }
        }
    }

    fn start(script: Vec<Script>) -> (Driver, mpsc::UnboundedReceiver<Instant>, Wake) {
        let (sender, begun) = mpsc::unbounded_channel();
        let mut driver = Driver::new(Clock::System);
        let wake = Wake::default();
        driver.run(Scripted(script.into_iter(), sender, wake.clone()));
        (driver, begun, wake)
    }

    #[tokio::test(start_paused = true)]
    async fn wake_ups_bring_the_next_pass_but_not_without_a_rest() {
        let (driver, mut begun, wake) = start(vec![Script::Succeed; 3]);
        let first = begun.recv().await.expect("a pass");
        wake.wake();
        wake.wake();
        let second = begun.recv().await.expect("a pass");
        assert_eq!((second - first).as_millis(), 200);
        let third = begun.recv().await.expect("a pass");
        assert_eq!((third - second).as_secs(), 5, "two wake-ups were one");
        driver.stop().await;
    }

    #[tokio::test(start_paused = true)]
    async fn wake_ups_do_not_shorten_the_pause_after_a_failure() {
        let (driver, mut begun, wake) = start(vec![Script::Fail, Script::Succeed]);
        let first = begun.recv().await.expect("a pass");
        wake.wake();
        let second = begun.recv().await.expect("a pass");
        assert_eq!((second - first).as_secs(), 1);
        driver.stop().await;
    }

    #[tokio::test(start_paused = true)]
    async fn pauses_double_after_failures_and_start_over_after_a_success() {
        use Script::{Fail, Succeed};
        let script = vec![Fail, Fail, Fail, Fail, Succeed, Fail, Succeed];
        let (driver, mut begun, _) = start(script);
        let mut last = begun.recv().await.expect("a pass");
        for seconds in [1, 2, 4, 5, 5, 1] {
            let next = begun.recv().await.expect("a pass");
            assert_eq!((next - last).as_secs(), seconds);
            last = next;
        }
        driver.stop().await;
        assert!(begun.recv().await.is_none(), "no pass after the stop");
    }

    #[tokio::test(start_paused = true)]
    async fn stopping_does_not_wait_for_a_pass_that_hangs() {
        let (driver, mut begun, _) = start(vec![Script::Hang]);
        let started = begun.recv().await.expect("a pass");
        driver.stop().await;
        assert_eq!(started.elapsed().as_secs(), STOP_WAIT.as_secs());
    }
}
