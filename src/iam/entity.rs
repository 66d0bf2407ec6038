//! The entities of IAM: users, groups, roles and instance profiles, and what differs between these
//! kinds. PURE.
//!
//! Source: IAM user guide, "IAM identifiers" and "IAM and AWS STS quotas".

use std::time::Duration;

use wharfinger_aws::{AccountId, Arn};
use wharfinger_base::Timestamp;

/// The kinds of entities.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum EntityKind {
    User,
    Group,
    Role,
    InstanceProfile,
}

impl EntityKind {
    /// All kinds.
    pub const ALL: [Self; 4] = [Self::User, Self::Group, Self::Role, Self::InstanceProfile];

    /// The kind in ARNs and in the index.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::Group => "group",
            Self::Role => "role",
            Self::InstanceProfile => "instance-profile",
        }
    }

    /// The kind that [`EntityKind::as_str`] names.
    pub(super) fn of(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == text)
    }

    /// How the unique ids of the kind start.
    #[must_use]
    pub const fn id_prefix(self) -> &'static str {
        match self {
            Self::User => "AIDA",
            Self::Group => "AGPA",
            Self::Role => "AROA",
            Self::InstanceProfile => "AIPA",
        }
    }

    /// `arn:aws:iam::<account>:<kind><path><name>`.
    #[must_use]
    pub fn arn(self, account: AccountId, path: &str, name: &str) -> Arn {
        let resource = format!("{}{path}{name}", self.as_str());
        Arn::new("aws", "iam", "", account.as_str(), &resource)
    }

    /// Most entities of the kind in an account: the name of the quota, and its value.
    pub(super) const fn quota(self) -> (&'static str, usize) {
        match self {
            Self::User => ("UsersPerAccount", 5_000),
            Self::Group => ("GroupsPerAccount", 300),
            Self::Role => ("RolesPerAccount", 1_000),
            Self::InstanceProfile => ("InstanceProfilesPerAccount", 1_000),
        }
    }

    /// The name of the quota for attached managed policies.
    pub(super) const fn attached_quota(self) -> &'static str {
        match self {
            Self::User => "PoliciesPerUser",
            Self::Group => "PoliciesPerGroup",
            Self::Role => "PoliciesPerRole",
            Self::InstanceProfile => "PoliciesPerInstanceProfile",
        }
    }

    /// The name of the quota for tags.
    pub(super) const fn tags_quota(self) -> &'static str {
        match self {
            Self::User => "TagsPerUser",
            Self::Group => "TagsPerGroup",
            Self::Role => "TagsPerRole",
            Self::InstanceProfile => "TagsPerInstanceProfile",
        }
    }

    /// Most characters of all inline policies of an entity together, without blanks.
    pub(super) const fn max_inline_chars(self) -> usize {
        match self {
            Self::User => 2_048,
            Self::Group => 5_120,
            Self::Role => 10_240,
            Self::InstanceProfile => 0,
        }
    }
}

/// What names an entity.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EntityName {
    pub kind: EntityKind,
    /// `/` or `/division/team/`.
    pub path: String,
    /// Letters, digits and `+=,.@_-`: 1 to 64 of a user or role, else 1 to 128.
    pub name: String,
    /// [`EntityKind::id_prefix`] and 17 more characters; never used again after the entity is
    /// deleted.
    pub id: String,
}

impl EntityName {
    /// `arn:aws:iam::<account>:<kind><path><name>`.
    #[must_use]
    pub fn arn(&self, account: AccountId) -> Arn {
        self.kind.arn(account, &self.path, &self.name)
    }

    /// Whether it is a role that a service made for itself, which only that service changes.
    #[must_use]
    pub fn is_service_linked(&self) -> bool {
        self.kind == EntityKind::Role && self.path.starts_with(SERVICE_LINKED_PATH)
    }
}

/// How the paths of service-linked roles, and of the policies for them, start.
pub(super) const SERVICE_LINKED_PATH: &str = "/aws-service-role/";

/// An entity as the IAM API shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entity {
    pub name: EntityName,
    pub arn: Arn,
    pub created_at: Timestamp,
    /// The ARN of the permissions boundary of a user or role.
    pub boundary: Option<String>,
    /// Listings leave them out, as the IAM API does.
    pub tags: Vec<(String, String)>,
    /// Of a role only.
    pub role: Option<RoleSettings>,
}

/// What a role has besides the properties of every entity.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RoleSettings {
    /// Who may assume the role: a policy document that names principals by their ARNs, or by their
    /// unique ids where they are gone.
    pub trust_policy: String,
    pub description: Option<String>,
    /// The longest session that may be requested: one to twelve hours.
    pub max_session: Duration,
    /// At most an hour old; `None` for a role that was never used.
    pub last_use: Option<RoleUse>,
}

/// When and where credentials of a role signed a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RoleUse {
    pub at: Timestamp,
    pub region: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_are_told_apart_by_arn_and_id() {
        let expected = [
            ("arn:aws:iam::123456789012:user/a/b", "AIDA"),
            ("arn:aws:iam::123456789012:group/a/b", "AGPA"),
            ("arn:aws:iam::123456789012:role/a/b", "AROA"),
            ("arn:aws:iam::123456789012:instance-profile/a/b", "AIPA"),
        ];
        for (kind, (arn, id_prefix)) in EntityKind::ALL.into_iter().zip(expected) {
            assert_eq!(kind.arn(AccountId::DEV, "/a/", "b").as_str(), arn);
            assert_eq!(kind.id_prefix(), id_prefix);
            assert_eq!(EntityKind::of(kind.as_str()), Some(kind));
        }
        assert_eq!(EntityKind::of("policy"), None);
    }

    #[test]
    fn only_roles_are_linked_to_services() {
        let name = |kind, path: &str| EntityName {
            kind,
            path: path.to_owned(),
            name: "n".to_owned(),
            id: "id".to_owned(),
        };
        let path = "/aws-service-role/ecs.amazonaws.com/";
        assert!(name(EntityKind::Role, path).is_service_linked());
        assert!(!name(EntityKind::Role, "/service-role/").is_service_linked());
        assert!(!name(EntityKind::User, path).is_service_linked());
    }
}
