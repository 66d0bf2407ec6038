//! AWS STS: who am I?

use serde::{Deserialize, Serialize};
use wharfinger_aws::constraints::STS;
use wharfinger_aws::{AccountId, Family, Fault};

use wharfinger_api_core::RequestScope as Scope;

use crate::api::context::{Context, Demand};
use crate::api::operation::{Operation, Service, operations};

/// The service as the gateway serves it.
pub static SERVICE: Service = Service {
    name: "sts",
    family: Family::Query,
    target: "",
    version: "2011-06-15",
    namespace: "https://sts.amazonaws.com/doc/2011-06-15/",
    limits: &STS,
    operations: operations![GetCallerIdentity],
};

#[derive(Debug, Deserialize)]
struct GetCallerIdentity {}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct CallerIdentity {
    user_id: String,
    account: AccountId,
    arn: String,
}

impl Operation for GetCallerIdentity {
    const NAME: &'static str = "GetCallerIdentity";
    type Output = CallerIdentity;

    /// Needs no permission, and no policy can take it away (STS API reference).
    fn demands(&self, _scope: &Scope) -> Result<Vec<Demand>, Fault> {
        Ok(Vec::new())
    }

    async fn run(self, cx: &Context) -> Result<CallerIdentity, Fault> {
        let caller = cx.caller();
        Ok(CallerIdentity {
            user_id: caller.user_id().to_owned(),
            account: caller.account,
            arn: caller.arn().to_string(),
        })
    }
}
