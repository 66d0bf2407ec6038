//! `GetSessionToken`, and temporary credentials as responses hold them.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use wharfinger_api_core::{Context, Demand, Operation, RequestScope};
use wharfinger_iam::NewSession;

use crate::sts::{Error, Result, Sts, StsResourceId};

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

/// The length of a session token, in bytes and in percent of the longest.
#[derive(Serialize)]
pub(super) struct TokenSize {
    #[serde(rename = "SessionTokenUtilization")]
    utilization: usize,
    #[serde(rename = "SessionTokenSize")]
    bytes: usize,
}

impl TokenSize {
    pub(super) fn of(session: &NewSession) -> Self {
        Self {
            utilization: session.token_utilization(),
            bytes: session.session_token.reveal().len(),
        }
    }
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct GetSessionToken {
    duration_seconds: Option<u64>,
    serial_number: Option<String>,
    token_code: Option<String>,
    minimum_session_token_size: Option<usize>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct GetSessionTokenOutput {
    credentials: Credentials,
    #[serde(flatten)]
    size: TokenSize,
}

impl Operation for GetSessionToken {
    type Service = Sts;
    type Output = GetSessionTokenOutput;

    const NAME: &'static str = "GetSessionToken";
    const IS_AUDITED: bool = true;

    fn resource(&self, scope: &RequestScope) -> Result<StsResourceId> {
        Ok(StsResourceId::Account(scope.account))
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
        let min_bytes = self.minimum_session_token_size.unwrap_or_default();
        let iam = &cx.state().iam;
        let session = iam.session_token(cx.caller(), duration, min_bytes)?;
        Ok(GetSessionTokenOutput {
            size: TokenSize::of(&session),
            credentials: session.into(),
        })
    }
}
