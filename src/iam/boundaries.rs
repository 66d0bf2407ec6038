//! Permissions boundaries of users.

use wharfinger_aws::AccountId;

use crate::error::Error;
use crate::policy_lookup::check_policy;
use crate::principal::UserName;
use crate::store;
use crate::user_records::same_user;
use crate::users::Users;

impl Users {
    /// Sets the permissions boundary of the user, or removes it.
    ///
    /// # Errors
    /// [`Error::NotAttachable`] for a policy that does not exist.
    pub async fn set_boundary(
        &self,
        account: AccountId,
        user: &UserName,
        boundary: Option<String>,
    ) -> Result<(), Error> {
        let user = user.clone();
        self.db
            .write(move |tx| {
                same_user(tx, account, &user)?;
                if let Some(arn) = &boundary {
                    check_policy(tx, account, arn)?;
                }
                let boundary = boundary.as_deref();
                Ok(store::users::set_boundary(tx, account, &user.id, boundary)?)
            })
            .await
    }
}
