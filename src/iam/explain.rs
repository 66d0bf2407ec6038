//! Explains decisions: for each statement of each policy whether it applies to a request, and what
//! keeps it from that if it does not. For people and for the policy simulator; requests are decided
//! by [`evaluate`] alone, which explanations call too. PURE.

use std::collections::HashSet;
use std::sync::Arc;

use crate::context::AccessRequest;
use crate::decision::{Decision, PolicyKind};
use crate::effect::Effect;
use crate::evaluate::{Evaluation, Mismatch, STATEMENT_STEPS, Strength, compare, evaluate};
use crate::key::Key;
use crate::outline::{StatementOutline, TextPosition, outline};
use crate::policy::Policy;
use crate::policy_set::PolicySet;
use crate::principal::{NamedPolicy, Principal};

/// Steps counted for a statement that is explained, besides those of comparing it: for the texts
/// about it.
const EXPLAINED_STEPS: usize = 1_000;
/// Steps counted for a key that may be missing, and for a value that is shown, besides those for
/// their bytes.
const KEY_STEPS: usize = 100;
const VALUE_STEPS: usize = 50;

/// Why a request is decided as it is.
#[derive(Clone, Debug)]
pub struct Explanation {
    pub decision: Decision,
    /// Every policy that was looked at, in the order of their kinds.
    pub policies: Vec<ExplainedPolicy>,
    /// Condition keys, as policies write them, that statements about the action use and for which
    /// the request has no value. In the order of the policies, each once.
    pub missing_keys: Vec<String>,
}

/// A policy and its statements.
#[derive(Clone, Debug)]
pub struct ExplainedPolicy {
    pub kind: PolicyKind,
    /// Its name or ARN, where it is attached to an identity.
    pub name: Option<Arc<str>>,
    /// The identity that it is attached to, as [`NamedPolicy::owner`] has it.
    pub owner: Option<Arc<str>>,
    pub statements: Vec<ExplainedStatement>,
}

/// A statement and whether it applies.
#[derive(Clone, Debug)]
pub struct ExplainedStatement {
    /// Its index within the policy, from 0.
    pub index: usize,
    pub sid: Option<Arc<str>>,
    pub effect: Effect,
    /// The line of its document on which it begins, from 1.
    pub line: usize,
    pub start: TextPosition,
    pub end: TextPosition,
    pub applicability: Applicability,
}

/// Whether a statement applies to a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Applicability {
    Applies,
    /// It names the account of the caller, so that the caller's own policies must allow as well.
    Delegates,
    OtherAction,
    OtherResource,
    OtherPrincipal,
    /// A condition does not hold.
    ConditionFails {
        operator: String,
        /// The key as the policy writes it.
        key: String,
        /// What the request has for the key.
        values: Vec<String>,
    },
    /// The work that the decisions of one request may do was done before.
    NotCompared,
}

impl Applicability {
    /// Whether the statement has its effect on the request.
    #[must_use]
    pub const fn applies(&self) -> bool {
        matches!(self, Self::Applies | Self::Delegates)
    }
}

impl ExplainedPolicy {
    /// The statements with this effect that apply.
    pub fn applying(&self, effect: Effect) -> impl Iterator<Item = &ExplainedStatement> {
        let wanted =
            move |one: &&ExplainedStatement| one.effect == effect && one.applicability.applies();
        self.statements.iter().filter(wanted)
    }
}

impl Explanation {
    /// Whether the policies of one kind allow the action and do not deny it; `None` where there are
    /// no such policies.
    #[must_use]
    pub fn allowed_by(&self, kind: PolicyKind) -> Option<bool> {
        let has_kind = self.policies.iter().any(|policy| policy.kind == kind);
        has_kind.then(|| self.effect_of(kind) == Some(Effect::Allow))
    }

    /// What the policies of one kind say about the action: a denial comes before what allows it.
    /// `None` where none of them applies.
    #[must_use]
    pub fn effect_of(&self, kind: PolicyKind) -> Option<Effect> {
        let has = |effect: &Effect| {
            let mut of_kind = self.policies.iter().filter(|policy| policy.kind == kind);
            of_kind.any(|policy| policy.applying(*effect).next().is_some())
        };
        [Effect::Deny, Effect::Allow].into_iter().find(has)
    }
}

/// The condition keys that a policy uses, as it writes them, each once.
#[must_use]
pub fn context_keys(policy: &Policy) -> Vec<String> {
    let mut keys: Vec<String> = Vec::new();
    for key in outline(policy.text()).into_iter().flat_map(|one| one.keys) {
        if keys.iter().all(|known| !known.eq_ignore_ascii_case(&key)) {
            keys.push(key);
        }
    }
    keys
}

/// Policies that are prepared for many explanations.
pub struct Explainer<'a> {
    policies: PolicySet<'a>,
    read: Vec<ReadPolicy<'a>>,
}

struct ReadPolicy<'a> {
    kind: PolicyKind,
    named: Option<&'a NamedPolicy>,
    policy: &'a Policy,
    outline: Vec<StatementOutline>,
}

