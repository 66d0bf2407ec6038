//! What a decision needs to know about a resource.

use std::borrow::Cow;

use wharfinger_aws::{AccountId, Arn};

use crate::policy::Policy;
use crate::policy_set::TrustPolicy;

/// A resource that policies protect. Each domain implements it for its own types, so that a
/// decision uses the resource that was loaded rather than an ARN to look up.
pub trait Resource {
    /// The ARN; `None` for actions without a resource, which policies allow on `*` only.
    fn arn(&self) -> Option<&Arn>;

    /// The ARN that a denial names: it must not tell a caller without permission more than its
    /// request did.
    fn shown_arn(&self) -> Option<Cow<'_, Arn>> {
        self.arn().map(Cow::Borrowed)
    }

    /// The account that owns the resource.
    fn account(&self) -> AccountId;

    /// The policy that is attached to the resource.
    fn policy(&self) -> Option<&Policy> {
        None
    }

    /// The policy of the registry that the resource belongs to, where it belongs to one.
    fn registry_policy(&self) -> Option<&Policy> {
        None
    }

    /// The trust policy, where the resource is a role that shall be assumed.
    fn trust_policy(&self) -> TrustPolicy<'_> {
        TrustPolicy::NotNeeded
    }

    /// The resource's tags, for `aws:ResourceTag`.
    fn tags(&self) -> &[(String, String)] {
        &[]
    }
}
