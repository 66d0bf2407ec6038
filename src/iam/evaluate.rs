//! May this caller do this to that? Every policy that applies, combined as AWS combines them. PURE.
//!
//! Source: IAM user guide, "Policy evaluation logic". In short:
//! 1. An explicit deny in any policy wins, over an account's root too.
//! 2. In one account, the identity's policies or the resource's policy allow. A resource policy
//!    that names the account (its id or root) only hands the decision to that account's identity
//!    policies; one that names the user, or `*`, allows by itself.
//! 3. From another account, both must allow.
//! 4. A boundary or session policy, where there is one, must allow too what identity policies
//!    allow.

use std::fmt;
use std::sync::Arc;

use crate::context::AccessRequest;
use crate::pattern::{ArnPattern, Verdict};
use crate::policy::{Effect, Listed, NamedPrincipal, Policy, Statement};
use crate::principal::{Caller, IdentityPolicies, Principal};

/// What a policy hangs on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PolicyKind {
    /// On the user (later also group and role).
    Identity,
    /// On the repository.
    Resource,
    /// On the registry: combined like a resource's policy, over all its repositories.
    Registry,
    Boundary,
    Session,
}

impl PolicyKind {
    /// The words of AWS's own refusals, with their article.
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

/// All the policies that bear on a request.
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

/// A statement that decided.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ground {
    pub kind: PolicyKind,
    /// The policy's name, where it hangs on an identity by name.
    pub policy: Option<Arc<str>>,
    /// Place of the statement within its policy, from 0.
    pub statement: usize,
    pub sid: Option<Arc<str>>,
}

/// The verdict, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    Allow { by: Grant },
    Deny { reason: Refusal },
}

/// What allowed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Grant {
    /// The caller is the root of the account that owns the resource.
    AccountRoot,
    Statement(Ground),
}

/// What refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    ExplicitDeny(Ground),
    /// No policy of this kind allows, and one would have to.
    NoAllow(PolicyKind),
}

impl Decision {
    #[must_use]
    pub const fn is_allow(&self) -> bool {
        matches!(self, Self::Allow { .. })
    }

    /// The refusal in AWS's words; for an allowed request, who may do what.
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
                    "User: {who} is not authorized to perform: {action} on resource: {resource} {because}"
                )
            }
        }
    }
}

impl Refusal {
    #[must_use]
    pub const fn kind(&self) -> PolicyKind {
        match self {
            Self::ExplicitDeny(ground) => ground.kind,
            Self::NoAllow(kind) => *kind,
        }
    }

    /// The end of AWS's sentence.
    fn because(&self, action: &str) -> String {
        let (article, kind) = self.kind().words();
        match self {
            Self::ExplicitDeny(_) => format!("with an explicit deny in {article} {kind}"),
            Self::NoAllow(_) => format!("because no {kind} allows the {action} action"),
        }
    }
}

/// Decides one request.
#[must_use]
pub fn evaluate(request: &AccessRequest<'_>, policies: &PolicySet<'_>) -> Decision {
    let root = request.caller.principal == Principal::Root;
    let mut identity = Found::default();
    if !root {
        for named in &policies.identity.policies {
            identity = identity.or(Found::scan(
                request,
                PolicyKind::Identity,
                Some(&named.name),
                &named.policy,
            ));
        }
    }
    let other = |kind, policy: Option<&Policy>| {
        policy.map(|policy| Found::scan(request, kind, None, policy))
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
    if let Some(ground) = denies
        .filter_map(|found| found.deny.as_ref())
        .min_by_key(|ground| ground.kind)
    {
        return Decision::Deny {
            reason: Refusal::ExplicitDeny(ground.clone()),
        };
    }
    let shared = resource.or(registry);
    let missing = [PolicyKind::Boundary, PolicyKind::Session]
        .into_iter()
        .zip(&limits);
    let missing = missing
        .filter(|(_, found)| found.as_ref().is_some_and(|found| found.allow.is_none()))
        .map(|(kind, _)| kind)
        .next();
    combine(request, root, identity.allow, shared.allow, missing)
}

/// The rules 2 to 4, after no statement denied.
fn combine(
    request: &AccessRequest<'_>,
    root: bool,
    identity: Option<(Strength, Ground)>,
    shared: Option<(Strength, Ground)>,
    missing_limit: Option<PolicyKind>,
) -> Decision {
    let allow = |ground| Decision::Allow {
        by: Grant::Statement(ground),
    };
    let refuse = |kind| Decision::Deny {
        reason: Refusal::NoAllow(kind),
    };
    if request.caller.principal == Principal::Anonymous {
        return shared.map_or_else(|| refuse(PolicyKind::Resource), |(_, ground)| allow(ground));
    }
    if request.caller.account == request.resource_account {
        return match (root, identity, shared) {
            (true, _, _) => Decision::Allow {
                by: Grant::AccountRoot,
            },
            (_, _, Some((Strength::Grants, ground))) => allow(ground),
            (_, Some((_, ground)), _) => missing_limit.map_or_else(|| allow(ground), refuse),
            (_, None, _) => refuse(PolicyKind::Identity),
        };
    }
    match (root || identity.is_some(), shared) {
        (_, None) => refuse(PolicyKind::Resource),
        (false, Some(_)) => refuse(PolicyKind::Identity),
        (true, Some((_, ground))) => missing_limit.map_or_else(|| allow(ground), refuse),
    }
}

/// How far a statement's principal reaches.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Strength {
    /// It names the caller's account: within that account, identity policies must allow as well.
    Delegates,
    /// It names the caller, or everyone.
    Grants,
}

