//! `AssumeRoleWithWebIdentity`.

use serde::{Deserialize, Serialize};
use wharfinger_api_core::{Context, Demand, Operation, RequestScope};
use wharfinger_iam::Inherited;

use crate::sts::session::{SessionMembers, SessionOutput, check_claims, facts, further_actions};
use crate::sts::{Error, Result, Sts, StsResourceId};

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct AssumeRoleWithWebIdentity {
    #[serde(flatten)]
    session: SessionMembers,
    web_identity_token: String,
    provider_id: Option<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct AssumeRoleWithWebIdentityOutput {
    #[serde(flatten)]
    session: SessionOutput,
    subject_from_web_identity_token: String,
    provider: String,
    audience: String,
}

impl Operation for AssumeRoleWithWebIdentity {
    type Service = Sts;
    type Output = AssumeRoleWithWebIdentityOutput;

    const NAME: &'static str = "AssumeRoleWithWebIdentity";
    /// The web-identity token proves who sends the request.
    const IS_UNSIGNED: bool = true;

    fn resource(&self, _scope: &RequestScope) -> Result<StsResourceId> {
        self.session.role()
    }

    /// Whoever the token is about needs them, whom [`AssumeRoleWithWebIdentity::run`] finds out.
    fn demands(&self, _scope: &RequestScope) -> Result<Vec<Demand<Sts>>> {
        Ok(Vec::new())
    }

    async fn run(self, cx: &Context<Sts>) -> Result<AssumeRoleWithWebIdentityOutput> {
        // It is for the access tokens of providers that AWS knows.
        if self.provider_id.is_some() {
            return Err(Error::access_token());
        }
        let iam = &cx.state().iam;
        let account = self.session.account()?;
        let verified = iam
            .web_identities()
            .verify(account, &self.web_identity_token);
        let identity = verified
            .await
            .map_err(|error| Error::of_web_identity(error, cx.now()))?;
        let role = self.session.role_arn()?;
        let mut session = self.session.session()?;
        session.tags = identity.tags;
        session.transitive_keys = identity.transitive_keys;
        session.source_identity = identity.source_identity;
        check_claims(&role, &session)?;
        let inherited = Inherited::default();
        let facts = facts(&session, &inherited, None);
        let actions = further_actions(&session, &inherited);
        for action in std::iter::once(Self::ACTION).chain(actions) {
            let checked = cx.check_as(&identity.caller, action, &facts);
            // The sentence is STS's own: it says nothing of the role to strangers.
            checked
                .map_err(|_| Error::denied(format!("Not authorized to perform sts:{action}")))?;
        }
        let role = cx.resource().role()?;
        let sessions = iam.role_sessions();
        let assumed = sessions.assume(&identity.caller, role, session).await?;
        Ok(AssumeRoleWithWebIdentityOutput {
            session: assumed.into(),
            subject_from_web_identity_token: identity.subject,
            provider: identity.issuer,
            audience: identity.audience,
        })
    }
}
