//! `GetAuthorizationToken`: the password that docker signs in with.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use wharfinger_api_core::{Context, Operation, RequestScope};
use wharfinger_aws::AccountId;
use wharfinger_iam::PASSWORD_USER;

use crate::resource::{ResourceId, registry_id};
use crate::{Ecr, Result};

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct GetAuthorizationToken {
    registry_ids: Option<Vec<AccountId>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct GetAuthorizationTokenOutput {
    authorization_data: Vec<Authorization>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Authorization {
    #[serde(rename = "authorizationToken")]
    token: String,
    expires_at: f64,
    proxy_endpoint: String,
}

impl Operation for GetAuthorizationToken {
    type Service = Ecr;
    const NAME: &'static str = "GetAuthorizationToken";
    type Output = GetAuthorizationTokenOutput;

    fn resource(&self, scope: &RequestScope) -> Result<ResourceId> {
        Ok(ResourceId::Account(registry_id(scope, None)))
    }

    async fn run(self, cx: &Context<Ecr>) -> Result<GetAuthorizationTokenOutput> {
        let password = cx.state().iam.password_for(cx.caller())?;
        let token = format!("{PASSWORD_USER}:{}", password.token.reveal());
        let RequestScope { account, region } = cx.scope();
        let accounts = self.registry_ids.unwrap_or_else(|| vec![*account]);
        let authorization_data = accounts
            .into_iter()
            .map(|account| Authorization {
                token: STANDARD.encode(&token),
                expires_at: password.expires_at.as_epoch_seconds(),
                proxy_endpoint: cx.state().names.registry_url(&account, region),
            })
            .collect();
        Ok(GetAuthorizationTokenOutput { authorization_data })
    }
}
