//! Checks a request document against a service's published limits, and words the refusal as that
//! service does. PURE.
//!
//! The limits are facts of the public service models, kept beside the API that they describe: for
//! each operation its members, for each member a shape (type, length, range, pattern, values).
//! Members that the model does not name are skipped, as AWS skips them.

mod pattern;
mod typed;

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
    List,
    Structure,
}

/// The first broken rule of a document, as long as its types are right.
struct Check<'a> {
    limits: &'a Limits,
    path: String,
    broken: Option<Fault>,
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
            broken: None,
        };
        check.structure(members, object)?;
        check.broken.map_or(Ok(()), Err)
    }

    /// The refusal of `member` (a path such as `imageIds.1.member.imageTag`) for breaking
    /// `constraint`.
    #[must_use]
    pub fn refusal(&self, member: &str, constraint: &str) -> Fault {
        let wording = self.fault.message.as_str();
        let constraint = if wording.contains("Member {constraint}") {
            constraint.trim_start_matches("Member ")
        } else {
            constraint
        };
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
                None | Some(Value::Null) if required => self.breaks("must not be null"),
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
            (Type::String, Value::String(text)) => self.text(shape, text),
            (Type::Blob, Value::String(text)) => self.length(shape, decoded_length(text)),
            (Type::Boolean, Value::Bool(_)) => {}
            (Type::Integer | Type::Long, Value::Number(number)) => {
                let fits =
                    |value: &i64| shape.r#type == Type::Long || i32::try_from(*value).is_ok();
                let Some(number) = number.as_i64().filter(fits) else {
                    return Err(self.wrong_type(shape.r#type, value));
                };
                self.range(shape, number);
            }
            (kind, value) => return Err(self.wrong_type(kind, value)),
        }
        Ok(())
    }

    fn list(&mut self, shape: &Shape, items: &[Value]) -> Result<(), Fault> {
        let count = items.len();
        self.length(shape, count);
        // A list that is too long is refused whatever it holds; only its types still matter, and
        // those of the first items tell.
        let looked_at = shape
            .max
            .and_then(|max| usize::try_from(max).ok())
            .map_or(count, |max| count.min(max));
        let Some(item) = &shape.item else {
            return Ok(());
        };
        for (at, value) in items[..looked_at].iter().enumerate() {
            let depth = self.path.len();
            let _ = write!(self.path, ".{}.member", at + 1);
            match value {
                Value::Null => self.breaks("must not be null"),
                value => self.member(item, value)?,
            }
            self.path.truncate(depth);
        }
        Ok(())
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
            self.breaks(&format!(
                "Member must satisfy enum value set: [{}]",
                shape.values.join(", ")
            ));
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

    fn range(&mut self, shape: &Shape, value: i64) {
        if let Some(min) = shape.min.filter(|min| value < *min) {
            self.breaks(&format!("must have value greater than or equal to {min}"));
        }
        if let Some(max) = shape.max.filter(|max| value > *max) {
            self.breaks(&format!("must have value less than or equal to {max}"));
        }
    }

    fn breaks(&mut self, constraint: &str) {
        if self.broken.is_none() {
            self.broken = Some(self.limits.refusal(&self.path, constraint));
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
            Type::List => "List",
            Type::Structure => "Structure",
        };
        Fault::serialization(format!(
            "{found} can not be converted to {expected} at '{}'",
            self.path
        ))
    }
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
mod tests {
    use std::sync::LazyLock;

    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    static ECR: LazyLock<Limits> =
        LazyLock::new(|| Limits::read(include_str!("../api/ecr/limits.toml")));
    static STS: LazyLock<Limits> =
        LazyLock::new(|| Limits::read(include_str!("../api/iam/sts_limits.toml")));
    static IAM: LazyLock<Limits> =
        LazyLock::new(|| Limits::read(include_str!("../api/iam/iam_limits.toml")));

    fn refused(operation: &str, document: &Value) -> String {
        ECR.check(operation, document)
            .expect_err("refused")
            .to_string()
    }

    #[test]
    fn the_built_in_limits_are_whole() {
        for limits in [&*ECR, &*STS, &*IAM] {
            let used = limits
                .operations
                .values()
                .chain(limits.shapes.values().map(|shape| &shape.members))
                .flat_map(BTreeMap::values);
            let items = limits
                .shapes
                .values()
                .filter_map(|shape| shape.item.as_ref());
            for name in used.chain(items) {
                assert!(
                    limits.shapes.contains_key(name.trim_end_matches('*')),
                    "no shape {name}"
                );
            }
            for pattern in limits
                .shapes
                .values()
                .filter_map(|shape| shape.pattern.as_deref())
            {
                assert!(pattern::is_known(pattern), "no matcher for {pattern}");
            }
        }
        assert_eq!(ECR.operations().count(), 24);
    }

    #[test]
    fn refusals_in_ecrs_words() {
        for (operation, document, message) in [
            (
                "CreateRepository",
                json!({}),
                "'repositoryName' failed to satisfy constraint: 'must not be null'",
            ),
            (
                "CreateRepository",
                json!({"repositoryName": null}),
                "'repositoryName' failed to satisfy constraint: 'must not be null'",
            ),
            (
                "CreateRepository",
                json!({"repositoryName": "a"}),
                "'repositoryName' failed to satisfy constraint: 'must have length greater than or \
                 equal to 2'",
            ),
            (
                "CreateRepository",
                json!({"repositoryName": "Web"}),
                "'repositoryName' failed to satisfy constraint: 'must satisfy regular expression \
                 '[a-z0-9]+((\\.|_|__|-+)[a-z0-9]+)*(\\/[a-z0-9]+((\\.|_|__|-+)[a-z0-9]+)*)*''",
            ),
            (
                "ListImages",
                json!({"repositoryName": "web", "maxResults": 1001}),
                "'maxResults' failed to satisfy constraint: 'must have value less than or equal \
                 to 1000'",
            ),
            (
                "ListImages",
                json!({"repositoryName": "web", "filter": {"tagStatus": "SOME"}}),
                "'filter.tagStatus' failed to satisfy constraint: 'Member must satisfy enum value \
                 set: [TAGGED, UNTAGGED, ANY]'",
            ),
            (
                "BatchGetImage",
                json!({"repositoryName": "web", "imageIds": [{}, {"imageTag": ""}]}),
                "'imageIds.2.member.imageTag' failed to satisfy constraint: 'must have length \
                 greater than or equal to 1'",
            ),
            (
                "BatchGetImage",
                json!({"repositoryName": "web", "imageIds": vec![json!({}); 101]}),
                "'imageIds' failed to satisfy constraint: 'must have length less than or equal to \
                 100'",
            ),
            (
                "ListImages",
                json!({"repositoryName": "web", "registryId": "１２３４５６７８９０１２"}),
                "'registryId' failed to satisfy constraint: 'must satisfy regular expression \
                 '[0-9]{12}''",
            ),
        ] {
            assert_eq!(
                refused(operation, &document),
                format!("InvalidParameterException: Invalid parameter at {message}")
            );
        }
    }

    #[test]
    fn a_wrong_type_is_named_before_any_broken_rule() {
        for (document, message) in [
            (
                json!({"repositoryName": 7}),
                "NUMBER_VALUE can not be converted to String at 'repositoryName'",
            ),
            (
                json!({"repositoryName": "A", "tags": {}}),
                "START_OBJECT can not be converted to List at 'tags'",
            ),
            (
                json!({"repositoryName": "web", "tags": ["a"]}),
                "STRING_VALUE can not be converted to Structure at 'tags.1.member'",
            ),
            (json!([]), "The body is not a JSON object"),
        ] {
            assert_eq!(
                refused("CreateRepository", &document),
                format!("SerializationException: {message}")
            );
        }
        let document = json!({"repositoryName": "web", "maxResults": 1.5});
        assert_eq!(
            refused("ListImages", &document),
            "SerializationException: NUMBER_VALUE can not be converted to Integer at 'maxResults'"
        );
    }

    #[test]
    fn members_that_nobody_knows_are_skipped() {
        assert_eq!(
            ECR.check(
                "CreateRepository",
                &json!({"repositoryName": "web", "unheardOf": {"a": [1]}})
            ),
            Ok(())
        );
        assert_eq!(ECR.check("NoSuchOperation", &json!({})), Ok(()));
    }

    fn documents() -> impl Strategy<Value = Value> {
        let names = "repositoryName|registryId|imageIds|imageTag|tags|Key|filter|tagStatus|maxResu\
                     lts\
                     |force|layerPartBlob|x";
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<f64>().prop_map(Value::from),
            "\\PC{0,5}|web|ANY".prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 40, 6, move |inner| {
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
                proptest::collection::btree_map(names, inner, 0..6)
                    .prop_map(|members| Value::Object(members.into_iter().collect())),
            ]
        })
    }

    proptest! {
        /// No document makes the check panic, and what it refuses it refuses with one of two codes.
        #[test]
        fn any_document_is_checked(document in documents()) {
            for (operation, _) in ECR.operations() {
                if let Err(fault) = ECR.check(operation, &document) {
                    let codes = ["SerializationException", "InvalidParameterException"];
                    prop_assert!(codes.contains(&fault.code.as_ref()), "{}", fault);
                }
            }
        }
    }
}
