//! The resources of IAM.

use std::borrow::Cow;

use wharfinger_aws::{AccountId, Arn};
use wharfinger_iam::{
    Caller, Group, Iam, KeyOwner, ManagedPolicy, Principal, Resource, User, Users,
};

use crate::iam::{Error, Result, error};

/// The condition key with the ARN of a permissions boundary: the one that a request sets, else that
/// of the user (Service Authorization Reference, "AWS Identity and Access Management").
pub(super) const PERMISSIONS_BOUNDARY: &str = "iam:PermissionsBoundary";

/// The kinds of entities, named as in their ARNs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EntityKind {
    Policy,
    User,
    Group,
}

impl EntityKind {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Policy => "policy",
            Self::User => "user",
            Self::Group => "group",
        }
    }

    /// `arn:aws:iam::<account>:<kind><path><name>`.
    fn arn(self, account: AccountId, path: &str, name: &str) -> Arn {
        let resource = format!("{}{path}{name}", self.as_str());
        Arn::new("aws", "iam", "", account.as_str(), &resource)
    }
}

/// The name of a resource.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum IamResourceId {
    /// A managed policy, with the account whose uses of it count.
    Policy(AccountId, Arn),
    /// The user or root that calls, where a request names nobody.
    Caller(AccountId),
    /// What has this path and name whether it exists or not: an entity that a request creates, or
    /// with an empty name all entities under a path.
    Named {
        account: AccountId,
        kind: EntityKind,
        path: String,
        name: String,
    },
    User(AccountId, String),
    Group(AccountId, String),
    /// A user or group under the name and path that it shall get; those that stay are its own.
    Renamed {
        account: AccountId,
        kind: EntityKind,
        name: String,
        new_name: Option<String>,
        new_path: Option<String>,
    },
    /// The user or root that owns an access key.
    KeyOwner(AccountId, String),
}

/// A resource as decisions and operations use it.
#[derive(Clone, Debug)]
pub struct IamResource {
    account: AccountId,
    arn: Arn,
    tags: Vec<(String, String)>,
    entity: Entity,
}

#[derive(Clone, Debug)]
enum Entity {
    /// Nothing that was loaded.
    Named,
    Root,
    User {
        name: String,
        found: Option<User>,
    },
    Group {
        name: String,
        found: Option<Group>,
    },
    /// Absent where it does not exist.
    Policy(Option<ManagedPolicy>),
}

impl IamResource {
    pub(super) async fn load(iam: &Iam, id: &IamResourceId, caller: &Caller) -> Result<Self> {
        let users = iam.users();
        match id {
            IamResourceId::Caller(account) => match &caller.principal {
                Principal::User(user) => Self::user_of(users, *account, &user.name).await,
                Principal::Root => Ok(Self::root(*account)),
                Principal::AssumedRole { .. }
                | Principal::WebIdentity { .. }
                | Principal::Service(_)
                | Principal::Anonymous => Err(error::validation(
                    "Must specify userName when calling with non-User credentials",
                )),
            },
            IamResourceId::Named {
                account,
                kind,
                path,
                name,
            } => Ok(Self::named(*account, *kind, path, name)),
            IamResourceId::User(account, name) => Self::user_of(users, *account, name).await,
            IamResourceId::Policy(account, arn) => {
                let found = iam.managed_policies().find(*account, arn.as_str()).await?;
                let (policy, tags) =
                    found.map_or((None, Vec::new()), |(policy, tags)| (Some(policy), tags));
                Ok(Self {
                    // AWS's own policies belong to every account.
                    account: arn.account_id().unwrap_or(*account),
                    arn: arn.clone(),
                    tags,
                    entity: Entity::Policy(policy),
                })
            }
            IamResourceId::Group(account, name) => Self::group_of(users, *account, name).await,
            IamResourceId::Renamed {
                account,
                kind,
                name,
                new_name,
                new_path,
            } => {
                let own = match kind {
                    EntityKind::User => {
                        let found = users.find_user(*account, name).await?;
                        found.map(|user| (user.name.path, user.name.name))
                    }
                    EntityKind::Policy => None,
                    EntityKind::Group => {
                        let found = users.find_group(*account, name).await?;
                        found.map(|group| (group.name.path, group.name.name))
                    }
                };
                let (own_path, own_name) = own.unwrap_or_else(|| ("/".to_owned(), name.clone()));
                let path = new_path.as_deref().unwrap_or(&own_path);
                let name = new_name.as_deref().unwrap_or(&own_name);
                Ok(Self::named(*account, *kind, path, name))
            }
            IamResourceId::KeyOwner(account, key) => Self::key_owner_of(users, *account, key).await,
        }
    }

