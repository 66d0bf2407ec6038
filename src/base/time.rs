//! The program's only source of time: a millisecond timestamp, and a clock that is the system's or
//! set by hand.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};

/// Milliseconds since the Unix epoch, UTC. The index stores it as it is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, Default)]
#[serde(transparent)]
pub struct Timestamp(i64);

impl Timestamp {
    #[must_use]
    pub const fn from_ms(ms: i64) -> Self {
        Self(ms)
    }

    #[must_use]
    pub const fn as_ms(self) -> i64 {
        self.0
    }

    /// Seconds since the epoch with a fraction, as the AWS JSON protocol writes a time.
    #[must_use]
    #[expect(
        clippy::cast_precision_loss,
        reason = "a millisecond count stays exact in 53 bits for 285,000 years"
    )]
    pub fn as_epoch_seconds(self) -> f64 {
        self.0 as f64 / 1000.0
    }

    #[must_use]
    pub fn plus(self, duration: Duration) -> Self {
        Self(
            self.0
                .saturating_add(i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)),
        )
    }

    #[must_use]
    pub fn minus(self, duration: Duration) -> Self {
        Self(
            self.0
                .saturating_sub(i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)),
        )
    }

    /// Time from `earlier` until `self`; zero where `earlier` is later.
    #[must_use]
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }

    /// The instant as RFC 3339 in UTC, for logs and token responses.
    #[must_use]
    pub fn to_rfc3339(self) -> String {
        jiff::Timestamp::from_millisecond(self.0)
            .map_or_else(|_| self.0.to_string(), |instant| instant.to_string())
    }
}

impl Timestamp {
    /// The instant that an RFC 3339 text names; `None` where it is none.
    #[must_use]
    pub fn from_rfc3339(text: &str) -> Option<Self> {
        let instant: jiff::Timestamp = text.parse().ok()?;
        Some(Self(instant.as_millisecond()))
    }
}

impl From<SystemTime> for Timestamp {
    fn from(time: SystemTime) -> Self {
        let ms = |duration: Duration| i64::try_from(duration.as_millis()).unwrap_or(i64::MAX);
        Self(match time.duration_since(SystemTime::UNIX_EPOCH) {
            Ok(since) => ms(since),
            Err(before) => -ms(before.duration()),
        })
    }
}

impl fmt::Debug for Timestamp {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.to_rfc3339())
    }
}

/// Tells the time. Cloning shares it: a clock set by hand moves for every holder at once.
#[derive(Clone, Debug, Default)]
pub enum Clock {
    #[default]
    System,
    Manual(Arc<AtomicI64>),
    /// The system's, ahead by this many milliseconds.
    Ahead(Arc<AtomicI64>),
}

impl Clock {
    /// A clock that stands still at `start` until [`Clock::advance`] moves it.
    #[must_use]
    pub fn manual(start: Timestamp) -> Self {
        Self::Manual(Arc::new(AtomicI64::new(start.as_ms())))
    }

    /// The system's clock, which [`Clock::advance`] sets ahead.
    #[must_use]
    pub fn adjustable() -> Self {
        Self::Ahead(Arc::default())
    }

    #[must_use]
    #[expect(
        clippy::disallowed_methods,
        reason = "the only reader of the system's clock"
    )]
    pub fn now(&self) -> Timestamp {
        match self {
            Self::System => Timestamp::from(SystemTime::now()),
            Self::Manual(ms) => Timestamp(ms.load(Ordering::SeqCst)),
            Self::Ahead(ms) => {
                let now = Timestamp::from(SystemTime::now()).0;
                Timestamp(now.saturating_add(ms.load(Ordering::SeqCst)))
            }
        }
    }

    /// Moves a manual or adjustable clock; has no effect on the system's.
    pub fn advance(&self, by: Duration) {
        if let Self::Manual(ms) | Self::Ahead(ms) = self {
            ms.fetch_add(
                i64::try_from(by.as_millis()).unwrap_or(i64::MAX),
                Ordering::SeqCst,
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_manual_clock_moves_for_all_its_holders() {
        let clock = Clock::manual(Timestamp::from_ms(1_000));
        let other = clock.clone();
        clock.advance(Duration::from_secs(2));
        assert_eq!(other.now(), Timestamp::from_ms(3_000));
        assert_eq!(
            other.now().since(Timestamp::from_ms(1_000)),
            Duration::from_secs(2)
        );
        assert_eq!(
            Timestamp::from_ms(1).since(Timestamp::from_ms(5)),
            Duration::ZERO
        );
    }

    #[test]
    fn the_time_of_the_system_is_in_milliseconds_of_the_epoch() {
        let half = Duration::from_micros(1_500);
        let epoch = SystemTime::UNIX_EPOCH;
        assert_eq!(Timestamp::from(epoch + half), Timestamp::from_ms(1));
        assert_eq!(Timestamp::from(epoch - half), Timestamp::from_ms(-1));
    }

    #[test]
    fn times_are_written_as_aws_and_rfc_3339_do() {
        let time = Timestamp::from_ms(1_700_000_000_500);
        assert!((time.as_epoch_seconds() - 1_700_000_000.5).abs() < 1e-9);
        assert_eq!(time.to_rfc3339(), "2023-11-14T22:13:20.5Z");
    }
}
