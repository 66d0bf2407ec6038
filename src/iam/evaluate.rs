//! Decides whether a caller may perform an action on a resource: combines all policies that apply
//! as AWS combines them. PURE.
//!
//! Source: IAM user guide, "Policy evaluation logic". In short:
//! 1. An explicit deny in any policy wins, also over the root of an account.
//! 2. A boundary, and one of the session policies, must allow it as well where there are such.
//! 3. In one account, the identity's policies or the resource's policy allow. A resource policy
//!    that names the account (its id or root) only delegates the decision to the identity policies
//!    of that account. One that names a role allows its sessions by itself, within their boundary
//!    and session policies. One that names a user, a session of a role, or `*`, allows without
//!    regard to those.
//! 4. From another account, both must allow, and rule 2 holds for the caller's side.
//! 5. The root of an account is limited by explicit denies only.
//! 6. A role is assumed only by whom its trust policy allows, also within its account. One that
//!    names the caller suffices there; one that names the account delegates as in rule 3. Web
//!    identities and services have no policies of their own: the trust policy must name them.
//! 7. A decision that would exceed the budget of its request is a denial.

use std::borrow::Cow;
use std::sync::Arc;

use crate::budget::Meter;
use crate::context::AccessRequest;
use crate::decision::{Decision, Denial, Grant, MatchedStatement, PolicyKind};
use crate::effect::Effect;
use crate::key::{ContextValues, Key};
use crate::pattern::{ArnFields, ArnPattern, Pattern, PatternMatch, Variables, arn_fields};
use crate::policy::{Listed, NamedPrincipal, Policy, Statement};
use crate::policy_set::{PolicySet, TrustPolicy};
use crate::principal::{Caller, IdentityPolicies, NamedPolicy, Principal};
use wharfinger_aws::Arn;

/// Steps counted for a statement besides its patterns and conditions.
pub(super) const STATEMENT_STEPS: usize = 16;

/// One decision under way.
pub(super) struct Evaluation<'a> {
    pub(super) request: &'a AccessRequest<'a>,
    /// The action in lower case, as action patterns are compiled.
    action: String,
    /// The fields of the resource's ARN; `None` for an action without a resource.
    resource: Option<ArnFields<'a>>,
    pub(super) meter: Meter<'a>,
}

impl<'a> Evaluation<'a> {
    pub(super) fn new(request: &'a AccessRequest<'a>) -> Self {
        Self {
            request,
            action: request.action.to_ascii_lowercase(),
            resource: request.resource.and_then(|arn| arn_fields(arn.as_str())),
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
    let scans = Scans::of(evaluation, policies);
    if let Some(statement) = scans.deny() {
        return Decision::Deny {
            reason: Denial::ExplicitDeny(statement.into()),
        };
    }
    if policies.trust != TrustPolicy::NotNeeded {
        return combine_trust(evaluation.request, &scans);
    }
    combine(evaluation.request, &scans)
}

/// What each kind of policy says.
struct Scans<'a> {
    identity: Scan<'a>,
    /// The policies of the resource and of the registry together.
    shared: Scan<'a>,
    trust: Scan<'a>,
    /// Boundary and session policies, where there are such.
    limits: [(PolicyKind, Option<Scan<'a>>); 2],
}

impl<'a> Scans<'a> {
    fn of(evaluation: &Evaluation<'_>, policies: &PolicySet<'a>) -> Self {
        let named =
            |kind, named: &'a NamedPolicy| Scan::of(evaluation, kind, Some(named), &named.policy);
        let all = |kind, policies: &'a IdentityPolicies| {
            let scans = policies.policies.iter().map(|policy| named(kind, policy));
            scans.reduce(Scan::or).unwrap_or_default()
        };
        let of_resource = |kind, policy: Option<&'a Policy>| {
            policy.map_or_else(Scan::default, |policy| {
                Scan::of(evaluation, kind, None, policy)
            })
        };
        let identity = if evaluation.request.caller.principal == Principal::Root {
            Scan::default()
        } else {
            all(PolicyKind::Identity, policies.identity)
        };
        let (boundary, session) = (PolicyKind::Boundary, PolicyKind::Session);
        Self {
            identity,
            shared: of_resource(PolicyKind::Resource, policies.resource)
                .or(of_resource(PolicyKind::Registry, policies.registry)),
            trust: of_resource(PolicyKind::Trust, policies.trust.policy()),
            limits: [
                (boundary, policies.boundary.map(|one| named(boundary, one))),
                (session, policies.session.map(|some| all(session, some))),
            ],
        }
    }

    /// A statement that denies, of the first kind that has one.
    fn deny(&self) -> Option<Applied<'a>> {
        let limits = self.limits.iter().filter_map(|(_, scan)| scan.as_ref());
        [&self.identity, &self.shared, &self.trust]
            .into_iter()
            .chain(limits)
            .find_map(|scan| scan.deny)
    }

