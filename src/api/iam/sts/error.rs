//! The errors of the STS API: every wire code and message of this API is here.
//!
//! Source: the STS API reference; messages as clients and issues quote them.

use wharfinger_aws::{Family, Fault};
use wharfinger_iam as iam;

/// An error of an STS operation.
#[derive(Debug)]
pub struct Error(Box<Fault>);

impl Error {
    /// An access key id of no account.
    pub(super) fn unknown_access_key() -> Self {
        Fault::sender("ValidationError", "The access key ID is not valid.").into()
    }

    pub(super) fn invalid_mfa_code() -> Self {
        denied("MultiFactorAuthentication failed with invalid MFA one time pass code.")
    }
}

fn denied(message: impl Into<String>) -> Error {
    Fault::access_denied(Family::Query, message).into()
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
            iam::Error::SessionOfSession => denied(error.to_string()),
            _ if error.is_unavailable() => {
                Fault::unavailable(Family::Query).with_cause(&error).into()
            }
            _ => Fault::internal(Family::Query).with_cause(&error).into(),
        }
    }
}
