//! Users as the IAM API manages them: with a path, tags and a permissions boundary.

use wharfinger_aws::{AccountId, Arn};
use wharfinger_base::{Page, Timestamp};
use wharfinger_db::Tx;

use crate::error::Error;
use crate::policy_lookup::check_policy;
use crate::principal::UserName;
use crate::store;
use crate::store::users::UserRow;
use crate::tags::{remove_tags, set_tags};
use crate::users::Users;

/// Most users of an account (the IAM quota).
const MAX_USERS: usize = 5_000;

/// A user to create.
#[derive(Clone, Debug)]
pub struct NewUser {
    pub name: String,
    /// `/` or `/division/team/`.
    pub path: String,
    /// The ARN of the permissions boundary.
    pub boundary: Option<String>,
    pub tags: Vec<(String, String)>,
}

/// A user as the IAM API shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    pub name: UserName,
    pub arn: Arn,
    pub created_at: Timestamp,
    /// The ARN of the permissions boundary.
    pub boundary: Option<String>,
    /// Listings leave them out, as the IAM API does.
    pub tags: Vec<(String, String)>,
}

impl User {
    pub(super) fn of(account: AccountId, row: UserRow, tags: Vec<(String, String)>) -> Self {
        Self {
            arn: row.user.arn(account),
            name: row.user,
            created_at: row.created_at,
            boundary: row.boundary,
            tags,
        }
    }
}

impl Users {
    /// Creates a user without an access key.
    ///
    /// # Errors
    /// [`Error::UserExists`], [`Error::NotAttachable`] for the boundary, [`Error::Quota`].
    pub async fn create_user(&self, account: AccountId, new: NewUser) -> Result<User, Error> {
        let now = self.clock.now();
        let row = UserRow {
            user: UserName {
                path: new.path,
                name: new.name,
                id: self.unique_id(UserName::ID_PREFIX),
            },
            created_at: now,
            disabled_at: None,
            boundary: new.boundary,
        };
        let tags = new.tags;
        self.db
            .write(move |tx| {
                if let Some(boundary) = &row.boundary {
                    check_policy(tx, account, boundary)?;
                }
                check_count(
                    store::users::count(tx, account)?,
                    "UsersPerAccount",
                    MAX_USERS,
                )?;
                store::insert_account(tx, account, now)?;
                if !store::users::insert(tx, account, &row)? {
                    return Err(Error::UserExists(row.user.name.clone()));
                }
                for tag in &tags {
                    store::tags::put(tx, account, &row.user.id, tag)?;
                }
                Ok(User::of(account, row.clone(), tags.clone()))
            })
            .await
    }

    /// The user of this name, with its tags.
    pub async fn find_user(&self, account: AccountId, name: &str) -> Result<Option<User>, Error> {
        let name = name.to_owned();
        self.db
            .read(move |tx| {
                let Some(row) = store::users::find(tx, account, &name)? else {
                    return Ok(None);
                };
                let tags = store::tags::of_owner(tx, account, &row.user.id)?;
                Ok(Some(User::of(account, row, tags)))
            })
            .await
    }

