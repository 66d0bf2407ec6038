//! Bounds how many failed sign-ins are recorded, so that whoever guesses credentials cannot push
//! everything else out of the log. PURE.

use std::time::Duration;

use wharfinger_base::Timestamp;

/// The period over which failures are counted.
const PERIOD: Duration = Duration::from_mins(1);
/// Failures recorded in one period.
const PER_PERIOD: u64 = 60;

/// Counts failed sign-ins.
#[derive(Debug, Default)]
pub(super) struct FailureBound {
    started_at: Timestamp,
    seen: u64,
}

/// What to do with a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Admitted {
    pub(super) is_recorded: bool,
    /// How many of the period before were not recorded, where a new one has begun.
    pub(super) omitted: u64,
}

impl FailureBound {
    pub(super) fn admit(&mut self, now: Timestamp) -> Admitted {
        let mut omitted = 0;
        if now < self.started_at || now.since(self.started_at) >= PERIOD {
            omitted = self.take_omitted();
            *self = Self {
                started_at: now,
                seen: 0,
            };
        }
        self.seen += 1;
        Admitted {
            is_recorded: self.seen <= PER_PERIOD,
            omitted,
        }
    }

    /// How many were not recorded since the last call.
    pub(super) fn take_omitted(&mut self) -> u64 {
        let omitted = self.seen.saturating_sub(PER_PERIOD);
        self.seen = self.seen.min(PER_PERIOD);
        omitted
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_beyond_the_bound_are_counted() {
        let mut bound = FailureBound::default();
        let at = |seconds: i64| Timestamp::from_ms(1_700_000_000_000 + seconds * 1_000);
        let recorded = (0..100).filter(|_| bound.admit(at(1)).is_recorded).count();
        assert_eq!(recorded, 60);
        let next = bound.admit(at(62));
        assert_eq!((next.is_recorded, next.omitted), (true, 40));
        assert_eq!(bound.admit(at(63)).omitted, 0);
        assert_eq!(bound.take_omitted(), 0);
    }
}