impl<'a> Explainer<'a> {
    /// Reads the documents once more, for what a compiled policy no longer has.
    #[must_use]
    pub fn new(policies: PolicySet<'a>) -> Self {
        let all = |kind, named: &'a [NamedPolicy]| {
            let each = named.iter();
            each.map(move |named| (kind, Some(named), &*named.policy))
        };
        let shared = |kind, policy: Option<&'a Policy>| policy.map(|policy| (kind, None, policy));
        let boundary = policies.boundary.map_or(&[][..], std::slice::from_ref);
        let session = policies
            .session
            .map_or(&[][..], |session| &session.policies);
        let found = all(PolicyKind::Identity, &policies.identity.policies)
            .chain(shared(PolicyKind::Resource, policies.resource))
            .chain(shared(PolicyKind::Registry, policies.registry))
            .chain(shared(PolicyKind::Trust, policies.trust.policy()))
            .chain(all(PolicyKind::Boundary, boundary))
            .chain(all(PolicyKind::Session, session));
        let read = found.map(|(kind, named, policy)| ReadPolicy {
            kind,
            named,
            policy,
            outline: outline(policy.text()),
        });
        Self {
            read: read.collect(),
            policies,
        }
    }

    /// Explains one decision. It takes more of the request's budget than the decision does.
    #[must_use]
    pub fn explain(&self, request: &AccessRequest<'_>) -> Explanation {
        let decision = evaluate(request, &self.policies);
        let evaluation = Evaluation::new(request);
        let mut missing_keys = MissingKeys::default();
        // Identity policies do not apply to a root.
        let is_root = request.caller.principal == Principal::Root;
        let applicable = |read: &&ReadPolicy<'_>| !is_root || read.kind != PolicyKind::Identity;
        let policies = self.read.iter().filter(applicable).map(|read| {
            let statements = read.explain(&evaluation, &mut missing_keys);
            ExplainedPolicy {
                kind: read.kind,
                name: read.named.map(|named| Arc::clone(&named.name)),
                owner: read.named.and_then(|named| named.owner.clone()),
                statements,
            }
        });
        let policies = policies.collect();
        evaluation.meter.settle();
        Explanation {
            decision,
            policies,
            missing_keys: missing_keys.names,
        }
    }
}

/// The keys for which a request has no value.
#[derive(Default)]
struct MissingKeys {
    /// As policies write them.
    names: Vec<String>,
    /// All keys that were looked at, in lower case.
    seen: HashSet<String>,
}

impl ReadPolicy<'_> {
    fn explain(
        &self,
        evaluation: &Evaluation<'_>,
        missing_keys: &mut MissingKeys,
    ) -> Vec<ExplainedStatement> {
        let statements = self.policy.statements.iter().zip(&self.outline);
        let explained = statements.enumerate().map(|(index, (statement, outline))| {
            let affordable = evaluation.meter.spend(STATEMENT_STEPS + EXPLAINED_STEPS);
            let applicability = if affordable {
                applicability(compare(statement, evaluation), outline, evaluation)
            } else {
                Applicability::NotCompared
            };
            if !matches!(
                applicability,
                Applicability::OtherAction | Applicability::NotCompared
            ) {
                note_missing(&outline.keys, evaluation, missing_keys);
            }
            ExplainedStatement {
                index,
                sid: statement.sid.clone(),
                effect: statement.effect,
                line: outline.line,
                start: outline.start,
                end: outline.end,
                applicability,
            }
        });
        explained.collect()
    }
}

fn applicability(
    compared: Result<Strength, Mismatch>,
    outline: &StatementOutline,
    evaluation: &Evaluation<'_>,
) -> Applicability {
    match compared {
        Ok(Strength::Delegates) => Applicability::Delegates,
        Ok(Strength::GrantsWithinLimits | Strength::Grants) => Applicability::Applies,
        Err(Mismatch::Action) => Applicability::OtherAction,
        Err(Mismatch::Resource) => Applicability::OtherResource,
        Err(Mismatch::Principal) => Applicability::OtherPrincipal,
        Err(Mismatch::Condition(index)) => {
            let (operator, key) = outline.conditions.get(index).cloned().unwrap_or_default();
            let values = evaluation.request.values(&Key::of(&key));
            // They are copied for each statement.
            let bytes = values.iter().map(|value| VALUE_STEPS + value.len()).sum();
            if !evaluation.meter.spend(bytes) {
                return Applicability::NotCompared;
            }
            let values = values.into_iter().map(std::borrow::Cow::into_owned);
            Applicability::ConditionFails {
                operator,
                values: values.collect(),
                key,
            }
        }
    }
}

/// Adds the keys for which the request has no value.
fn note_missing(keys: &[String], evaluation: &Evaluation<'_>, missing: &mut MissingKeys) {
    for key in keys {
        if !evaluation.meter.spend(KEY_STEPS + 2 * key.len()) {
            return;
        }
        let is_new = missing.seen.insert(key.to_ascii_lowercase());
        if is_new && evaluation.request.values(&Key::of(key)).is_empty() {
            missing.names.push(key.clone());
        }
    }
}

#[cfg(test)]
mod tests;
