//! The settings of a role that is created, and what makes a document a trust policy.
//!
//! Source: IAM API reference, `CreateRole`; IAM user guide, "IAM and AWS STS quotas".

use std::time::Duration;

use crate::error::{Error, PolicyError};
use crate::policy::{Grammar, Policy};
use crate::store::entities::RoleRow;

/// The longest session of a role unless its creation or a change says more.
const DEFAULT_MAX_SESSION: Duration = Duration::from_hours(1);

/// What a new role has besides the properties of every entity.
#[derive(Clone, Debug)]
pub struct NewRole {
    /// Who may assume it.
    pub trust_policy: String,
    pub description: Option<String>,
    /// One to twelve hours; one hour where absent.
    pub max_session: Option<Duration>,
}

impl NewRole {
    /// The settings to store, once the principals of the trust policy are bound.
    pub(super) fn checked(self) -> Result<RoleRow, Error> {
        check_trust_policy(&self.trust_policy)?;
        Ok(RoleRow {
            trust_policy: self.trust_policy,
            description: self.description,
            max_session: self.max_session.unwrap_or(DEFAULT_MAX_SESSION),
            last_use: None,
        })
    }
}

/// Checks that a document can be a trust policy, whether its principals exist or not.
pub(super) fn check_trust_policy(document: &str) -> Result<(), Error> {
    match Policy::parse(document, Grammar::Trust) {
        Ok(_) => Ok(()),
        Err(PolicyError::TooLong { limit }) => Err(Error::Quota {
            quota: "ACLSizePerRole",
            limit,
        }),
        Err(error) => Err(error.into()),
    }
}
