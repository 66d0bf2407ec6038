//! `GetAuthorizationToken`: the password that docker signs in with.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use wharfinger_aws::{AccountId, Fault};
use wharfinger_iam::PASSWORD_USER;

use wharfinger_api_core::RequestScope as Scope;

use crate::api::context::{Context, Demand};
use crate::api::ecr::place::registry;
use crate::api::operation::Operation;

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct GetAuthorizationToken {
    registry_ids: Option<Vec<AccountId>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Authorizations {
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
    const NAME: &'static str = "GetAuthorizationToken";
    type Output = Authorizations;

    fn demands(&self, scope: &Scope) -> Result<Vec<Demand>, Fault> {
        Ok(vec![Demand::new(
            "ecr:GetAuthorizationToken",
            None,
            scope.account,
        )])
    }

    async fn run(self, cx: &Context) -> Result<Authorizations, Fault> {
        let password = cx
            .app()
            .iam
            .password_for(cx.caller())
            .map_err(|error| cx.internal(&error))?;
        let accounts = self
            .registry_ids
            .unwrap_or_else(|| vec![cx.scope().account]);
        let authorization_data = accounts
            .into_iter()
            .map(|account| Authorization {
                token: STANDARD.encode(format!("{PASSWORD_USER}:{}", password.token.reveal())),
                expires_at: password.expires_at.as_epoch_seconds(),
                proxy_endpoint: cx.registry_url(&registry(cx.scope(), Some(account))),
            })
            .collect();
        Ok(Authorizations { authorization_data })
    }
}
