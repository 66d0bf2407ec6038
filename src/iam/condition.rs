//! Conditions: every operator of the policy language, compiled, and evaluated for one request.
//! PURE.
//!
//! Source: IAM JSON policy elements reference, "Condition operators" and "Single-valued vs.
//! multivalued context keys". Two rules hold for all operators: a negated operator is the exact
//! opposite of its positive form, so it holds where the key is missing; and an operator with
//! `IfExists` always holds where the key is missing.

use std::borrow::Cow;
use std::net::IpAddr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::budget::{EvaluationLimit, MAX_CONDITION_VALUE_BYTES};
use crate::effect::Effect;
use crate::error::PolicyError;
use crate::key::{ContextValues, Key};
use crate::pattern::{ArnPattern, Pattern, PatternMatch, Syntax, arn_fields};
use crate::strict_json::Json;

/// Steps counted for a condition besides the comparison of its values: finding the values.
const CONDITION_STEPS: usize = 32;

/// One operator applied to one key: `"StringLike": {"aws:username": ["a*", "b*"]}`.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Condition {
    operator: Operator,
    key: Key,
    operands: Vec<Operand>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Operator {
    test: Test,
    negated: bool,
    if_exists: bool,
    quantifier: Quantifier,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Quantifier {
    /// None written: the key is expected to have one value. Of several, one that matches is enough.
    Plain,
    ForAllValues,
    ForAnyValue,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Test {
    StringEquals,
    StringEqualsIgnoreCase,
    StringLike,
    Numeric(Order),
    Date(Order),
    Bool,
    Binary,
    IpAddress,
    Arn,
    Null,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Order {
    Equal,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

/// A value from the policy, ready to be compared.
#[derive(Clone, Debug, PartialEq)]
enum Operand {
    Text(Pattern),
    Number(f64),
    /// Milliseconds since the epoch.
    Instant(i64),
    Truth(bool),
    Bytes(Vec<u8>),
    Network(Network),
    Arn(ArnPattern),
}

/// Reads the `Condition` element of a statement. `variables` tells whether the version of the
/// document has them.
pub(super) fn parse(block: &Json, variables: bool) -> Result<Vec<Condition>, PolicyError> {
    const ELEMENT: &str = "Condition";
    let Json::Object(operators) = block else {
        return Err(PolicyError::value(ELEMENT, "not an object"));
    };
    let mut conditions = Vec::new();
    for (name, keys) in operators {
        let operator = Operator::parse(name).ok_or_else(|| PolicyError::value(ELEMENT, name))?;
        let Json::Object(keys) = keys else {
            return Err(PolicyError::value(ELEMENT, name));
        };
        for (key, values) in keys {
            if key.is_empty() {
                return Err(PolicyError::value(ELEMENT, name));
            }
            let values = match values {
                Json::List(values) => values.as_slice(),
                single => std::slice::from_ref(single),
            };
            let operands = values
                .iter()
                .map(|value| operand(operator.test, value, variables));
            let operands: Option<Vec<_>> = operands.collect();
            let operands = operands
                .filter(|operands| !operands.is_empty())
                .ok_or_else(|| PolicyError::value(ELEMENT, key))?;
            conditions.push(Condition {
                operator,
                key: Key::of(key),
                operands,
            });
        }
    }
    Ok(conditions)
}

impl Operator {
    fn parse(name: &str) -> Option<Self> {
        let (quantifier, name) = match name.split_once(':') {
            None => (Quantifier::Plain, name),
            Some(("ForAllValues", name)) => (Quantifier::ForAllValues, name),
            Some(("ForAnyValue", name)) => (Quantifier::ForAnyValue, name),
            Some(_) => return None,
        };
        let (if_exists, name) = name
            .strip_suffix("IfExists")
            .map_or((false, name), |name| (true, name));
        let (test, negated) = match name {
            "StringEquals" => (Test::StringEquals, false),
            "StringNotEquals" => (Test::StringEquals, true),
            "StringEqualsIgnoreCase" => (Test::StringEqualsIgnoreCase, false),
            "StringNotEqualsIgnoreCase" => (Test::StringEqualsIgnoreCase, true),
            "StringLike" => (Test::StringLike, false),
            "StringNotLike" => (Test::StringLike, true),
            "NumericEquals" => (Test::Numeric(Order::Equal), false),
            "NumericNotEquals" => (Test::Numeric(Order::Equal), true),
            "NumericLessThan" => (Test::Numeric(Order::Less), false),
            "NumericLessThanEquals" => (Test::Numeric(Order::LessOrEqual), false),
            "NumericGreaterThan" => (Test::Numeric(Order::Greater), false),
            "NumericGreaterThanEquals" => (Test::Numeric(Order::GreaterOrEqual), false),
            "DateEquals" => (Test::Date(Order::Equal), false),
            "DateNotEquals" => (Test::Date(Order::Equal), true),
            "DateLessThan" => (Test::Date(Order::Less), false),
            "DateLessThanEquals" => (Test::Date(Order::LessOrEqual), false),
            "DateGreaterThan" => (Test::Date(Order::Greater), false),
            "DateGreaterThanEquals" => (Test::Date(Order::GreaterOrEqual), false),
            "Bool" => (Test::Bool, false),
            "BinaryEquals" => (Test::Binary, false),
            "IpAddress" => (Test::IpAddress, false),
            "NotIpAddress" => (Test::IpAddress, true),
            "ArnEquals" | "ArnLike" => (Test::Arn, false),
            "ArnNotEquals" | "ArnNotLike" => (Test::Arn, true),
            // `Null` tests whether the key exists: IfExists and the set forms would say nothing
            // more.
            "Null" if !if_exists && quantifier == Quantifier::Plain => (Test::Null, false),
            _ => return None,
        };
        Some(Self {
            test,
            negated,
            if_exists,
            quantifier,
        })
    }
}

impl Condition {
    /// Whether the condition of a statement with this effect holds for this request. Tags whose
    /// keys differ only in case are all values of one condition key: a statement that denies needs
    /// one of them to match, one that allows needs all.
    pub(super) fn holds(&self, effect: Effect, context: &impl ContextValues) -> bool {
        context.meter().spend(CONDITION_STEPS);
        let values = context.values(&self.key);
        if values
            .iter()
            .any(|value| value.len() > MAX_CONDITION_VALUE_BYTES)
        {
            context.meter().exceed(EvaluationLimit::ValueBytes);
            return false;
        }
        let Operator {
            test,
            negated,
            if_exists,
            quantifier,
        } = self.operator;
        if test == Test::Null {
            return self.operands.contains(&Operand::Truth(values.is_empty()));
        }
        if values.is_empty() {
            return if_exists
                || match quantifier {
                    Quantifier::Plain => negated,
                    Quantifier::ForAllValues => true,
                    Quantifier::ForAnyValue => false,
                };
        }
        let mut hits = values.iter().map(|value| {
            self.operands
                .iter()
                .any(|operand| operand.matches(test, value, context))
                != negated
        });
        match quantifier {
            Quantifier::ForAllValues => hits.all(|hit| hit),
            Quantifier::Plain if self.key.is_tag() => match effect {
                Effect::Allow => hits.all(|hit| hit),
                Effect::Deny => hits.any(|hit| hit),
            },
            Quantifier::Plain if negated => hits.all(|hit| hit),
            Quantifier::Plain | Quantifier::ForAnyValue => hits.any(|hit| hit),
        }
    }
}

/// Compiles one value for a test; `None` where the test cannot take it.
fn operand(test: Test, value: &Json, variables: bool) -> Option<Operand> {
    let written = match value {
        Json::Text(written) => Cow::Borrowed(written.as_str()),
        Json::Bool(truth) => Cow::Borrowed(if *truth { "true" } else { "false" }),
        Json::Number(number) => Cow::Owned(number.to_string()),
        Json::Null | Json::List(_) | Json::Object(_) => return None,
    };
    Some(match test {
        Test::StringEquals | Test::StringEqualsIgnoreCase => Operand::Text(
            Pattern::compile(
                &written,
                Syntax {
                    wildcards: false,
                    variables,
                },
            )
            .ok()?,
        ),
        Test::StringLike => Operand::Text(
            Pattern::compile(
                &written,
                Syntax {
                    wildcards: true,
                    variables,
                },
            )
            .ok()?,
        ),
        Test::Numeric(_) => Operand::Number(number(&written)?),
        Test::Date(_) => Operand::Instant(instant(&written)?),
        Test::Bool | Test::Null => Operand::Truth(truth(&written)?),
        Test::Binary => Operand::Bytes(STANDARD.decode(written.as_bytes()).ok()?),
        Test::IpAddress => Operand::Network(Network::parse(&written)?),
        Test::Arn => Operand::Arn(
            ArnPattern::compile(
                &written,
                Syntax {
                    wildcards: true,
                    variables,
                },
            )
            .ok()?,
        ),
    })
}

impl Operand {
    /// Whether one value of the request matches this value of the policy. A value that is not of
    /// the operator's type matches nothing.
    fn matches(&self, test: Test, value: &str, context: &impl ContextValues) -> bool {
        if !context.meter().spend(value.len()) {
            return false;
        }
        match (self, test) {
            (Self::Text(pattern), Test::StringEqualsIgnoreCase) => pattern
                .expand(context, MAX_CONDITION_VALUE_BYTES)
                .is_some_and(|text| text.to_lowercase() == value.to_lowercase()),
            (Self::Text(pattern), _) => pattern.matches(value, context) == PatternMatch::Matches,
            (Self::Arn(pattern), _) => {
                value.starts_with("arn:")
                    && pattern.matches(arn_fields(value).as_ref(), context) == PatternMatch::Matches
            }
            (Self::Number(policy), Test::Numeric(order)) => {
                number(value).is_some_and(|value| order.holds(value.partial_cmp(policy)))
            }
            (Self::Instant(policy), Test::Date(order)) => {
                instant(value).is_some_and(|value| order.holds(Some(value.cmp(policy))))
            }
            (Self::Truth(policy), _) => truth(value) == Some(*policy),
            (Self::Bytes(policy), _) => STANDARD.decode(value).is_ok_and(|value| value == *policy),
            (Self::Network(network), _) => {
                value.parse().is_ok_and(|address| network.contains(address))
            }
            (Self::Number(_) | Self::Instant(_), _) => false,
        }
    }
}

impl Order {
    fn holds(self, found: Option<std::cmp::Ordering>) -> bool {
        found.is_some_and(|ordering| match self {
            Self::Equal => ordering.is_eq(),
            Self::Less => ordering.is_lt(),
            Self::LessOrEqual => ordering.is_le(),
            Self::Greater => ordering.is_gt(),
            Self::GreaterOrEqual => ordering.is_ge(),
        })
    }
}

fn number(text: &str) -> Option<f64> {
    let plain = text
        .bytes()
        .all(|byte| byte.is_ascii_digit() || matches!(byte, b'+' | b'-' | b'.' | b'e' | b'E'));
    text.parse()
        .ok()
        .filter(|number: &f64| plain && number.is_finite())
}

fn truth(text: &str) -> Option<bool> {
    [true, false]
        .into_iter()
        .find(|truth| text.eq_ignore_ascii_case(if *truth { "true" } else { "false" }))
}

/// Reads a time as the W3C profile of ISO 8601 writes it (year; year and month; date; date and time
/// with a zone), or as seconds since the epoch. Milliseconds since the epoch.
fn instant(text: &str) -> Option<i64> {
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    let completed = match text.len() {
        4 if digits => format!("{text}-01-01T00:00:00Z"),
        7 if text.as_bytes()[4] == b'-' => format!("{text}-01T00:00:00Z"),
        10 if text.as_bytes()[4] == b'-' => format!("{text}T00:00:00Z"),
        0 => return None,
        _ if digits => return text.parse::<i64>().ok()?.checked_mul(1000),
        _ => text.to_owned(),
    };
    completed
        .parse::<jiff::Timestamp>()
        .ok()
        .map(jiff::Timestamp::as_millisecond)
}

/// An address block; a bare address is a block of one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Network {
    address: IpAddr,
    prefix_bits: u32,
}

impl Network {
    fn parse(text: &str) -> Option<Self> {
        let (address, prefix) = text
            .split_once('/')
            .map_or((text, None), |(address, prefix)| (address, Some(prefix)));
        let address: IpAddr = address.parse().ok()?;
        let most = if address.is_ipv4() { 32 } else { 128 };
        let prefix_bits = match prefix {
            None => most,
            Some(bits) if bits.bytes().all(|byte| byte.is_ascii_digit()) => {
                bits.parse().ok().filter(|bits| *bits <= most)?
            }
            Some(_) => return None,
        };
        Some(Self {
            address,
            prefix_bits,
        })
    }

    /// Is `address` in the block? IPv4 written as `::ffff:a.b.c.d` counts as IPv4; otherwise the
    /// families never meet.
    fn contains(self, address: IpAddr) -> bool {
        match (self.address, address.to_canonical()) {
            (IpAddr::V4(network), IpAddr::V4(address)) => {
                (u32::from(network) ^ u32::from(address))
                    .checked_shr(32 - self.prefix_bits)
                    .unwrap_or(0)
                    == 0
            }
            (IpAddr::V6(network), IpAddr::V6(address)) => {
                (u128::from(network) ^ u128::from(address))
                    .checked_shr(128 - self.prefix_bits)
                    .unwrap_or(0)
                    == 0
            }
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests;
