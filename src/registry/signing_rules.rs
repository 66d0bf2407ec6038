//! The signing configuration of a registry. PURE.

use serde::{Deserialize, Serialize};

/// A rule of a signing configuration.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SigningRule {
    /// The ARN of a signing profile.
    pub profile: String,
    /// Filters of repository names with `*` as the only wildcard; none match every repository.
    pub filters: Vec<String>,
}

/// The signing configuration of a registry.
#[derive(Clone, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct SigningConfiguration {
    pub rules: Vec<SigningRule>,
}
