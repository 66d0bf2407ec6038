//! Groups and their members: `GetGroup`, `AddUserToGroup`, `RemoveUserFromGroup`,
//! `ListGroupsForUser`.

use serde::{Deserialize, Serialize};
use wharfinger_api_core::{Context, Operation, RequestScope};

use crate::iam::entity_view::{EntitiesOutput, EntityView};
use crate::iam::kinds::{Group, Kind as _, Named, User};
use crate::iam::paging::{PageEnd, Paging};
use crate::iam::resource::IamResourceId;
use crate::iam::{IamService, Result};

#[derive(Debug, Deserialize)]
pub(super) struct GetGroup {
    #[serde(flatten)]
    group: Named<Group>,
    #[serde(flatten)]
    paging: Paging,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct GetGroupOutput {
    group: EntityView<Group>,
    users: Vec<EntityView<User>>,
    #[serde(flatten)]
    end: PageEnd,
}

impl Operation for GetGroup {
    type Service = IamService;
    type Output = GetGroupOutput;

    const NAME: &'static str = "GetGroup";

    fn resource(&self, scope: &RequestScope) -> Result<IamResourceId> {
        Ok(self.group.id(scope))
    }

    async fn run(self, cx: &Context<IamService>) -> Result<GetGroupOutput> {
        let group = Group::of(cx)?;
        let after = self.paging.after(Self::NAME)?;
        let entities = cx.state().iam.entities();
        let (account, limit) = (cx.scope().account, self.paging.limit());
        let page = entities
            .members(account, &group.name, after.as_deref(), limit)
            .await?;
        Ok(GetGroupOutput {
            group: EntityView::of(group.clone()),
            end: PageEnd::of(Self::NAME, page.next.as_deref()),
            users: page.items.into_iter().map(EntityView::of).collect(),
        })
    }
}

/// A group, and the user who becomes its member or ceases to be one.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Membership {
    #[serde(flatten)]
    group: Named<Group>,
    user_name: String,
}

#[derive(Debug, Deserialize)]
#[serde(transparent)]
pub(super) struct AddUserToGroup(Membership);

impl Operation for AddUserToGroup {
    type Service = IamService;
    type Output = ();

    const NAME: &'static str = "AddUserToGroup";

    fn resource(&self, scope: &RequestScope) -> Result<IamResourceId> {
        Ok(self.0.group.id(scope))
    }

    async fn run(self, cx: &Context<IamService>) -> Result<()> {
        let group = Group::of(cx)?;
        let entities = cx.state().iam.entities();
        let account = cx.scope().account;
        entities
            .add_member(account, &group.name, &self.0.user_name)
            .await?;
        Ok(())
    }
}

#[derive(Debug, Deserialize)]
#[serde(transparent)]
pub(super) struct RemoveUserFromGroup(Membership);

impl Operation for RemoveUserFromGroup {
    type Service = IamService;
    type Output = ();

    const NAME: &'static str = "RemoveUserFromGroup";

    fn resource(&self, scope: &RequestScope) -> Result<IamResourceId> {
        Ok(self.0.group.id(scope))
    }

    async fn run(self, cx: &Context<IamService>) -> Result<()> {
        let group = Group::of(cx)?;
        let entities = cx.state().iam.entities();
        let account = cx.scope().account;
        entities
            .remove_member(account, &group.name, &self.0.user_name)
            .await?;
        Ok(())
    }
}

#[derive(Debug, Deserialize)]
pub(super) struct ListGroupsForUser {
    #[serde(flatten)]
    user: Named<User>,
    #[serde(flatten)]
    paging: Paging,
}

impl Operation for ListGroupsForUser {
    type Service = IamService;
    type Output = EntitiesOutput<Group>;

    const NAME: &'static str = "ListGroupsForUser";

    fn resource(&self, scope: &RequestScope) -> Result<IamResourceId> {
        Ok(self.user.id(scope))
    }

    async fn run(self, cx: &Context<IamService>) -> Result<EntitiesOutput<Group>> {
        let user = User::of(cx)?;
        let entities = cx.state().iam.entities();
        let mut groups = entities.groups_of(cx.scope().account, &user.name).await?;
        groups.sort_by(|a, b| a.name.name.cmp(&b.name.name));
        let (groups, end) = self
            .paging
            .page(Self::NAME, groups, |group| &group.name.name)?;
        Ok(EntitiesOutput {
            entities: groups.into_iter().map(EntityView::of).collect(),
            end,
        })
    }
}
