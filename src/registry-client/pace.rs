//! How fast a transfer must be. PURE.

use std::time::Duration;

/// The bounds of transfers.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PaceLimits {
    /// Time over which the rate is measured. It is long enough for a buffer of the kernel to drain.
    pub(crate) window: Duration,
    /// Bytes per second below which a transfer is given up.
    pub(crate) minimum_rate: u64,
    /// Time from the last byte of an upload to the response: some registries copy the blob then.
    pub(crate) commit_wait: Duration,
    /// The wait before a failed upload is begun anew; it grows with each.
    pub(crate) anew_wait: Duration,
    /// Time to cancel an upload, which some registries do not support and others take long for.
    pub(crate) cancel_wait: Duration,
}

impl Default for PaceLimits {
    fn default() -> Self {
        Self {
            window: Duration::from_mins(1),
            minimum_rate: 4 * 1024,
            commit_wait: Duration::from_mins(5),
            anew_wait: Duration::from_millis(500),
            cancel_wait: Duration::from_secs(5),
        }
    }
}

/// The rate of a transfer within the present window.
#[derive(Clone, Debug, Default)]
pub(crate) struct Pace {
    bytes: u64,
    waited: Duration,
}

impl Pace {
    /// Notes that the peer took `waited` for so many bytes. Returns whether the transfer is fast
    /// enough, as far as that is known yet.
    pub(crate) fn note(&mut self, bytes: u64, waited: Duration, limits: &PaceLimits) -> bool {
        self.bytes = self.bytes.saturating_add(bytes);
        self.waited += waited;
        if self.waited < limits.window {
            return true;
        }
        let required = u128::from(limits.minimum_rate) * self.waited.as_millis() / 1_000;
        let enough = u128::from(self.bytes) >= required;
        *self = Self::default();
        enough
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: PaceLimits = PaceLimits {
        window: Duration::from_secs(10),
        minimum_rate: 100,
        commit_wait: Duration::ZERO,
        anew_wait: Duration::ZERO,
        cancel_wait: Duration::ZERO,
    };

    fn fine(pace: &mut Pace, bytes: u64, seconds: u64) -> bool {
        pace.note(bytes, Duration::from_secs(seconds), &LIMITS)
    }

    #[test]
    fn the_rate_of_each_window_counts() {
        let mut pace = Pace::default();
        assert!(fine(&mut pace, 0, 9), "a pause within a window");
        assert!(fine(&mut pace, 1_000, 1));
        // What came before does not count any more.
        assert!(fine(&mut pace, 500, 5));
        assert!(!fine(&mut pace, 499, 5));
        assert!(fine(&mut pace, 1, 1));
    }

    #[test]
    fn single_bytes_are_too_slow_and_a_long_wait_too() {
        let mut pace = Pace::default();
        let outcomes: Vec<_> = (0..10).map(|_| fine(&mut pace, 1, 1)).collect();
        assert!(outcomes[..9].iter().all(|fine| *fine));
        assert!(!outcomes[9]);
        assert!(!fine(&mut pace, 1_999, 20));
        assert!(fine(&mut pace, 2_000, 20));
        // No time passes where the peer is faster than the reader.
        assert!(fine(&mut pace, u64::MAX, 0));
    }
}
