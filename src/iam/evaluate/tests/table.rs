//! The table of decisions in `decisions.txt`, which tells how it is written.

use std::iter::Peekable;
use std::net::IpAddr;
use std::str::SplitWhitespace;

use wharfinger_base::Timestamp;

use super::*;
use crate::managed::managed_policy;

const TABLE: &str = include_str!("decisions.txt");

const ROLE_ID: &str = "AROACKCEVSQ6C2DEPLOY";

/// The lines of the table that are cases, with their numbers.
fn cases() -> impl Iterator<Item = (usize, Vec<&'static str>)> {
    TABLE
        .lines()
        .enumerate()
        .filter(|(_, line)| !line.is_empty() && !line.starts_with('#'))
        .map(|(at, line)| (at + 1, line.split('|').map(str::trim).collect()))
}

#[test]
fn every_case_of_the_table_is_decided_as_written() {
    let mut wrong = Vec::new();
    let mut count = 0;
    for (line, fields) in cases() {
        count += 1;
        let found = decided(&fields[1..]);
        if found != fields[0] {
            wrong.push(format!("decisions.txt:{line}: {found}: {fields:?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(count >= 300, "{count} cases");
}

/// The decision about `CALLER`, `ACTION RESOURCE` and the fields that follow.
fn decided(fields: &[&str]) -> String {
    let case = Case::read(fields);
    let (action, resource) = fields[1].split_once(' ').expect("an action and a resource");
    let arn = (resource != "-").then(|| resource_named(resource));
    let arn: Option<Arn> = arn.map(|arn| arn.parse().expect("an ARN"));
    let extra: Vec<_> = case
        .extra
        .iter()
        .map(|(key, values)| (*key, values.as_slice()))
        .collect();
    let request = AccessRequest {
        caller: &case.caller,
        action,
        resource: arn.as_ref(),
        resource_account: account(HOME),
        context: ConditionContext {
            now: case.now,
            source_ip: case.source_ip,
            secure_transport: case.secure_transport,
            user_agent: case.user_agent,
            requested_region: case.requested_region,
            resource_tags: &case.resource_tags,
            request_tags: &case.request_tags,
            removed_tags: &case.removed_tags,
            extra: &extra,
            simulated: None,
        },
        budget: &EvaluationBudget::default(),
    };
    let policies = PolicySet {
        registry: case.registry.as_ref(),
        trust: match &case.trust {
            Some(policy) => TrustPolicy::Of(policy),
            None if action.starts_with("sts:") => TrustPolicy::Missing,
            None => TrustPolicy::NotNeeded,
        },
        ..PolicySet::of(&case.caller, case.resource.as_ref())
    };
    let kind = |kind: PolicyKind| format!("{kind:?}").to_lowercase();
    match evaluate(&request, &policies) {
        Decision::Allow { .. } => "allow".to_owned(),
        Decision::Deny {
            reason: Denial::ExplicitDeny(statement),
        } => format!("deny by {}", kind(statement.kind)),
        Decision::Deny {
            reason: Denial::NoAllow(missing),
        } => format!("no {}", kind(missing)),
        Decision::Deny {
            reason: Denial::Limit(limit),
        } => format!("{limit:?}"),
    }
}

/// The policies and circumstances of one line.
struct Case<'a> {
    caller: Caller,
    resource: Option<Policy>,
    registry: Option<Policy>,
    trust: Option<Policy>,
    now: Timestamp,
    source_ip: Option<IpAddr>,
    secure_transport: bool,
    user_agent: Option<&'a str>,
    requested_region: Option<&'a str>,
    resource_tags: Vec<(String, String)>,
    request_tags: Vec<(String, String)>,
    removed_tags: Vec<String>,
    extra: Vec<(&'a str, Vec<String>)>,
}

impl<'a> Case<'a> {
    fn read(fields: &[&'a str]) -> Self {
        let mut case = Self {
            caller: caller_named(fields[0]),
            resource: None,
            registry: None,
            trust: None,
            now: Timestamp::from_ms(0),
            source_ip: None,
            secure_transport: true,
            user_agent: None,
            requested_region: None,
            resource_tags: Vec::new(),
            request_tags: Vec::new(),
            removed_tags: Vec::new(),
            extra: Vec::new(),
        };
        let mut own = Vec::new();
        let mut session = Vec::new();
        for field in fields[2..].iter().filter(|field| !field.is_empty()) {
            let (kind, text) = field.split_once(' ').expect("a kind and a text");
            match kind {
                "own" | "own2008" => own.push(identity_policy(kind, text)),
                "managed" => own.push(managed_policy(text).expect("a managed policy")),
                "session" => session.push(identity_policy(kind, text)),
                "boundary" => case.caller.boundary = Some(identity_policy(kind, text)),
                "resource" => case.resource = Some(written(Grammar::Repository, text)),
                "registry" => case.registry = Some(written(Grammar::Registry, text)),
                "trust" => case.trust = Some(written(Grammar::Trust, text)),
                "with" => text.split_whitespace().for_each(|word| case.set(word)),
                other => panic!("{other} is no kind of field"),
            }
        }
        case.caller.policies = Arc::new(IdentityPolicies { policies: own });
        if !session.is_empty() {
            case.caller.session_policies = Some(Arc::new(IdentityPolicies { policies: session }));
        }
        case
    }

    /// One circumstance.
    fn set(&mut self, word: &'a str) {
        let (name, value) = word.split_once('=').unwrap_or((word, ""));
        let instant = || {
            let instant: jiff::Timestamp = value.parse().expect("a time");
            Timestamp::from_ms(instant.as_millisecond())
        };
        let tag = |key: &str| (key.to_owned(), value.to_owned());
        match name.split_once('/') {
            Some(("resource", key)) => self.resource_tags.push(tag(key)),
            Some(("request", key)) => self.request_tags.push(tag(key)),
            Some(("principal", key)) => self.caller.tags.push(tag(key)),
            Some(("removed", key)) => self.removed_tags.push(key.to_owned()),
            _ => match name {
                "now" => self.now = instant(),
                "issued" => self.caller.issued_at = Some(instant()),
                "ip" => self.source_ip = Some(value.parse().expect("an address")),
                "secure" => self.secure_transport = value == "true",
                "agent" => self.user_agent = Some(value),
                "region" => self.requested_region = Some(value),
                key => match self.extra.iter_mut().find(|(known, _)| *known == key) {
                    Some((_, values)) => values.push(value.to_owned()),
                    None => self.extra.push((key, vec![value.to_owned()])),
                },
            },
        }
    }
}

fn caller_named(name: &str) -> Caller {
    let (name, home) = name
        .split_once('@')
        .map_or((name, HOME), |(name, _)| (name, AWAY));
    match name {
        "run" => session(home, &[]),
        "anonymous" => Caller::new(account(home), Principal::Anonymous, Arc::default()),
        "job" => {
            let provider = provider(home).parse().expect("an ARN");
            let subject = "repo:team/web".to_owned();
            let principal = Principal::WebIdentity { provider, subject };
            Caller::new(account(home), principal, Arc::default())
        }
        "tasks" => {
            let principal = Principal::Service("ecs-tasks.amazonaws.com".into());
            Caller::new(account(home), principal, Arc::default())
        }
        _ => caller(home, name, &[]),
    }
}

fn repository(name: &str) -> String {
    format!("arn:aws:ecr:us-east-1:{HOME}:repository/{name}")
}

/// The repository of this name, or the role after `role:`.
fn resource_named(name: &str) -> String {
    name.strip_prefix("role:").map_or_else(
        || repository(name),
        |role| format!("arn:aws:iam::{HOME}:role/{role}"),
    )
}

fn provider(account: &str) -> String {
    format!("arn:aws:iam::{account}:oidc-provider/ci.example.com/jobs")
}

fn identity_policy(kind: &str, text: &str) -> NamedPolicy {
    let policy = if kind == "own2008" {
        let statements: Vec<_> = text.split(';').map(statement).collect();
        let document = json!({"Version": "2008-10-17", "Statement": statements}).to_string();
        Policy::parse(&document, Grammar::Identity).expect("a policy")
    } else {
        written(Grammar::Identity, text)
    };
    NamedPolicy {
        name: kind.into(),
        owner: None,
        policy: Arc::new(policy),
    }
}

fn written(grammar: Grammar, text: &str) -> Policy {
    let statements: Vec<_> = text.split(';').map(statement).collect();
    policy(grammar, &statements)
}

/// `EFFECT [to PRINCIPALS] ACTIONS [on RESOURCES] [if CONDITIONS]`.
fn statement(text: &str) -> Value {
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
        "other-run" => format!("arn:aws:sts::{home}:assumed-role/deploy/other"),
        user => format!("arn:aws:iam::{home}:user/{user}"),
    }
}
