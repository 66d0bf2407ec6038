//! `AddUserToGroup`, `RemoveUserFromGroup`, `ListGroupsForUser`.

use serde::{Deserialize, Serialize};
use wharfinger_api_core::{Context, Operation, RequestScope};

use crate::iam::groups::{GroupView, group_id};
use crate::iam::paging::{PageEnd, Paging};
use crate::iam::resource::IamResourceId;
use crate::iam::users::user_id;
use crate::iam::{IamService, Result};

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct AddUserToGroup {
    group_name: String,
    user_name: String,
}

impl Operation for AddUserToGroup {
    type Service = IamService;
    type Output = ();

    const NAME: &'static str = "AddUserToGroup";

    fn resource(&self, scope: &RequestScope) -> Result<IamResourceId> {
        Ok(group_id(scope, &self.group_name))
    }

    async fn run(self, cx: &Context<IamService>) -> Result<()> {
        let group = cx.resource().group()?;
        let users = cx.state().iam.users();
        let account = cx.scope().account;
        users
            .add_member(account, &group.name, &self.user_name)
            .await?;
        Ok(())
    }
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct RemoveUserFromGroup {
    group_name: String,
    user_name: String,
}

impl Operation for RemoveUserFromGroup {
    type Service = IamService;
    type Output = ();

    const NAME: &'static str = "RemoveUserFromGroup";

    fn resource(&self, scope: &RequestScope) -> Result<IamResourceId> {
        Ok(group_id(scope, &self.group_name))
    }

    async fn run(self, cx: &Context<IamService>) -> Result<()> {
        let group = cx.resource().group()?;
        let users = cx.state().iam.users();
        let account = cx.scope().account;
        users
            .remove_member(account, &group.name, &self.user_name)
            .await?;
        Ok(())
    }
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct ListGroupsForUser {
    user_name: String,
    #[serde(flatten)]
    paging: Paging,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct ListGroupsForUserOutput {
    groups: Vec<GroupView>,
    #[serde(flatten)]
    end: PageEnd,
}

impl Operation for ListGroupsForUser {
    type Service = IamService;
    type Output = ListGroupsForUserOutput;

    const NAME: &'static str = "ListGroupsForUser";

    fn resource(&self, scope: &RequestScope) -> Result<IamResourceId> {
        Ok(user_id(scope, &self.user_name))
    }

    async fn run(self, cx: &Context<IamService>) -> Result<ListGroupsForUserOutput> {
        let user = cx.resource().user()?;
        let users = cx.state().iam.users();
        let mut groups = users.groups_of(cx.scope().account, &user.name).await?;
        groups.sort_by(|a, b| a.name.name.cmp(&b.name.name));
        let (groups, end) = self
            .paging
            .page(Self::NAME, groups, |group| &group.name.name)?;
        Ok(ListGroupsForUserOutput {
            groups: groups.into_iter().map(GroupView::of).collect(),
            end,
        })
    }
}
