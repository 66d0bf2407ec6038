//! Users, groups, roles and instance profiles as the IAM API manages them. One implementation
//! serves all kinds; what differs between them is in [`EntityKind`].

use wharfinger_aws::AccountId;
use wharfinger_base::{Clock, Ids, Page};
use wharfinger_db::Tx;

use crate::entity::{Entity, EntityKind, EntityName, RoleSettings, SERVICE_LINKED_PATH};
use crate::error::Error;
use crate::identity_db::IdentityDb;
use crate::new_role::NewRole;
use crate::policy_lookup::check_policy;
use crate::principal_ids;
use crate::store;
use crate::store::entities::EntityRow;
use crate::store::policies::PolicyRow;
use crate::tags::{remove_tags, set_tags};
use crate::unique_ids::unique_id;

/// An entity to create.
#[derive(Clone, Debug)]
pub struct NewEntity {
    pub kind: EntityKind,
    pub name: String,
    /// `/` or `/division/team/`.
    pub path: String,
    /// The ARN of the permissions boundary of a user or role.
    pub boundary: Option<String>,
    pub tags: Vec<(String, String)>,
    /// For a role only.
    pub role: Option<NewRole>,
}

impl NewEntity {
    /// An entity under the path `/`, without boundary and tags.
    #[must_use]
    pub fn new(kind: EntityKind, name: &str) -> Self {
        Self {
            kind,
            name: name.to_owned(),
            path: "/".to_owned(),
            boundary: None,
            tags: Vec::new(),
            role: None,
        }
    }
}

/// The entities of all accounts in the index.
#[derive(Clone)]
pub struct Entities {
    pub(super) db: IdentityDb,
    pub(super) clock: Clock,
    pub(super) ids: Ids,
}

impl Entities {
    /// Creates an entity. A user has no access key yet.
    ///
    /// # Errors
    /// [`Error::EntityExists`], [`Error::NotAttachable`] for the boundary, [`Error::Quota`],
    /// [`Error::Policy`] for the trust policy of a role, [`Error::ReservedPath`].
    pub async fn create(&self, account: AccountId, new: NewEntity) -> Result<Entity, Error> {
        if new.kind == EntityKind::Role && new.path.starts_with(SERVICE_LINKED_PATH) {
            return Err(Error::ReservedPath);
        }
        self.insert(account, new, None).await
    }

    /// Creates an entity, in whichever path, with this managed policy attached.
    pub(super) async fn insert(
        &self,
        account: AccountId,
        new: NewEntity,
        attached: Option<String>,
    ) -> Result<Entity, Error> {
        let row = EntityRow {
            name: EntityName {
                kind: new.kind,
                path: new.path,
                name: new.name,
                id: unique_id(&self.ids, new.kind.id_prefix()),
            },
            created_at: self.clock.now(),
            boundary: new.boundary,
            disabled_at: None,
            role: new.role.map(NewRole::checked).transpose()?,
        };
        let tags = new.tags;
        let attached = attached.map(|name| PolicyRow {
            name,
            document: None,
        });
        self.db
            .write(move |tx| {
                let mut row = row.clone();
                if let Some(role) = &mut row.role {
                    role.trust_policy = principal_ids::bind(tx, &role.trust_policy)?;
                }
                if let Some(boundary) = &row.boundary {
                    check_policy(tx, account, boundary)?;
                }
                insert(tx, account, &row)?;
                set_tags(tx, account, &row.name.id, &tags, row.name.kind.tags_quota())?;
                if let Some(policy) = &attached {
                    store::policies::put(tx, account, &row.name.id, policy, row.created_at)?;
                }
                let mut made = shown(tx, account, row)?;
                made.tags.clone_from(&tags);
                Ok(made)
            })
            .await
    }

    /// The entity of this kind and name, with its tags.
    pub async fn find(
        &self,
        account: AccountId,
        kind: EntityKind,
        name: &str,
    ) -> Result<Option<Entity>, Error> {
        let name = name.to_owned();
        self.db
            .read(move |tx| {
                let found = store::entities::find(tx, account, kind, &name)?;
                found.map(|row| with_tags(tx, account, row)).transpose()
            })
            .await
    }

    /// The entity with this unique id, with its tags.
    pub async fn find_by_id(&self, account: AccountId, id: &str) -> Result<Option<Entity>, Error> {
        let id = id.to_owned();
        self.db
            .read(move |tx| {
                let found = store::entities::find_by_id(tx, account, &id)?;
                found.map(|row| with_tags(tx, account, row)).transpose()
            })
            .await
    }

