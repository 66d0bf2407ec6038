//! The cluster query language of `memberOf` constraints and of the filter of
//! `ListContainerInstances`. PURE.
//!
//! Source: ECS developer guide, "Cluster query language". Where the guide is silent: a negated
//! operator (`!=`, `!in`, `!~`, `!exists`) is true wherever the operator itself is not, also where
//! the instance lacks the attribute; attributes are compared as numbers where both sides are
//! numbers, else by their bytes. Regular expressions must match the whole value. They know no
//! look-around and no back-references, which is why one is matched in linear time.

mod parse;
mod token;

use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};

use regex_automata::meta::Regex;
use wharfinger_base::Timestamp;

use crate::placement::Node;
use crate::placement::query::parse::Parsed;

/// Most characters of an expression (ECS API reference, `PlacementConstraint`).
const MAX_CHARACTERS: usize = 2000;

/// About what the text and the terms of an expression take for each byte of the text: the shortest
/// operand of a list, `a,`, is a [`Comparison`] with a string.
const BYTES_PER_CHARACTER: usize = 32;

/// Why a text is no expression.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum QueryError {
    #[error("the expression is longer than {MAX_CHARACTERS} characters")]
    TooLong,
    #[error("parentheses and negations are nested too deeply")]
    TooDeep,
    #[error("a quote is not closed")]
    OpenQuote,
    #[error("the expression ends too early")]
    End,
    #[error("unexpected '{0}'")]
    Unexpected(String),
    #[error("unknown subject '{0}'")]
    Subject(String),
    #[error("the operator is not valid for {0}")]
    Operator(String),
    #[error("'{value}' is not a value of {subject}")]
    Value { subject: String, value: String },
    #[error("'{0}' is not a regular expression, or too large, or not supported")]
    Regex(String),
}

/// An expression. Two with the same text are equal.
#[derive(Clone, Debug)]
pub struct Expression {
    text: String,
    root: Term,
    regex_bytes: usize,
}

impl Expression {
    /// Parses an expression.
    pub fn parse(text: &str) -> Result<Self, QueryError> {
        let Parsed { root, regex_bytes } = parse::parse(text)?;
        Ok(Self {
            text: text.to_owned(),
            root,
            regex_bytes,
        })
    }

    /// About how much memory it takes, in bytes.
    pub(super) fn bytes(&self) -> usize {
        BYTES_PER_CHARACTER * self.text.len() + self.regex_bytes
    }

    /// Whether it is true of an instance.
    pub fn matches(&self, node: &Node) -> bool {
        self.root.holds(node)
    }

    /// Whether the result for an instance stays when its tasks or its connection change.
    pub(super) fn is_static(&self) -> bool {
        self.root.is_static()
    }
}

impl PartialEq for Expression {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for Expression {}

impl Hash for Expression {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.text.hash(state);
    }
}

#[derive(Clone, Debug)]
enum Term {
    All(Vec<Term>),
    Any(Vec<Term>),
    Not(Box<Term>),
    Test(Subject, Test),
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Subject {
    Attribute(String),
    Ec2InstanceId,
    AgentVersion,
    AgentConnected,
    RegisteredAt,
    RunningTasksCount,
    /// True if it is of any task on the instance.
    TaskGroup,
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Attribute(name) => return write!(f, "attribute:{name}"),
            Self::Ec2InstanceId => "ec2InstanceId",
            Self::AgentVersion => "agentVersion",
            Self::AgentConnected => "agentConnected",
            Self::RegisteredAt => "registeredAt",
            Self::RunningTasksCount => "runningTasksCount",
            Self::TaskGroup => "task:group",
        })
    }
}

#[derive(Clone, Debug)]
enum Test {
    Exists,
    /// The value is one of these.
    Any(Vec<Comparison>),
    /// The value is in one of these orders to the operand.
    Ordered(&'static [Ordering], Comparison),
    Matches(Regex),
}

/// An operand of the subject's type.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Comparison {
    Text(String),
    Version(Version),
    Flag(bool),
    Count(i64),
    Time(Timestamp),
}

