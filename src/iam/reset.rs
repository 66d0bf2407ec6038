//! Removes the identities of an account, for the reset of a development server.

use wharfinger_aws::AccountId;

use crate::error::Error;
use crate::store::reset::remove_identities;
use crate::users::Users;

impl Users {
    /// Removes all users, groups, roles, instance profiles and managed policies of the account, in
    /// one transaction.
    pub async fn remove_everything(&self, account: AccountId) -> Result<(), Error> {
        let write = self.db.write(move |tx| remove_identities(tx, account));
        write.await.map_err(Error::from)
    }
}
