//! Decides whether a caller may perform an action on a resource: combines all policies that apply
//! as AWS combines them. PURE.
//!
//! Source: IAM user guide, "Policy evaluation logic". In short:
//! 1. An explicit deny in any policy wins, also over the root of an account.
//! 2. In one account, the identity's policies or the resource's policy allow. A resource policy
//!    that names the account (its id or root) only delegates the decision to the identity policies
//!    of that account; one that names the user, or `*`, allows by itself.
//! 3. From another account, both must allow.
//! 4. A boundary or session policy, where there is one, must also allow what identity policies
//!    allow.
//!
//! A decision that would exceed the budget of its request is a denial.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use crate::budget::{EvaluationLimit, MAX_CONDITION_VALUE_BYTES, Meter};
use crate::context::AccessRequest;
use crate::effect::Effect;
use crate::key::{ContextValues, Key};
use crate::pattern::{ArnPattern, Pattern, PatternMatch, Variables};
use crate::policy::{Listed, NamedPrincipal, Policy, Statement};
use crate::principal::{Caller, IdentityPolicies, Principal};

/// Steps counted for a statement besides its patterns and conditions.
const STATEMENT_STEPS: usize = 16;

/// What a policy is attached to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PolicyKind {
    /// The user (later also group and role).
    Identity,
    /// The repository.
    Resource,
    /// The registry: combined like the policy of a resource, over all its repositories.
    Registry,
    Boundary,
    Session,
}

impl PolicyKind {
    /// The name in AWS's error messages, with its article.
    const fn words(self) -> (&'static str, &'static str) {
        match self {
            Self::Identity => ("an", "identity-based policy"),
            Self::Resource | Self::Registry => ("a", "resource-based policy"),
            Self::Boundary => ("a", "permissions boundary"),
            Self::Session => ("a", "session policy"),
        }
    }
}

impl fmt::Display for PolicyKind {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.words().1)
    }
}

/// All policies that apply to a request.
#[derive(Clone, Copy, Debug)]
pub struct PolicySet<'a> {
    pub identity: &'a IdentityPolicies,
    pub resource: Option<&'a Policy>,
    pub registry: Option<&'a Policy>,
    pub boundary: Option<&'a Policy>,
    pub session: Option<&'a Policy>,
}

impl<'a> PolicySet<'a> {
    /// The caller's own policies, and the policy of the resource where it has one.
    #[must_use]
    pub fn of(caller: &'a Caller, resource: Option<&'a Policy>) -> Self {
        Self {
            identity: &caller.policies,
            resource,
            registry: None,
            boundary: None,
            session: None,
        }
    }
}

/// The statement that decided.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MatchedStatement {
    pub kind: PolicyKind,
    /// The policy's name, where it is attached to an identity by name.
    pub policy: Option<Arc<str>>,
    /// Index of the statement within its policy, from 0.
    pub statement: usize,
    pub sid: Option<Arc<str>>,
}

/// The decision, and its reason.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    Allow { by: Grant },
    Deny { reason: Denial },
}

/// Why a request is allowed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Grant {
    /// The caller is the root of the account that owns the resource.
    AccountRoot,
    Statement(MatchedStatement),
}

/// Why a request is denied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Denial {
    ExplicitDeny(MatchedStatement),
    /// No policy of this kind allows the action, and one would have to.
    NoAllow(PolicyKind),
    /// The policies could not be evaluated within the limits of one request.
    Limit(EvaluationLimit),
}

impl Decision {
    #[must_use]
    pub const fn is_allow(&self) -> bool {
        matches!(self, Self::Allow { .. })
    }

    /// The denial as AWS words it; for an allowed request, who may do what.
    #[must_use]
    pub fn message(&self, request: &AccessRequest<'_>) -> String {
        let who = request.caller.display();
        let action = request.action;
        let resource = request.resource.map_or("*", |arn| arn.as_str());
        match self {
            Self::Allow { .. } => {
                format!("User: {who} is authorized to perform: {action} on resource: {resource}")
            }
            Self::Deny { reason } => {
                let because = reason.because(action);
                format!(
                    "User: {who} is not authorized to perform: {action} on resource: {resource} \
                     {because}"
                )
            }
        }
    }
}

impl Denial {
    /// The end of AWS's sentence.
    fn because(&self, action: &str) -> String {
        match self {
            Self::ExplicitDeny(statement) => {
                let (article, kind) = statement.kind.words();
                format!("with an explicit deny in {article} {kind}")
            }
            Self::NoAllow(kind) => {
                format!("because no {kind} allows the {action} action")
            }
            Self::Limit(EvaluationLimit::Steps) => "because the policies take too long to \
                 evaluate for all parts of this request"
                .to_owned(),
            Self::Limit(EvaluationLimit::ValueBytes) => format!(
                "because a condition compares a value of the request, such as its User-Agent, \
                 that is longer than {MAX_CONDITION_VALUE_BYTES} bytes"
            ),
        }
    }
}

