//! Which managed policies can be attached to an identity.

use crate::error::Error;
use crate::managed::managed_policy;

/// Where AWS keeps its managed policies.
const AWS_PREFIX: &str = "arn:aws:iam::aws:policy/";
/// Policies of roles that belong to a service of AWS, which only that service attaches.
const SERVICE_PREFIX: &str = "arn:aws:iam::aws:policy/aws-service-role/";

/// Checks that a managed policy of this ARN exists.
///
/// # Errors
/// [`Error::NotAttachable`].
pub(super) fn check_attachable(arn: &str) -> Result<(), Error> {
    let known = arn.starts_with(AWS_PREFIX)
        && !arn.starts_with(SERVICE_PREFIX)
        && managed_policy(arn).is_some();
    if known {
        Ok(())
    } else {
        Err(Error::NotAttachable(arn.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_policy_is_named_by_its_whole_arn() {
        assert!(check_attachable("arn:aws:iam::aws:policy/AdministratorAccess").is_ok());
        for unknown in [
            "AdministratorAccess",
            "arn:aws:iam::aws:policy/Nothing",
            "arn:aws:iam::aws:policy/aws-service-role/AmazonECSServiceRolePolicy",
        ] {
            let refused = Err(Error::NotAttachable(unknown.to_owned()));
            assert_eq!(check_attachable(unknown), refused);
        }
    }
}
