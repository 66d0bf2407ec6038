//! The decision whether a caller may perform an action on a resource: one implementation for every
//! API.

use wharfinger_aws::Region;
use wharfinger_base::Timestamp;
use wharfinger_iam::{
    AccessRequest, Caller, ConditionContext, Decision, EvaluationBudget, Policy, PolicySet,
    Resource, evaluate,
};

use crate::audit_trail::AuditTrail;
use crate::origin::Origin;

/// Decides by the policies of one caller, in the circumstances of one request.
#[derive(Clone, Copy, Debug)]
pub struct Authorizer<'a> {
    pub caller: &'a Caller,
    pub origin: &'a Origin,
    /// The region that the request addresses, for `aws:RequestedRegion`.
    pub region: &'a Region,
    pub now: Timestamp,
    /// The work that all decisions of the request may do together.
    pub budget: &'a EvaluationBudget,
    /// Where decisions are reported for the audit log.
    pub trail: &'a AuditTrail,
}

/// What the members of a request give to conditions: its tags, and values of the service's keys.
#[derive(Clone, Debug, Default)]
pub struct RequestFacts {
    /// Those that it sets, for `aws:RequestTag` and `aws:TagKeys`.
    pub set: Vec<(String, String)>,
    /// The keys of those that it removes, for `aws:TagKeys`.
    pub removed: Vec<String>,
    /// The service's own condition keys that the request determines, with their values.
    pub keys: Vec<(&'static str, Vec<String>)>,
}

/// A caller without permission.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct AccessDenied {
    /// AWS's sentence, the same whether the resource exists or not.
    pub message: String,
}

impl Authorizer<'_> {
    /// Checks that the caller may perform `action` (such as `ecr:PutImage`) on `resource`.
    ///
    /// # Errors
    /// [`AccessDenied`].
    pub fn check<R: Resource>(&self, action: &str, resource: &R) -> Result<(), AccessDenied> {
        self.check_with_facts(action, resource, &RequestFacts::default())
    }

    /// The same for a request whose members give values to conditions.
    ///
    /// # Errors
    /// [`AccessDenied`].
    pub fn check_with_facts<R: Resource>(
        &self,
        action: &str,
        resource: &R,
        facts: &RequestFacts,
    ) -> Result<(), AccessDenied> {
        let policy = resource.policy();
        self.decide(action, resource, policy, facts, |request, decision| {
            let on = (action, request.resource);
            self.trail
                .note_decision(self.caller, self.region, on, &decision);
            if decision.is_allow() {
                return Ok(());
            }
            let shown = resource.shown_arn();
            let message = decision.message(&AccessRequest {
                resource: shown.as_deref(),
                ..*request
            });
            Err(AccessDenied { message })
        })
    }

    /// Whether the caller could perform `action` on `resource`: for choosing what a response shows.
    /// It is no decision about the request, and not reported as one.
    pub fn would_allow<R: Resource>(&self, action: &str, resource: &R) -> bool {
        let (policy, facts) = (resource.policy(), RequestFacts::default());
        self.decide(action, resource, policy, &facts, |_, decision| {
            decision.is_allow()
        })
    }

    /// The same as if `policy` were the resource's: for a policy that is about to be set.
    pub fn would_allow_under_policy<R: Resource>(
        &self,
        action: &str,
        resource: &R,
        policy: &Policy,
    ) -> bool {
        let facts = RequestFacts::default();
        self.decide(action, resource, Some(policy), &facts, |_, decision| {
            decision.is_allow()
        })
    }

    /// Decides, and hands the request and the decision to `then`.
    fn decide<R: Resource, T>(
        &self,
        action: &str,
        resource: &R,
        policy: Option<&Policy>,
        facts: &RequestFacts,
        then: impl FnOnce(&AccessRequest<'_>, Decision) -> T,
    ) -> T {
        let keys = facts.keys.iter();
        let keys: Vec<_> = keys
            .map(|(key, values)| (*key, values.as_slice()))
            .collect();
        let context = ConditionContext {
            extra: &keys,
            now: self.now,
            source_ip: self.origin.peer(),
            secure_transport: self.origin.is_secure(),
            user_agent: self.origin.user_agent(),
            requested_region: Some(self.region.as_str()),
            resource_tags: resource.tags(),
            request_tags: &facts.set,
            removed_tags: &facts.removed,
            simulated: None,
        };
        let request = AccessRequest {
            caller: self.caller,
            action,
            resource: resource.arn(),
            resource_account: resource.account(),
            context,
            budget: self.budget,
        };
        let policies = PolicySet {
            trust: resource.trust_policy(),
            ..PolicySet::of(self.caller, policy).with_registry_policy(resource.registry_policy())
        };
        then(&request, evaluate(&request, &policies))
    }
}
