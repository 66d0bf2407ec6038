//! The members of groups. The policies of a group apply to them.

use wharfinger_aws::AccountId;
use wharfinger_base::Page;

use crate::entities::{Entities, all_shown, existing};
use crate::entity::{Entity, EntityKind, EntityName};
use crate::error::Error;
use crate::store;

/// Most groups of a user (the IAM quota).
pub(super) const MAX_GROUPS_OF_USER: usize = 10;

impl Entities {
    /// Adds a user to the group; a member stays one.
    ///
    /// # Errors
    /// [`Error::Quota`] for a user who belongs to ten groups.
    pub async fn add_member(
        &self,
        account: AccountId,
        group: &EntityName,
        user: &str,
    ) -> Result<(), Error> {
        let (user, now) = (user.to_owned(), self.clock.now());
        self.change(account, group, move |tx, group| {
            let user = existing(tx, account, EntityKind::User, &user)?.name;
            let held = store::members::of_user(tx, account, &user.id)?;
            if held.iter().any(|held| held.name.id == group.name.id) {
                return Ok(());
            }
            if held.len() >= MAX_GROUPS_OF_USER {
                return Err(Error::Quota {
                    quota: "GroupsPerUser",
                    limit: MAX_GROUPS_OF_USER,
                });
            }
            Ok(store::members::insert(
                tx,
                account,
                &group.name.id,
                &user.id,
                now,
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
        group: &EntityName,
        user: &str,
    ) -> Result<(), Error> {
        let user = user.to_owned();
        self.change(account, group, move |tx, group| {
            let user = existing(tx, account, EntityKind::User, &user)?.name;
            if store::members::delete(tx, account, &group.name.id, &user.id)? {
                return Ok(());
            }
            Err(Error::NotMember {
                user: user.name,
                group: group.name.name,
            })
        })
        .await
    }

    /// The members of a group by name, at most `limit` of them, from after the name `after`.
    pub async fn members(
        &self,
        account: AccountId,
        group: &EntityName,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Page<Entity>, Error> {
        let (group, after) = (group.id.clone(), after.unwrap_or_default().to_owned());
        let members = self.db.read(move |tx| {
            let rows = store::members::of_group(tx, account, &group, &after, limit + 1)?;
            all_shown(tx, account, rows)
        });
        Ok(Page::of(members.await?, limit, |member| {
            member.name.name.clone()
        }))
    }

    /// The groups of a user by name.
    pub async fn groups_of(
        &self,
        account: AccountId,
        user: &EntityName,
    ) -> Result<Vec<Entity>, Error> {
        let id = user.id.clone();
        self.db
            .read(move |tx| {
                let rows = store::members::of_user(tx, account, &id)?;
                all_shown(tx, account, rows)
            })
            .await
    }
}
