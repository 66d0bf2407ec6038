//! Sessions of roles: who assumes a role gets credentials with the role's policies, limited by
//! session policies, and with the tags and the source identity of the session.
//!
//! Source: STS API reference, `AssumeRole`.

use std::sync::Arc;

use wharfinger_aws::Arn;

use crate::error::Error;
use crate::identities::Identities;
use crate::new_session::{self, NewRoleSession};
use crate::principal::{Caller, federated_arn};
use crate::sessions::{NewSession, Sessions};
use crate::target_role::TargetRole;

/// A session of a role, or of a federated user, that has just been issued.
#[derive(Clone, Debug)]
pub struct AssumedRole {
    pub session: NewSession,
    /// The ARN of the session.
    pub arn: Arn,
    /// The unique id of the role, or the account of a federated user, a colon and the name of the
    /// session.
    pub id: String,
    /// How much of the space for session policies and tags is used, in percent.
    pub packed_percent: Option<usize>,
    pub source_identity: Option<String>,
}

/// Finds roles and issues their sessions.
pub struct RoleSessions {
    pub(super) identities: Arc<Identities>,
    pub(super) sessions: Arc<Sessions>,
    /// Whether roles trust everybody of their account (`--dev`).
    pub(super) dev: bool,
}

impl RoleSessions {
    /// The role of this ARN as it stands, for whoever wants to assume it; one that does not exist,
    /// too.
    ///
    /// # Errors
    /// [`Error::NoSuchRole`] for an ARN of something else.
    pub async fn role(&self, arn: &Arn) -> Result<TargetRole, Error> {
        let missing = || Error::NoSuchRole(arn.to_string());
        let account = arn.account_id().ok_or_else(missing)?;
        let (_, name) = arn.resource().rsplit_once('/').ok_or_else(missing)?;
        let owner = self.identities.role(account, name).await?;
        Ok(TargetRole::new(arn.clone(), account, owner, self.dev))
    }

    /// Issues the credentials of a session of a role that the caller may assume: nothing is decided
    /// here.
    ///
    /// # Errors
    /// [`Error::NoSuchRole`], [`Error::SessionTooLong`], [`Error::ChainedSessionTooLong`],
    /// [`Error::Policy`], [`Error::NotAttachable`], [`Error::SessionTags`],
    /// [`Error::SourceIdentity`], [`Error::TooManySessionPolicies`],
    /// [`Error::PackedPolicyTooLarge`].
    pub async fn assume(
        &self,
        caller: &Caller,
        role: &TargetRole,
        new: NewRoleSession,
    ) -> Result<AssumedRole, Error> {
        let owner = role.owner()?;
        let min_token_bytes = new.min_token_bytes;
        let max_session = role.max_session()?;
        let checked = new_session::checked(caller, max_session, new)?;
        let session = &checked.role;
        self.identities
            .check_policies(owner.account, &session.policy_arns)
            .await?;
        let named = owner.caller(Some(&session.name));
        Ok(AssumedRole {
            arn: named.arn().clone(),
            id: named.user_id().to_owned(),
            packed_percent: checked.packed_percent,
            source_identity: session.source_identity.clone(),
            session: self
                .sessions
                .issue_for_role(owner, checked, min_token_bytes)?,
        })
    }

    /// Issues credentials for a federated user that are allowed what both the caller, a user or a
    /// root, and the session policies allow. Nothing is decided here.
    ///
    /// # Errors
    /// [`Error::SessionOfSession`] for a caller whose credentials are temporary, and those of
    /// [`RoleSessions::assume`] for session policies and tags.
    pub async fn federate(
        &self,
        caller: &Caller,
        new: NewRoleSession,
    ) -> Result<AssumedRole, Error> {
        let (duration, min_token_bytes) = (new.duration, new.min_token_bytes);
        let (session, packed_percent) = new_session::checked_federation(new)?;
        self.identities
            .check_policies(caller.account, &session.policy_arns)
            .await?;
        let (account, name) = (caller.account, &session.name);
        Ok(AssumedRole {
            arn: federated_arn(account, name),
            id: format!("{account}:{name}"),
            packed_percent,
            source_identity: None,
            session: self
                .sessions
                .issue_federated(caller, duration, session, min_token_bytes)?,
        })
    }
}
