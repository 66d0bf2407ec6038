//! PURE: reads the JSON of a lifecycle policy, with the messages of the JSON schema validator that
//! ECR uses.
//!
//! What violates the schema as a whole is said to match none of its alternatives: a selection has
//! four, one for each `countType`; an action has two.

use serde_json::{Map, Value};

use crate::lifecycle::policy::{
    Action, Criterion, LifecyclePolicyError, MAX_RULES, MAX_WILDCARDS, MIN_ARCHIVED_DAYS, Rule,
    StorageClass, TagSelection,
};

type Result<T> = std::result::Result<T, LifecyclePolicyError>;

/// Alternatives of a selection and of an action.
const SELECTIONS: usize = 4;
const ACTIONS: usize = 2;

/// The rules that the text holds, in its order, each valid by itself.
pub(super) fn rules(text: &str) -> Result<Vec<Rule>> {
    let document = serde_json::from_str::<Value>(text).ok();
    let Some(document) = document.filter(Value::is_object) else {
        return fail("Could not map policyString into LifecyclePolicy.");
    };
    let members = object(&document, &["rules"], &[])?;
    let rules = array(&members["rules"], MAX_RULES)?;
    rules.iter().map(rule).collect()
}

fn fail<T>(message: impl Into<String>) -> Result<T> {
    Err(LifecyclePolicyError(message.into()))
}

fn no_alternative<T>(of: usize) -> Result<T> {
    fail(format!(
        "instance failed to match exactly one schema (matched 0 out of {of})"
    ))
}

fn rule(value: &Value) -> Result<Rule> {
    let members = object(
        value,
        &["action", "rulePriority", "selection"],
        &["description"],
    )?;
    let priority = positive(&members["rulePriority"])?;
    if let Some(description) = members.get("description") {
        string(description)?;
    }
    let selection = selection(&members["selection"])?;
    let action = action(&members["action"])?;
    Ok(Rule {
        priority,
        criterion: criterion(&selection, action)?,
        tags: selection.tags,
    })
}

/// A selection, before it is known whether the rule's action fits it.
struct Selection {
    tags: TagSelection,
    count_type: CountType,
    number: u32,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum CountType {
    ImageCountMoreThan,
    SinceImagePushed,
    SinceImagePulled,
    SinceImageTransitioned,
}

fn selection(value: &Value) -> Result<Selection> {
    let members = object(
        value,
        &["countNumber", "countType", "tagStatus"],
        &[
            "countUnit",
            "storageClass",
            "tagPatternList",
            "tagPrefixList",
        ],
    )?;
    let status = one_of(&members["tagStatus"], &["any", "tagged", "untagged"])?;
    let number = positive(&members["countNumber"])?;
    let count_type = match string(&members["countType"])? {
        "imageCountMoreThan" => CountType::ImageCountMoreThan,
        "sinceImagePushed" => CountType::SinceImagePushed,
        "sinceImagePulled" => CountType::SinceImagePulled,
        "sinceImageTransitioned" => CountType::SinceImageTransitioned,
        _ => return no_alternative(SELECTIONS),
    };
    let class = match members.get("storageClass") {
        None => None,
        Some(Value::String(_)) => {
            match one_of(&members["storageClass"], &["archive", "standard"])? {
                "archive" => Some(StorageClass::Archive),
                _ => Some(StorageClass::Standard),
            }
        }
        Some(_) => return no_alternative(SELECTIONS),
    };
    let in_days = match members.get("countUnit") {
        None => false,
        Some(Value::String(_)) => one_of(&members["countUnit"], &["days"])? == "days",
        Some(_) => return no_alternative(SELECTIONS),
    };
    let fits = match count_type {
        CountType::ImageCountMoreThan => !in_days && class != Some(StorageClass::Archive),
        CountType::SinceImagePushed | CountType::SinceImagePulled => {
            in_days && class != Some(StorageClass::Archive)
        }
        CountType::SinceImageTransitioned => in_days && class == Some(StorageClass::Archive),
    };
    if !fits {
        return no_alternative(SELECTIONS);
    }
    if count_type == CountType::SinceImageTransitioned && number < MIN_ARCHIVED_DAYS {
        return below_minimum(MIN_ARCHIVED_DAYS, number);
    }
    Ok(Selection {
        tags: tags(status, members)?,
        count_type,
        number,
    })
}

fn tags(status: &str, members: &Map<String, Value>) -> Result<TagSelection> {
    let list = |name| members.get(name).map(texts).transpose();
    let selection = match (status, list("tagPrefixList")?, list("tagPatternList")?) {
        ("tagged", Some(prefixes), None) => TagSelection::Prefixes(prefixes),
        ("tagged", None, Some(patterns)) => TagSelection::Patterns(patterns),
        ("tagged", None, None) => {
            return fail("Must specify tagPrefixList or tagPatternList when tagStatus=TAGGED.");
        }
        ("tagged", Some(_), Some(_)) => {
            return fail("Must specify only one of tagPrefixList and tagPatternList.");
        }
        ("untagged", None, None) => TagSelection::Untagged,
        (_, None, None) => TagSelection::Any,
        _ => {
            return fail(
                "Must specify tagPrefixList or tagPatternList only when tagStatus=TAGGED.",
            );
        }
    };
    if let TagSelection::Patterns(patterns) = &selection
        && let Some(pattern) = patterns
            .iter()
            .find(|pattern| pattern.matches('*').count() > MAX_WILDCARDS)
    {
        return fail(format!(
            "A tag pattern can have at most {MAX_WILDCARDS} wildcards: {pattern}"
        ));
    }
    Ok(selection)
}

fn action(value: &Value) -> Result<Action> {
    let members = object(value, &["type"], &["targetStorageClass"])?;
    let action = match one_of(&members["type"], &["expire", "transition"])? {
        "expire" => Action::Expire,
        _ => Action::Archive,
    };
    let target = members.get("targetStorageClass");
    let expected = (action == Action::Archive).then_some("archive");
    if target.is_some() != expected.is_some() || target.and_then(Value::as_str) != expected {
        return no_alternative(ACTIONS);
    }
    Ok(action)
}

fn criterion(selection: &Selection, action: Action) -> Result<Criterion> {
    let number = selection.number;
    Ok(match (selection.count_type, action) {
        (CountType::ImageCountMoreThan, _) => Criterion::CountMoreThan {
            images: number,
            action,
        },
        (CountType::SinceImagePushed, _) => Criterion::SincePushed {
            days: number,
            action,
        },
        (CountType::SinceImagePulled, Action::Archive) => Criterion::SincePulled { days: number },
        (CountType::SinceImagePulled, Action::Expire) => {
            return fail("Rules with countType=sinceImagePulled must have the action transition.");
        }
        (CountType::SinceImageTransitioned, Action::Expire) => {
            Criterion::SinceArchived { days: number }
        }
        (CountType::SinceImageTransitioned, Action::Archive) => {
            return fail(
                "Rules with countType=sinceImageTransitioned must have the action expire.",
            );
        }
    })
}

/// An object with all required members, and no others than these and the optional ones. Both lists
/// are sorted.
fn object<'a>(
    value: &'a Value,
    required: &[&str],
    optional: &[&str],
) -> Result<&'a Map<String, Value>> {
    let Value::Object(members) = value else {
        return wrong_type(value, "object");
    };
    let quoted = |names: Vec<&str>| Value::from(names).to_string();
    let missing: Vec<&str> = required
        .iter()
        .copied()
        .filter(|name| !members.contains_key(*name))
        .collect();
    if !missing.is_empty() {
        return fail(format!(
            "object has missing required properties ({})",
            quoted(missing)
        ));
    }
    let known = |name: &str| required.contains(&name) || optional.contains(&name);
    let mut unknown: Vec<&str> = members.keys().map(String::as_str).collect();
    unknown.retain(|name| !known(name));
    unknown.sort_unstable();
    if !unknown.is_empty() {
        return fail(format!(
            "object instance has properties which are not allowed by the schema: ({})",
            quoted(unknown)
        ));
    }
    Ok(members)
}

