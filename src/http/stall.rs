//! Detects that a peer does not move a transfer forward.

use std::future::Future as _;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::time::{Instant, Sleep, sleep_until};

use crate::limits::ConnectionLimits;

/// Measures one direction of one transfer while it waits for the peer. Time in which the server
/// itself does not read or write does not count.
#[derive(Debug)]
pub(crate) struct StallTimer {
    timeout: Duration,
    /// Bytes that must move within `timeout`.
    required_bytes: u64,
    /// Time waited since the last check of the rate.
    waited: Duration,
    waiting_since: Option<Instant>,
    /// Progress at the last check of the rate.
    bytes_before: u64,
    /// Made when the transfer first waits: most never do.
    sleep: Option<Pin<Box<Sleep>>>,
}

impl StallTimer {
    pub(crate) fn new(limits: &ConnectionLimits) -> Self {
        Self {
            timeout: limits.stall_timeout,
            required_bytes: limits.stall_bytes(),
            waited: Duration::ZERO,
            waiting_since: None,
            bytes_before: 0,
            sleep: None,
        }
    }

    /// The transfer does not wait for the peer any more.
    pub(crate) fn pause(&mut self) {
        if let Some(since) = self.waiting_since.take() {
            self.waited += since.elapsed();
        }
    }

    /// The transfer is new or idle: what was waited before does not count.
    pub(crate) fn restart(&mut self, bytes: u64) {
        self.waiting_since = None;
        self.waited = Duration::ZERO;
        self.bytes_before = bytes;
    }

    /// To be called whenever the transfer waits for the peer; `bytes` is its progress so far. Ready
    /// when the peer was too slow for [`ConnectionLimits::stall_timeout`]; else the task is woken
    /// in time for the next check.
    pub(crate) fn poll_stalled(&mut self, bytes: u64, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            let now = Instant::now();
            let since = *self.waiting_since.get_or_insert(now);
            let waited = self.waited + (now - since);
            let left = self.timeout.saturating_sub(waited);
            if left.is_zero() {
                if bytes - self.bytes_before < self.required_bytes {
                    return Poll::Ready(());
                }
                self.restart(bytes);
                continue;
            }
            let deadline = now + left;
            let sleep = self
                .sleep
                .get_or_insert_with(|| Box::pin(sleep_until(deadline)));
            // A sleep that ends too early is set again then: cheaper than setting it at each call.
            if sleep.is_elapsed() {
                sleep.as_mut().reset(deadline);
            }
            ready!(sleep.as_mut().poll(cx));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use super::*;

    fn limits() -> ConnectionLimits {
        ConnectionLimits {
            stall_timeout: Duration::from_mins(1),
            minimum_rate: 100,
            ..ConnectionLimits::default()
        }
    }

    /// Whether a transfer of so many bytes per second is found to be stalled within ten minutes.
    async fn stalls_at(rate: u64) -> bool {
        let mut timer = StallTimer::new(&limits());
        for second in 0..600 {
            let stalled = poll_fn(|cx| Poll::Ready(timer.poll_stalled(second * rate, cx))).await;
            if stalled.is_ready() {
                return true;
            }
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
        false
    }

    #[tokio::test(start_paused = true)]
    async fn the_minimum_rate_decides() {
        for (rate, stalled) in [(0, true), (1, true), (90, true), (110, false)] {
            assert_eq!(stalls_at(rate).await, stalled, "{rate} bytes per second");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_silent_peer_is_found_at_the_timeout() {
        let mut timer = StallTimer::new(&limits());
        let start = Instant::now();
        poll_fn(|cx| timer.poll_stalled(0, cx)).await;
        assert_eq!(start.elapsed().as_secs(), 60);
    }

    #[tokio::test(start_paused = true)]
    async fn time_in_which_the_server_does_not_read_does_not_count() {
        let mut timer = StallTimer::new(&limits());
        for _ in 0..20 {
            let stalled = poll_fn(|cx| Poll::Ready(timer.poll_stalled(0, cx))).await;
            assert!(stalled.is_pending());
            tokio::time::sleep(Duration::from_secs(2)).await;
            timer.pause();
            tokio::time::sleep(Duration::from_secs(100)).await;
        }
    }
}
