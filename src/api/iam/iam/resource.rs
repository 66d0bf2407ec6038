//! The resources of IAM.

use std::borrow::Cow;

use wharfinger_aws::{AccountId, Arn};
use wharfinger_iam::{
    Caller, Entity, EntityKind, Iam, KeyOwner, ManagedPolicy, OidcProvider, Principal, Resource,
};

use crate::iam::{Error, Result, error};

/// Managed policies, as [`EntityKind::as_str`] names entities.
pub(super) const POLICY: &str = "policy";
/// The condition key with the ARN of a permissions boundary: the one that a request sets, else that
/// of the user or role (Service Authorization Reference, "AWS Identity and Access Management").
pub(super) const PERMISSIONS_BOUNDARY: &str = "iam:PermissionsBoundary";

/// The name of a resource.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum IamResourceId {
    /// A managed policy, with the account whose uses of it count.
    Policy(AccountId, Arn),
    /// The user or root that calls, where a request names nobody.
    Caller(AccountId),
    /// What has this path and name whether it exists or not: what a request creates, or with an
    /// empty name all of the kind under a path.
    Named {
        account: AccountId,
        /// The kind in ARNs.
        kind: &'static str,
        path: String,
        name: String,
    },
    Entity(AccountId, EntityKind, String),
    OidcProvider(Arn),
    /// An entity under the name and path that it shall get; those that stay are its own.
    Renamed {
        account: AccountId,
        kind: EntityKind,
        name: String,
        new_name: Option<String>,
        new_path: Option<String>,
    },
    /// The user or root that owns an access key.
    KeyOwner(AccountId, String),
    /// All of the account: what operations work on that name no resource.
    Account(AccountId),
}

/// A resource as decisions and operations use it.
#[derive(Clone, Debug)]
pub struct IamResource {
    account: AccountId,
    arn: Arn,
    tags: Vec<(String, String)>,
    loaded: Loaded,
}

#[derive(Clone, Debug)]
enum Loaded {
    /// Nothing that was loaded.
    Named,
    Account,
    Root,
    /// Absent where it does not exist.
    Entity {
        kind: EntityKind,
        name: String,
        found: Option<Entity>,
    },
    /// Absent where it does not exist.
    Policy(Option<ManagedPolicy>),
    /// Absent where it does not exist.
    OidcProvider(Option<OidcProvider>),
}

impl IamResource {
    pub(super) async fn load(iam: &Iam, id: &IamResourceId, caller: &Caller) -> Result<Self> {
        match id {
            IamResourceId::Caller(account) => match &caller.principal {
                Principal::User(user) => {
                    let found = iam.entities().find_by_id(*account, &user.id).await?;
                    Ok(Self::entity_of(
                        *account,
                        EntityKind::User,
                        &user.name,
                        found,
                    ))
                }
                Principal::Root => Ok(Self::root(*account)),
                Principal::AssumedRole { .. }
                | Principal::FederatedUser { .. }
                | Principal::WebIdentity { .. }
                | Principal::Service(_)
                | Principal::Anonymous => Err(error::no_user_name()),
            },
            IamResourceId::Named {
                account,
                kind,
                path,
                name,
            } => Ok(Self::named(*account, kind, path, name)),
            IamResourceId::Entity(account, kind, name) => {
                Self::named_entity(iam, *account, *kind, name).await
            }
            IamResourceId::Policy(account, arn) => {
                let found = iam.managed_policies().find(*account, arn.as_str()).await?;
                let (policy, tags) =
                    found.map_or((None, Vec::new()), |(policy, tags)| (Some(policy), tags));
                Ok(Self {
                    // AWS's own policies belong to every account.
                    account: arn.account_id().unwrap_or(*account),
                    arn: arn.clone(),
                    tags,
                    loaded: Loaded::Policy(policy),
                })
            }
            IamResourceId::OidcProvider(arn) => {
                let account = arn.account_id().unwrap_or(caller.account);
                let found = iam.oidc_providers().find(account, arn).await?;
                let tags = found.as_ref().map(|provider| provider.tags.clone());
                Ok(Self {
                    account,
                    arn: arn.clone(),
                    tags: tags.unwrap_or_default(),
                    loaded: Loaded::OidcProvider(found),
                })
            }
            IamResourceId::Renamed {
                account,
                kind,
                name,
                new_name,
                new_path,
            } => {
                let own = iam.entities().find(*account, *kind, name).await?;
                let own = own.map(|entity| (entity.name.path, entity.name.name));
                let (own_path, own_name) = own.unwrap_or_else(|| ("/".to_owned(), name.clone()));
                let path = new_path.as_deref().unwrap_or(&own_path);
                let name = new_name.as_deref().unwrap_or(&own_name);
                Ok(Self::named(*account, kind.as_str(), path, name))
            }
            IamResourceId::KeyOwner(account, key) => Self::key_owner_of(iam, *account, key).await,
            IamResourceId::Account(account) => Ok(Self {
                loaded: Loaded::Account,
                ..Self::root(*account)
            }),
        }
    }

    fn named(account: AccountId, kind: &str, path: &str, name: &str) -> Self {
        let resource = format!("{kind}{path}{name}");
        Self {
            account,
            arn: Arn::new("aws", "iam", "", account.as_str(), &resource),
            tags: Vec::new(),
            loaded: Loaded::Named,
        }
    }

    fn root(account: AccountId) -> Self {
        Self {
            account,
            arn: account.root_arn(),
            tags: Vec::new(),
            loaded: Loaded::Root,
        }
    }

