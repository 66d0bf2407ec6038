//! PURE: how many tasks a service may and must have, and how many may fail.

use crate::model::{DeploymentCircuitBreaker, ThresholdConfiguration, ThresholdType};

/// `minimumHealthyPercent` and `maximumPercent`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Percents {
    pub(crate) minimum_healthy: u32,
    pub(crate) maximum: u32,
}

/// Numbers of tasks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Bounds {
    /// The scheduler never stops a healthy task if fewer would remain.
    pub(super) low: usize,
    /// The scheduler never starts a task if more would exist, those that stop included.
    pub(super) high: usize,
}

impl Percents {
    /// The desired count times the minimum, rounded up, and times the maximum, rounded down.
    pub(super) fn of(self, desired: usize) -> Bounds {
        let percent = |percent: u32| desired.saturating_mul(percent as usize);
        Bounds {
            low: percent(self.minimum_healthy).div_ceil(100),
            high: percent(self.maximum) / 100,
        }
    }
}

/// The configuration of the circuit breaker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Breaker {
    pub(crate) enabled: bool,
    pub(crate) rolls_back: bool,
    /// Whether a task that becomes healthy makes earlier failures forgotten. Otherwise tasks that
    /// ran and ended by themselves count as well.
    pub(crate) resets: bool,
    pub(crate) threshold: Threshold,
}

/// At how many failures the breaker triggers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Threshold {
    Count(u32),
    /// Of the desired count, within [`LEAST_FAILURES`] and [`MOST_FAILURES`].
    BoundedPercent(u32),
    UnboundedPercent(u32),
}

/// The bounds of a threshold in percent (ECS developer guide, "How the Amazon ECS deployment
/// circuit breaker detects failures").
const LEAST_FAILURES: usize = 3;
const MOST_FAILURES: usize = 200;

/// The percentage where none is configured.
const DEFAULT_PERCENT: u32 = 50;

impl Breaker {
    /// As a service has it.
    pub(crate) fn configured(given: Option<&DeploymentCircuitBreaker>) -> Self {
        Self {
            enabled: given.is_some_and(|breaker| breaker.enable),
            rolls_back: given.is_some_and(|breaker| breaker.rollback),
            resets: given.is_none_or(|breaker| breaker.reset_on_healthy_task.unwrap_or(true)),
            threshold: Threshold::configured(given),
        }
    }
}

impl Threshold {
    /// As a service has it.
    pub(crate) fn configured(given: Option<&DeploymentCircuitBreaker>) -> Self {
        let given = given.and_then(|breaker| breaker.threshold_configuration.as_ref());
        let value = |given: &ThresholdConfiguration| u32::try_from(given.value).unwrap_or_default();
        match given {
            None => Self::BoundedPercent(DEFAULT_PERCENT),
            Some(given) => match given.kind {
                ThresholdType::Count => Self::Count(value(given)),
                ThresholdType::BoundedPercent => Self::BoundedPercent(value(given)),
                ThresholdType::UnboundedPercent => Self::UnboundedPercent(value(given)),
            },
        }
    }

    /// The failures that trigger the breaker; at least one.
    pub(crate) fn of(self, desired: usize) -> usize {
        let percent = |percent: u32| desired.saturating_mul(percent as usize).div_ceil(100);
        match self {
            Self::Count(count) => (count as usize).max(1),
            Self::BoundedPercent(value) => percent(value).clamp(LEAST_FAILURES, MOST_FAILURES),
            Self::UnboundedPercent(value) => percent(value).max(1),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lower_bound_is_rounded_up_and_the_upper_one_down() {
        let bounds = |minimum_healthy, maximum, desired| {
            let percents = Percents {
                minimum_healthy,
                maximum,
            };
            let Bounds { low, high } = percents.of(desired);
            (low, high)
        };
        assert_eq!(bounds(100, 200, 4), (4, 8));
        assert_eq!(bounds(50, 150, 3), (2, 4));
        assert_eq!(bounds(75, 125, 3), (3, 3));
        assert_eq!(bounds(0, 100, 7), (0, 7));
        assert_eq!(bounds(100, 200, 0), (0, 0));
    }

    #[test]
    fn a_threshold_in_percent_is_bounded_unless_it_says_otherwise() {
        let bounded = |desired| Threshold::BoundedPercent(DEFAULT_PERCENT).of(desired);
        assert_eq!(
            [1, 6, 7, 25, 400, 10_000].map(bounded),
            [3, 3, 4, 13, 200, 200]
        );
        assert_eq!(Threshold::UnboundedPercent(10).of(5), 1);
        assert_eq!(Threshold::UnboundedPercent(50).of(1_000), 500);
        assert_eq!(Threshold::Count(0).of(9), 1);
        assert_eq!(Threshold::Count(7).of(9), 7);
    }
}