/// An array with one element at least.
fn array(value: &Value, most: usize) -> Result<&[Value]> {
    let Value::Array(elements) = value else {
        return wrong_type(value, "array");
    };
    let count = elements.len();
    if count == 0 {
        return fail(
            "array is too short: must have at least 1 elements but instance has 0 elements",
        );
    }
    if count > most {
        return fail(format!(
            "array is too long: must have at most {most} elements but instance has {count} elements"
        ));
    }
    Ok(elements)
}

fn string(value: &Value) -> Result<&str> {
    match value {
        Value::String(text) => Ok(text),
        _ => wrong_type(value, "string"),
    }
}

/// A list of texts, none of them empty. The limit of the whole text bounds their number.
fn texts(value: &Value) -> Result<Vec<String>> {
    let read = |element: &Value| match string(element)? {
        "" => fail("string \"\" is too short (length: 0, required minimum: 1)"),
        text => Ok(text.to_owned()),
    };
    array(value, usize::MAX)?.iter().map(read).collect()
}

fn one_of<'a>(value: &'a Value, allowed: &[&'static str]) -> Result<&'a str> {
    let text = string(value)?;
    if allowed.contains(&text) {
        return Ok(text);
    }
    fail(format!(
        "instance value ({text}) not found in enum :(possible values: {})",
        Value::from(allowed.to_vec())
    ))
}

/// A whole number from 1 to the largest of the model's integers.
fn positive(value: &Value) -> Result<u32> {
    const MOST: u32 = i32::MAX.unsigned_abs();
    let Value::Number(number) = value else {
        return wrong_type(value, "integer");
    };
    match (number.as_i64(), number.as_u64()) {
        (Some(below), _) if below < 1 => below_minimum(1, below),
        (Some(number), _) if number <= i64::from(MOST) => Ok(u32::try_from(number).unwrap_or(MOST)),
        (None, None) => wrong_type(value, "integer"),
        _ => fail(format!(
            "numeric instance is greater than the required maximum (maximum: {MOST}, found: \
             {number})"
        )),
    }
}

fn below_minimum<T>(minimum: u32, found: impl std::fmt::Display) -> Result<T> {
    fail(format!(
        "numeric instance is lower than the required minimum (minimum: {minimum}, found: {found})"
    ))
}

fn wrong_type<T>(value: &Value, allowed: &str) -> Result<T> {
    let found = match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(number) if number.is_f64() => "number",
        Value::Number(_) => "integer",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    };
    fail(format!(
        "instance type ({found}) does not match any allowed primitive type (allowed: \
         [\"{allowed}\"])"
    ))
}
