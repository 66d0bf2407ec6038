//! `CreateGroup`, `GetGroup`, `ListGroups`, `UpdateGroup`, `DeleteGroup`.

use serde::{Deserialize, Serialize};
use wharfinger_api_core::{Context, Demand, Operation, RequestScope};
use wharfinger_iam::Group;

use crate::iam::paging::{PageEnd, Paging};
use crate::iam::resource::{EntityKind, IamResourceId};
use crate::iam::users::{UserView, path_or_root};
use crate::iam::views::date;
use crate::iam::{IamService, Result};

/// A group in responses.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct GroupView {
    path: String,
    group_name: String,
    group_id: String,
    arn: String,
    create_date: String,
}

impl GroupView {
    pub(super) fn of(group: Group) -> Self {
        Self {
            path: group.name.path,
            group_name: group.name.name,
            group_id: group.name.id,
            arn: group.arn.to_string(),
            create_date: date(group.created_at),
        }
    }
}

/// The group of a request.
pub(super) fn group_id(scope: &RequestScope, name: &str) -> IamResourceId {
    IamResourceId::Group(scope.account, name.to_owned())
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct CreateGroup {
    group_name: String,
    path: Option<String>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct CreateGroupOutput {
    group: GroupView,
}

impl Operation for CreateGroup {
    type Service = IamService;
    type Output = CreateGroupOutput;

    const NAME: &'static str = "CreateGroup";

    fn resource(&self, scope: &RequestScope) -> Result<IamResourceId> {
        Ok(IamResourceId::Named {
            account: scope.account,
            kind: EntityKind::Group,
            path: path_or_root(self.path.as_ref()),
            name: self.group_name.clone(),
        })
    }

    async fn run(self, cx: &Context<IamService>) -> Result<CreateGroupOutput> {
        let path = path_or_root(self.path.as_ref());
        let users = cx.state().iam.users();
        let account = cx.scope().account;
        let group = users.create_group(account, self.group_name, path).await?;
        Ok(CreateGroupOutput {
            group: GroupView::of(group),
        })
    }
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct GetGroup {
    group_name: String,
    #[serde(flatten)]
    paging: Paging,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct GetGroupOutput {
    group: GroupView,
    users: Vec<UserView>,
    #[serde(flatten)]
    end: PageEnd,
}

impl Operation for GetGroup {
    type Service = IamService;
    type Output = GetGroupOutput;

    const NAME: &'static str = "GetGroup";

    fn resource(&self, scope: &RequestScope) -> Result<IamResourceId> {
        Ok(group_id(scope, &self.group_name))
    }

    async fn run(self, cx: &Context<IamService>) -> Result<GetGroupOutput> {
        let group = cx.resource().group()?;
        let after = self.paging.after(Self::NAME)?;
        let users = cx.state().iam.users();
        let (account, limit) = (cx.scope().account, self.paging.limit());
        let page = users
            .members(account, &group.name, after.as_deref(), limit)
            .await?;
        Ok(GetGroupOutput {
            group: GroupView::of(group.clone()),
            end: PageEnd::of(Self::NAME, page.next.as_deref()),
            users: page.items.into_iter().map(UserView::of).collect(),
        })
    }
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct ListGroups {
    path_prefix: Option<String>,
    #[serde(flatten)]
    paging: Paging,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct ListGroupsOutput {
    groups: Vec<GroupView>,
    #[serde(flatten)]
    end: PageEnd,
}

impl Operation for ListGroups {
    type Service = IamService;
    type Output = ListGroupsOutput;

    const NAME: &'static str = "ListGroups";

    fn resource(&self, scope: &RequestScope) -> Result<IamResourceId> {
        Ok(IamResourceId::Named {
            account: scope.account,
            kind: EntityKind::Group,
            path: path_or_root(self.path_prefix.as_ref()),
            name: String::new(),
        })
    }

    async fn run(self, cx: &Context<IamService>) -> Result<ListGroupsOutput> {
        let after = self.paging.after(Self::NAME)?;
        let prefix = path_or_root(self.path_prefix.as_ref());
        let users = cx.state().iam.users();
        let (account, limit) = (cx.scope().account, self.paging.limit());
        let page = users
            .list_groups(account, &prefix, after.as_deref(), limit)
            .await?;
        Ok(ListGroupsOutput {
            end: PageEnd::of(Self::NAME, page.next.as_deref()),
            groups: page.items.into_iter().map(GroupView::of).collect(),
        })
    }
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct UpdateGroup {
    group_name: String,
    new_group_name: Option<String>,
    new_path: Option<String>,
}

impl Operation for UpdateGroup {
    type Service = IamService;
    type Output = ();

    const NAME: &'static str = "UpdateGroup";

    fn resource(&self, scope: &RequestScope) -> Result<IamResourceId> {
        Ok(group_id(scope, &self.group_name))
    }

    /// The group as it is, and as it shall be named (IAM API reference, `UpdateGroup`).
    fn demands(&self, scope: &RequestScope) -> Result<Vec<Demand<IamService>>> {
        let renamed = IamResourceId::Renamed {
            account: scope.account,
            kind: EntityKind::Group,
            name: self.group_name.clone(),
            new_name: self.new_group_name.clone(),
            new_path: self.new_path.clone(),
        };
        let resources = [self.resource(scope)?, renamed];
        let demands = resources.map(|resource| Demand::new(Self::ACTION, resource));
        Ok(Vec::from(demands))
    }

    async fn run(self, cx: &Context<IamService>) -> Result<()> {
        let group = cx.resource().group()?;
        let users = cx.state().iam.users();
        let account = cx.scope().account;
        users
            .rename_group(account, &group.name, self.new_group_name, self.new_path)
            .await?;
        Ok(())
    }
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct DeleteGroup {
    group_name: String,
}

impl Operation for DeleteGroup {
    type Service = IamService;
    type Output = ();

    const NAME: &'static str = "DeleteGroup";

    fn resource(&self, scope: &RequestScope) -> Result<IamResourceId> {
        Ok(group_id(scope, &self.group_name))
    }

    async fn run(self, cx: &Context<IamService>) -> Result<()> {
        let group = cx.resource().group()?;
        let users = cx.state().iam.users();
        Ok(users.remove_group(cx.scope().account, &group.name).await?)
    }
}
