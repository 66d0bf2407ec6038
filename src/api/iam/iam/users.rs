//! `GetUser`, which shows the caller where the request names nobody.

use serde::{Deserialize, Serialize};
use wharfinger_api_core::{Context, Operation, RequestScope};
use wharfinger_iam::{EntityKind, Resource as _};

use crate::iam::entity_view::EntityView;
use crate::iam::kinds::{Kind as _, User};
use crate::iam::resource::IamResourceId;
use crate::iam::views::date;
use crate::iam::{IamService, Result};

/// The user of a request, or else the caller.
pub(super) fn user_or_caller(scope: &RequestScope, name: Option<&str>) -> IamResourceId {
    match name {
        Some(name) => IamResourceId::Entity(scope.account, EntityKind::User, name.to_owned()),
        None => IamResourceId::Caller(scope.account),
    }
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct GetUser {
    user_name: Option<String>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct GetUserOutput {
    user: UserOrRoot,
}

#[derive(Debug, Serialize)]
#[serde(untagged)]
enum UserOrRoot {
    User(Box<EntityView<User>>),
    Root(RootView),
}

/// The account's root, which has no name and no path.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct RootView {
    user_id: String,
    arn: String,
    create_date: String,
}

impl Operation for GetUser {
    type Service = IamService;
    type Output = GetUserOutput;

    const NAME: &'static str = "GetUser";

    fn resource(&self, scope: &RequestScope) -> Result<IamResourceId> {
        Ok(user_or_caller(scope, self.user_name.as_deref()))
    }

    async fn run(self, cx: &Context<IamService>) -> Result<GetUserOutput> {
        let resource = cx.resource();
        if !resource.is_root() {
            let user = EntityView::of(User::of(cx)?.clone());
            let user = UserOrRoot::User(Box::new(user));
            return Ok(GetUserOutput { user });
        }
        let account = resource.account();
        let created_at = cx.state().iam.users().root_created_at(account).await?;
        Ok(GetUserOutput {
            user: UserOrRoot::Root(RootView {
                user_id: account.to_string(),
                arn: account.root_arn().to_string(),
                create_date: date(created_at),
            }),
        })
    }
}
