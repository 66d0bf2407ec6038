//! The decision whether a caller may perform an action on a resource: one implementation for every
//! API.

use wharfinger_aws::Region;
use wharfinger_base::Timestamp;
use wharfinger_iam::{
    AccessRequest, Caller, ConditionContext, EvaluationBudget, Policy, PolicySet, Resource,
    evaluate,
};

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
}

/// The tags that a request brings.
#[derive(Clone, Debug, Default)]
pub struct RequestTags {
    /// Those that it sets, for `aws:RequestTag` and `aws:TagKeys`.
    pub set: Vec<(String, String)>,
    /// The keys of those that it removes, for `aws:TagKeys`.
    pub removed: Vec<String>,
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
        self.decide(action, resource, resource.policy(), &RequestTags::default())
    }

    /// The same for a request that sets or removes tags of the resource.
    ///
    /// # Errors
    /// [`AccessDenied`].
    pub fn check_with_tags<R: Resource>(
        &self,
        action: &str,
        resource: &R,
        request_tags: &RequestTags,
    ) -> Result<(), AccessDenied> {
        self.decide(action, resource, resource.policy(), request_tags)
    }

    /// The same as if `policy` were the resource's: for a policy that is about to be set.
    ///
    /// # Errors
    /// [`AccessDenied`].
    pub fn check_under_policy<R: Resource>(
        &self,
        action: &str,
        resource: &R,
        policy: &Policy,
    ) -> Result<(), AccessDenied> {
        self.decide(action, resource, Some(policy), &RequestTags::default())
    }

    fn decide<R: Resource>(
        &self,
        action: &str,
        resource: &R,
        policy: Option<&Policy>,
        request_tags: &RequestTags,
    ) -> Result<(), AccessDenied> {
        let context = ConditionContext {
            now: self.now,
            source_ip: self.origin.peer(),
            secure_transport: self.origin.is_secure(),
            user_agent: self.origin.user_agent(),
            requested_region: Some(self.region.as_str()),
            resource_tags: resource.tags(),
            request_tags: &request_tags.set,
            removed_tags: &request_tags.removed,
            ..ConditionContext::default()
        };
        let request = AccessRequest {
            caller: self.caller,
            action,
            resource: resource.arn(),
            resource_account: resource.account(),
            context,
            budget: self.budget,
        };
        let decision = evaluate(&request, &PolicySet::of(self.caller, policy));
        if decision.is_allow() {
            return Ok(());
        }
        let message = decision.message(&request);
        Err(AccessDenied { message })
    }
}
