//! Rules of the pull-through cache: which repositories they are for.

use std::fmt;

use wharfinger_aws::Arn;
use wharfinger_base::Timestamp;

use crate::model::RegistryId;
use crate::pull_through::upstream_kind::UpstreamKind;

/// The first parts of repository names, without a slash at the end, or all names.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Prefix(String);

/// The text of the prefix of all names.
const ROOT: &str = "ROOT";

impl Prefix {
    /// A prefix whose form was checked. A slash at its end is implied.
    #[must_use]
    pub fn new(text: &str) -> Self {
        Self(text.strip_suffix('/').unwrap_or(text).to_owned())
    }

    /// The prefix of all names.
    #[must_use]
    pub fn root() -> Self {
        Self(ROOT.to_owned())
    }

    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Prefix {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

/// A rule: repositories with the prefix are filled from the upstream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PullThroughRule {
    pub registry: RegistryId,
    pub prefix: Prefix,
    /// The host of the upstream registry.
    pub upstream_url: String,
    pub upstream_kind: UpstreamKind,
    /// What stands before the rest of a name in the upstream registry.
    pub upstream_prefix: Prefix,
    /// The secret with the upstream's credentials.
    pub credential: Option<Arn>,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
}
