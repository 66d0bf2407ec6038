//! Bounds how many records of requests are kept that nobody had to be allowed to send: failed
//! sign-ins, and what policies refuse. Otherwise whoever may do nothing could push everything else
//! out of the log. PURE.

use std::collections::HashMap;
use std::time::Duration;

use wharfinger_base::Timestamp;

/// The period over which records are counted.
const PERIOD: Duration = Duration::from_mins(1);
/// Senders that are counted each for itself in one period; all further ones count as one.
const SENDERS: usize = 4_096;

/// Counts records by their sender.
#[derive(Debug)]
pub(super) struct FailureBound {
    /// Records kept of one sender in one period.
    per_period: u64,
    started_at: Timestamp,
    seen: HashMap<String, u64>,
    omitted: u64,
}

/// What to do with a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Admitted {
    pub(super) is_recorded: bool,
    /// How many of the period before were not recorded, where a new one has begun.
    pub(super) omitted: u64,
}

impl FailureBound {
    pub(super) fn new(per_period: u64) -> Self {
        Self {
            per_period,
            started_at: Timestamp::default(),
            seen: HashMap::new(),
            omitted: 0,
        }
    }

    pub(super) fn admit(&mut self, sender: &str, now: Timestamp) -> Admitted {
        let mut omitted = 0;
        if now < self.started_at || now.since(self.started_at) >= PERIOD {
            omitted = self.take_omitted();
            self.started_at = now;
            self.seen.clear();
        }
        let known = self.seen.contains_key(sender) || self.seen.len() < SENDERS;
        let sender = if known { sender } else { "" };
        let seen = self.seen.entry(sender.to_owned()).or_default();
        *seen += 1;
        let is_recorded = *seen <= self.per_period;
        self.omitted += u64::from(!is_recorded);
        Admitted {
            is_recorded,
            omitted,
        }
    }

    /// How many were not recorded since the last call.
    pub(super) fn take_omitted(&mut self) -> u64 {
        std::mem::take(&mut self.omitted)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_ms(1_700_000_000_000 + seconds * 1_000)
    }

    #[test]
    fn failures_beyond_the_bound_are_counted() {
        let mut bound = FailureBound::new(60);
        let mut recorded = |sender| {
            let admitted = (0..100).filter(|_| bound.admit(sender, at(1)).is_recorded);
            admitted.count()
        };
        assert_eq!((recorded("ann"), recorded("bob")), (60, 60));
        let next = bound.admit("ann", at(62));
        assert_eq!((next.is_recorded, next.omitted), (true, 80));
        assert_eq!(bound.admit("ann", at(63)).omitted, 0);
        assert_eq!(bound.take_omitted(), 0);
    }

    #[test]
    fn senders_beyond_the_bound_count_as_one() {
        let mut bound = FailureBound::new(1);
        let recorded =
            (0..2 * SENDERS).filter(|one| bound.admit(&one.to_string(), at(1)).is_recorded);
        assert_eq!(recorded.count(), SENDERS + 1);
        assert_eq!(bound.seen.len(), SENDERS + 1);
    }
}