    /// The first limit that does not allow the action.
    fn missing_limit(&self) -> Option<PolicyKind> {
        let mut limits = self.limits.iter();
        limits
            .find(|(_, scan)| scan.as_ref().is_some_and(|scan| scan.allow.is_none()))
            .map(|(kind, _)| *kind)
    }
}

/// Rules 2 to 5, which apply where no statement denies.
fn combine(request: &AccessRequest<'_>, scans: &Scans<'_>) -> Decision {
    let caller = request.caller;
    let root = caller.principal == Principal::Root;
    let missing_limit = if root { None } else { scans.missing_limit() };
    let allow = |statement: Applied<'_>| Decision::Allow {
        by: Grant::Statement(statement.into()),
    };
    let refuse = |kind| Decision::Deny {
        reason: Denial::NoAllow(kind),
    };
    let within_limits = |statement| missing_limit.map_or_else(|| allow(statement), refuse);
    let (identity, shared) = (scans.identity.allow, scans.shared.allow);
    if caller.principal == Principal::Anonymous {
        return shared.map_or_else(
            || refuse(PolicyKind::Resource),
            |(_, statement)| allow(statement),
        );
    }
    if caller.account == request.resource_account {
        return match (root, identity, shared) {
            (true, _, _) => Decision::Allow {
                by: Grant::AccountRoot,
            },
            (_, _, Some((Strength::Grants, statement))) => allow(statement),
            (_, _, Some((Strength::GrantsWithinLimits, statement)))
            | (_, Some((_, statement)), _) => within_limits(statement),
            (_, None, _) => refuse(PolicyKind::Identity),
        };
    }
    match (root || identity.is_some(), shared) {
        (_, None) => refuse(PolicyKind::Resource),
        (false, Some(_)) => refuse(PolicyKind::Identity),
        (true, Some((_, statement))) => within_limits(statement),
    }
}

/// Rule 6, where no statement denies. A caller without permission of its own is told so whether the
/// role exists or not.
fn combine_trust(request: &AccessRequest<'_>, scans: &Scans<'_>) -> Decision {
    let caller = request.caller;
    let missing_limit = scans.missing_limit();
    let refuse = |kind| Decision::Deny {
        reason: Denial::NoAllow(kind),
    };
    let allow = |statement: Applied<'_>| Decision::Allow {
        by: Grant::Statement(statement.into()),
    };
    let within_limits = |statement| missing_limit.map_or_else(|| allow(statement), refuse);
    let has_policies = match caller.principal {
        Principal::WebIdentity { .. } | Principal::Service(_) => false,
        Principal::Root
        | Principal::User(_)
        | Principal::AssumedRole { .. }
        | Principal::FederatedUser { .. }
        | Principal::Anonymous => true,
    };
    let same_account = caller.account == request.resource_account;
    let identity = caller.principal == Principal::Root || scans.identity.allow.is_some();
    match scans.trust.allow {
        Some((Strength::Grants, statement)) if same_account || !has_policies => allow(statement),
        Some((Strength::GrantsWithinLimits, statement)) if same_account => within_limits(statement),
        _ if has_policies && !identity => refuse(PolicyKind::Identity),
        Some((_, statement)) if has_policies => within_limits(statement),
        _ => refuse(PolicyKind::Trust),
    }
}

/// How strongly a statement's principal names the caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Strength {
    /// It names the caller's account: within that account, identity policies must allow as well.
    Delegates,
    /// It names the caller's role: the boundary and the session policies must allow as well.
    GrantsWithinLimits,
    /// It names the caller, or everyone.
    Grants,
}

