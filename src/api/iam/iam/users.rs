//! `CreateUser`, `GetUser`, `ListUsers`, `UpdateUser`, `DeleteUser`.

use serde::{Deserialize, Serialize};
use wharfinger_api_core::{Context, Demand, Operation, RequestScope};
use wharfinger_iam::{NewUser, Resource as _, User};

use crate::iam::paging::{PageEnd, Paging};
use crate::iam::resource::{EntityKind, IamResourceId, PERMISSIONS_BOUNDARY};
use crate::iam::views::{TagView, checked_tags, date};
use crate::iam::{IamService, Result};

/// A user in responses. The account's root has no name and no path.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct UserView {
    path: Option<String>,
    user_name: Option<String>,
    user_id: String,
    arn: String,
    create_date: String,
    permissions_boundary: Option<BoundaryView>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tags: Vec<TagView>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct BoundaryView {
    permissions_boundary_type: &'static str,
    permissions_boundary_arn: String,
}

impl UserView {
    pub(super) fn of(user: User) -> Self {
        Self {
            path: Some(user.name.path),
            user_name: Some(user.name.name),
            user_id: user.name.id,
            arn: user.arn.to_string(),
            create_date: date(user.created_at),
            permissions_boundary: user.boundary.map(|arn| BoundaryView {
                permissions_boundary_type: "PermissionsBoundaryPolicy",
                permissions_boundary_arn: arn,
            }),
            tags: user.tags.into_iter().map(TagView::from_pair).collect(),
        }
    }
}

/// The user of a request.
pub(super) fn user_id(scope: &RequestScope, name: &str) -> IamResourceId {
    IamResourceId::User(scope.account, name.to_owned())
}

/// The user of a request, or else the caller.
pub(super) fn user_or_caller(scope: &RequestScope, name: Option<&str>) -> IamResourceId {
    match name {
        Some(name) => user_id(scope, name),
        None => IamResourceId::Caller(scope.account),
    }
}

/// The path that a request names, or else `/`.
pub(super) fn path_or_root(path: Option<&String>) -> String {
    path.map_or_else(|| "/".to_owned(), Clone::clone)
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct CreateUser {
    user_name: String,
    path: Option<String>,
    permissions_boundary: Option<String>,
    #[serde(default)]
    tags: Vec<TagView>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct CreateUserOutput {
    user: UserView,
}

impl Operation for CreateUser {
    type Service = IamService;
    type Output = CreateUserOutput;

    const NAME: &'static str = "CreateUser";

    fn resource(&self, scope: &RequestScope) -> Result<IamResourceId> {
        Ok(IamResourceId::Named {
            account: scope.account,
            kind: EntityKind::User,
            path: path_or_root(self.path.as_ref()),
            name: self.user_name.clone(),
        })
    }

    /// Tags need `iam:TagUser` besides (Service Authorization Reference, `CreateUser`).
    fn demands(&self, scope: &RequestScope) -> Result<Vec<Demand<IamService>>> {
        let mut actions = vec![Self::ACTION];
        if !self.tags.is_empty() {
            actions.push("TagUser");
        }
        let tags: Vec<_> = self.tags.iter().map(TagView::pair).collect();
        let demand = |action| {
            let demand = Demand::new(action, self.resource(scope)?).with_tags(tags.clone());
            Ok(match &self.permissions_boundary {
                Some(arn) => demand.with_key(PERMISSIONS_BOUNDARY, arn),
                None => demand,
            })
        };
        actions.into_iter().map(demand).collect()
    }

    async fn run(self, cx: &Context<IamService>) -> Result<CreateUserOutput> {
        let new = NewUser {
            path: path_or_root(self.path.as_ref()),
            tags: checked_tags(&self.tags)?,
            name: self.user_name,
            boundary: self.permissions_boundary,
        };
        let users = cx.state().iam.users();
        let user = users.create_user(cx.scope().account, new).await?;
        Ok(CreateUserOutput {
            user: UserView::of(user),
        })
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
    user: UserView,
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
            let user = UserView::of(resource.user()?.clone());
            return Ok(GetUserOutput { user });
        }
        let account = resource.account();
        let created_at = cx.state().iam.users().root_created_at(account).await?;
        Ok(GetUserOutput {
            user: UserView {
                path: None,
                user_name: None,
                user_id: account.to_string(),
                arn: account.root_arn().to_string(),
                create_date: date(created_at),
                permissions_boundary: None,
                tags: Vec::new(),
            },
        })
    }
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct ListUsers {
    path_prefix: Option<String>,
    #[serde(flatten)]
    paging: Paging,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct ListUsersOutput {
    users: Vec<UserView>,
    #[serde(flatten)]
    end: PageEnd,
}

impl Operation for ListUsers {
    type Service = IamService;
    type Output = ListUsersOutput;

    const NAME: &'static str = "ListUsers";

    fn resource(&self, scope: &RequestScope) -> Result<IamResourceId> {
        Ok(IamResourceId::Named {
            account: scope.account,
            kind: EntityKind::User,
            path: path_or_root(self.path_prefix.as_ref()),
            name: String::new(),
        })
    }

    async fn run(self, cx: &Context<IamService>) -> Result<ListUsersOutput> {
        let after = self.paging.after(Self::NAME)?;
        let prefix = path_or_root(self.path_prefix.as_ref());
        let users = cx.state().iam.users();
        let page = users
            .list_users(
                cx.scope().account,
                &prefix,
                after.as_deref(),
                self.paging.limit(),
            )
            .await?;
        Ok(ListUsersOutput {
            end: PageEnd::of(Self::NAME, page.next.as_deref()),
            users: page.items.into_iter().map(UserView::of).collect(),
        })
    }
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct UpdateUser {
    user_name: String,
    new_user_name: Option<String>,
    new_path: Option<String>,
}

impl Operation for UpdateUser {
    type Service = IamService;
    type Output = ();

    const NAME: &'static str = "UpdateUser";

    fn resource(&self, scope: &RequestScope) -> Result<IamResourceId> {
        Ok(user_id(scope, &self.user_name))
    }

    /// The user as it is, and as it shall be named (IAM API reference, `UpdateUser`).
    fn demands(&self, scope: &RequestScope) -> Result<Vec<Demand<IamService>>> {
        let renamed = IamResourceId::Renamed {
            account: scope.account,
            kind: EntityKind::User,
            name: self.user_name.clone(),
            new_name: self.new_user_name.clone(),
            new_path: self.new_path.clone(),
        };
        let resources = [self.resource(scope)?, renamed];
        let demands = resources.map(|resource| Demand::new(Self::ACTION, resource));
        Ok(Vec::from(demands))
    }

    async fn run(self, cx: &Context<IamService>) -> Result<()> {
        let user = cx.resource().user()?;
        let users = cx.state().iam.users();
        let account = cx.scope().account;
        users
            .rename_user(account, &user.name, self.new_user_name, self.new_path)
            .await?;
        Ok(())
    }
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct DeleteUser {
    user_name: String,
}

impl Operation for DeleteUser {
    type Service = IamService;
    type Output = ();

    const NAME: &'static str = "DeleteUser";

    fn resource(&self, scope: &RequestScope) -> Result<IamResourceId> {
        Ok(user_id(scope, &self.user_name))
    }

    async fn run(self, cx: &Context<IamService>) -> Result<()> {
        let user = cx.resource().user()?;
        let users = cx.state().iam.users();
        Ok(users.remove_user(cx.scope().account, &user.name).await?)
    }
}
