//! `GetSessionToken`, and temporary credentials as responses hold them.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use wharfinger_api_core::{Context, Demand, Operation, RequestScope};
use wharfinger_aws::AccountId;
use wharfinger_iam::NewSession;

use crate::sts::{Error, Result, Sts};

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Credentials {
    access_key_id: String,
    secret_access_key: String,
    session_token: String,
    expiration: String,
}

impl From<NewSession> for Credentials {
    fn from(session: NewSession) -> Self {
        Self {
            access_key_id: session.access_key_id,
            secret_access_key: session.secret_access_key.into_inner(),
            session_token: session.session_token.into_inner(),
            expiration: session.expires_at.to_rfc3339(),
        }
    }
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct GetSessionToken {
    duration_seconds: Option<u64>,
    serial_number: Option<String>,
    token_code: Option<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct GetSessionTokenOutput {
    credentials: Credentials,
}

impl Operation for GetSessionToken {
    type Service = Sts;
    type Output = GetSessionTokenOutput;

    const NAME: &'static str = "GetSessionToken";
    const IS_AUDITED: bool = true;

    fn resource(&self, scope: &RequestScope) -> Result<AccountId> {
        Ok(scope.account)
    }

    /// The operation needs no permission, and no policy can control it (IAM user guide,
    /// "Permissions for `GetSessionToken`").
    fn demands(&self, _scope: &RequestScope) -> Result<Vec<Demand<Sts>>> {
        Ok(Vec::new())
    }

    async fn run(self, cx: &Context<Sts>) -> Result<GetSessionTokenOutput> {
        // No MFA device is known, so no code of one can be right.
        if self.serial_number.is_some() || self.token_code.is_some() {
            return Err(Error::invalid_mfa_code());
        }
        let duration = self.duration_seconds.map(Duration::from_secs);
        let session = cx.state().iam.session_token(cx.caller(), duration)?;
        Ok(GetSessionTokenOutput {
            credentials: session.into(),
        })
    }
}