/// A statement that applies to a request.
#[derive(Clone, Copy)]
struct Applied<'a> {
    kind: PolicyKind,
    named: Option<&'a NamedPolicy>,
    /// Index of the statement within its policy, from 0.
    at: usize,
    statement: &'a Statement,
}

impl From<Applied<'_>> for MatchedStatement {
    fn from(applied: Applied<'_>) -> Self {
        let named = applied.named;
        Self {
            kind: applied.kind,
            policy: named.map(|named| Arc::clone(&named.name)),
            owner: named.and_then(|named| named.owner.clone()),
            statement: applied.at,
            sid: applied.statement.sid.clone(),
        }
    }
}

/// The first statement of each effect that applies to a request, and the strongest allow. Nothing
/// is copied before the decision is made.
#[derive(Clone, Copy, Default)]
struct Scan<'a> {
    deny: Option<Applied<'a>>,
    allow: Option<(Strength, Applied<'a>)>,
}

impl<'a> Scan<'a> {
    fn of(
        evaluation: &Evaluation<'_>,
        kind: PolicyKind,
        named: Option<&'a NamedPolicy>,
        policy: &'a Policy,
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
            let Ok(strength) = compare(statement, evaluation) else {
                continue;
            };
            let applied = Applied {
                kind,
                named,
                at,
                statement,
            };
            let known = scan.allow.map(|(known, _)| known);
            match statement.effect {
                Effect::Deny => scan.deny = Some(applied),
                Effect::Allow if known < Some(strength) => scan.allow = Some((strength, applied)),
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

/// The first part of a statement that keeps it from applying to a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mismatch {
    Action,
    Resource,
    Principal,
    /// The condition with this index, from 0.
    Condition(usize),
}

/// Whether the statement applies to the request, and how strongly it names the caller.
///
/// # Errors
/// What keeps it from applying.
pub(super) fn compare(
    statement: &Statement,
    evaluation: &Evaluation<'_>,
) -> Result<Strength, Mismatch> {
    let lists_action = |patterns: &[Pattern]| {
        patterns
            .iter()
            .any(|pattern| pattern.matches(&evaluation.action, evaluation) == PatternMatch::Matches)
    };
    let action = match &statement.action {
        Listed::Is(patterns) => lists_action(patterns),
        Listed::Not(patterns) => !lists_action(patterns),
    };
    if !action {
        return Err(Mismatch::Action);
    }
    let resource = statement.resource.as_ref();
    if !resource.is_none_or(|resource| names_resource(resource, statement.effect, evaluation)) {
        return Err(Mismatch::Resource);
    }
    let caller = evaluation.request.caller;
    let strength = match &statement.principal {
        Some(Listed::Is(names)) => {
            evaluation.meter.spend(names.len());
            names
                .iter()
                .filter_map(|name| names_caller(name, caller))
                .max()
                .ok_or(Mismatch::Principal)?
        }
        Some(Listed::Not(names)) if is_excepted(names, statement.effect, caller) => {
            return Err(Mismatch::Principal);
        }
        Some(Listed::Not(_)) | None => Strength::Grants,
    };
    let mut conditions = statement.conditions.iter();
    match conditions.position(|condition| !condition.holds(statement.effect, evaluation)) {
        Some(failed) => Err(Mismatch::Condition(failed)),
        None => Ok(strength),
    }
}

/// A pattern whose variable has no value never matches. Within the `NotResource` of an Allow it
/// makes the statement not apply, since the excepted resources are unknown.
fn names_resource(
    resource: &Listed<ArnPattern>,
    effect: Effect,
    evaluation: &Evaluation<'_>,
) -> bool {
    let arn = evaluation.resource.as_ref();
    let compare = |pattern: &ArnPattern| pattern.matches(arn, evaluation);
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
    // A user is named by one ARN or id for all its credentials. Where those are limited by session
    // policies, the user's own name gives no more than they do ("Federated user sessions" in the
    // user guide).
    let by_identity = match caller.principal {
        Principal::AssumedRole { .. } | Principal::FederatedUser { .. } => {
            Strength::GrantsWithinLimits
        }
        _ if caller.session_policies.is_some() => Strength::GrantsWithinLimits,
        _ => Strength::Grants,
    };
    match name {
        NamedPrincipal::Anyone => Some(Strength::Grants),
        NamedPrincipal::Account(account) => {
            (*account == caller.account).then_some(Strength::Delegates)
        }
        NamedPrincipal::Arn(arn) if names_lender(arn, caller) => Some(by_identity),
        NamedPrincipal::Arn(_) if names_session(name, caller) => Some(Strength::Grants),
        NamedPrincipal::Arn(arn) if arn == caller.principal_arn() => Some(by_identity),
        NamedPrincipal::Arn(arn) => (arn == caller.arn()).then_some(Strength::Grants),
        NamedPrincipal::UniqueId(id) if caller.unique_id() == Some(id.as_str()) => {
            Some(by_identity)
        }
        NamedPrincipal::UniqueId(_) => names_session(name, caller).then_some(Strength::Grants),
        NamedPrincipal::Service(name) => {
            let named = matches!(&caller.principal, Principal::Service(service) if service == name);
            named.then_some(Strength::Grants)
        }
        NamedPrincipal::Federated(name) => {
            let named = matches!(
                &caller.principal,
                Principal::WebIdentity { provider, .. } if provider.as_str() == &**name
            );
            named.then_some(Strength::Grants)
        }
        NamedPrincipal::CanonicalUser => None,
    }
}

/// Whether the ARN is that of the user that lends the caller its permissions.
fn names_lender(arn: &Arn, caller: &Caller) -> bool {
    match &caller.principal {
        Principal::FederatedUser {
            lender: Some(lender),
            ..
        } => lender.arn(caller.account) == *arn,
        _ => false,
    }
}

/// Whether a principal is the caller's session of a role, by its ARN or by the role's unique id, or
/// the caller as a federated user.
fn names_session(name: &NamedPrincipal, caller: &Caller) -> bool {
    let of_role = matches!(caller.principal, Principal::AssumedRole { .. });
    let is_federated = matches!(caller.principal, Principal::FederatedUser { .. });
    match name {
        NamedPrincipal::Arn(arn) => (of_role || is_federated) && arn == caller.arn(),
        NamedPrincipal::UniqueId(id) => of_role && id == caller.user_id(),
        NamedPrincipal::Anyone
        | NamedPrincipal::Account(_)
        | NamedPrincipal::Service(_)
        | NamedPrincipal::Federated(_)
        | NamedPrincipal::CanonicalUser => false,
    }
}

/// Whether the caller is among those that a `NotPrincipal` excepts. A Deny excepts a user only
/// where both the user and its account are named, and a session of a role or a federated user only
/// where the role or user is named, too (the reference: "you must also specify the account ARN of
/// the not-denied principal"). An Allow excepts every caller that is named in any way, so that less
/// is allowed in case of doubt.
fn is_excepted(names: &[NamedPrincipal], effect: Effect, caller: &Caller) -> bool {
    let listed = |wanted: &dyn Fn(&NamedPrincipal) -> bool| {
        names
            .iter()
            .any(|name| names_caller(name, caller).is_some() && wanted(name))
    };
    if effect == Effect::Allow || names.contains(&NamedPrincipal::Anyone) {
        return listed(&|_| true);
    }
    let account = || listed(&|name| matches!(name, NamedPrincipal::Account(_)));
    let identity = || listed(&|name| !matches!(name, NamedPrincipal::Account(_)));
    let this_session = |name: &NamedPrincipal| names_session(name, caller);
    match &caller.principal {
        Principal::Root
        | Principal::Anonymous
        | Principal::WebIdentity { .. }
        | Principal::Service(_) => listed(&|_| true),
        Principal::User(_) => account() && identity(),
        Principal::FederatedUser { lender: None, .. } => account() && listed(&this_session),
        Principal::AssumedRole { .. } | Principal::FederatedUser { .. } => {
            account()
                && listed(&this_session)
                && listed(&|name| {
                    !matches!(name, NamedPrincipal::Account(_)) && !this_session(name)
                })
        }
    }
}

#[cfg(test)]
mod tests;
