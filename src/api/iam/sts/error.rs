//! The errors of the STS API: every wire code and message of this API is here.
//!
//! Source: the STS API reference; messages as clients and issues quote them.

use wharfinger_aws::{Family, Fault};
use wharfinger_base::Timestamp;
use wharfinger_iam::{self as iam, TokenError, WebIdentityError};

/// An error of an STS operation.
#[derive(Debug)]
pub struct Error(Box<Fault>);

impl Error {
    /// An access key id of no account.
    pub(super) fn unknown_access_key() -> Self {
        Fault::sender("ValidationError", "The access key ID is not valid.").into()
    }

    /// An operation that did not get the kind of resource that it names.
    pub(super) fn wrong_resource() -> Self {
        Fault::internal(Family::Query).into()
    }

    pub(super) fn invalid_role_arn(arn: &str) -> Self {
        validation(format!("{arn} is invalid"))
    }

    pub(super) fn session_policy_without_arn() -> Self {
        validation("A member of PolicyArns has no arn.")
    }

    /// The words are STS's own.
    pub(super) fn root_assumes_role() -> Self {
        Self::denied("Roles may not be assumed by root accounts.")
    }

    /// Source: STS API reference, `GetFederationToken`.
    pub(super) fn federated_user_assumes_role() -> Self {
        Self::denied("Roles may not be assumed by federated users.")
    }

    pub(super) fn provided_contexts() -> Self {
        validation("Trusted context assertions are not supported by this server.")
    }

    /// An access token of a provider that AWS knows by its name.
    pub(super) fn access_token() -> Self {
        validation(
            "ProviderId is for OAuth 2.0 access tokens, which are not supported by this server. \
             Send an OpenID Connect ID token without it.",
        )
    }

    /// A token that proves nobody.
    pub(super) fn of_web_identity(error: WebIdentityError, now: Timestamp) -> Self {
        use TokenError as T;
        let token = match error {
            WebIdentityError::NoProvider(issuer) => {
                return invalid_token(format!(
                    "No OpenIDConnect provider found in your account for {issuer}"
                ));
            }
            WebIdentityError::Token(error) => error,
            WebIdentityError::SessionClaim(claim) => {
                return invalid_token(format!("The claim {claim} has an invalid form"));
            }
            WebIdentityError::Unreachable => {
                let message = "Couldn't retrieve verification key from your identity provider, \
                     please reference AssumeRoleWithWebIdentity documentation for requirements";
                return Fault::sender("IDPCommunicationError", message).into();
            }
            WebIdentityError::Iam(error) => return error.into(),
        };
        let invalid = |message: &str| invalid_token(message.to_owned());
        match token {
            T::Malformed => invalid(
                "The ID Token provided is not a valid JWT. (You may see this error if you sent an \
                 Access Token)",
            ),
            T::Algorithm => invalid("The token's signature algorithm is not supported"),
            T::Claim(claim) => invalid_token(format!("Missing a required claim: {claim}")),
            T::Issuer => invalid("The issuer of the token is not the registered provider"),
            T::Audience => invalid("Incorrect token audience"),
            T::UnknownKey | T::Signature => {
                invalid("The signature of the web identity token could not be verified")
            }
            T::Expired { expires_at } => {
                let seconds = |time: Timestamp| time.as_ms().div_euclid(1000);
                let message = format!(
                    "Token expired: current date/time {} must be before the expiration date/time \
                     {}",
                    seconds(now),
                    seconds(expires_at)
                );
                Fault::sender("ExpiredTokenException", message).into()
            }
            T::NotYetValid => {
                let message = "The token is not valid yet";
                Fault::sender("IDPRejectedClaim", message)
                    .with_status(403)
                    .into()
            }
        }
    }

    /// A caller without permission.
    pub(super) fn denied(message: impl Into<String>) -> Self {
        Fault::access_denied(Family::Query, message).into()
    }

    pub(super) fn invalid_mfa_code() -> Self {
        Self::denied("MultiFactorAuthentication failed with invalid MFA one time pass code.")
    }
}

fn validation(message: impl Into<String>) -> Error {
    Fault::sender("ValidationError", message).into()
}

fn invalid_token(message: String) -> Error {
    Fault::sender("InvalidIdentityToken", message).into()
}

impl From<Fault> for Error {
    fn from(fault: Fault) -> Self {
        Self(Box::new(fault))
    }
}

impl From<Error> for Fault {
    fn from(error: Error) -> Self {
        *error.0
    }
}

impl From<iam::Error> for Error {
    fn from(error: iam::Error) -> Self {
        match error {
            iam::Error::SessionOfSession(_) => Self::denied(error.to_string()),
            iam::Error::SessionTooLong
            | iam::Error::ChainedSessionTooLong
            | iam::Error::TooManySessionPolicies
            | iam::Error::SourceIdentity(_)
            | iam::Error::NotAttachable(_) => validation(error.to_string()),
            iam::Error::AuthorizationMessage => {
                let code = "InvalidAuthorizationMessageException";
                Fault::sender(code, error.to_string()).into()
            }
            iam::Error::SessionTags(_) => {
                Fault::sender("InvalidParameterValue", error.to_string()).into()
            }
            iam::Error::PackedPolicyTooLarge { .. } => {
                Fault::sender("PackedPolicyTooLarge", error.to_string()).into()
            }
            iam::Error::Policy(why) => {
                let message = format!("Syntax errors in policy. {why}");
                Fault::sender("MalformedPolicyDocument", message).into()
            }
            _ if error.is_unavailable() => {
                Fault::unavailable(Family::Query).with_cause(&error).into()
            }
            _ => Fault::internal(Family::Query).with_cause(&error).into(),
        }
    }
}
