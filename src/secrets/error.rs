//! Errors of secrets and parameters. Messages are those of AWS where they are known.

use wharfinger_db as db;

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    #[error("Secrets Manager can't find the specified secret.")]
    NoSuchSecret,
    #[error("Secrets Manager can't find the specified secret value for {0}")]
    NoSuchValue(String),
    #[error("The operation failed because the secret {0} already exists.")]
    SecretExists(String),
    #[error("You can't modify an existing version, you can only create a new version.")]
    VersionExists,
    /// The secret is marked for deletion.
    #[error("{0}")]
    SecretDeleted(&'static str),
    /// A member of a request to Secrets Manager that breaks a rule.
    #[error("{0}")]
    InvalidSecret(String),
    #[error("{0}")]
    TooManyTags(&'static str),
    #[error("Parameter {0} not found.")]
    NoSuchParameter(String),
    #[error(
        "Systems Manager could not find version {version} of {name}. Verify the version and \
        try again."
    )]
    NoSuchParameterVersion { name: String, version: String },
    #[error(
        "The parameter already exists. To overwrite this value, set the overwrite option in the \
         request to true."
    )]
    ParameterExists,
    #[error("{0}")]
    HierarchyLevels(String),
    #[error("Parameter value can't be matched by the allowed pattern {0}")]
    PatternMismatch(String),
    #[error("The request does not meet the regular expression requirement: {0}")]
    InvalidPattern(String),
    #[error("{0}")]
    InvalidParameter(String),
    #[error("a stored value cannot be opened")]
    Sealed,
    #[error("the index failed")]
    Index(#[from] db::Error),
}

impl Error {
    /// Whether the same request may succeed soon: the index is out of reach or overloaded.
    #[must_use]
    pub const fn is_unavailable(&self) -> bool {
        matches!(
            self,
            Self::Index(db::Error::Unavailable(_) | db::Error::Conflict)
        )
    }
}
