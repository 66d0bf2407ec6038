//! What a policy document says besides its meaning: where each statement stands in the text, its
//! conditions as they are written, and the condition keys that it uses. PURE.

use std::collections::BTreeSet;

use crate::strict_json::Json;

/// A place in a text, counted from 1. The column counts characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TextPosition {
    pub line: usize,
    pub column: usize,
}

/// One statement of a document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct StatementOutline {
    /// Where AWS's simulator says that it begins: after the bracket that opens the list or the
    /// statement, or after the statement before it.
    pub(super) start: TextPosition,
    /// After its closing bracket.
    pub(super) end: TextPosition,
    /// The line of its opening bracket.
    pub(super) line: usize,
    /// Operator and key of each condition, in the order of the compiled ones.
    pub(super) conditions: Vec<(String, String)>,
    /// The keys of its conditions and variables as they are written, each once.
    pub(super) keys: Vec<String>,
}

/// The statements of a document that compiles; none where it does not.
pub(super) fn outline(text: &str) -> Vec<StatementOutline> {
    let Ok(Json::Object(elements)) = Json::parse(text) else {
        return Vec::new();
    };
    let member = |name: &str| elements.iter().find(|(element, _)| element == name);
    let has_variables = member("Version")
        .is_some_and(|(_, version)| *version == Json::Text("2012-10-17".to_owned()));
    let statements = match member("Statement") {
        Some((_, Json::List(list))) => list.as_slice(),
        Some((_, single)) => std::slice::from_ref(single),
        None => &[],
    };
    let spans = spans(text);
    let outlines = statements.iter().zip(spans).map(|(statement, span)| {
        let conditions = conditions(statement);
        let mut keys: Vec<String> = conditions.iter().map(|(_, key)| key.clone()).collect();
        if has_variables {
            variables(statement, &mut keys);
        }
        let mut seen = BTreeSet::new();
        keys.retain(|key| seen.insert(key.to_ascii_lowercase()));
        StatementOutline {
            start: position(text, span.start),
            end: position(text, span.end),
            line: position(text, span.opening).line,
            conditions,
            keys,
        }
    });
    outlines.collect()
}

/// Operator and key of each condition.
fn conditions(statement: &Json) -> Vec<(String, String)> {
    let Json::Object(elements) = statement else {
        return Vec::new();
    };
    let block = elements.iter().find(|(element, _)| element == "Condition");
    let Some((_, Json::Object(operators))) = block else {
        return Vec::new();
    };
    let mut conditions = Vec::new();
    for (operator, keys) in operators {
        if let Json::Object(keys) = keys {
            conditions.extend(keys.iter().map(|(key, _)| (operator.clone(), key.clone())));
        }
    }
    conditions
}

/// Adds the keys of the variables in the texts of a value.
fn variables(value: &Json, keys: &mut Vec<String>) {
    match value {
        Json::Text(text) => {
            let inner = text.split("${").skip(1);
            let names = inner
                .filter_map(|rest| rest.split_once('}'))
                .map(|(inner, _)| {
                    let name = inner.split_once(',').map_or(inner, |(name, _)| name);
                    name.trim()
                });
            keys.extend(
                names
                    .filter(|name| name.contains(':'))
                    .map(ToOwned::to_owned),
            );
        }
        Json::List(items) => items.iter().for_each(|item| variables(item, keys)),
        Json::Object(members) => members.iter().for_each(|(_, value)| variables(value, keys)),
        Json::Null | Json::Bool(_) | Json::Number(_) => {}
    }
}

/// Byte offsets of a statement.
struct Span {
    start: usize,
    end: usize,
    opening: usize,
}

/// The places of the statements of a valid document.
fn spans(text: &str) -> Vec<Span> {
    let bytes = text.as_bytes();
    let (mut spans, mut at, mut depth) = (Vec::new(), 0, 0_usize);
    // Where the next statement begins, and the depth of its braces; 0 outside of the element.
    let (mut start, mut level) = (0, 0);
    let mut opening = 0;
    let mut key: Option<&[u8]> = None;
    while at < bytes.len() {
        match bytes[at] {
            b'"' => {
                let end = end_of_string(bytes, at);
                if depth == 1 {
                    key = Some(&bytes[at..end]);
                }
                at = end;
                continue;
            }
            bracket @ (b'{' | b'[') => {
                depth += 1;
                if depth == 2 && key == Some(b"\"Statement\"") {
                    (start, level) = (at + 1, if bracket == b'{' { 2 } else { 3 });
                }
                if depth == level {
                    opening = at;
                }
            }
            b'}' | b']' => {
                if level > 0 && depth == level && bytes[at] == b'}' {
                    let end = at + 1;
                    spans.push(Span {
                        start,
                        end,
                        opening,
                    });
                    start = end;
                }
                depth = depth.saturating_sub(1);
                if depth == 1 {
                    level = 0;
                }
            }
            _ => {}
        }
        at += 1;
    }
    spans
}

