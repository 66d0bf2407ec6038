//! The texts of `decisions.txt` as policy documents. The tests of the policy simulator read them,
//! too, and therefore this file uses nothing of the crate.

use std::iter::Peekable;
use std::str::SplitWhitespace;

use serde_json::{Value, json};

/// The account that owns the resources.
pub(crate) const HOME: &str = "111111111111";
/// Another account.
pub(crate) const AWAY: &str = "222222222222";

const TABLE: &str = include_str!("decisions.txt");

pub(crate) const ROLE_ID: &str = "AROACKCEVSQ6C2DEPLOY";

/// The lines of the table that are cases, with their numbers.
pub(crate) fn cases() -> impl Iterator<Item = (usize, Vec<&'static str>)> {
    TABLE
        .lines()
        .enumerate()
        .filter(|(_, line)| !line.is_empty() && !line.starts_with('#'))
        .map(|(at, line)| (at + 1, line.split('|').map(str::trim).collect()))
}

pub(crate) fn repository(name: &str) -> String {
    format!("arn:aws:ecr:us-east-1:{HOME}:repository/{name}")
}

/// The repository of this name, or the role after `role:`.
pub(crate) fn resource_named(name: &str) -> String {
    name.strip_prefix("role:").map_or_else(
        || repository(name),
        |role| format!("arn:aws:iam::{HOME}:role/{role}"),
    )
}

pub(crate) fn provider(account: &str) -> String {
    format!("arn:aws:iam::{account}:oidc-provider/ci.example.com/jobs")
}

/// `EFFECT [to PRINCIPALS] ACTIONS [on RESOURCES] [if CONDITIONS]`.
pub(crate) fn statement(text: &str) -> Value {
    let (head, conditions) = text.split_once(" if ").unwrap_or((text, ""));
    let mut words = head.split_whitespace().peekable();
    let effect = match words.next() {
        Some("allow") => "Allow",
        Some("deny") => "Deny",
        other => panic!("{other:?} is no effect"),
    };
    let mut statement = json!({"Effect": effect});
    let principals = after("to", &mut words);
    if let Some(names) = principals {
        let (element, names) = list("Principal", names);
        for (kind, name) in names.iter().map(|name| principal(name)) {
            let kinds = statement[element.as_str()].as_object_mut();
            match kinds.and_then(|kinds| kinds.get_mut(kind)?.as_array_mut()) {
                Some(names) => names.push(json!(name)),
                None => statement[element.as_str()][kind] = json!([name]),
            }
        }
    }
    let (element, actions) = list("Action", words.next().expect("actions"));
    statement[element] = json!(actions);
    let default = principals.is_none().then_some("*");
    if let Some(names) = after("on", &mut words).or(default) {
        let (element, names) = list("Resource", names);
        let arn = |name: &String| {
            if name == "*" || name.starts_with("arn:") {
                name.clone()
            } else {
                resource_named(name)
            }
        };
        statement[element] = json!(names.iter().map(arn).collect::<Vec<_>>());
    }
    assert_eq!(words.next(), None, "{text}");
    for condition in conditions.split(" and ").filter(|text| !text.is_empty()) {
        let mut parts = condition.trim().splitn(3, ' ');
        let mut next = || parts.next().expect("an operator, a key and values");
        let (operator, key, values) = (next(), next(), next());
        let values: Vec<_> = values.split(" or ").collect();
        statement["Condition"][operator][key] = json!(values);
    }
    statement
}

/// The word after `word`, where that comes next.
fn after<'a>(word: &str, words: &mut Peekable<SplitWhitespace<'a>>) -> Option<&'a str> {
    words.next_if(|next| *next == word)?;
    words.next()
}

/// The element, in its `Not` form after a `!`, and the entries between commas outside of `${…}`.
fn list(element: &str, text: &str) -> (String, Vec<String>) {
    let (element, text) = text.strip_prefix('!').map_or_else(
        || (element.to_owned(), text),
        |text| (format!("Not{element}"), text),
    );
    let mut entries = vec![String::new()];
    let mut within = false;
    for character in text.chars() {
        within = (within || character == '{') && character != '}';
        match entries.last_mut() {
            Some(entry) if within || character != ',' => entry.push(character),
            _ => entries.push(String::new()),
        }
    }
    (element, entries)
}

/// What a principal's name stands for in a policy, with its kind.
fn principal(name: &str) -> (&'static str, String) {
    if let Some(service) = name.strip_prefix("service:") {
        return ("Service", format!("{service}.amazonaws.com"));
    }
    match name {
        "provider" => ("Federated", provider(HOME)),
        "provider@away" => ("Federated", provider(AWAY)),
        "other-provider" => ("Federated", provider(HOME).replace("jobs", "job")),
        name => ("AWS", aws_principal(name)),
    }
}

fn aws_principal(name: &str) -> String {
    if let Some(id) = name.strip_prefix("id:") {
        return match id {
            "role" => ROLE_ID.to_owned(),
            user => format!("AIDACKCEVSQ6C2{}", user.to_uppercase()),
        };
    }
    let (name, home) = name
        .split_once('@')
        .map_or((name, HOME), |(name, _)| (name, AWAY));
    match name {
        "*" => "*".to_owned(),
        "home" => HOME.to_owned(),
        "away" => AWAY.to_owned(),
        "home:root" => format!("arn:aws:iam::{HOME}:root"),
        "away:root" => format!("arn:aws:iam::{AWAY}:root"),
        "role" => format!("arn:aws:iam::{home}:role/ci/deploy"),
        "run" => format!("arn:aws:sts::{home}:assumed-role/deploy/run"),
        "other-role" => format!("arn:aws:iam::{home}:role/deploy"),
        "fed" => format!("arn:aws:sts::{home}:federated-user/fed"),
        "other-run" => format!("arn:aws:sts::{home}:assumed-role/deploy/other"),
        user => format!("arn:aws:iam::{home}:user/{user}"),
    }
}
