//! Checks a request document against a service's published limits, and words the refusal as that
//! service does. PURE.
//!
//! The limits are facts of the public service models, kept beside the API that they describe: for
//! each operation its members, for each member a shape (type, length, range, pattern, values).
//! Members that the model does not name are skipped, as AWS skips them.

mod pattern;
mod typed;

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde::Deserialize;
use serde_json::{Map, Value};

use crate::fault::Fault;

/// All that a service's model says about what it takes.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Limits {
    fault: Wording,
    #[serde(default)]
    shapes: BTreeMap<String, Shape>,
    operations: BTreeMap<String, Members>,
}

/// The error of a service for an invalid request. `{member}` and `{constraint}` are placeholders
/// for the path of the invalid member and the violated rule; `{camelMember}` is the path as Query
/// services show it, each name with a small initial.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Wording {
    code: String,
    message: String,
    /// For a required member that is missing, where the service has other words for it. `{Member}`
    /// is the last name of the path, with a capital initial.
    missing: Option<String>,
    /// For a text that is none of the shape's values. `{values}` are these.
    values: Option<String>,
}

/// Member name to shape name, with a `*` after it where the member is required.
type Members = BTreeMap<String, String>;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Shape {
    r#type: Type,
    /// Least and most characters, bytes, items, or value, whichever the type has.
    min: Option<i64>,
    max: Option<i64>,
    /// The model's regular expression; [`pattern::matches`] knows each by its text.
    pattern: Option<String>,
    #[serde(default)]
    values: Vec<String>,
    /// The shape of a list's items.
    item: Option<String>,
    /// The shapes of a map's keys and values.
    key: Option<String>,
    value: Option<String>,
    #[serde(default)]
    members: Members,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Type {
    String,
    Blob,
    Boolean,
    Integer,
    Long,
    Float,
    Double,
    /// Seconds since 1970 as a number, as the JSON protocols write times.
    Timestamp,
    List,
    Map,
    Structure,
}

/// The first broken rule of a document, as long as its types are right.
struct Check<'a> {
    limits: &'a Limits,
    path: String,
    words: Words,
    broken: Option<Fault>,
}

/// What a broken rule is told of.
#[derive(Clone, Copy)]
enum Words {
    OfMembers,
    OfMapKeys,
}

impl Shape {
    /// How many of `count` items are checked. A list that is too long is refused whatever it
    /// holds; only its types still matter, and those of the first items tell.
    fn looked_at(&self, count: usize) -> usize {
        self.max
            .and_then(|max| usize::try_from(max).ok())
            .map_or(count, |max| count.min(max))
    }
}

impl Limits {
    /// Reads the limits of a service.
    ///
    /// # Panics
    /// For a text that is no such file: it is part of the program, and a test reads each.
    pub fn read(text: &str) -> Self {
        toml::from_str(text).expect("the built-in limits are read by a test")
    }

    /// Checks `document` as the request of `operation`.
    ///
    /// # Errors
    /// `SerializationException` for a member of the wrong type, else the service's own fault for
    /// the first broken rule.
    pub fn check(&self, operation: &str, document: &Value) -> Result<(), Fault> {
        let Some(members) = self.operations.get(operation) else {
            return Ok(());
        };
        let Value::Object(object) = document else {
            return Err(Fault::serialization("The body is not a JSON object"));
        };
        let mut check = Check {
            limits: self,
            path: String::new(),
            words: Words::OfMembers,
            broken: None,
        };
        check.structure(members, object)?;
        check.broken.map_or(Ok(()), Err)
    }

    /// The refusal of `member` (a path such as `imageIds.1.member.imageTag`) for breaking
    /// `constraint`.
    #[must_use]
    pub fn refusal(&self, member: &str, constraint: &str) -> Fault {
        let mut wording = self.fault.message.clone();
        let mut constraint = constraint;
        if constraint.starts_with("Map ") {
            wording = wording.replace("Member {constraint}", "{constraint}");
        } else if wording.contains("Member {constraint}") {
            constraint = constraint.trim_start_matches("Member ");
        }
        let message = wording
            .replace("{member}", member)
            .replace("{camelMember}", &camel_case(member))
            .replace("{constraint}", constraint);
        Fault::sender(self.fault.code.clone(), message)
    }

