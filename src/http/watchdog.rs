//! The header and idle timeouts of a connection.

use std::time::Duration;

use tokio::time::Instant;

use crate::connection::Snapshot;
use crate::limits::{ConnectionLimits, IDLE_WHEN_FULL};

/// What to do with a connection now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum WatchdogDecision {
    Keep,
    /// Nothing has been in flight for too long: close gracefully.
    Retire,
    /// The peer is too slow: drop the connection.
    Cut,
}

/// Decides from a connection's counters, which it sees at intervals of
/// [`ConnectionLimits::check_interval`]. This costs nothing per request, while a timer would have
/// to be set for each; a timeout may be exceeded by one interval.
#[derive(Debug)]
pub(crate) struct Watchdog {
    idle_since: Instant,
    requests: u64,
    head_since: Option<Instant>,
    retired_at: Option<Instant>,
}

impl Watchdog {
    pub(crate) fn new(now: Instant) -> Self {
        Self {
            idle_since: now,
            requests: 0,
            head_since: None,
            retired_at: None,
        }
    }

    /// `full`: all connections are in use, so that further ones wait.
    pub(crate) fn check(
        &mut self,
        now: Instant,
        seen: Snapshot,
        full: bool,
        limits: &ConnectionLimits,
    ) -> WatchdogDecision {
        if seen.busy || seen.requests != self.requests {
            *self = Self::new(now);
            self.requests = seen.requests;
            return WatchdogDecision::Keep;
        }
        if self.head_is_late(now, seen.head_begun, limits.header_timeout) {
            return WatchdogDecision::Cut;
        }
        let idle_timeout = if full {
            limits.idle_timeout.min(IDLE_WHEN_FULL)
        } else {
            limits.idle_timeout
        };
        match self.retired_at {
            // The peer did not react to the graceful close.
            Some(retired) if now - retired >= limits.header_timeout => WatchdogDecision::Cut,
            // A head that has begun has its own timeout.
            None if now - self.idle_since >= idle_timeout && !(full && seen.head_begun) => {
                self.retired_at = Some(now);
                WatchdogDecision::Retire
            }
            _ => WatchdogDecision::Keep,
        }
    }

    fn head_is_late(&mut self, now: Instant, begun: bool, timeout: Duration) -> bool {
        if !begun {
            self.head_since = None;
            return false;
        }
        now - *self.head_since.get_or_insert(now) >= timeout
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const IDLE: Snapshot = Snapshot {
        head_begun: false,
        busy: false,
        requests: 1,
    };

    fn limits() -> ConnectionLimits {
        ConnectionLimits {
            header_timeout: Duration::from_secs(10),
            idle_timeout: Duration::from_mins(1),
            ..ConnectionLimits::default()
        }
    }

    fn decisions(steps: &[(u64, Snapshot, bool)]) -> Vec<WatchdogDecision> {
        let start = Instant::now();
        let mut watchdog = Watchdog::new(start);
        let at = |seconds| start + Duration::from_secs(seconds);
        let check = |(seconds, seen, full): &(u64, Snapshot, bool)| {
            watchdog.check(at(*seconds), *seen, *full, &limits())
        };
        steps.iter().map(check).collect()
    }

    #[test]
    fn an_idle_connection_is_retired_once_and_then_cut() {
        let steps = [5, 64, 65, 70, 75].map(|seconds| (seconds, IDLE, false));
        assert_eq!(
            decisions(&steps),
            [
                WatchdogDecision::Keep,
                WatchdogDecision::Keep,
                WatchdogDecision::Retire,
                WatchdogDecision::Keep,
                WatchdogDecision::Cut
            ]
        );
    }

    #[test]
    fn an_idle_connection_is_retired_early_when_another_one_waits() {
        let steps = [(5, IDLE, true), (6, IDLE, true)];
        assert_eq!(
            decisions(&steps),
            [WatchdogDecision::Keep, WatchdogDecision::Retire]
        );
    }

    #[test]
    fn a_long_request_keeps_its_connection_even_with_the_next_head_incomplete() {
        let busy = Snapshot {
            busy: true,
            head_begun: true,
            ..IDLE
        };
        let steps: Vec<_> = (0..600).map(|seconds| (seconds, busy, true)).collect();
        assert!(
            decisions(&steps)
                .iter()
                .all(|&made| made == WatchdogDecision::Keep)
        );
    }

    #[test]
    fn an_incomplete_head_is_cut_and_each_complete_one_starts_anew() {
        let head = |requests| Snapshot {
            head_begun: true,
            busy: false,
            requests,
        };
        let steps = [(0, 1), (1, 1), (9, 1), (11, 2), (12, 2), (21, 2), (22, 2)];
        let made = decisions(&steps.map(|(seconds, requests)| (seconds, head(requests), false)));
        assert!(
            made[..6].iter().all(|&made| made == WatchdogDecision::Keep),
            "{made:?}"
        );
        assert_eq!(made[6], WatchdogDecision::Cut);
    }
}
