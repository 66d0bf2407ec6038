//! PURE: when an event is tried again, and when it is given up.

use std::time::Duration;

use wharfinger_base::Timestamp;

/// The pause after the first failure; it doubles with each further one.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// The longest pause, also where a receiver requests a longer one.
const LONGEST_PAUSE: Duration = Duration::from_mins(5);

/// How long a sink is tried for one event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    pub max_attempts: u32,
    pub max_age: Duration,
}

impl Bounds {
    /// Whether an event has had its attempts or its time.
    pub(super) fn exceeded_by(
        &self,
        attempts: u32,
        recorded_at: Timestamp,
        now: Timestamp,
    ) -> bool {
        attempts >= self.max_attempts || now.since(recorded_at) > self.max_age
    }
}

/// Whether the next attempt is to come later. A time that no pause reaches comes from a clock that
/// was set back, and does not count.
pub(super) fn must_wait(due_at: Timestamp, now: Timestamp) -> bool {
    let wait = due_at.since(now);
    !wait.is_zero() && wait <= LONGEST_PAUSE
}

/// The pause after the failed attempt of this number, the first being 1: between half of and all of
/// what doubling gives, chosen by `random`, or what the receiver requests if that is longer.
pub(super) fn pause(attempts: u32, requested: Option<Duration>, random: [u8; 1]) -> Duration {
    let doublings = attempts.saturating_sub(1).min(16);
    let whole = FIRST_PAUSE
        .saturating_mul(1 << doublings)
        .min(LONGEST_PAUSE);
    let drawn = whole / 2 + whole * u32::from(random[0]) / 510;
    drawn.max(requested.unwrap_or_default()).min(LONGEST_PAUSE)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn pauses_grow_within_their_bounds(
            attempts in 1_u32..1_000,
            requested in proptest::option::of(0_u64..10_000),
            random in any::<u8>(),
        ) {
            let requested = requested.map(Duration::from_secs);
            let drawn = pause(attempts, None, [random]);
            prop_assert!(drawn >= FIRST_PAUSE / 2 && drawn <= LONGEST_PAUSE);
            let next = pause(attempts + 1, None, [random]);
            prop_assert!(next >= drawn, "{drawn:?} {next:?}");
            let longest = LONGEST_PAUSE.min(drawn.max(requested.unwrap_or_default()));
            prop_assert_eq!(pause(attempts, requested, [random]), longest);
        }
    }

    #[test]
    fn events_are_given_up_by_attempts_and_by_age() {
        let bounds = Bounds {
            max_attempts: 3,
            max_age: Duration::from_mins(1),
        };
        let at = |seconds: i64| Timestamp::from_ms(seconds * 1_000);
        assert!(!bounds.exceeded_by(2, at(0), at(60)));
        assert!(bounds.exceeded_by(3, at(0), at(0)));
        assert!(bounds.exceeded_by(0, at(0), at(61)));
        assert!(!bounds.exceeded_by(0, at(100), at(0)));
    }

    #[test]
    fn a_clock_that_was_set_back_does_not_stop_the_delivery() {
        let at = |seconds: i64| Timestamp::from_ms(seconds * 1_000);
        assert!(must_wait(at(10), at(9)));
        assert!(!must_wait(at(10), at(10)));
        assert!(!must_wait(at(100_000), at(10)));
    }
}