    /// Users under a path prefix by name, at most `limit` of them, from after the name `after`.
    pub async fn list_users(
        &self,
        account: AccountId,
        path_prefix: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Page<User>, Error> {
        let (prefix, after) = (path_prefix.to_owned(), after.unwrap_or_default().to_owned());
        let rows = self
            .db
            .read(move |tx| store::users::page(tx, account, &prefix, &after, limit + 1))
            .await?;
        let page = Page::of(rows, limit, |row| row.user.name.clone());
        Ok(page.map(|row| User::of(account, row, Vec::new())))
    }

    /// Gives the user another name, another path, or both. Its unique id stays.
    ///
    /// # Errors
    /// [`Error::UserExists`].
    pub async fn rename_user(
        &self,
        account: AccountId,
        user: &UserName,
        name: Option<String>,
        path: Option<String>,
    ) -> Result<(), Error> {
        let user = user.clone();
        self.db
            .write(move |tx| {
                let row = same_user(tx, account, &user)?;
                let renamed = UserName {
                    name: name.clone().unwrap_or(row.user.name),
                    path: path.clone().unwrap_or(row.user.path),
                    id: row.user.id,
                };
                let holder = store::users::find(tx, account, &renamed.name)?;
                if holder.is_some_and(|holder| holder.user.id != renamed.id) {
                    return Err(Error::UserExists(renamed.name));
                }
                Ok(store::users::rename(tx, account, &renamed)?)
            })
            .await
    }

    /// Sets tags of the user. One replaces those whose keys differ from its own by case alone.
    ///
    /// # Errors
    /// [`Error::Quota`].
    pub async fn tag_user(
        &self,
        account: AccountId,
        user: &UserName,
        tags: Vec<(String, String)>,
    ) -> Result<(), Error> {
        let user = user.clone();
        self.db
            .write(move |tx| {
                same_user(tx, account, &user)?;
                set_tags(tx, account, &user.id, &tags, "TagsPerUser")
            })
            .await
    }

    /// Removes the tags with these keys, whatever their case.
    pub async fn untag_user(
        &self,
        account: AccountId,
        user: &UserName,
        keys: Vec<String>,
    ) -> Result<(), Error> {
        let user = user.clone();
        self.db
            .write(move |tx| {
                same_user(tx, account, &user)?;
                remove_tags(tx, account, &user.id, keys.iter().map(String::as_str))
            })
            .await
    }

    /// Deletes a user to which nothing is attached any more.
    ///
    /// # Errors
    /// [`Error::DeleteConflict`] for a user with groups, policies or access keys.
    pub async fn remove_user(&self, account: AccountId, user: &UserName) -> Result<(), Error> {
        let user = user.clone();
        self.db
            .write(move |tx| {
                same_user(tx, account, &user)?;
                check_unused(tx, account, &user.id)?;
                Ok(store::users::delete(tx, account, &user.id)?)
            })
            .await
    }

    /// When the account was made: what the IAM API shows as the creation of its root.
    pub async fn root_created_at(&self, account: AccountId) -> Result<Timestamp, Error> {
        let found = self
            .db
            .read(move |tx| store::account_created_at(tx, account));
        Ok(found.await?.unwrap_or_else(|| self.clock.now()))
    }
}

/// Checks that an account has fewer than `limit` things of a kind.
pub(super) fn check_count(count: i64, quota: &'static str, limit: usize) -> Result<(), Error> {
    if usize::try_from(count).is_ok_and(|count| count < limit) {
        Ok(())
    } else {
        Err(Error::Quota { quota, limit })
    }
}

/// The row of a user that the caller was authorised for: not that of a successor of the same name.
pub(super) fn same_user(
    tx: &mut Tx<'_>,
    account: AccountId,
    user: &UserName,
) -> Result<UserRow, Error> {
    store::users::find(tx, account, &user.name)?
        .filter(|row| row.user.id == user.id)
        .ok_or_else(|| Error::NoSuchUser(user.name.clone()))
}

/// Source: IAM API reference, `DeleteUser`: what must be removed before.
fn check_unused(tx: &mut Tx<'_>, account: AccountId, user_id: &str) -> Result<(), Error> {
    if store::users::is_member(tx, account, user_id)? {
        return Err(Error::DeleteConflict("remove users from group"));
    }
    check_no_policies(tx, account, user_id)?;
    if store::access_keys::of_owner(tx, account, user_id)?.is_empty() {
        Ok(())
    } else {
        Err(Error::DeleteConflict("delete access keys"))
    }
}

/// Checks that an identity has no policies.
pub(super) fn check_no_policies(
    tx: &mut Tx<'_>,
    account: AccountId,
    owner_id: &str,
) -> Result<(), Error> {
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
