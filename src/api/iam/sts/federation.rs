//! `GetFederationToken`.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use wharfinger_api_core::{Context, Demand, Operation, RequestScope};
use wharfinger_iam::NewRoleSession;

use crate::sts::credentials::{Credentials, TokenSize};
use crate::sts::session::{PolicyDescriptor, Tag, policy_arns};
use crate::sts::{Result, Sts, StsResourceId};

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct GetFederationToken {
    name: String,
    policy: Option<String>,
    policy_arns: Option<Vec<PolicyDescriptor>>,
    duration_seconds: Option<u64>,
    #[serde(default)]
    tags: Vec<Tag>,
    #[serde(default)]
    minimum_session_token_size: usize,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct GetFederationTokenOutput {
    credentials: Credentials,
    federated_user: FederatedUserView,
    packed_policy_size: Option<usize>,
    #[serde(flatten)]
    size: TokenSize,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct FederatedUserView {
    federated_user_id: String,
    arn: String,
}

impl Operation for GetFederationToken {
    type Service = Sts;
    type Output = GetFederationTokenOutput;

    const NAME: &'static str = "GetFederationToken";
    const IS_AUDITED: bool = true;

    fn resource(&self, scope: &RequestScope) -> Result<StsResourceId> {
        let name = self.name.clone();
        Ok(StsResourceId::FederatedUser(scope.account, name))
    }

    fn demands(&self, scope: &RequestScope) -> Result<Vec<Demand<Sts>>> {
        let tags: Vec<_> = self.tags.iter().map(Tag::pair).collect();
        let further = (!tags.is_empty()).then_some("TagSession");
        let actions = std::iter::once(Self::ACTION).chain(further);
        let demands = actions.map(|action| {
            let demand = Demand::new(action, self.resource(scope)?);
            Ok(demand.with_tags(tags.clone()))
        });
        demands.collect()
    }

    async fn run(self, cx: &Context<Sts>) -> Result<GetFederationTokenOutput> {
        let session = NewRoleSession {
            name: self.name,
            duration: self.duration_seconds.map(Duration::from_secs),
            policy: self.policy,
            policy_arns: policy_arns(self.policy_arns)?,
            tags: self.tags.iter().map(Tag::pair).collect(),
            min_token_bytes: self.minimum_session_token_size,
            ..NewRoleSession::default()
        };
        let sessions = cx.state().iam.role_sessions();
        let issued = sessions.federate(cx.caller(), session).await?;
        Ok(GetFederationTokenOutput {
            size: TokenSize::of(&issued.session),
            credentials: issued.session.into(),
            federated_user: FederatedUserView {
                federated_user_id: issued.id,
                arn: issued.arn.to_string(),
            },
            packed_policy_size: issued.packed_percent,
        })
    }
}
