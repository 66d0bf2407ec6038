//! Why tokens are not accepted.

use wharfinger_base::Timestamp;

/// Why a token is not accepted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    #[error("the token is not a signed JSON Web Token")]
    Malformed,
    /// Others are `none`, those with a shared secret, and unknown ones.
    #[error("the token is not signed with RS256, RS384, RS512, ES256 or ES384")]
    Algorithm,
    #[error("the token has no claim {0}, or one of another type")]
    Claim(&'static str),
    #[error("the issuer of the token is not the provider")]
    Issuer,
    #[error("the audience of the token is none of the provider's client ids")]
    Audience,
    #[error("no key of the provider has the id that the token names")]
    UnknownKey,
    #[error("the signature of the token is wrong")]
    Signature,
    #[error("the token expired at {expires_at:?}")]
    Expired { expires_at: Timestamp },
    #[error("the token is not valid yet")]
    NotYetValid,
}
