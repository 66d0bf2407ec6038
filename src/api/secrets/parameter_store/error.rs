//! The errors of the parameter API: every wire code of this API is here.

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
            E::NoSuchParameter(_) => "ParameterNotFound",
            E::NoSuchParameterVersion { .. } => "ParameterVersionNotFound",
            E::ParameterExists => "ParameterAlreadyExists",
            E::HierarchyLevels(_) => "HierarchyLevelLimitExceededException",
            E::PatternMismatch(_) => "ParameterPatternMismatchException",
            E::InvalidPattern(_) => "InvalidAllowedPatternException",
            E::TooManyTags(_) => "TooManyTagsError",
            _ if error.is_unavailable() => {
                return Fault::unavailable(Family::Json).with_cause(&error).into();
            }
            E::Index(_) | E::Sealed => {
                return Fault::internal(Family::Json).with_cause(&error).into();
            }
            // The others are those of secrets.
            _ => "ValidationException",
        };
        Fault::sender(code, error.to_string()).into()
    }
}

/// A request that breaks a rule which only its operation can check.
pub(super) fn invalid(message: impl Into<String>) -> Error {
    Fault::sender("ValidationException", message).into()
}

/// A token that the operation did not give.
pub(super) fn bad_token() -> Error {
    Fault::sender("InvalidNextToken", "The specified token isn't valid.").into()
}

/// A kind of resource that is not served here.
pub(super) fn resource_type() -> Error {
    let message = "The resource type isn't valid. This server has the resource type Parameter.";
    Fault::sender("InvalidResourceType", message).into()
}

/// A resource for tags that does not exist.
pub(super) fn resource_id() -> Error {
    let message = "The resource ID isn't valid. Verify that you entered the correct ID and try \
                   again.";
    Fault::sender("InvalidResourceId", message).into()
}

/// A filter that an operation does not take.
pub(super) fn filter_key(message: impl Into<String>) -> Error {
    Fault::sender("InvalidFilterKey", message).into()
}

/// A way to compare that a filter does not take.
pub(super) fn filter_option(message: impl Into<String>) -> Error {
    Fault::sender("InvalidFilterOption", message).into()
}
