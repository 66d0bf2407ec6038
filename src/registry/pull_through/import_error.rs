//! Why an image or a layer did not come from upstream.

use std::time::Duration;

use wharfinger_registry_client as client;

use crate::pull_through::secret::SecretError;

/// Why an import failed. All requests that waited for it get the same.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ImportError {
    #[error("the upstream registry does not have it")]
    NotFound,
    #[error("the upstream registry denied the request: {0}")]
    Denied(String),
    #[error("the upstream registry limits requests")]
    TooManyRequests { retry_after: Option<Duration> },
    #[error("the upstream registry is unavailable: {0}")]
    Unavailable(String),
    /// Content that is not what its digest says, is too large, or cannot be stored.
    #[error("the upstream registry's content is not valid: {0}")]
    Invalid(String),
    #[error(transparent)]
    Secret(SecretError),
    /// There was no repository when the request was decided, and there is one now, with a policy of
    /// its own. The request is to be decided again.
    #[error("the repository was created meanwhile")]
    RepositoryAppeared,
    /// This server failed. The reason is in its log.
    #[error("the import failed")]
    Internal,
}

impl ImportError {
    /// Whether it may be remembered for a moment: another request would get the same.
    pub(super) const fn is_lasting(&self) -> bool {
        matches!(
            self,
            Self::NotFound | Self::Denied(_) | Self::TooManyRequests { .. }
        )
    }
}

impl From<client::Error> for ImportError {
    fn from(error: client::Error) -> Self {
        match error {
            client::Error::NotFound => Self::NotFound,
            client::Error::Denied(why) => Self::Denied(why),
            client::Error::TooManyRequests { retry_after } => Self::TooManyRequests { retry_after },
            client::Error::Unavailable(why) | client::Error::Overloaded { why, .. } => {
                Self::Unavailable(why)
            }
            error @ client::Error::Address(_) => Self::Unavailable(error.to_string()),
            error @ (client::Error::DigestMismatch(_)
            | client::Error::TooLarge { .. }
            | client::Error::Refused(_)
            | client::Error::Source(_)
            | client::Error::Invalid(_)) => Self::Invalid(error.to_string()),
        }
    }
}
