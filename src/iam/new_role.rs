//! The settings of a role that is created, and what makes a document a trust policy.
//!
//! Source: IAM API reference, `CreateRole`; IAM user guide, "IAM and AWS STS quotas".

use std::time::Duration;

use wharfinger_aws::Arn;

use crate::error::{Error, PolicyError};
use crate::policy::{Grammar, Listed, NamedPrincipal, Policy};
use crate::store::entities::RoleRow;

/// The longest session of a role unless its creation or a change says more.
const DEFAULT_MAX_SESSION: Duration = Duration::from_hours(1);

/// What a new role has besides the properties of every entity.
#[derive(Clone, Debug)]
pub struct NewRole {
    /// Who may assume it.
    pub trust_policy: String,
    pub description: Option<String>,
    /// One to twelve hours; one hour where absent.
    pub max_session: Option<Duration>,
}

impl NewRole {
    /// The settings to store, once the principals of the trust policy are bound.
    pub(super) fn checked(self) -> Result<RoleRow, Error> {
        check_trust_policy(&self.trust_policy)?;
        Ok(RoleRow {
            trust_policy: self.trust_policy,
            description: self.description,
            max_session: self.max_session.unwrap_or(DEFAULT_MAX_SESSION),
            last_use: None,
        })
    }
}

/// Checks that a document can be a trust policy, whether its principals exist or not.
pub(super) fn check_trust_policy(document: &str) -> Result<(), Error> {
    match Policy::parse(document, Grammar::Trust) {
        Ok(policy) => check_providers(&policy),
        Err(PolicyError::TooLong { limit }) => Err(Error::Quota {
            quota: "ACLSizePerRole",
            limit,
        }),
        Err(error) => Err(error.into()),
    }
}

/// Checks the names of identity providers. Stored policies may have others, which name nobody.
fn check_providers(policy: &Policy) -> Result<(), Error> {
    let principals = policy
        .statements
        .iter()
        .filter_map(|one| one.principal.as_ref());
    let names = principals.flat_map(|listed| match listed {
        Listed::Is(names) | Listed::Not(names) => names,
    });
    for name in names {
        if let NamedPrincipal::Federated(provider) = name
            && !is_provider(provider)
        {
            return Err(PolicyError::value("Principal", provider).into());
        }
    }
    Ok(())
}

/// Whether a name is the ARN of an OIDC or SAML provider, or the host name of a provider that AWS
/// knows. It has no wildcards.
fn is_provider(name: &str) -> bool {
    let Ok(arn) = name.parse::<Arn>() else {
        let legal = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
        let mut labels = name.split('.');
        return name.contains('.')
            && labels.all(|label| !label.is_empty() && label.bytes().all(legal));
    };
    let legal = |byte: u8| byte.is_ascii_alphanumeric() || b"._-/:~%".contains(&byte);
    let mut kinds = ["oidc-provider/", "saml-provider/"].iter();
    let provider = kinds.find_map(|kind| arn.resource().strip_prefix(kind));
    arn.service() == "iam"
        && arn.account_id().is_some()
        && provider.is_some_and(|name| !name.is_empty() && name.bytes().all(legal))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trust_policy_names_providers_that_can_exist() {
        let check = |provider: &str| {
            let document = format!(
                r#"{{"Statement":{{"Effect":"Allow","Action":"sts:AssumeRoleWithWebIdentity",
                    "Principal":{{"Federated":"{provider}"}}}}}}"#
            );
            check_trust_policy(&document)
        };
        for provider in [
            "arn:aws:iam::123456789012:oidc-provider/ci.example.com/jobs",
            "arn:aws:iam::123456789012:saml-provider/corp",
            "cognito-identity.amazonaws.com",
        ] {
            assert_eq!(check(provider), Ok(()), "{provider}");
        }
        for provider in [
            "*",
            "?.com",
            "nobody",
            "a..com",
            "arn:aws:iam::123456789012:oidc-provider/*",
            "arn:aws:iam::123456789012:oidc-provider/",
            "arn:aws:iam::123456789012:user/ann",
            "arn:aws:iam::*:oidc-provider/ci.example.com",
            "arn:aws:sts::123456789012:oidc-provider/ci.example.com",
        ] {
            let expected = PolicyError::value("Principal", provider);
            assert_eq!(check(provider), Err(expected.into()), "{provider}");
        }
    }
}
