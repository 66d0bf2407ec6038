//! The table of decisions in `decisions.txt`, which tells how it is written.

use std::net::IpAddr;

use wharfinger_base::Timestamp;

use super::written::{cases, provider, resource_named, statement};
use super::*;
use crate::managed::managed_policy;

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
        "fed" => federated(home),
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

/// A federated user to whom ann lends her permissions.
fn federated(home: &str) -> Caller {
    let Principal::User(ann) = caller(home, "ann", &[]).principal else {
        panic!("ann is a user");
    };
    let principal = Principal::FederatedUser {
        lender: Some(ann),
        name: "fed".to_owned(),
    };
    Caller::new(account(home), principal, Arc::default())
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