    /// Operations and their members, required ones marked: what the model check compares with the
    /// public model.
    pub fn operations(&self) -> impl Iterator<Item = (&str, impl Iterator<Item = (&str, bool)>)> {
        self.operations.iter().map(|(name, members)| {
            (
                name.as_str(),
                members
                    .iter()
                    .map(|(member, shape)| (member.as_str(), shape.ends_with('*'))),
            )
        })
    }
}

impl Check<'_> {
    fn structure(&mut self, members: &Members, object: &Map<String, Value>) -> Result<(), Fault> {
        for (name, shape) in members {
            let depth = self.path.len();
            let _ = write!(self.path, "{}{name}", if depth == 0 { "" } else { "." });
            let (shape, required) = shape
                .strip_suffix('*')
                .map_or((shape.as_str(), false), |shape| (shape, true));
            match object.get(name) {
                None | Some(Value::Null) if required => self.misses(),
                None | Some(Value::Null) => {}
                Some(value) => self.member(shape, value)?,
            }
            self.path.truncate(depth);
        }
        Ok(())
    }

    fn member(&mut self, shape: &str, value: &Value) -> Result<(), Fault> {
        let limits = self.limits;
        let Some(shape) = limits.shapes.get(shape) else {
            return Ok(());
        };
        match (shape.r#type, value) {
            (Type::Structure, Value::Object(object)) => self.structure(&shape.members, object)?,
            (Type::List, Value::Array(items)) => self.list(shape, items)?,
            (Type::Map, Value::Object(entries)) => self.map(shape, entries)?,
            (Type::String, Value::String(text)) => self.text(shape, text),
            (Type::Blob, Value::String(text)) => self.length(shape, decoded_length(text)),
            (Type::Boolean, Value::Bool(_)) => {}
            (Type::Integer | Type::Long, Value::Number(number)) => {
                let fits =
                    |value: &i64| shape.r#type == Type::Long || i32::try_from(*value).is_ok();
                let Some(number) = number.as_i64().filter(fits) else {
                    return Err(self.wrong_type(shape.r#type, value));
                };
                self.range(shape, |limit| Some(number.cmp(&limit)));
            }
            (Type::Float | Type::Double | Type::Timestamp, Value::Number(number)) => {
                let Some(number) = number.as_f64() else {
                    return Err(self.wrong_type(shape.r#type, value));
                };
                self.range(shape, |limit| number.partial_cmp(&float(limit)));
            }
            (kind, value) => return Err(self.wrong_type(kind, value)),
        }
        Ok(())
    }

    fn list(&mut self, shape: &Shape, items: &[Value]) -> Result<(), Fault> {
        self.length(shape, items.len());
        let looked_at = shape.looked_at(items.len());
        let Some(item) = &shape.item else {
            return Ok(());
        };
        for (at, value) in items[..looked_at].iter().enumerate() {
            let depth = self.path.len();
            let _ = write!(self.path, ".{}.member", at + 1);
            match value {
                Value::Null => self.misses(),
                value => self.member(item, value)?,
            }
            self.path.truncate(depth);
        }
        Ok(())
    }

    fn map(&mut self, shape: &Shape, entries: &Map<String, Value>) -> Result<(), Fault> {
        self.length(shape, entries.len());
        for (key, value) in entries.iter().take(shape.looked_at(entries.len())) {
            if let Some(of_keys) = &shape.key {
                self.map_key(of_keys, key);
            }
            let depth = self.path.len();
            let _ = write!(self.path, ".{key}.member");
            match (value, &shape.value) {
                (Value::Null, _) => self.misses(),
                (value, Some(of_values)) => self.member(of_values, value)?,
                (_, None) => {}
            }
            self.path.truncate(depth);
        }
        Ok(())
    }

    /// A key has no path of its own: what it breaks is told of its map.
    fn map_key(&mut self, shape: &str, key: &str) {
        let Some(shape) = self.limits.shapes.get(shape) else {
            return;
        };
        self.words = Words::OfMapKeys;
        self.text(shape, key);
        self.words = Words::OfMembers;
    }

    fn text(&mut self, shape: &Shape, text: &str) {
        if shape.min.is_some() || shape.max.is_some() {
            self.length(shape, text.chars().count());
        }
        if let Some(pattern) = &shape.pattern
            && !pattern::matches(pattern, text)
        {
            self.breaks(&format!("must satisfy regular expression '{pattern}'"));
        }
        if !shape.values.is_empty() && !shape.values.iter().any(|value| value == text) {
            match &self.limits.fault.values {
                Some(wording) => {
                    self.breaks_as(&wording.replace("{values}", &shape.values.join(",")));
                }
                None => self.breaks(&format!(
                    "Member must satisfy enum value set: [{}]",
                    shape.values.join(", ")
                )),
            }
        }
    }

    fn length(&mut self, shape: &Shape, length: usize) {
        let length = i64::try_from(length).unwrap_or(i64::MAX);
        if let Some(min) = shape.min.filter(|min| length < *min) {
            self.breaks(&format!("must have length greater than or equal to {min}"));
        }
        if let Some(max) = shape.max.filter(|max| length > *max) {
            self.breaks(&format!("must have length less than or equal to {max}"));
        }
    }

    /// `compare` compares the value with a limit.
    fn range(&mut self, shape: &Shape, compare: impl Fn(i64) -> Option<Ordering>) {
        let is = |limit: &i64, order| compare(*limit) == Some(order);
        if let Some(min) = shape.min.filter(|min| is(min, Ordering::Less)) {
            self.breaks(&format!("must have value greater than or equal to {min}"));
        }
        if let Some(max) = shape.max.filter(|max| is(max, Ordering::Greater)) {
            self.breaks(&format!("must have value less than or equal to {max}"));
        }
    }

    /// A required member is not there.
    fn misses(&mut self) {
        match &self.limits.fault.missing {
            Some(wording) => self.breaks_as(wording),
            None => self.breaks("must not be null"),
        }
    }

    /// A broken rule for which the service has words of its own.
    fn breaks_as(&mut self, wording: &str) {
        if self.broken.is_none() {
            let named = |part: &&str| *part != "member" && part.parse::<usize>().is_err();
            let name = self.path.rsplit('.').find(named).unwrap_or_default();
            let message = wording
                .replace("{member}", name)
                .replace("{Member}", &capitalised(name));
            let code = self.limits.fault.code.clone();
            self.broken = Some(Fault::sender(code, message));
        }
    }

    fn breaks(&mut self, constraint: &str) {
        if self.broken.is_none() {
            let constraint = match self.words {
                Words::OfMembers => constraint.to_owned(),
                Words::OfMapKeys => format!(
                    "Map keys must satisfy constraint: [Member {}]",
                    constraint.trim_start_matches("Member ")
                ),
            };
            self.broken = Some(self.limits.refusal(&self.path, &constraint));
        }
    }

    fn wrong_type(&self, expected: Type, value: &Value) -> Fault {
        let found = match value {
            Value::Null => "NULL_VALUE",
            Value::Bool(true) => "TRUE_VALUE",
            Value::Bool(false) => "FALSE_VALUE",
            Value::Number(_) => "NUMBER_VALUE",
            Value::String(_) => "STRING_VALUE",
            Value::Array(_) => "START_ARRAY",
            Value::Object(_) => "START_OBJECT",
        };
        let expected = match expected {
            Type::String => "String",
            Type::Blob => "Blob",
            Type::Boolean => "Boolean",
            Type::Integer => "Integer",
            Type::Long => "Long",
            Type::Float => "Float",
            Type::Double => "Double",
            Type::Timestamp => "Timestamp",
            Type::Map => "Map",
            Type::List => "List",
            Type::Structure => "Structure",
        };
        Fault::serialization(format!(
            "{found} can not be converted to {expected} at '{}'",
            self.path
        ))
    }
}

/// A limit of fractions, which the models keep far below the range of `i32`.
fn float(limit: i64) -> f64 {
    i32::try_from(limit).map_or(f64::NAN, f64::from)
}

fn capitalised(name: &str) -> String {
    let mut characters = name.chars();
    let initial = characters
        .next()
        .map(|initial| initial.to_ascii_uppercase());
    initial.into_iter().chain(characters).collect()
}

/// A path with a small initial for each of its names.
fn camel_case(path: &str) -> String {
    let mut initial = true;
    let lower = path.chars().map(|character| {
        let shown = if initial {
            character.to_ascii_lowercase()
        } else {
            character
        };
        initial = character == '.';
        shown
    });
    lower.collect()
}

/// Bytes that a Base64 text encodes; an invalid text is refused when it is decoded.
fn decoded_length(text: &str) -> usize {
    text.trim_end_matches('=').len() * 3 / 4
}

#[cfg(test)]
mod tests;