/// One decision under way.
struct Evaluation<'a> {
    request: &'a AccessRequest<'a>,
    /// The action in lower case, as action patterns are compiled.
    action: String,
    meter: Meter<'a>,
}

impl<'a> Evaluation<'a> {
    fn new(request: &'a AccessRequest<'a>) -> Self {
        Self {
            request,
            action: request.action.to_ascii_lowercase(),
            meter: Meter::new(request.budget),
        }
    }
}

impl Variables for Evaluation<'_> {
    fn variable(&self, key: &str) -> Option<Cow<'_, str>> {
        self.request.variable(key)
    }

    fn meter(&self) -> &Meter<'_> {
        &self.meter
    }
}

impl ContextValues for Evaluation<'_> {
    fn values(&self, key: &Key) -> Vec<Cow<'_, str>> {
        self.request.values(key)
    }
}

/// Decides one request.
#[must_use]
pub fn evaluate(request: &AccessRequest<'_>, policies: &PolicySet<'_>) -> Decision {
    let evaluation = Evaluation::new(request);
    let decision = decide(&evaluation, policies);
    evaluation.meter.settle();
    match evaluation.meter.exceeded() {
        Some(limit) => Decision::Deny {
            reason: Denial::Limit(limit),
        },
        None => decision,
    }
}

fn decide(evaluation: &Evaluation<'_>, policies: &PolicySet<'_>) -> Decision {
    let root = evaluation.request.caller.principal == Principal::Root;
    let mut identity = Scan::default();
    if !root {
        for named in &policies.identity.policies {
            identity = identity.or(Scan::of(
                evaluation,
                PolicyKind::Identity,
                Some(&named.name),
                &named.policy,
            ));
        }
    }
    let other = |kind, policy: Option<&Policy>| {
        policy.map(|policy| Scan::of(evaluation, kind, None, policy))
    };
    let resource = other(PolicyKind::Resource, policies.resource).unwrap_or_default();
    let registry = other(PolicyKind::Registry, policies.registry).unwrap_or_default();
    let limits = [
        other(PolicyKind::Boundary, policies.boundary),
        other(PolicyKind::Session, policies.session),
    ];

    let denies = [&identity, &resource, &registry]
        .into_iter()
        .chain(limits.iter().flatten());
    if let Some(statement) = denies
        .filter_map(|scan| scan.deny.as_ref())
        .min_by_key(|statement| statement.kind)
    {
        return Decision::Deny {
            reason: Denial::ExplicitDeny(statement.clone()),
        };
    }
    let shared = resource.or(registry);
    let missing = [PolicyKind::Boundary, PolicyKind::Session]
        .into_iter()
        .zip(&limits)
        .find(|(_, scan)| scan.as_ref().is_some_and(|scan| scan.allow.is_none()))
        .map(|(kind, _)| kind);
    combine(
        evaluation.request,
        root,
        identity.allow,
        shared.allow,
        missing,
    )
}

/// Rules 2 to 4, which apply where no statement denies.
fn combine(
    request: &AccessRequest<'_>,
    root: bool,
    identity: Option<(Strength, MatchedStatement)>,
    shared: Option<(Strength, MatchedStatement)>,
    missing_limit: Option<PolicyKind>,
) -> Decision {
    let allow = |statement| Decision::Allow {
        by: Grant::Statement(statement),
    };
    let refuse = |kind| Decision::Deny {
        reason: Denial::NoAllow(kind),
    };
    if request.caller.principal == Principal::Anonymous {
        return shared.map_or_else(
            || refuse(PolicyKind::Resource),
            |(_, statement)| allow(statement),
        );
    }
    if request.caller.account == request.resource_account {
        return match (root, identity, shared) {
            (true, _, _) => Decision::Allow {
                by: Grant::AccountRoot,
            },
            (_, _, Some((Strength::Grants, statement))) => allow(statement),
            (_, Some((_, statement)), _) => missing_limit.map_or_else(|| allow(statement), refuse),
            (_, None, _) => refuse(PolicyKind::Identity),
        };
    }
    match (root || identity.is_some(), shared) {
        (_, None) => refuse(PolicyKind::Resource),
        (false, Some(_)) => refuse(PolicyKind::Identity),
        (true, Some((_, statement))) => missing_limit.map_or_else(|| allow(statement), refuse),
    }
}

/// How strongly a statement's principal names the caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Strength {
    /// It names the caller's account: within that account, identity policies must allow as well.
    Delegates,
    /// It names the caller, or everyone.
    Grants,
}

/// The first statement of each effect that applies to a request, and the strongest allow.
#[derive(Default)]
struct Scan {
    deny: Option<MatchedStatement>,
    allow: Option<(Strength, MatchedStatement)>,
}

