//! Parts that several responses of ECS share.

use serde::Serialize;
use serde_with::skip_serializing_none;
use wharfinger_aws::Arn;
use wharfinger_base::Timestamp;

/// `Failure` of the service model: what a request named and did not get, in a response that is a
/// success.
#[skip_serializing_none]
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Failure {
    pub(super) arn: Option<String>,
    pub(super) reason: String,
    pub(super) detail: Option<String>,
}

impl Failure {
    /// What does not exist.
    pub(super) fn missing(arn: &Arn) -> Self {
        Self::of(arn, "MISSING")
    }

    pub(super) fn of(arn: &Arn, reason: impl Into<String>) -> Self {
        Self {
            arn: Some(arn.to_string()),
            reason: reason.into(),
            detail: None,
        }
    }
}

/// A time as responses have it: seconds since the epoch.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(transparent)]
pub(super) struct EpochSeconds(f64);

impl From<Timestamp> for EpochSeconds {
    fn from(time: Timestamp) -> Self {
        Self(time.as_epoch_seconds())
    }
}
