//! Callers as requests would have them, to find out what they may do. Nothing is authenticated
//! here.

use std::sync::Arc;

use wharfinger_aws::AccountId;

use crate::Iam;
use crate::entity::EntityKind;
use crate::error::Error;
use crate::principal::Caller;

/// The session of a role whose permissions are looked at.
const SESSION_NAME: &str = "explained";

impl Iam {
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
        Ok(owner.map(|owner| owner.caller(SESSION_NAME)))
    }
}
