//! The policies that a decision combines. PURE.

use crate::policy::Policy;
use crate::principal::{Caller, IdentityPolicies, NamedPolicy};

/// All policies that apply to a request.
#[derive(Clone, Copy, Debug)]
pub struct PolicySet<'a> {
    pub identity: &'a IdentityPolicies,
    pub resource: Option<&'a Policy>,
    pub registry: Option<&'a Policy>,
    /// That of the role which the caller wants to assume.
    pub trust: TrustPolicy<'a>,
    pub boundary: Option<&'a NamedPolicy>,
    /// One of them must allow; `None` where the session has none.
    pub session: Option<&'a IdentityPolicies>,
}

impl<'a> PolicySet<'a> {
    /// The caller's own policies with their limits, and the policy of the resource where it has
    /// one.
    #[must_use]
    pub fn of(caller: &'a Caller, resource: Option<&'a Policy>) -> Self {
        Self {
            identity: &caller.policies,
            resource,
            registry: None,
            trust: TrustPolicy::NotNeeded,
            boundary: caller.boundary.as_ref(),
            session: caller.session_policies.as_deref(),
        }
    }

    /// Adds the policy of the registry that the resource belongs to.
    #[must_use]
    pub const fn with_registry_policy(self, registry: Option<&'a Policy>) -> Self {
        Self { registry, ..self }
    }
}

/// The trust policy in a decision.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum TrustPolicy<'a> {
    /// The action does not assume a role.
    NotNeeded,
    /// There is no such role, so that nobody may assume it.
    Missing,
    Of(&'a Policy),
}

impl<'a> TrustPolicy<'a> {
    /// The policy, where there is one.
    pub(super) const fn policy(self) -> Option<&'a Policy> {
        match self {
            Self::Of(policy) => Some(policy),
            Self::NotNeeded | Self::Missing => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use wharfinger_aws::AccountId;

    use super::*;

    #[test]
    fn a_caller_brings_its_own_policies_and_no_others() {
        let caller = Caller::root(AccountId::DEV);
        let set = PolicySet::of(&caller, None);
        assert!(set.identity.policies.is_empty() && set.resource.is_none());
        assert_eq!(set.trust.policy(), None);
    }
}
