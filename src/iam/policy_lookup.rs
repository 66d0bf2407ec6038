//! Finds managed policies by their ARNs: customer managed ones in the index, AWS's own among the
//! documents of the program.

use wharfinger_aws::{AccountId, Arn};
use wharfinger_db::Tx;

use crate::aws_policies;
use crate::error::Error;
use crate::store::managed_policies::{self as rows, ManagedPolicyRow};
use crate::store::policies::PolicyRow;

/// The customer managed policy of this ARN.
///
/// # Errors
/// [`Error::NoSuchPolicy`] also for a policy of another account.
pub(super) fn own_policy(
    tx: &mut Tx<'_>,
    account: AccountId,
    arn: &str,
) -> Result<ManagedPolicyRow, Error> {
    let missing = || Error::NoSuchPolicy(arn.to_owned());
    let parsed: Arn = arn.parse().map_err(|_| missing())?;
    let (path, name) = path_and_name(&parsed, account).ok_or_else(missing)?;
    rows::policy(tx, account, name)?
        .filter(|row| row.name == name && row.path == path)
        .ok_or_else(missing)
}

/// Checks that an entity of the account can use the managed policy of this ARN.
///
/// # Errors
/// [`Error::NotAttachable`].
pub(super) fn check_policy(tx: &mut Tx<'_>, account: AccountId, arn: &str) -> Result<(), Error> {
    if aws_policies::find(arn).is_some() {
        return Ok(());
    }
    match own_policy(tx, account, arn) {
        Err(Error::NoSuchPolicy(arn)) => Err(Error::NotAttachable(arn)),
        found => found.map(drop),
    }
}

/// Gives customer managed policies that are attached to an identity the documents that are in
/// effect. One without a document might deny, so it is an error.
pub(super) fn load_documents<'a>(
    tx: &mut Tx<'_>,
    account: AccountId,
    attached: impl Iterator<Item = &'a mut PolicyRow>,
) -> Result<(), Error> {
    for row in attached {
        if row.document.is_none() && !aws_policies::is_one(&row.name) {
            let found = document(tx, account, &row.name)?;
            let corrupt = || Error::Corrupt(format!("policy {}", row.name));
            row.document = Some(found.ok_or_else(corrupt)?);
        }
    }
    Ok(())
}

/// The text of the version in effect of a customer managed policy.
fn document(tx: &mut Tx<'_>, account: AccountId, arn: &str) -> Result<Option<String>, Error> {
    let Ok(arn) = arn.parse::<Arn>() else {
        return Ok(None);
    };
    match path_and_name(&arn, account) {
        Some((_, name)) => Ok(rows::default_document(tx, account, name)?),
        None => Ok(None),
    }
}

/// The path and the name in the ARN of a customer managed policy of the account. A policy has one
/// ARN: one with another partition or a region names none, since policies and conditions that name
/// the policy would not apply to it.
fn path_and_name(arn: &Arn, account: AccountId) -> Option<(&str, &str)> {
    let place = (arn.partition(), arn.service(), arn.region(), arn.account());
    let ours = place == ("aws", "iam", "", account.as_str());
    let place = arn.resource().strip_prefix("policy")?;
    let slash = place.rfind('/')?;
    (ours && place.starts_with('/')).then(|| place.split_at(slash + 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_arn_has_the_path_and_the_name() {
        for (arn, expected) in [
            (
                "arn:aws:iam::123456789012:policy/team/ci/Push",
                Some(("/team/ci/", "Push")),
            ),
            ("arn:aws:iam::123456789012:policy/Push", Some(("/", "Push"))),
            ("arn:aws:iam::123456789012:policyPush", None),
            ("arn:aws:iam::123456789012:policyx/Push", None),
            ("arn:aws:iam::123456789012:user/Push", None),
            ("arn:aws:iam::210987654321:policy/Push", None),
            ("arn:aws:s3::123456789012:policy/Push", None),
            ("arn:aws-cn:iam::123456789012:policy/Push", None),
            ("arn:AWS:iam::123456789012:policy/Push", None),
            ("arn:aws:iam:us-east-1:123456789012:policy/Push", None),
        ] {
            let parsed: Arn = arn.parse().expect("an ARN");
            assert_eq!(path_and_name(&parsed, AccountId::DEV), expected, "{arn}");
        }
    }
}
