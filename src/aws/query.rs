//! The AWS Query protocol: an `Action` and its members as a form, `Member.1.Name=value`.
//!
//! Source: the Smithy specification, "AWS Query protocol".

use serde_json::{Map, Value};

use crate::fault::Fault;

/// Most parameters of one request, and most dots in a name: no operation needs more, and each costs
/// a place in the tree.
const MAX_PARAMETERS: usize = 2_000;
const MAX_DEPTH: usize = 10;

/// A request, with all values still text.
#[derive(Clone, Debug, PartialEq)]
pub struct QueryRequest {
    pub action: String,
    pub version: String,
    /// Members as a tree: a level whose names are all numbers is a list in the order of those
    /// numbers.
    pub members: Value,
}

/// Reads a form, out of a body or out of a URL's query.
pub fn decode(form: &[u8]) -> Result<QueryRequest, Fault> {
    let mut tree = Map::new();
    let (mut action, mut version) = (None, None);
    for (at, (name, value)) in form_urlencoded::parse(form).enumerate() {
        if at >= MAX_PARAMETERS {
            return Err(malformed(format!("More than {MAX_PARAMETERS} parameters")));
        }
        match name.as_ref() {
            "" => {}
            "Action" => action = Some(value.into_owned()),
            "Version" => version = Some(value.into_owned()),
            // The signature of a presigned request, which is not a member.
            name if name.starts_with("X-Amz-") => {}
            name => insert(&mut tree, name, value.into_owned())?,
        }
    }
    let action = action.filter(|action| !action.is_empty());
    let action = action.ok_or_else(|| {
        Fault::sender(
            "MissingAction",
            "Could not find an Action parameter in the request",
        )
    })?;
    Ok(QueryRequest {
        action,
        version: version.unwrap_or_default(),
        members: lists(Value::Object(tree)),
    })
}

fn insert(tree: &mut Map<String, Value>, name: &str, value: String) -> Result<(), Fault> {
    let parts: Vec<&str> = name.split('.').take(MAX_DEPTH + 1).collect();
    if parts.len() > MAX_DEPTH || parts.contains(&"") {
        return Err(malformed(format!(
            "The parameter {} is not valid",
            name.chars().take(100).collect::<String>()
        )));
    }
    let (last, path) = parts
        .split_last()
        .ok_or_else(|| malformed("An empty parameter name".to_owned()))?;
    let mut level = tree;
    for part in path.iter().filter(|part| **part != "member") {
        let next = level
            .entry(*part)
            .or_insert_with(|| Value::Object(Map::new()));
        let Value::Object(next) = next else {
            return Err(malformed(format!(
                "The parameter {part} is both a value and a structure"
            )));
        };
        level = next;
    }
    level.insert((*last).to_owned(), Value::String(value));
    Ok(())
}

/// Makes lists of the levels that are numbered.
fn lists(value: Value) -> Value {
    let Value::Object(level) = value else {
        return value;
    };
    let mut numbered: Vec<(u32, Value)> = Vec::with_capacity(level.len());
    let all_numbers = !level.is_empty() && level.keys().all(|name| name.parse::<u32>().is_ok());
    if !all_numbers {
        return Value::Object(
            level
                .into_iter()
                .map(|(name, value)| (name, lists(value)))
                .collect(),
        );
    }
    for (name, value) in level {
        numbered.push((name.parse().unwrap_or_default(), lists(value)));
    }
    numbered.sort_by_key(|(number, _)| *number);
    Value::Array(numbered.into_iter().map(|(_, value)| value).collect())
}

fn malformed(message: String) -> Fault {
    Fault::sender("MalformedQueryString", message)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    #[test]
    fn a_form_becomes_a_tree() {
        let request = decode(
            b"Action=Do&Version=1&A.member.2=y&A.member.1=x&B.C=%26+z&Tags.1.Key=k&Tags.1.Value=v",
        )
        .expect("a request");
        assert_eq!(
            (request.action.as_str(), request.version.as_str()),
            ("Do", "1")
        );
        assert_eq!(
            request.members,
            json!({"A": ["x", "y"], "B": {"C": "& z"}, "Tags": [{"Key": "k", "Value": "v"}]})
        );
    }

    #[test]
    fn what_is_no_request_is_named() {
        for (form, code) in [
            ("", "MissingAction"),
            ("Action=", "MissingAction"),
            ("Action=A&B=1&B.C=2", "MalformedQueryString"),
            ("Action=A&B..C=2", "MalformedQueryString"),
            ("Action=A&a.b.c.d.e.f.g.h.i.j.k=2", "MalformedQueryString"),
        ] {
            assert_eq!(
                decode(form.as_bytes()).expect_err("refused").code,
                code,
                "{form}"
            );
        }
        assert!(decode("a=b&".repeat(MAX_PARAMETERS + 1).as_bytes()).is_err());
    }

    proptest! {
        #[test]
        fn no_form_makes_it_panic(form in "[A-C1-3.=&%+]{0,60}") {
            let _ = decode(form.as_bytes());
        }
    }
}
