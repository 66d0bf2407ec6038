//! Collects everything that is wrong with the settings.

use std::fmt::Display;
use std::ops::RangeInclusive;
use std::str::FromStr;

use crate::config::Problem;

/// Collects problems while values are taken.
#[derive(Default)]
pub(super) struct Problems(pub(super) Vec<Problem>);

impl Problems {
    pub(super) fn add(&mut self, key: &'static str, why: impl Display) {
        self.0.push(Problem {
            key,
            why: why.to_string(),
        });
    }

    /// The parsed value, or the default where nothing is set or it cannot be parsed (which is a
    /// problem then).
    pub(super) fn parsed<T: FromStr<Err: Display>>(
        &mut self,
        key: &'static str,
        given: Option<&str>,
        default: T,
    ) -> T {
        match given.map(str::parse) {
            None => default,
            Some(Ok(value)) => value,
            Some(Err(why)) => {
                self.add(key, why);
                default
            }
        }
    }

    pub(super) fn within<N: Copy + PartialOrd + Display>(
        &mut self,
        key: &'static str,
        given: Option<N>,
        default: N,
        range: RangeInclusive<N>,
    ) -> N {
        let value = given.unwrap_or(default);
        if !range.contains(&value) {
            self.add(
                key,
                format!(
                    "{value} is not between {} and {}",
                    range.start(),
                    range.end()
                ),
            );
        }
        value
    }

    /// One of two values.
    pub(super) fn either<T: Copy>(
        &mut self,
        key: &'static str,
        given: Option<&str>,
        first: (&str, T),
        second: (&str, T),
    ) -> T {
        match given {
            None => first.1,
            Some(word) if word == first.0 => first.1,
            Some(word) if word == second.0 => second.1,
            Some(other) => {
                self.add(
                    key,
                    format!("`{other}` is neither {} nor {}", first.0, second.0),
                );
                first.1
            }
        }
    }
}
