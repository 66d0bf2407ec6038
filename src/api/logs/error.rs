//! The errors of the `CloudWatch` Logs API: every wire code and message of this API is here.

use wharfinger_aws::{Family, Fault};
use wharfinger_db as db;
use wharfinger_monitoring as monitoring;

use crate::MODEL;

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

impl From<monitoring::Error> for Error {
    fn from(error: monitoring::Error) -> Self {
        use monitoring::Error as E;
        match error {
            E::NoSuchGroup => not_found("The specified log group does not exist."),
            E::NoSuchStream => not_found("The specified log stream does not exist."),
            E::GroupExists => exists("The specified log group already exists"),
            E::StreamExists => exists("The specified log stream already exists"),
            E::TooManyStreams => {
                invalid("The search covers too many log streams. Specify one log stream.")
            }
            E::OutOfOrder => invalid(
                "Log events in a single PutLogEvents request must be in chronological order.",
            ),
            E::LongSpan => invalid(
                "The batch of log events in a single PutLogEvents request cannot span more than \
                 24 hours.",
            ),
            E::BatchTooLarge { limit } => invalid(format!(
                "Upload too large: the batch exceeds the limit of {limit} bytes"
            )),
            E::Index(error @ db::Error::Unavailable(..)) => {
                Fault::unavailable(Family::Json).with_cause(&error).into()
            }
            E::Index(error) => Fault::internal(Family::Json).with_cause(&error).into(),
        }
    }
}

impl From<monitoring::PatternError> for Error {
    fn from(error: monitoring::PatternError) -> Self {
        invalid(format!("Invalid filter pattern: {error}"))
    }
}

fn not_found(message: &str) -> Error {
    Fault::sender("ResourceNotFoundException", message).into()
}

fn exists(message: &str) -> Error {
    Fault::sender("ResourceAlreadyExistsException", message).into()
}

/// A request that is not valid.
pub(super) fn invalid(message: impl Into<String>) -> Error {
    Fault::sender("InvalidParameterException", message).into()
}

/// A member that breaks a rule which only its operation can check.
pub(super) fn invalid_member(member: &str, constraint: &str) -> Error {
    MODEL.limits.refusal(member, constraint).into()
}

/// More tags than a group can have.
pub(super) fn too_many_tags(limit: usize) -> Error {
    let message = format!("A log group has at most {limit} tags.");
    Fault::sender("TooManyTagsException", message).into()
}

/// A token that the operation did not give.
pub(super) fn bad_token() -> Error {
    invalid("The specified nextToken is invalid.")
}
