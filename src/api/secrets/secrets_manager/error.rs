//! The errors of the Secrets Manager API: every wire code of this API is here.

use wharfinger_aws::{Family, Fault};
use wharfinger_secrets as secrets;

/// An error of an operation.
#[derive(Debug)]
pub struct Error(Box<Fault>);

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

impl From<secrets::Error> for Error {
    fn from(error: secrets::Error) -> Self {
        use secrets::Error as E;
        let code = match &error {
            E::NoSuchSecret | E::NoSuchValue(_) => "ResourceNotFoundException",
            E::SecretExists(_) | E::VersionExists => "ResourceExistsException",
            E::SecretDeleted(_) => "InvalidRequestException",
            _ if error.is_unavailable() => {
                return Fault::unavailable(Family::Json).with_cause(&error).into();
            }
            E::Index(_) | E::Sealed => {
                return Fault::internal(Family::Json).with_cause(&error).into();
            }
            // The others are those of parameters.
            _ => "InvalidParameterException",
        };
        Fault::sender(code, error.to_string()).into()
    }
}

/// A request that breaks a rule which only its operation can check.
pub(super) fn invalid_parameter(message: impl Into<String>) -> Error {
    Fault::sender("InvalidParameterException", message).into()
}

/// A policy of a secret that is not there.
pub(super) fn no_policy(name: &str) -> Error {
    let message = format!("Secrets Manager can't find the resource policy {name}.");
    Fault::sender("ResourceNotFoundException", message).into()
}

/// A token that the operation did not give.
pub(super) fn bad_token() -> Error {
    Fault::sender(
        "InvalidNextTokenException",
        "The NextToken value is invalid.",
    )
    .into()
}
