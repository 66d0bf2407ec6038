//! The role that somebody wants to assume.

use std::sync::Arc;
use std::time::Duration;

use wharfinger_aws::{AccountId, Arn};

use crate::error::Error;
use crate::owner::Owner;
use crate::policy_set::TrustPolicy;
use crate::resource::Resource;

/// A role that somebody wants to assume, as it stands; where there is none of this ARN, only that.
pub struct TargetRole {
    arn: Arn,
    account: AccountId,
    owner: Option<Arc<Owner>>,
    /// Whether anybody of the account may assume it (`--dev`).
    trusts_anybody: bool,
}

impl TargetRole {
    pub(super) fn new(
        arn: Arn,
        account: AccountId,
        owner: Option<Arc<Owner>>,
        trusts_anybody: bool,
    ) -> Self {
        // The name finds the role; the path counts as well.
        let is_meant = |owner: &Arc<Owner>| {
            let role = owner.role();
            role.is_some_and(|role| role.name.arn(account) == arn)
        };
        Self {
            owner: owner.filter(is_meant),
            arn,
            account,
            trusts_anybody,
        }
    }

    /// The longest session of the role.
    ///
    /// # Errors
    /// [`Error::NoSuchRole`].
    pub(super) fn max_session(&self) -> Result<Duration, Error> {
        let role = self.owner()?.role();
        let missing = || Error::NoSuchRole(self.arn.to_string());
        role.map(|role| role.max_session).ok_or_else(missing)
    }

    /// The role.
    ///
    /// # Errors
    /// [`Error::NoSuchRole`].
    pub(super) fn owner(&self) -> Result<&Arc<Owner>, Error> {
        let missing = || Error::NoSuchRole(self.arn.to_string());
        self.owner.as_ref().ok_or_else(missing)
    }
}

impl Resource for TargetRole {
    fn arn(&self) -> Option<&Arn> {
        Some(&self.arn)
    }

    fn account(&self) -> AccountId {
        self.account
    }

    fn trust_policy(&self) -> TrustPolicy<'_> {
        let role = self.owner.as_ref().and_then(|owner| owner.role());
        match role {
            Some(_) if self.trusts_anybody => TrustPolicy::NotNeeded,
            Some(role) => TrustPolicy::Of(&role.trust_policy),
            None => TrustPolicy::Missing,
        }
    }

    fn tags(&self) -> &[(String, String)] {
        self.owner
            .as_ref()
            .map_or(&[], |owner| owner.tags.as_slice())
    }
}