/// The offset after the string that begins at `at`.
fn end_of_string(bytes: &[u8], at: usize) -> usize {
    let mut end = at + 1;
    while end < bytes.len() && bytes[end] != b'"' {
        end += if bytes[end] == b'\\' { 2 } else { 1 };
    }
    (end + 1).min(bytes.len())
}

fn position(text: &str, offset: usize) -> TextPosition {
    let before = &text[..offset];
    let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
    TextPosition {
        line: before.matches('\n').count() + 1,
        column: before[line_start..].chars().count() + 1,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn places(text: &str) -> Vec<[usize; 4]> {
        let place = |one: &StatementOutline| {
            [
                one.start.line,
                one.start.column,
                one.end.line,
                one.end.column,
            ]
        };
        outline(text).iter().map(place).collect()
    }

    /// The figures are those of the AWS CLI's examples of `simulate-principal-policy` and
    /// `simulate-custom-policy` for documents of this form.
    #[test]
    fn statements_stand_where_aws_says() {
        let statement = [
            "        {",
            "            \"Effect\": \"Allow\",",
            "            \"Action\": \"codecommit:ListRepositories\",",
            "            \"Resource\": [",
            "\"*\"]",
            "        }",
        ];
        let before = "{\n    \"Version\": \"2012-10-17\",\n    \"Statement\": [\n";
        let listed = format!("{before}{}\n    ]\n}}", statement.join("\n"));
        assert_eq!(places(&listed), [[3, 19, 9, 10]]);
        assert_eq!(outline(&listed)[0].line, 4);
        let single = concat!(
            r#"{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"dynamodb:*","#,
            r#""Resource":"*","Condition":{"DateGreaterThan":"#,
            r#"{"aws:CurrentTime":"2015-08-16T12:00:00Z"}}}}"#
        );
        assert_eq!(places(single), [[1, 38, 1, 167]]);
        assert_eq!(outline(single)[0].line, 1);
    }

    #[test]
    fn braces_within_texts_and_other_elements_are_no_statements() {
        let text = r#"{"Id":"{\"}[","Statement":[{"Sid":"}é\\","Effect":"Allow"},
 {"Effect":"Deny","Condition":{"Bool":{"k":"{"}}}]}"#;
        assert_eq!(places(text), [[1, 28, 1, 59], [1, 59, 2, 50]]);
        assert_eq!(places("{}"), Vec::<[usize; 4]>::new());
        assert_eq!(places("not JSON"), Vec::<[usize; 4]>::new());
    }

    #[test]
    fn conditions_and_variables_name_keys() {
        let text = |version| {
            format!(
                r#"{{"Version":"{version}","Statement":{{"Effect":"Allow","Action":"*",
                "Resource":["arn:aws:ecr:*:*:repository/${{aws:username}}/${{*}}"],"Condition":{{
                "StringLike":{{"aws:PrincipalTag/team":"${{aws:PrincipalTag/Team, 'x'}}"}},
                "Null":{{"ecr:Thing":"true"}}}}}}}}"#
            )
        };
        let found = outline(&text("2012-10-17"));
        assert_eq!(
            found[0].keys,
            ["aws:PrincipalTag/team", "ecr:Thing", "aws:username"]
        );
        assert_eq!(found[0].conditions[1], ("Null".into(), "ecr:Thing".into()));
        let found = outline(&text("2008-10-17"));
        assert_eq!(found[0].keys, ["aws:PrincipalTag/team", "ecr:Thing"]);
    }

    proptest! {
        #[test]
        fn any_text_is_outlined_without_a_panic(
            text in "[\\{\\}\\[\\]\",:\\\\aé\n]{0,60}|\\PC{0,40}"
        ) {
            let _ = outline(&text);
            let _ = spans(&text);
        }
    }
}
