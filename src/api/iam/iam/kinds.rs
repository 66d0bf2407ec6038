//! The kinds of entities as operations are generic over them: how requests and responses name an
//! entity, and how the operations on it are called.

use std::fmt;
use std::marker::PhantomData;

use serde::de::{self, IgnoredAny, MapAccess, Visitor};
use serde::ser::SerializeMap as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use wharfinger_api_core::{Context, RequestScope};
use wharfinger_iam::{Entity, EntityKind};

use crate::iam::resource::IamResourceId;
use crate::iam::{IamService, Result};

/// A kind of entity.
pub(super) trait Kind: Send + Sync + 'static {
    const KIND: EntityKind;
    /// The member with the name of an entity, such as `UserName`.
    const NAME_MEMBER: &'static str;
    /// The member with its unique id.
    const ID_MEMBER: &'static str;
    /// What holds an entity in responses, such as `User`.
    const ELEMENT: &'static str;
    /// What holds several, such as `Users`.
    const LIST_ELEMENT: &'static str;
    /// The names of the operations that all kinds have.
    const CREATE: &'static str;
    const LIST: &'static str;
    const DELETE: &'static str;

    /// The entity of the request, as it was loaded for the decision.
    ///
    /// # Errors
    /// `NoSuchEntity`.
    fn of(cx: &Context<IamService>) -> Result<&Entity> {
        cx.resource().entity(Self::KIND)
    }
}

#[derive(Debug)]
pub(super) struct User;

#[derive(Debug)]
pub(super) struct Group;

#[derive(Debug)]
pub(super) struct Role;

#[derive(Debug)]
pub(super) struct InstanceProfile;

impl Kind for User {
    const KIND: EntityKind = EntityKind::User;
    const NAME_MEMBER: &'static str = "UserName";
    const ID_MEMBER: &'static str = "UserId";
    const ELEMENT: &'static str = "User";
    const LIST_ELEMENT: &'static str = "Users";
    const CREATE: &'static str = "CreateUser";
    const LIST: &'static str = "ListUsers";
    const DELETE: &'static str = "DeleteUser";
}

impl Kind for Group {
    const KIND: EntityKind = EntityKind::Group;
    const NAME_MEMBER: &'static str = "GroupName";
    const ID_MEMBER: &'static str = "GroupId";
    const ELEMENT: &'static str = "Group";
    const LIST_ELEMENT: &'static str = "Groups";
    const CREATE: &'static str = "CreateGroup";
    const LIST: &'static str = "ListGroups";
    const DELETE: &'static str = "DeleteGroup";
}

impl Kind for Role {
    const KIND: EntityKind = EntityKind::Role;
    const NAME_MEMBER: &'static str = "RoleName";
    const ID_MEMBER: &'static str = "RoleId";
    const ELEMENT: &'static str = "Role";
    const LIST_ELEMENT: &'static str = "Roles";
    const CREATE: &'static str = "CreateRole";
    const LIST: &'static str = "ListRoles";
    const DELETE: &'static str = "DeleteRole";
}

impl Kind for InstanceProfile {
    const KIND: EntityKind = EntityKind::InstanceProfile;
    const NAME_MEMBER: &'static str = "InstanceProfileName";
    const ID_MEMBER: &'static str = "InstanceProfileId";
    const ELEMENT: &'static str = "InstanceProfile";
    const LIST_ELEMENT: &'static str = "InstanceProfiles";
    const CREATE: &'static str = "CreateInstanceProfile";
    const LIST: &'static str = "ListInstanceProfiles";
    const DELETE: &'static str = "DeleteInstanceProfile";
}

/// The member of a request or response that names an entity of a kind.
pub(super) struct Named<K> {
    pub(super) name: String,
    kind: PhantomData<fn() -> K>,
}

impl<K: Kind> Named<K> {
    pub(super) const fn new(name: String) -> Self {
        Self {
            name,
            kind: PhantomData,
        }
    }

    pub(super) fn id(&self, scope: &RequestScope) -> IamResourceId {
        IamResourceId::Entity(scope.account, K::KIND, self.name.clone())
    }
}

impl<K: Kind> fmt::Debug for Named<K> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} {}", K::ELEMENT, self.name)
    }
}

/// Reads the member among those of a whole request.
impl<'de, K: Kind> Deserialize<'de> for Named<K> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        let name = deserializer.deserialize_map(MemberVisitor(K::NAME_MEMBER))?;
        Ok(Self::new(name))
    }
}

impl<K: Kind> Serialize for Named<K> {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(1))?;
        map.serialize_entry(K::NAME_MEMBER, &self.name)?;
        map.end()
    }
}

struct MemberVisitor(&'static str);

impl<'de> Visitor<'de> for MemberVisitor {
    type Value = String;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "a request with {}", self.0)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> std::result::Result<String, A::Error> {
        let mut found = None;
        while let Some(member) = map.next_key::<String>()? {
            if member == self.0 {
                found = Some(map.next_value()?);
            } else {
                map.next_value::<IgnoredAny>()?;
            }
        }
        found.ok_or_else(|| de::Error::missing_field(self.0))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_member_that_names_an_entity_depends_on_the_kind() {
        let request = json!({"RoleName": "r", "UserName": "u", "Marker": "m"});
        let role: Named<Role> = serde_json::from_value(request.clone()).expect("a role");
        let user: Named<User> = serde_json::from_value(request.clone()).expect("a user");
        assert_eq!((role.name.as_str(), user.name.as_str()), ("r", "u"));
        assert!(serde_json::from_value::<Named<Group>>(request).is_err());
        let shown = serde_json::to_value(&role).expect("JSON");
        assert_eq!(shown, json!({"RoleName": "r"}));
    }
}
