//! `DecodeAuthorizationMessage`.

use serde::{Deserialize, Serialize};
use wharfinger_api_core::{Context, Operation, RequestScope};

use crate::sts::{Result, Sts, StsResourceId};

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct DecodeAuthorizationMessage {
    encoded_message: String,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct DecodeAuthorizationMessageOutput {
    decoded_message: String,
}

impl Operation for DecodeAuthorizationMessage {
    type Service = Sts;
    type Output = DecodeAuthorizationMessageOutput;

    const NAME: &'static str = "DecodeAuthorizationMessage";

    fn resource(&self, scope: &RequestScope) -> Result<StsResourceId> {
        Ok(StsResourceId::Account(scope.account))
    }

    async fn run(self, cx: &Context<Sts>) -> Result<DecodeAuthorizationMessageOutput> {
        let messages = cx.state().iam.authorization_messages();
        let decoded_message = messages.decode(cx.scope().account, &self.encoded_message)?;
        Ok(DecodeAuthorizationMessageOutput { decoded_message })
    }
}