    async fn key_owner_of(iam: &Iam, account: AccountId, key: &str) -> Result<Self> {
        match iam.users().key_record(account, key).await? {
            None => Ok(Self::named(account, EntityKind::User.as_str(), "/", "")),
            Some(record) => match record.user {
                Some(name) => {
                    let found = iam
                        .entities()
                        .find(account, EntityKind::User, &name)
                        .await?;
                    // The request does not name the user.
                    Ok(Self::entity_of(account, EntityKind::User, "", found))
                }
                None => Ok(Self::root(account)),
            },
        }
    }

    async fn named_entity(
        iam: &Iam,
        account: AccountId,
        kind: EntityKind,
        name: &str,
    ) -> Result<Self> {
        let found = iam.entities().find(account, kind, name).await?;
        Ok(Self::entity_of(account, kind, name, found))
    }

    fn entity_of(account: AccountId, kind: EntityKind, name: &str, found: Option<Entity>) -> Self {
        let (arn, tags) = match &found {
            Some(entity) => (entity.arn.clone(), entity.tags.clone()),
            None => (kind.arn(account, "/", name), Vec::new()),
        };
        Self {
            account,
            arn,
            tags,
            loaded: Loaded::Entity {
                kind,
                name: name.to_owned(),
                found,
            },
        }
    }

    /// The entity of this kind.
    ///
    /// # Errors
    /// `NoSuchEntity`.
    pub(super) fn entity(&self, kind: EntityKind) -> Result<&Entity> {
        match &self.loaded {
            Loaded::Entity {
                kind: loaded,
                name,
                found,
            } if *loaded == kind => found
                .as_ref()
                .ok_or_else(|| error::no_such_entity(kind, name)),
            Loaded::Named
            | Loaded::Account
            | Loaded::Root
            | Loaded::Entity { .. }
            | Loaded::Policy(_)
            | Loaded::OidcProvider(_) => Err(Error::wrong_resource()),
        }
    }

    /// The entity, whatever its kind; `None` for anything else.
    pub(super) const fn any_entity(&self) -> Option<&Entity> {
        match &self.loaded {
            Loaded::Entity { found, .. } => found.as_ref(),
            Loaded::Named
            | Loaded::Account
            | Loaded::Root
            | Loaded::Policy(_)
            | Loaded::OidcProvider(_) => None,
        }
    }

    /// Checks that a policy or an entity exists.
    ///
    /// # Errors
    /// `NoSuchEntity`.
    pub(super) fn check_exists(&self) -> Result<()> {
        match &self.loaded {
            Loaded::Entity { kind, .. } => self.entity(*kind).map(drop),
            Loaded::Policy(_) => self.policy().map(drop),
            Loaded::OidcProvider(_) => self.oidc_provider().map(drop),
            Loaded::Named | Loaded::Account | Loaded::Root => Err(Error::wrong_resource()),
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
        Ok(KeyOwner::User(&self.entity(EntityKind::User)?.name))
    }

    /// The managed policy.
    ///
    /// # Errors
    /// `NoSuchEntity`.
    pub(super) fn policy(&self) -> Result<&ManagedPolicy> {
        match &self.loaded {
            Loaded::Policy(Some(policy)) => Ok(policy),
            Loaded::Policy(None) => Err(error::no_such_policy(self.arn.as_str())),
            Loaded::Named
            | Loaded::Account
            | Loaded::Root
            | Loaded::Entity { .. }
            | Loaded::OidcProvider(_) => Err(Error::wrong_resource()),
        }
    }

    /// The OIDC provider.
    ///
    /// # Errors
    /// `NoSuchEntity`.
    pub(super) fn oidc_provider(&self) -> Result<&OidcProvider> {
        match &self.loaded {
            Loaded::OidcProvider(Some(provider)) => Ok(provider),
            Loaded::OidcProvider(None) => Err(error::no_such_provider(self.arn.as_str())),
            Loaded::Named
            | Loaded::Account
            | Loaded::Root
            | Loaded::Entity { .. }
            | Loaded::Policy(_) => Err(Error::wrong_resource()),
        }
    }

    /// Whether it is an OIDC provider, there or not.
    pub(super) const fn is_oidc_provider(&self) -> bool {
        matches!(self.loaded, Loaded::OidcProvider(_))
    }

    /// The account and the ARN.
    pub(super) const fn place(&self) -> (AccountId, &Arn) {
        (self.account, &self.arn)
    }

    /// Whether it is the root of the account.
    pub(super) const fn is_root(&self) -> bool {
        matches!(self.loaded, Loaded::Root)
    }

    /// The ARN of the permissions boundary of a user or role.
    pub(super) fn boundary(&self) -> Option<&str> {
        self.any_entity()?.boundary.as_deref()
    }
}

impl Resource for IamResource {
    fn arn(&self) -> Option<&Arn> {
        (!matches!(self.loaded, Loaded::Account)).then_some(&self.arn)
    }

    /// Without the path, in the case of the request, and without the owner of a key.
    fn shown_arn(&self) -> Option<Cow<'_, Arn>> {
        let (kind, name) = match &self.loaded {
            Loaded::Entity { kind, name, .. } => (*kind, name.as_str()),
            Loaded::Root => (EntityKind::User, ""),
            Loaded::Account => return None,
            Loaded::Named | Loaded::Policy(_) | Loaded::OidcProvider(_) => {
                return Some(Cow::Borrowed(&self.arn));
            }
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
