//! AWS's own managed policies by their ARNs.

use crate::managed::{AwsManagedPolicy, aws_managed_policies};

/// How the ARNs of these policies start: `aws` stands in place of an account.
const ARN_START: &str = "arn:aws:iam::aws:policy/";

/// Whether the ARN is one of AWS's policies, known or not.
pub(super) fn is_one(arn: &str) -> bool {
    arn.starts_with(ARN_START)
}

/// The policy of this ARN.
pub(super) fn find(arn: &str) -> Option<&'static AwsManagedPolicy> {
    let mut all = aws_managed_policies().iter();
    all.find(|policy| policy.arn.as_str() == arn)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_policy_is_found_by_its_whole_arn() {
        assert!(find("arn:aws:iam::aws:policy/AdministratorAccess").is_some());
        for unknown in ["AdministratorAccess", "arn:aws:iam::aws:policy/Nothing"] {
            assert!(find(unknown).is_none(), "{unknown}");
        }
        assert!(is_one("arn:aws:iam::aws:policy/Nothing"));
    }
}
