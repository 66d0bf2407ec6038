//! What a pattern compares with: a text with `*`, a number, or a regular expression. PURE.

use regex::{Regex, RegexBuilder};

use crate::filter_pattern::PatternError;

/// Largest compiled regular expression, in bytes. Matching takes linear time.
const MAX_REGEX_BYTES: usize = 64 * 1024;

/// A comparison.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Comparison {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

/// The right side of a comparison.
#[derive(Clone, Debug)]
pub(super) enum Operand {
    /// A text in which `*` stands for any characters.
    Text(String),
    Regex(Regex),
}

/// Compiles the expression between percent signs.
pub(super) fn regex(text: &str) -> Result<Regex, PatternError> {
    let built = RegexBuilder::new(text).size_limit(MAX_REGEX_BYTES).build();
    built.map_err(|_| PatternError(format!("%{text}% is not a regular expression")))
}

impl Comparison {
    /// Whether `found` compares so with `operand`. Order is that of numbers, and a text that is
    /// no number is in no order.
    pub(super) fn holds(self, found: &str, operand: &Operand) -> bool {
        match self {
            Self::Equal => operand.equals(found),
            Self::NotEqual => !operand.equals(found),
            ordered => {
                let Operand::Text(text) = operand else {
                    return false;
                };
                let (Ok(left), Ok(right)) = (found.parse::<f64>(), text.parse::<f64>()) else {
                    return false;
                };
                match ordered {
                    Self::Less => left < right,
                    Self::LessOrEqual => left <= right,
                    Self::Greater => left > right,
                    Self::GreaterOrEqual | Self::Equal | Self::NotEqual => left >= right,
                }
            }
        }
    }
}

impl Operand {
    fn equals(&self, found: &str) -> bool {
        match self {
            Self::Regex(regex) => regex.is_match(found),
            Self::Text(text) => {
                let equal_numbers = || match (found.parse::<f64>(), text.parse::<f64>()) {
                    (Ok(left), Ok(right)) => left.total_cmp(&right).is_eq(),
                    _ => false,
                };
                glob(text, found) || equal_numbers()
            }
        }
    }
}

/// Whether `text` matches `pattern`, in which `*` stands for any characters. The segments are
/// found from the left, each at its first place, so the work is bounded by the product of a few
/// short lengths.
fn glob(pattern: &str, text: &str) -> bool {
    let Some((first, rest)) = pattern.split_once('*') else {
        return pattern == text;
    };
    let Some(mut text) = text.strip_prefix(first) else {
        return false;
    };
    let mut segments: Vec<&str> = rest.split('*').collect();
    let last = segments.pop().unwrap_or_default();
    for segment in segments {
        match text.find(segment) {
            Some(at) => text = &text[at + segment.len()..],
            None => return false,
        }
    }
    text.ends_with(last)
}