/// The first statement of each effect that applies to a request, and the strongest allow.
#[derive(Default)]
struct Found {
    deny: Option<Ground>,
    allow: Option<(Strength, Ground)>,
}

impl Found {
    fn scan(
        request: &AccessRequest<'_>,
        kind: PolicyKind,
        name: Option<&Arc<str>>,
        policy: &Policy,
    ) -> Self {
        let mut found = Self::default();
        for (at, statement) in policy.statements.iter().enumerate() {
            let beaten = match statement.effect {
                Effect::Deny => found.deny.is_some(),
                Effect::Allow => matches!(found.allow, Some((Strength::Grants, _))),
            };
            if beaten {
                continue;
            }
            let Some(strength) = applies(statement, request) else {
                continue;
            };
            let ground = || Ground {
                kind,
                policy: name.cloned(),
                statement: at,
                sid: statement.sid.clone(),
            };
            match statement.effect {
                Effect::Deny => found.deny = Some(ground()),
                Effect::Allow
                    if found
                        .allow
                        .as_ref()
                        .is_none_or(|(known, _)| *known < strength) =>
                {
                    found.allow = Some((strength, ground()));
                }
                Effect::Allow => {}
            }
        }
        found
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

/// Does the statement speak of this request, and how strongly does it name the caller?
fn applies(statement: &Statement, request: &AccessRequest<'_>) -> Option<Strength> {
    let action = match &statement.action {
        Listed::Is(patterns) => patterns
            .iter()
            .any(|pattern| pattern.matches_ignoring_ascii_case(request.action)),
        Listed::Not(patterns) => !patterns
            .iter()
            .any(|pattern| pattern.matches_ignoring_ascii_case(request.action)),
    };
    if !action
        || !statement
            .resource
            .as_ref()
            .is_none_or(|resource| names_resource(resource, statement.effect, request))
    {
        return None;
    }
    let strength = match &statement.principal {
        Some(Listed::Is(names)) => names
            .iter()
            .filter_map(|name| names_caller(name, request.caller))
            .max()?,
        Some(Listed::Not(names)) if is_excepted(names, statement.effect, request.caller) => {
            return None;
        }
        Some(Listed::Not(_)) | None => Strength::Grants,
    };
    statement
        .conditions
        .iter()
        .all(|condition| condition.holds(request))
        .then_some(strength)
}

/// A pattern whose variable has no value never matches; within `NotResource` of an Allow it makes
/// the statement silent, since it cannot be said what was to be left out.
fn names_resource(
    resource: &Listed<ArnPattern>,
    effect: Effect,
    request: &AccessRequest<'_>,
) -> bool {
    let text = request.resource.map_or("*", |arn| arn.as_str());
    let verdict = |pattern: &ArnPattern| pattern.matches(text, request);
    match resource {
        Listed::Is(patterns) => patterns
            .iter()
            .any(|pattern| verdict(pattern) == Verdict::Matches),
        Listed::Not(patterns) => patterns.iter().all(|pattern| match verdict(pattern) {
            Verdict::Differs => true,
            Verdict::Matches => false,
            Verdict::Unresolved => effect == Effect::Deny,
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

/// Is the caller among those that a `NotPrincipal` leaves out? Of a Deny a user is left out only
/// where both the user and its account are named (the reference: "you must also specify the account
/// ARN of the not-denied principal"); an Allow spares all that is named, so that in doubt nothing
/// is allowed.
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
mod laws;
