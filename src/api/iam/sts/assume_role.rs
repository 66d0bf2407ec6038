//! `AssumeRole`.

use serde::Deserialize;
use wharfinger_api_core::{Context, Demand, Operation, RequestScope};
use wharfinger_iam::{Principal, inherited};

use crate::sts::session::{SessionMembers, SessionOutput, Tag, facts, further_actions, refuse_mfa};
use crate::sts::{Error, Result, Sts, StsResourceId};

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct AssumeRole {
    #[serde(flatten)]
    session: SessionMembers,
    tags: Option<Vec<Tag>>,
    transitive_tag_keys: Option<Vec<String>>,
    external_id: Option<String>,
    serial_number: Option<String>,
    token_code: Option<String>,
    source_identity: Option<String>,
    provided_contexts: Option<serde::de::IgnoredAny>,
}

impl Operation for AssumeRole {
    type Service = Sts;
    type Output = SessionOutput;

    const NAME: &'static str = "AssumeRole";

    fn resource(&self, _scope: &RequestScope) -> Result<StsResourceId> {
        self.session.role()
    }

    /// They depend on what the caller's session passes on, so [`AssumeRole::run`] checks them.
    fn demands(&self, _scope: &RequestScope) -> Result<Vec<Demand<Sts>>> {
        Ok(Vec::new())
    }

    async fn run(self, cx: &Context<Sts>) -> Result<SessionOutput> {
        let caller = cx.caller();
        if caller.principal == Principal::Root && !cx.state().iam.is_dev() {
            return Err(Error::root_assumes_role());
        }
        if matches!(caller.principal, Principal::FederatedUser { .. }) {
            return Err(Error::federated_user_assumes_role());
        }
        let tags = self.tags.unwrap_or_default();
        let mut session = self.session.session()?;
        session.tags = tags.iter().map(Tag::pair).collect();
        session.transitive_keys = self.transitive_tag_keys.unwrap_or_default();
        session.source_identity = self.source_identity;
        let inherited = inherited(caller);
        let facts = facts(&session, &inherited, self.external_id.as_deref());
        let actions = further_actions(&session, &inherited);
        for action in std::iter::once(Self::ACTION).chain(actions) {
            let checked = cx.check_as(caller, action, &facts);
            checked.map_err(|denied| Error::denied(denied.message))?;
        }
        refuse_mfa(self.serial_number.as_ref(), self.token_code.as_ref())?;
        if self.provided_contexts.is_some() {
            return Err(Error::provided_contexts());
        }
        let sessions = cx.state().iam.role_sessions();
        let assumed = sessions
            .assume(caller, cx.resource().role()?, session)
            .await?;
        Ok(assumed.into())
    }
}
