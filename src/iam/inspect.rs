//! Callers as requests would have them, to find out what they may do. Nothing is authenticated
//! here.

use std::sync::Arc;

use wharfinger_aws::AccountId;

use crate::Iam;
use crate::entity::EntityKind;
use crate::error::Error;
use crate::principal::{Caller, IdentityPolicies, NamedPolicy};

/// The session of a role whose permissions are looked at.
const SESSION_NAME: &str = "explained";

/// The policies of a user, group or role.
#[derive(Clone, Debug)]
pub struct AttachedPolicies {
    pub policies: Arc<IdentityPolicies>,
    pub boundary: Option<NamedPolicy>,
    /// The user, or a session of the role; `None` for a group.
    pub caller: Option<Caller>,
}

impl Iam {
    /// What is attached to a user, with the policies of its groups, to a group or to a role; `None`
    /// where there is none of the name.
    pub async fn attached_policies(
        &self,
        account: AccountId,
        kind: EntityKind,
        name: &str,
    ) -> Result<Option<AttachedPolicies>, Error> {
        if kind == EntityKind::Group {
            let group = self.authenticator.identities().group(account, name);
            return Ok(group.await?.map(|policies| AttachedPolicies {
                policies,
                boundary: None,
                caller: None,
            }));
        }
        let caller = self.caller_of_entity(account, kind, name).await?;
        Ok(caller.map(|caller| AttachedPolicies {
            policies: Arc::clone(&caller.policies),
            boundary: caller.boundary.clone(),
            caller: Some(caller),
        }))
    }

    /// The caller that requests with this access key have, whether it is enabled or not; `None` for
    /// an unknown key.
    pub async fn caller_of_key(&self, access_key_id: &str) -> Result<Option<Arc<Caller>>, Error> {
        let identity = self.authenticator.identities().get(access_key_id).await?;
        Ok(identity.map(|identity| Arc::clone(&identity.caller)))
    }

    /// The caller that requests of this user, or of a session of this role, have; `None` where
    /// there is no such user or role.
    pub async fn caller_of_entity(
        &self,
        account: AccountId,
        kind: EntityKind,
        name: &str,
    ) -> Result<Option<Caller>, Error> {
        let Some(entity) = self.entities.find(account, kind, name).await? else {
            return Ok(None);
        };
        let identities = self.authenticator.identities();
        let owner = identities.owner(account, &entity.name.id).await?;
        let session = (kind == EntityKind::Role).then_some(SESSION_NAME);
        Ok(owner.map(|owner| owner.caller(session)))
    }
}
