//! Roles: who may assume one, for how long, and when one was used.
//!
//! Source: IAM API reference, `UpdateRole`, `UpdateAssumeRolePolicy`.

use std::time::Duration;

use wharfinger_aws::AccountId;

use crate::entities::{Entities, check_changeable, shown};
use crate::entity::{Entity, EntityName};
use crate::error::Error;
use crate::new_role::check_trust_policy;
use crate::principal_ids;
use crate::store;
use crate::store::entities::RoleRow;

/// What changes of a role.
#[derive(Clone, Debug, Default)]
pub struct RoleChange {
    pub description: Option<String>,
    pub max_session: Option<Duration>,
}

impl Entities {
    /// Changes the description, the longest session or both of a role; returns it without tags.
    ///
    /// # Errors
    /// [`Error::ServiceLinkedRole`] for the longest session of such a role.
    pub async fn update_role(
        &self,
        account: AccountId,
        role: &EntityName,
        change: RoleChange,
    ) -> Result<Entity, Error> {
        self.change(account, role, move |tx, mut row| {
            if change.max_session.is_some() {
                check_changeable(&row.name)?;
            }
            let settings = settings_of(&mut row.role)?;
            if let Some(description) = &change.description {
                settings.description = Some(description.clone());
            }
            settings.max_session = change.max_session.unwrap_or(settings.max_session);
            store::roles::update(tx, account, &row.name.id, settings)?;
            shown(tx, account, row)
        })
        .await
    }

    /// Sets who may assume the role.
    ///
    /// # Errors
    /// [`Error::Policy`] for a document that is no trust policy or that names a principal which
    /// does not exist, [`Error::Quota`], [`Error::ServiceLinkedRole`].
    pub async fn set_trust_policy(
        &self,
        account: AccountId,
        role: &EntityName,
        document: String,
    ) -> Result<(), Error> {
        check_trust_policy(&document)?;
        self.change(account, role, move |tx, mut row| {
            check_changeable(&row.name)?;
            let settings = settings_of(&mut row.role)?;
            settings.trust_policy = principal_ids::bind(tx, &document)?;
            Ok(store::roles::update(tx, account, &row.name.id, settings)?)
        })
        .await
    }
}

fn settings_of(role: &mut Option<RoleRow>) -> Result<&mut RoleRow, Error> {
    role.as_mut()
        .ok_or_else(|| Error::Corrupt("a role without settings".to_owned()))
}
