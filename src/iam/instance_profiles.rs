//! Instance profiles: what gives a role to the containers or programs of a host.

use wharfinger_aws::AccountId;
use wharfinger_base::Page;

use crate::entities::{Entities, all_shown, check_changeable, current, existing, shown};
use crate::entity::{Entity, EntityKind, EntityName};
use crate::error::Error;
use crate::store;

/// Roles of an instance profile (IAM user guide, "IAM and AWS STS quotas").
const MAX_ROLES: usize = 1;

impl Entities {
    /// Gives the profile its role.
    ///
    /// # Errors
    /// [`Error::Quota`] for a profile that has a role, [`Error::ServiceLinkedRole`].
    pub async fn add_role(
        &self,
        account: AccountId,
        profile: &EntityName,
        role: &EntityName,
    ) -> Result<(), Error> {
        let (role, now) = (role.clone(), self.clock.now());
        self.change(account, profile, move |tx, profile| {
            let role = current(tx, account, &role)?.name;
            check_changeable(&role)?;
            if store::instance_profiles::insert(tx, account, &profile.name.id, &role.id, now)? {
                return Ok(());
            }
            Err(Error::Quota {
                quota: "InstanceSessionsPerInstanceProfile",
                limit: MAX_ROLES,
            })
        })
        .await
    }

    /// Takes its role from the profile.
    ///
    /// # Errors
    /// [`Error::NotInProfile`] for a role that it has not.
    pub async fn remove_role(
        &self,
        account: AccountId,
        profile: &EntityName,
        role: &str,
    ) -> Result<(), Error> {
        let role = role.to_owned();
        self.change(account, profile, move |tx, profile| {
            let role = existing(tx, account, EntityKind::Role, &role)?.name;
            if store::instance_profiles::delete(tx, account, &profile.name.id, &role.id)? {
                return Ok(());
            }
            Err(Error::NotInProfile {
                role: role.name,
                profile: profile.name.name,
            })
        })
        .await
    }

    /// The role of each of these profiles, without tags.
    pub async fn roles_of_profiles(
        &self,
        account: AccountId,
        profiles: &[Entity],
    ) -> Result<Vec<Option<Entity>>, Error> {
        let ids: Vec<_> = profiles
            .iter()
            .map(|profile| profile.name.id.clone())
            .collect();
        self.db
            .read(move |tx| {
                let role = |id: &String| {
                    let found = store::instance_profiles::role_of(tx, account, id)?;
                    found.map(|row| shown(tx, account, row)).transpose()
                };
                ids.iter().map(role).collect()
            })
            .await
    }

    /// The instance profiles of a role by name, at most `limit` of them, from after the name
    /// `after`.
    pub async fn profiles_of(
        &self,
        account: AccountId,
        role: &EntityName,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Page<Entity>, Error> {
        let (role, after) = (role.id.clone(), after.unwrap_or_default().to_owned());
        let found = self.db.read(move |tx| {
            let rows = store::instance_profiles::of_role(tx, account, &role, &after, limit + 1)?;
            all_shown(tx, account, rows)
        });
        Ok(Page::of(found.await?, limit, |profile| {
            profile.name.name.clone()
        }))
    }
}
