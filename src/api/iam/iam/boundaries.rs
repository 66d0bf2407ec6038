//! `PutUserPermissionsBoundary`, `DeleteUserPermissionsBoundary`.

use serde::Deserialize;
use wharfinger_api_core::{Context, Demand, Operation, RequestScope};

use crate::iam::resource::{IamResource, IamResourceId, PERMISSIONS_BOUNDARY};
use crate::iam::users::user_id;
use crate::iam::{IamService, Result};

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct PutUserPermissionsBoundary {
    user_name: String,
    permissions_boundary: String,
}

impl Operation for PutUserPermissionsBoundary {
    type Service = IamService;
    type Output = ();

    const NAME: &'static str = "PutUserPermissionsBoundary";

    fn resource(&self, scope: &RequestScope) -> Result<IamResourceId> {
        Ok(user_id(scope, &self.user_name))
    }

    fn demands(&self, scope: &RequestScope) -> Result<Vec<Demand<IamService>>> {
        let demand = Demand::new(Self::ACTION, self.resource(scope)?);
        Ok(vec![demand.with_key(
            PERMISSIONS_BOUNDARY,
            &self.permissions_boundary,
        )])
    }

    async fn run(self, cx: &Context<IamService>) -> Result<()> {
        let user = cx.resource().user()?;
        let users = cx.state().iam.users();
        let boundary = Some(self.permissions_boundary);
        Ok(users
            .set_boundary(cx.scope().account, &user.name, boundary)
            .await?)
    }
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct DeleteUserPermissionsBoundary {
    user_name: String,
}

impl Operation for DeleteUserPermissionsBoundary {
    type Service = IamService;
    type Output = ();

    const NAME: &'static str = "DeleteUserPermissionsBoundary";

    fn resource(&self, scope: &RequestScope) -> Result<IamResourceId> {
        Ok(user_id(scope, &self.user_name))
    }

    fn demands(&self, scope: &RequestScope) -> Result<Vec<Demand<IamService>>> {
        let demand = Demand::new(Self::ACTION, self.resource(scope)?);
        Ok(vec![demand.with_key_of_resource(
            PERMISSIONS_BOUNDARY,
            IamResource::boundary,
        )])
    }

    async fn run(self, cx: &Context<IamService>) -> Result<()> {
        let user = cx.resource().user()?;
        let users = cx.state().iam.users();
        Ok(users
            .set_boundary(cx.scope().account, &user.name, None)
            .await?)
    }
}
