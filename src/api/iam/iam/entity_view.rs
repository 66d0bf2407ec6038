//! Users, groups, roles and instance profiles in responses.

use std::marker::PhantomData;

use serde::ser::SerializeMap as _;
use serde::{Serialize, Serializer};
use wharfinger_api_core::Context;
use wharfinger_iam::Entity;

use crate::iam::kinds::{Group, InstanceProfile, Kind, Role, User};
use crate::iam::paging::PageEnd;
use crate::iam::views::{TagView, date, encoded};
use crate::iam::{Error, IamService, Result};

/// An entity in responses.
#[derive(Debug)]
pub(super) struct EntityView<K> {
    entity: Entity,
    /// The roles of an instance profile.
    roles: Option<Vec<EntityView<Role>>>,
    kind: PhantomData<fn() -> K>,
}

impl<K: Kind> EntityView<K> {
    pub(super) const fn of(entity: Entity) -> Self {
        Self {
            entity,
            roles: None,
            kind: PhantomData,
        }
    }

    /// With the role of an instance profile.
    pub(super) fn with_role(entity: Entity, role: Option<Entity>) -> Self {
        Self {
            roles: Some(role.into_iter().map(EntityView::of).collect()),
            ..Self::of(entity)
        }
    }
}

/// Leaves out what listings do not show: the boundary, and of a role the last use (IAM API
/// reference, `ListUsers` and `ListRoles`). Tags were not loaded.
pub(super) fn listed<K>(mut views: Vec<EntityView<K>>) -> Vec<EntityView<K>> {
    for view in &mut views {
        view.entity.boundary = None;
        if let Some(role) = &mut view.entity.role {
            role.last_use = None;
        }
    }
    views
}

/// A kind whose entities responses show.
pub(super) trait Shown: Kind {
    fn views(
        _: &Context<IamService>,
        entities: Vec<Entity>,
    ) -> impl Future<Output = Result<Vec<EntityView<Self>>>> + Send
    where
        Self: Sized,
    {
        let views = entities.into_iter().map(EntityView::of).collect();
        std::future::ready(Ok(views))
    }
}

impl Shown for User {}

impl Shown for Group {}

impl Shown for Role {}

/// Instance profiles are shown with their roles.
impl Shown for InstanceProfile {
    async fn views(
        cx: &Context<IamService>,
        entities: Vec<Entity>,
    ) -> Result<Vec<EntityView<Self>>> {
        let account = cx.scope().account;
        let roles = cx.state().iam.entities();
        let roles = roles.roles_of_profiles(account, &entities).await?;
        let views = entities.into_iter().zip(roles);
        Ok(views
            .map(|(entity, role)| EntityView::with_role(entity, role))
            .collect())
    }
}

/// One entity as responses show it.
pub(super) async fn view<K: Shown>(
    cx: &Context<IamService>,
    entity: Entity,
) -> Result<EntityView<K>> {
    let mut views = K::views(cx, vec![entity]).await?;
    views.pop().ok_or_else(Error::wrong_resource)
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct BoundaryView<'a> {
    permissions_boundary_type: &'static str,
    permissions_boundary_arn: &'a str,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct LastUsedView<'a> {
    last_used_date: String,
    region: &'a str,
}

impl<K: Kind> Serialize for EntityView<K> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let entity = &self.entity;
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("Path", &entity.name.path)?;
        map.serialize_entry(K::NAME_MEMBER, &entity.name.name)?;
        map.serialize_entry(K::ID_MEMBER, &entity.name.id)?;
        map.serialize_entry("Arn", entity.arn.as_str())?;
        map.serialize_entry("CreateDate", &date(entity.created_at))?;
        if let Some(role) = &entity.role {
            map.serialize_entry("AssumeRolePolicyDocument", &encoded(&role.trust_policy))?;
            map.serialize_entry("Description", &role.description)?;
            map.serialize_entry("MaxSessionDuration", &role.max_session.as_secs())?;
            if let Some(used) = &role.last_use {
                let view = LastUsedView {
                    last_used_date: date(used.at),
                    region: &used.region,
                };
                map.serialize_entry("RoleLastUsed", &view)?;
            }
        }
        if let Some(roles) = &self.roles {
            map.serialize_entry("Roles", roles)?;
        }
        if let Some(arn) = &entity.boundary {
            let view = BoundaryView {
                // The API reference documents this value; that of the model is not sent.
                permissions_boundary_type: "Policy",
                permissions_boundary_arn: arn,
            };
            map.serialize_entry("PermissionsBoundary", &view)?;
        }
        if !entity.tags.is_empty() {
            let tags = entity.tags.iter().cloned().map(TagView::from_pair);
            map.serialize_entry("Tags", &tags.collect::<Vec<_>>())?;
        }
        map.end()
    }
}

/// A response that holds one entity.
#[derive(Debug)]
pub(super) struct EntityOutput<K>(pub(super) EntityView<K>);

impl<K: Kind> Serialize for EntityOutput<K> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(1))?;
        map.serialize_entry(K::ELEMENT, &self.0)?;
        map.end()
    }
}

/// A response that holds a page of entities.
#[derive(Debug)]
pub(super) struct EntitiesOutput<K> {
    pub(super) entities: Vec<EntityView<K>>,
    pub(super) end: PageEnd,
}

impl<K: Kind> Serialize for EntitiesOutput<K> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry(K::LIST_ELEMENT, &self.entities)?;
        self.end.serialize_into(&mut map)?;
        map.end()
    }
}
