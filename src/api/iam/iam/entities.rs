//! The operations that all or several kinds of entities have: `Create…`, `Get…`, `List…`,
//! `Update…`, `Delete…` of users, groups, roles and instance profiles.

use std::marker::PhantomData;
use std::time::Duration;

use serde::Deserialize;
use serde::de::DeserializeOwned;
use wharfinger_api_core::{Context, Demand, Operation, RequestScope};
use wharfinger_iam::{NewEntity, NewRole};

use crate::iam::entity_view::{EntitiesOutput, EntityOutput, Shown, listed, view};
use crate::iam::kinds::{Group, InstanceProfile, Kind, Named, Role, User};
use crate::iam::paging::{PageEnd, Paging};
use crate::iam::resource::{IamResourceId, PERMISSIONS_BOUNDARY};
use crate::iam::views::{TagView, checked_tags};
use crate::iam::{IamService, Result};

/// The path that a request names, or else `/`.
pub(super) fn path_or_root(path: Option<&String>) -> String {
    path.map_or_else(|| "/".to_owned(), Clone::clone)
}

/// What the creation of a kind of entity takes besides its name and path.
pub(super) trait Creatable: Shown {
    type Members: NewMembers;
    /// What tagging needs besides, where the request sets tags.
    const TAG_ACTION: &'static str;
}

/// Members of a request that creates an entity.
pub(super) trait NewMembers: DeserializeOwned + Send + Sync + 'static {
    fn tags(&self) -> &[TagView] {
        &[]
    }

    fn boundary(&self) -> Option<&str> {
        None
    }

    fn role(self) -> Option<NewRole>;
}

/// The members of `CreateGroup`.
#[derive(Debug, Deserialize)]
pub(super) struct GroupMembers {}

/// The members of `CreateUser`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct UserMembers {
    permissions_boundary: Option<String>,
    #[serde(default)]
    tags: Vec<TagView>,
}

/// The members of `CreateRole`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct RoleMembers {
    assume_role_policy_document: String,
    description: Option<String>,
    max_session_duration: Option<u64>,
    permissions_boundary: Option<String>,
    #[serde(default)]
    tags: Vec<TagView>,
}

/// The members of `CreateInstanceProfile`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct InstanceProfileMembers {
    #[serde(default)]
    tags: Vec<TagView>,
}

impl NewMembers for GroupMembers {
    fn role(self) -> Option<NewRole> {
        None
    }
}

impl NewMembers for UserMembers {
    fn tags(&self) -> &[TagView] {
        &self.tags
    }

    fn boundary(&self) -> Option<&str> {
        self.permissions_boundary.as_deref()
    }

    fn role(self) -> Option<NewRole> {
        None
    }
}

impl NewMembers for RoleMembers {
    fn tags(&self) -> &[TagView] {
        &self.tags
    }

    fn boundary(&self) -> Option<&str> {
        self.permissions_boundary.as_deref()
    }

    fn role(self) -> Option<NewRole> {
        Some(NewRole {
            trust_policy: self.assume_role_policy_document,
            description: self.description,
            max_session: self.max_session_duration.map(Duration::from_secs),
        })
    }
}

impl NewMembers for InstanceProfileMembers {
    fn tags(&self) -> &[TagView] {
        &self.tags
    }

    fn role(self) -> Option<NewRole> {
        None
    }
}

impl Creatable for Group {
    type Members = GroupMembers;
    const TAG_ACTION: &'static str = "TagGroup";
}

impl Creatable for User {
    type Members = UserMembers;
    const TAG_ACTION: &'static str = "TagUser";
}

impl Creatable for Role {
    type Members = RoleMembers;
    const TAG_ACTION: &'static str = "TagRole";
}

impl Creatable for InstanceProfile {
    type Members = InstanceProfileMembers;
    const TAG_ACTION: &'static str = "TagInstanceProfile";
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", bound = "")]
pub(super) struct Create<K: Creatable> {
    #[serde(flatten)]
    named: Named<K>,
    path: Option<String>,
    #[serde(flatten)]
    members: K::Members,
}

impl<K: Creatable> Operation for Create<K> {
    type Service = IamService;
    type Output = EntityOutput<K>;

    const NAME: &'static str = K::CREATE;

    fn resource(&self, scope: &RequestScope) -> Result<IamResourceId> {
        Ok(IamResourceId::Named {
            account: scope.account,
            kind: K::KIND.as_str(),
            path: path_or_root(self.path.as_ref()),
            name: self.named.name.clone(),
        })
    }

    /// Tags need the action that sets them besides (Service Authorization Reference, `CreateUser`
    /// and others).
    fn demands(&self, scope: &RequestScope) -> Result<Vec<Demand<IamService>>> {
        let mut actions = vec![Self::ACTION];
        if !self.members.tags().is_empty() {
            actions.push(K::TAG_ACTION);
        }
        let tags: Vec<_> = self.members.tags().iter().map(TagView::pair).collect();
        let demand = |action| {
            let demand = Demand::new(action, self.resource(scope)?).with_tags(tags.clone());
            Ok(match self.members.boundary() {
                Some(arn) => demand.with_key(PERMISSIONS_BOUNDARY, arn),
                None => demand,
            })
        };
        actions.into_iter().map(demand).collect()
    }