impl Scan {
    fn of(
        evaluation: &Evaluation<'_>,
        kind: PolicyKind,
        name: Option<&Arc<str>>,
        policy: &Policy,
    ) -> Self {
        let mut scan = Self::default();
        for (at, statement) in policy.statements.iter().enumerate() {
            if !evaluation.meter.spend(STATEMENT_STEPS) {
                break;
            }
            let adds_nothing = match statement.effect {
                Effect::Deny => scan.deny.is_some(),
                Effect::Allow => matches!(scan.allow, Some((Strength::Grants, _))),
            };
            if adds_nothing {
                continue;
            }
            let Some(strength) = applies(statement, evaluation) else {
                continue;
            };
            let matched = MatchedStatement {
                kind,
                policy: name.cloned(),
                statement: at,
                sid: statement.sid.clone(),
            };
            let known = scan.allow.as_ref().map(|(known, _)| *known);
            match statement.effect {
                Effect::Deny => scan.deny = Some(matched),
                Effect::Allow if known < Some(strength) => scan.allow = Some((strength, matched)),
                Effect::Allow => {}
            }
        }
        scan
    }

    fn or(self, other: Self) -> Self {
        let allow = match (self.allow, other.allow) {
            (Some(one), Some(two)) => Some(if two.0 > one.0 { two } else { one }),
            (one, two) => one.or(two),
        };
        Self {
            deny: self.deny.or(other.deny),
            allow,
        }
    }
}

/// Whether the statement applies to the request, and how strongly it names the caller.
fn applies(statement: &Statement, evaluation: &Evaluation<'_>) -> Option<Strength> {
    let lists_action = |patterns: &[Pattern]| {
        patterns
            .iter()
            .any(|pattern| pattern.matches(&evaluation.action, evaluation) == PatternMatch::Matches)
    };
    let action = match &statement.action {
        Listed::Is(patterns) => lists_action(patterns),
        Listed::Not(patterns) => !lists_action(patterns),
    };
    let resource = statement.resource.as_ref();
    if !action
        || !resource.is_none_or(|resource| names_resource(resource, statement.effect, evaluation))
    {
        return None;
    }
    let caller = evaluation.request.caller;
    let strength = match &statement.principal {
        Some(Listed::Is(names)) => {
            evaluation.meter.spend(names.len());
            names
                .iter()
                .filter_map(|name| names_caller(name, caller))
                .max()?
        }
        Some(Listed::Not(names)) if is_excepted(names, statement.effect, caller) => {
            return None;
        }
        Some(Listed::Not(_)) | None => Strength::Grants,
    };
    statement
        .conditions
        .iter()
        .all(|condition| condition.holds(statement.effect, evaluation))
        .then_some(strength)
}

/// A pattern whose variable has no value never matches. Within the `NotResource` of an Allow it
/// makes the statement not apply, since the excepted resources are unknown.
fn names_resource(
    resource: &Listed<ArnPattern>,
    effect: Effect,
    evaluation: &Evaluation<'_>,
) -> bool {
    let text = evaluation.request.resource.map_or("*", |arn| arn.as_str());
    let compare = |pattern: &ArnPattern| pattern.matches(text, evaluation);
    match resource {
        Listed::Is(patterns) => patterns
            .iter()
            .any(|pattern| compare(pattern) == PatternMatch::Matches),
        Listed::Not(patterns) => patterns.iter().all(|pattern| match compare(pattern) {
            PatternMatch::Differs => true,
            PatternMatch::Matches => false,
            PatternMatch::Unresolved => effect == Effect::Deny,
        }),
    }
}

fn names_caller(name: &NamedPrincipal, caller: &Caller) -> Option<Strength> {
    if caller.principal == Principal::Anonymous {
        return (*name == NamedPrincipal::Anyone).then_some(Strength::Grants);
    }
    match name {
        NamedPrincipal::Anyone => Some(Strength::Grants),
        NamedPrincipal::Account(account) => {
            (*account == caller.account).then_some(Strength::Delegates)
        }
        NamedPrincipal::Arn(arn) => (arn == caller.arn()).then_some(Strength::Grants),
        NamedPrincipal::UniqueId(id) => {
            matches!(&caller.principal, Principal::User(user) if user.id == *id)
                .then_some(Strength::Grants)
        }
        NamedPrincipal::Outsider => None,
    }
}

/// Whether the caller is among those that a `NotPrincipal` excepts. A Deny excepts a user only
/// where both the user and its account are named (the reference: "you must also specify the account
/// ARN of the not-denied principal"). An Allow excepts every caller that is named in any way, so
/// that less is allowed in case of doubt.
fn is_excepted(names: &[NamedPrincipal], effect: Effect, caller: &Caller) -> bool {
    let listed = |strength| {
        names
            .iter()
            .any(|name| names_caller(name, caller) == Some(strength))
    };
    match (effect, &caller.principal) {
        (Effect::Deny, Principal::User(_)) if !names.contains(&NamedPrincipal::Anyone) => {
            listed(Strength::Grants) && listed(Strength::Delegates)
        }
        _ => listed(Strength::Grants) || listed(Strength::Delegates),
    }
}

#[cfg(test)]
mod tests;