/// A version such as `1.105.1`, with `v` before it or not.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Version(Vec<u64>);

impl Version {
    fn parse(text: &str) -> Option<Self> {
        let text = text.strip_prefix('v').unwrap_or(text);
        // What follows a dash or a plus names a build.
        let text = text.split(['-', '+']).next().unwrap_or_default();
        let parts: Result<Vec<u64>, _> = text.split('.').map(str::parse).collect();
        let mut parts = parts.ok()?;
        while parts.last() == Some(&0) {
            parts.pop();
        }
        Some(Self(parts))
    }
}

impl Term {
    fn holds(&self, node: &Node) -> bool {
        match self {
            Self::All(terms) => terms.iter().all(|term| term.holds(node)),
            Self::Any(terms) => terms.iter().any(|term| term.holds(node)),
            Self::Not(term) => !term.holds(node),
            Self::Test(subject, test) => subject.passes(test, node),
        }
    }

    fn is_static(&self) -> bool {
        match self {
            Self::All(terms) | Self::Any(terms) => terms.iter().all(Self::is_static),
            Self::Not(term) => term.is_static(),
            Self::Test(subject, _) => !matches!(
                subject,
                Subject::AgentConnected | Subject::RunningTasksCount | Subject::TaskGroup
            ),
        }
    }
}

impl Subject {
    fn passes(&self, test: &Test, node: &Node) -> bool {
        match self {
            Self::Attribute(name) => match (node.attribute(name), test) {
                (found, Test::Exists) => found.is_some(),
                (Some(Some(value)), test) => text_passes(value, test),
                (None | Some(None), _) => false,
            },
            Self::Ec2InstanceId => {
                let id = node.ec2_instance_id.as_deref();
                id.is_some_and(|id| text_passes(id, test))
            }
            Self::AgentVersion => match (&node.agent_version, test) {
                (version, Test::Exists) => version.is_some(),
                (Some(version), Test::Matches(regex)) => regex.is_match(version),
                (Some(version), test) => Version::parse(version)
                    .is_some_and(|version| value_passes(&Comparison::Version(version), test)),
                (None, _) => false,
            },
            Self::AgentConnected => value_passes(&Comparison::Flag(node.agent_connected), test),
            Self::RegisteredAt => value_passes(&Comparison::Time(node.registered_at), test),
            Self::RunningTasksCount => value_passes(&Comparison::Count(node.running_tasks()), test),
            Self::TaskGroup => node.groups().any(|group| text_passes(group, test)),
        }
    }
}

fn text_passes(value: &str, test: &Test) -> bool {
    match test {
        Test::Exists => true,
        Test::Matches(regex) => regex.is_match(value),
        Test::Any(operands) => operands
            .iter()
            .any(|operand| matches!(operand, Comparison::Text(one) if one == value)),
        Test::Ordered(orderings, Comparison::Text(operand)) => {
            orderings.contains(&compare_texts(value, operand))
        }
        Test::Ordered(..) => false,
    }
}

/// By number where both are numbers, else by their bytes.
fn compare_texts(value: &str, operand: &str) -> Ordering {
    let numbers = value.parse::<f64>().ok().zip(operand.parse::<f64>().ok());
    let by_number = numbers.and_then(|(value, operand)| value.partial_cmp(&operand));
    by_number.unwrap_or_else(|| value.cmp(operand))
}

fn value_passes(value: &Comparison, test: &Test) -> bool {
    match test {
        Test::Exists => true,
        Test::Any(operands) => operands.contains(value),
        Test::Ordered(orderings, operand) => {
            let ordering = match (value, operand) {
                (Comparison::Version(value), Comparison::Version(operand)) => value.cmp(operand),
                (Comparison::Count(value), Comparison::Count(operand)) => value.cmp(operand),
                (Comparison::Time(value), Comparison::Time(operand)) => value.cmp(operand),
                _ => return false,
            };
            orderings.contains(&ordering)
        }
        Test::Matches(_) => false,
    }
}

#[cfg(test)]
mod tests;
