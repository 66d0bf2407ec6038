//! Groups of users. The policies of a group apply to its members.

use wharfinger_aws::{AccountId, Arn};
use wharfinger_base::{Page, Timestamp};
use wharfinger_db::Tx;

use crate::error::Error;
use crate::principal::{GroupName, UserName};
use crate::store;
use crate::store::groups::GroupRow;
use crate::user_records::{User, check_count, check_no_policies};
use crate::users::{Users, existing};

/// Most groups of an account (the IAM quota).
const MAX_GROUPS: usize = 300;
/// Most groups of a user (the IAM quota).
const MAX_GROUPS_OF_USER: usize = 10;

/// A group as the IAM API shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    pub name: GroupName,
    pub arn: Arn,
    pub created_at: Timestamp,
}

impl Group {
    fn of(account: AccountId, row: GroupRow) -> Self {
        Self {
            arn: row.group.arn(account),
            name: row.group,
            created_at: row.created_at,
        }
    }
}

impl Users {
    /// Creates a group.
    ///
    /// # Errors
    /// [`Error::GroupExists`], [`Error::Quota`].
    pub async fn create_group(
        &self,
        account: AccountId,
        name: String,
        path: String,
    ) -> Result<Group, Error> {
        let row = GroupRow {
            group: GroupName {
                path,
                name,
                id: self.unique_id(GroupName::ID_PREFIX),
            },
            created_at: self.clock.now(),
        };
        self.db
            .write(move |tx| {
                check_count(
                    store::groups::count(tx, account)?,
                    "GroupsPerAccount",
                    MAX_GROUPS,
                )?;
                store::insert_account(tx, account, row.created_at)?;
                if store::groups::insert(tx, account, &row)? {
                    Ok(Group::of(account, row.clone()))
                } else {
                    Err(Error::GroupExists(row.group.name.clone()))
                }
            })
            .await
    }

    /// The group of this name.
    pub async fn find_group(&self, account: AccountId, name: &str) -> Result<Option<Group>, Error> {
        let name = name.to_owned();
        let found = self
            .db
            .read(move |tx| store::groups::find(tx, account, &name));
        Ok(found.await?.map(|row| Group::of(account, row)))
    }

    /// Groups under a path prefix by name, at most `limit` of them, from after the name `after`.
    pub async fn list_groups(
        &self,
        account: AccountId,
        path_prefix: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Page<Group>, Error> {
        let (prefix, after) = (path_prefix.to_owned(), after.unwrap_or_default().to_owned());
        let rows = self
            .db
            .read(move |tx| store::groups::page(tx, account, &prefix, &after, limit + 1))
            .await?;
        let page = Page::of(rows, limit, |row| row.group.name.clone());
        Ok(page.map(|row| Group::of(account, row)))
    }

    /// Gives the group another name, another path, or both. Its unique id stays.
    ///
    /// # Errors
    /// [`Error::GroupExists`].
    pub async fn rename_group(
        &self,
        account: AccountId,
        group: &GroupName,
        name: Option<String>,
        path: Option<String>,
    ) -> Result<(), Error> {
        let group = group.clone();
        self.db
            .write(move |tx| {
                let row = same_group(tx, account, &group)?;
                let renamed = GroupName {
                    name: name.clone().unwrap_or(row.group.name),
                    path: path.clone().unwrap_or(row.group.path),
                    id: row.group.id,
                };
                let holder = store::groups::find(tx, account, &renamed.name)?;
                if holder.is_some_and(|holder| holder.group.id != renamed.id) {
                    return Err(Error::GroupExists(renamed.name));
                }
                Ok(store::groups::rename(tx, account, &renamed)?)
            })
            .await
    }

    /// Deletes a group without members and policies.
    ///
    /// # Errors
    /// [`Error::DeleteConflict`].
    pub async fn remove_group(&self, account: AccountId, group: &GroupName) -> Result<(), Error> {
        let group = group.clone();
        self.db
            .write(move |tx| {
                same_group(tx, account, &group)?;
                if !store::groups::members(tx, account, &group.id, "", 1)?.is_empty() {
                    return Err(Error::DeleteConflict("remove users from group"));
                }
                check_no_policies(tx, account, &group.id)?;
                Ok(store::groups::delete(tx, account, &group.id)?)
            })
            .await
    }

    /// Adds a user to the group; a member stays one.
    ///
    /// # Errors
    /// [`Error::Quota`] for a user who belongs to ten groups.
    pub async fn add_member(
        &self,
        account: AccountId,
        group: &GroupName,
        user: &str,
    ) -> Result<(), Error> {
        let (group, user, now) = (group.clone(), user.to_owned(), self.clock.now());
        self.db
            .write(move |tx| {
                same_group(tx, account, &group)?;
                let user = existing(tx, account, &user)?.user;
                let held = store::groups::of_user(tx, account, &user.id)?;
                if held.iter().any(|held| held.group.id == group.id) {
                    return Ok(());
                }
                if held.len() >= MAX_GROUPS_OF_USER {
                    return Err(Error::Quota {
                        quota: "GroupsPerUser",
                        limit: MAX_GROUPS_OF_USER,
                    });
                }
                Ok(store::groups::insert_member(
                    tx, account, &group.id, &user.id, now,
                )?)
            })
            .await
    }

    /// Removes a user from the group.
    ///
    /// # Errors
    /// [`Error::NotMember`].
    pub async fn remove_member(
        &self,
        account: AccountId,
        group: &GroupName,
        user: &str,
    ) -> Result<(), Error> {
        let (group, user) = (group.clone(), user.to_owned());
        self.db
            .write(move |tx| {
                same_group(tx, account, &group)?;
                let user = existing(tx, account, &user)?.user;
                if store::groups::delete_member(tx, account, &group.id, &user.id)? {
                    return Ok(());
                }
                Err(Error::NotMember {
                    user: user.name,
                    group: group.name.clone(),
                })
            })
            .await
    }

    /// The members of a group by name, at most `limit` of them, from after the name `after`.
    pub async fn members(
        &self,
        account: AccountId,
        group: &GroupName,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Page<User>, Error> {
        let (group, after) = (group.id.clone(), after.unwrap_or_default().to_owned());
        let rows = self
            .db
            .read(move |tx| store::groups::members(tx, account, &group, &after, limit + 1))
            .await?;
        let page = Page::of(rows, limit, |row| row.user.name.clone());
        Ok(page.map(|row| User::of(account, row, Vec::new())))
    }

    /// The groups of a user by name.
    pub async fn groups_of(
        &self,
        account: AccountId,
        user: &UserName,
    ) -> Result<Vec<Group>, Error> {
        let id = user.id.clone();
        let rows = self
            .db
            .read(move |tx| store::groups::of_user(tx, account, &id));
        let groups = rows.await?.into_iter().map(|row| Group::of(account, row));
        Ok(groups.collect())
    }
}

/// The row of a group that the caller was authorised for: not that of a successor of the same name.
pub(super) fn same_group(
    tx: &mut Tx<'_>,
    account: AccountId,
    group: &GroupName,
) -> Result<GroupRow, Error> {
    store::groups::find(tx, account, &group.name)?
        .filter(|row| row.group.id == group.id)
        .ok_or_else(|| Error::NoSuchGroup(group.name.clone()))
}
