//! Templates for repositories that the registry creates itself.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use wharfinger_base::Timestamp;

use crate::model::{Encryption, RepositorySettings, TagMutability};

/// The key of the template for repositories that no other template matches. No prefix of a name is
/// written so, since names are in lower case.
pub const ROOT: &str = "ROOT";

/// Why the registry creates a repository.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum AppliedFor {
    Replication,
    PullThroughCache,
    CreateOnPush,
}

impl AppliedFor {
    /// Whether a repository is created with the default settings where no template matches.
    pub(crate) const fn has_defaults(self) -> bool {
        match self {
            Self::Replication | Self::PullThroughCache => true,
            Self::CreateOnPush => false,
        }
    }
}

/// What a template sets.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TemplateSettings {
    /// The prefix as it was given, with or without a slash at its end.
    pub prefix: String,
    pub description: Option<String>,
    pub encryption: Encryption,
    pub tags: BTreeMap<String, String>,
    pub mutability: TagMutability,
    /// The text of a repository policy that was validated.
    pub repository_policy: Option<String>,
    /// The text of a lifecycle policy that was validated.
    pub lifecycle_policy: Option<String>,
    pub applied_for: Vec<AppliedFor>,
    pub custom_role_arn: Option<String>,
}

impl TemplateSettings {
    /// A template that sets nothing and is applied for nothing.
    pub fn new(prefix: String) -> Self {
        Self {
            prefix,
            description: None,
            encryption: Encryption::default(),
            tags: BTreeMap::new(),
            mutability: TagMutability::default(),
            repository_policy: None,
            lifecycle_policy: None,
            applied_for: Vec::new(),
            custom_role_arn: None,
        }
    }

    /// The settings of a repository that is created by the template.
    pub fn repository(&self) -> RepositorySettings {
        RepositorySettings {
            mutability: self.mutability.clone(),
            scan_on_push: false,
            encryption: self.encryption.clone(),
            tags: self.tags.clone(),
        }
    }
}

/// A stored template.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CreationTemplate {
    pub settings: TemplateSettings,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
}

/// The key of a prefix: a slash at its end says nothing.
pub(crate) fn key(prefix: &str) -> &str {
    prefix.strip_suffix('/').unwrap_or(prefix)
}