    fn named(account: AccountId, kind: EntityKind, path: &str, name: &str) -> Self {
        Self {
            account,
            arn: kind.arn(account, path, name),
            tags: Vec::new(),
            entity: Entity::Named,
        }
    }

    fn root(account: AccountId) -> Self {
        Self {
            account,
            arn: account.root_arn(),
            tags: Vec::new(),
            entity: Entity::Root,
        }
    }

    async fn key_owner_of(users: &Users, account: AccountId, key: &str) -> Result<Self> {
        match users.key_record(account, key).await? {
            None => Ok(Self::named(account, EntityKind::User, "/", "")),
            Some(record) => match record.user {
                Some(name) => {
                    let mut owner = Self::user_of(users, account, &name).await?;
                    if let Entity::User { name, .. } = &mut owner.entity {
                        // The request does not name the user.
                        name.clear();
                    }
                    Ok(owner)
                }
                None => Ok(Self::root(account)),
            },
        }
    }

    async fn user_of(users: &Users, account: AccountId, name: &str) -> Result<Self> {
        let found = users.find_user(account, name).await?;
        let (arn, tags) = match &found {
            Some(user) => (user.arn.clone(), user.tags.clone()),
            None => (EntityKind::User.arn(account, "/", name), Vec::new()),
        };
        let name = name.to_owned();
        Ok(Self {
            account,
            arn,
            tags,
            entity: Entity::User { name, found },
        })
    }

    async fn group_of(users: &Users, account: AccountId, name: &str) -> Result<Self> {
        let found = users.find_group(account, name).await?;
        let arn = match &found {
            Some(group) => group.arn.clone(),
            None => EntityKind::Group.arn(account, "/", name),
        };
        let name = name.to_owned();
        Ok(Self {
            account,
            arn,
            tags: Vec::new(),
            entity: Entity::Group { name, found },
        })
    }

    /// The user.
    ///
    /// # Errors
    /// `NoSuchEntity`.
    pub(super) fn user(&self) -> Result<&User> {
        match &self.entity {
            Entity::User { name, found } => found.as_ref().ok_or_else(|| error::no_such_user(name)),
            Entity::Named | Entity::Policy(_) | Entity::Root | Entity::Group { .. } => {
                Err(Error::wrong_resource())
            }
        }
    }

    /// The ARN of the user's permissions boundary.
    pub(super) fn boundary(&self) -> Option<&str> {
        match &self.entity {
            Entity::User { found, .. } => found.as_ref()?.boundary.as_deref(),
            Entity::Named | Entity::Policy(_) | Entity::Root | Entity::Group { .. } => None,
        }
    }

    /// The group.
    ///
    /// # Errors
    /// `NoSuchEntity`.
    pub(super) fn group(&self) -> Result<&Group> {
        match &self.entity {
            Entity::Group { name, found } => {
                found.as_ref().ok_or_else(|| error::no_such_group(name))
            }
            Entity::Named | Entity::Policy(_) | Entity::Root | Entity::User { .. } => {
                Err(Error::wrong_resource())
            }
        }
    }

    /// Whose access keys the request is about.
    ///
    /// # Errors
    /// `NoSuchEntity`.
    pub(super) fn key_owner(&self) -> Result<KeyOwner<'_>> {
        if self.is_root() {
            return Ok(KeyOwner::Root);
        }
        Ok(KeyOwner::User(&self.user()?.name))
    }

    /// The managed policy.
    ///
    /// # Errors
    /// `NoSuchEntity`.
    pub(super) fn policy(&self) -> Result<&ManagedPolicy> {
        match &self.entity {
            Entity::Policy(Some(policy)) => Ok(policy),
            Entity::Policy(None) => Err(error::no_such_policy(self.arn.as_str())),
            _ => Err(Error::wrong_resource()),
        }
    }

    /// Whether it is the root of the account.
    pub(super) const fn is_root(&self) -> bool {
        matches!(self.entity, Entity::Root)
    }
}

impl Resource for IamResource {
    fn arn(&self) -> Option<&Arn> {
        Some(&self.arn)
    }

    /// Without the path, in the case of the request, and without the owner of a key.
    fn shown_arn(&self) -> Option<Cow<'_, Arn>> {
        let (kind, name) = match &self.entity {
            Entity::User { name, .. } => (EntityKind::User, name.as_str()),
            Entity::Group { name, .. } => (EntityKind::Group, name.as_str()),
            Entity::Root => (EntityKind::User, ""),
            Entity::Named | Entity::Policy(_) => return Some(Cow::Borrowed(&self.arn)),
        };
        Some(Cow::Owned(kind.arn(self.account, "/", name)))
    }

    fn account(&self) -> AccountId {
        self.account
    }

    fn tags(&self) -> &[(String, String)] {
        &self.tags
    }
}