    async fn run(self, cx: &Context<IamService>) -> Result<EntityOutput<K>> {
        let new = NewEntity {
            kind: K::KIND,
            path: path_or_root(self.path.as_ref()),
            tags: checked_tags(self.members.tags())?,
            name: self.named.name,
            boundary: self.members.boundary().map(ToOwned::to_owned),
            role: self.members.role(),
        };
        let entities = cx.state().iam.entities();
        let made = entities.create(cx.scope().account, new).await?;
        Ok(EntityOutput(view(cx, made).await?))
    }
}

/// A kind whose entities are read by name and nothing else.
pub(super) trait Readable: Shown {
    const GET: &'static str;
}

impl Readable for Role {
    const GET: &'static str = "GetRole";
}

impl Readable for InstanceProfile {
    const GET: &'static str = "GetInstanceProfile";
}

#[derive(Deserialize)]
#[serde(bound = "")]
pub(super) struct Get<K: Kind> {
    #[serde(flatten)]
    named: Named<K>,
}

impl<K: Readable> Operation for Get<K> {
    type Service = IamService;
    type Output = EntityOutput<K>;

    const NAME: &'static str = K::GET;

    fn resource(&self, scope: &RequestScope) -> Result<IamResourceId> {
        Ok(self.named.id(scope))
    }

    async fn run(self, cx: &Context<IamService>) -> Result<EntityOutput<K>> {
        let entity = K::of(cx)?.clone();
        Ok(EntityOutput(view(cx, entity).await?))
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", bound = "")]
pub(super) struct List<K> {
    path_prefix: Option<String>,
    #[serde(flatten)]
    paging: Paging,
    #[serde(skip)]
    kind: PhantomData<fn() -> K>,
}

impl<K: Shown> Operation for List<K> {
    type Service = IamService;
    type Output = EntitiesOutput<K>;

    const NAME: &'static str = K::LIST;

    fn resource(&self, scope: &RequestScope) -> Result<IamResourceId> {
        Ok(IamResourceId::Named {
            account: scope.account,
            kind: K::KIND.as_str(),
            path: path_or_root(self.path_prefix.as_ref()),
            name: String::new(),
        })
    }

    async fn run(self, cx: &Context<IamService>) -> Result<EntitiesOutput<K>> {
        let after = self.paging.after(Self::NAME)?;
        let prefix = path_or_root(self.path_prefix.as_ref());
        let entities = cx.state().iam.entities();
        let (account, limit) = (cx.scope().account, self.paging.limit());
        let page = entities
            .list(account, K::KIND, &prefix, after.as_deref(), limit)
            .await?;
        Ok(EntitiesOutput {
            end: PageEnd::of(Self::NAME, page.next.as_deref()),
            entities: listed(K::views(cx, page.items).await?),
        })
    }
}

/// A kind whose entities get other names.
pub(super) trait Renamable: Kind {
    const UPDATE: &'static str;
    type NewName: DeserializeOwned + AsRef<Option<String>> + Send + Sync;
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct NewUserName {
    new_user_name: Option<String>,
}

impl AsRef<Option<String>> for NewUserName {
    fn as_ref(&self) -> &Option<String> {
        &self.new_user_name
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct NewGroupName {
    new_group_name: Option<String>,
}

impl AsRef<Option<String>> for NewGroupName {
    fn as_ref(&self) -> &Option<String> {
        &self.new_group_name
    }
}

impl Renamable for User {
    const UPDATE: &'static str = "UpdateUser";
    type NewName = NewUserName;
}

impl Renamable for Group {
    const UPDATE: &'static str = "UpdateGroup";
    type NewName = NewGroupName;
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", bound = "")]
pub(super) struct Update<K: Renamable> {
    #[serde(flatten)]
    named: Named<K>,
    #[serde(flatten)]
    new_name: K::NewName,
    new_path: Option<String>,
}

impl<K: Renamable> Operation for Update<K> {
    type Service = IamService;
    type Output = ();

    const NAME: &'static str = K::UPDATE;

    fn resource(&self, scope: &RequestScope) -> Result<IamResourceId> {
        Ok(self.named.id(scope))
    }

    /// The entity as it is, and as it shall be named (IAM API reference, `UpdateUser`,
    /// `UpdateGroup`).
    fn demands(&self, scope: &RequestScope) -> Result<Vec<Demand<IamService>>> {
        let renamed = IamResourceId::Renamed {
            account: scope.account,
            kind: K::KIND,
            name: self.named.name.clone(),
            new_name: self.new_name.as_ref().clone(),
            new_path: self.new_path.clone(),
        };
        let resources = [self.resource(scope)?, renamed];
        let demands = resources.map(|resource| Demand::new(Self::ACTION, resource));
        Ok(Vec::from(demands))
    }

    async fn run(self, cx: &Context<IamService>) -> Result<()> {
        let entity = K::of(cx)?;
        let entities = cx.state().iam.entities();
        let (account, name) = (cx.scope().account, self.new_name.as_ref().clone());
        entities
            .rename(account, &entity.name, name, self.new_path)
            .await?;
        Ok(())
    }
}

#[derive(Deserialize)]
#[serde(bound = "")]
pub(super) struct Delete<K: Kind> {
    #[serde(flatten)]
    named: Named<K>,
}

impl<K: Kind> Operation for Delete<K> {
    type Service = IamService;
    type Output = ();

    const NAME: &'static str = K::DELETE;

    fn resource(&self, scope: &RequestScope) -> Result<IamResourceId> {
        Ok(self.named.id(scope))
    }

    async fn run(self, cx: &Context<IamService>) -> Result<()> {
        let entity = K::of(cx)?;
        let entities = cx.state().iam.entities();
        Ok(entities.remove(cx.scope().account, &entity.name).await?)
    }
}