    /// Entities of a kind under a path prefix by name, at most `limit` of them, from after the name
    /// `after`.
    pub async fn list(
        &self,
        account: AccountId,
        kind: EntityKind,
        path_prefix: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Page<Entity>, Error> {
        let (prefix, after) = (path_prefix.to_owned(), after.unwrap_or_default().to_owned());
        let rows = self.db.read(move |tx| {
            let rows = store::entities::page(tx, account, kind, &prefix, &after, limit + 1)?;
            all_shown(tx, account, rows)
        });
        Ok(Page::of(rows.await?, limit, |entity| {
            entity.name.name.clone()
        }))
    }

    /// Gives the entity another name, another path, or both. Its unique id stays.
    ///
    /// # Errors
    /// [`Error::EntityExists`].
    pub async fn rename(
        &self,
        account: AccountId,
        entity: &EntityName,
        name: Option<String>,
        path: Option<String>,
    ) -> Result<(), Error> {
        self.change(account, entity, move |tx, row| {
            let old = row.name;
            let renamed = EntityName {
                kind: old.kind,
                name: name.clone().unwrap_or(old.name),
                path: path.clone().unwrap_or(old.path),
                id: old.id,
            };
            let holder = store::entities::find(tx, account, renamed.kind, &renamed.name)?;
            if holder.is_some_and(|holder| holder.name.id != renamed.id) {
                return Err(exists(&renamed));
            }
            Ok(store::entities::rename(tx, account, &renamed)?)
        })
        .await
    }

    /// Deletes an entity to which nothing is attached any more.
    ///
    /// # Errors
    /// [`Error::DeleteConflict`] for a user with groups, policies or access keys, a group with
    /// members or policies, a role with policies or in an instance profile, and an instance profile
    /// with a role; [`Error::ServiceLinkedRole`].
    pub async fn remove(&self, account: AccountId, entity: &EntityName) -> Result<(), Error> {
        self.change(account, entity, move |tx, row| {
            check_changeable(&row.name)?;
            check_unused(tx, account, &row.name)?;
            Ok(store::entities::delete(tx, account, &row.name.id)?)
        })
        .await
    }

    /// Sets the permissions boundary of a user or role, or removes it.
    ///
    /// # Errors
    /// [`Error::NotAttachable`] for a policy that does not exist, [`Error::ServiceLinkedRole`].
    pub async fn set_boundary(
        &self,
        account: AccountId,
        entity: &EntityName,
        boundary: Option<String>,
    ) -> Result<(), Error> {
        self.change(account, entity, move |tx, row| {
            check_changeable(&row.name)?;
            if let Some(arn) = &boundary {
                check_policy(tx, account, arn)?;
            }
            let boundary = boundary.as_deref();
            Ok(store::entities::set_boundary(
                tx,
                account,
                &row.name.id,
                boundary,
            )?)
        })
        .await
    }

    /// Sets tags of the entity. One replaces those whose keys differ from its own by case alone.
    ///
    /// # Errors
    /// [`Error::Quota`], [`Error::ServiceLinkedRole`].
    pub async fn tag(
        &self,
        account: AccountId,
        entity: &EntityName,
        tags: Vec<(String, String)>,
    ) -> Result<(), Error> {
        self.change(account, entity, move |tx, row| {
            check_changeable(&row.name)?;
            let quota = row.name.kind.tags_quota();
            set_tags(tx, account, &row.name.id, &tags, quota)
        })
        .await
    }

    /// Removes the tags with these keys, whatever their case.
    ///
    /// # Errors
    /// [`Error::ServiceLinkedRole`].
    pub async fn untag(
        &self,
        account: AccountId,
        entity: &EntityName,
        keys: Vec<String>,
    ) -> Result<(), Error> {
        self.change(account, entity, move |tx, row| {
            check_changeable(&row.name)?;
            let keys = keys.iter().map(String::as_str);
            remove_tags(tx, account, &row.name.id, keys)
        })
        .await
    }

    /// Finds the entity that the caller was authorised for and changes something of it, in one
    /// transaction.
    pub(super) async fn change<T: Send + 'static>(
        &self,
        account: AccountId,
        entity: &EntityName,
        work: impl Fn(&mut Tx<'_>, EntityRow) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        let entity = entity.clone();
        self.db
            .write(move |tx| {
                let row = current(tx, account, &entity)?;
                work(tx, row)
            })
            .await
    }
}

/// Adds an entity within the quota of its account.
pub(super) fn insert(tx: &mut Tx<'_>, account: AccountId, row: &EntityRow) -> Result<(), Error> {
    let (quota, limit) = row.name.kind.quota();
    let count = store::entities::count(tx, account, row.name.kind)?;
    if usize::try_from(count).is_ok_and(|count| count >= limit) {
        return Err(Error::Quota { quota, limit });
    }
    store::insert_account(tx, account, row.created_at)?;
    if !store::entities::insert(tx, account, row)? {
        return Err(exists(&row.name));
    }
    if let Some(role) = &row.role {
        store::roles::insert(tx, account, &row.name.id, role)?;
    }
    Ok(())
}

/// The row of an entity that the caller was authorised for: not that of a successor of the same
/// name, nor of the same entity under another name or path.
pub(super) fn current(
    tx: &mut Tx<'_>,
    account: AccountId,
    entity: &EntityName,
) -> Result<EntityRow, Error> {
    store::entities::find_by_id(tx, account, &entity.id)?
        .filter(|row| row.name == *entity)
        .ok_or_else(|| missing(entity.kind, &entity.name))
}

/// The row of the entity of this name.
pub(super) fn existing(
    tx: &mut Tx<'_>,
    account: AccountId,
    kind: EntityKind,
    name: &str,
) -> Result<EntityRow, Error> {
    store::entities::find(tx, account, kind, name)?.ok_or_else(|| missing(kind, name))
}

fn missing(kind: EntityKind, name: &str) -> Error {
    Error::NoSuchEntity {
        kind,
        name: name.to_owned(),
    }
}

fn exists(name: &EntityName) -> Error {
    Error::EntityExists {
        kind: name.kind,
        name: name.name.clone(),
    }
}

/// Refuses to change a role that belongs to a service.
pub(super) fn check_changeable(name: &EntityName) -> Result<(), Error> {
    if name.is_service_linked() {
        Err(Error::ServiceLinkedRole(name.name.clone()))
    } else {
        Ok(())
    }
}

/// An entity as it is shown, without its tags.
pub(super) fn shown(tx: &mut Tx<'_>, account: AccountId, row: EntityRow) -> Result<Entity, Error> {
    let role = match row.role {
        Some(role) => Some(RoleSettings {
            trust_policy: principal_ids::show(tx, &role.trust_policy)?,
            description: role.description,
            max_session: role.max_session,
            last_use: role.last_use,
        }),
        None => None,
    };
    Ok(Entity {
        arn: row.name.arn(account),
        name: row.name,
        created_at: row.created_at,
        boundary: row.boundary,
        tags: Vec::new(),
        role,
    })
}

pub(super) fn all_shown(
    tx: &mut Tx<'_>,
    account: AccountId,
    rows: Vec<EntityRow>,
) -> Result<Vec<Entity>, Error> {
    rows.into_iter()
        .map(|row| shown(tx, account, row))
        .collect()
}

pub(super) fn with_tags(
    tx: &mut Tx<'_>,
    account: AccountId,
    row: EntityRow,
) -> Result<Entity, Error> {
    let mut entity = shown(tx, account, row)?;
    entity.tags = store::tags::of_owner(tx, account, &entity.name.id)?;
    Ok(entity)
}

/// Source: IAM API reference, `DeleteUser`, `DeleteGroup`, `DeleteRole`, `DeleteInstanceProfile`:
/// what must be removed before.
fn check_unused(tx: &mut Tx<'_>, account: AccountId, name: &EntityName) -> Result<(), Error> {
    let id = name.id.as_str();
    let members = match name.kind {
        EntityKind::User => !store::members::of_user(tx, account, id)?.is_empty(),
        EntityKind::Group => !store::members::of_group(tx, account, id, "", 1)?.is_empty(),
        EntityKind::Role | EntityKind::InstanceProfile => false,
    };
    if members {
        return Err(Error::DeleteConflict("remove users from group"));
    }
    let in_profile = match name.kind {
        EntityKind::Role => !store::instance_profiles::of_role(tx, account, id, "", 1)?.is_empty(),
        EntityKind::InstanceProfile => {
            store::instance_profiles::role_of(tx, account, id)?.is_some()
        }
        EntityKind::User | EntityKind::Group => false,
    };
    if in_profile {
        return Err(Error::DeleteConflict("remove roles from instance profile"));
    }
    check_no_policies(tx, account, id)?;
    if store::access_keys::of_owner(tx, account, id)?.is_empty() {
        Ok(())
    } else {
        Err(Error::DeleteConflict("delete access keys"))
    }
}

fn check_no_policies(tx: &mut Tx<'_>, account: AccountId, owner_id: &str) -> Result<(), Error> {
    let policies = store::policies::of_owner(tx, account, owner_id)?;
    if policies.iter().any(|policy| policy.document.is_none()) {
        return Err(Error::DeleteConflict("detach all policies"));
    }
    if policies.is_empty() {
        Ok(())
    } else {
        Err(Error::DeleteConflict("delete policies"))
    }
}
