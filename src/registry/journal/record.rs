//! PURE: the records of the journal: what a row of the index holds, or that there is none.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use wharfinger_oci::Digest;

use crate::creation_templates::model::TemplateSettings;
use crate::model::{Encryption, MutabilityMode};

/// Names a row of the index. Repositories are named by their row number in the index that wrote
/// the journal.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Subject {
    Repository(i64),
    Image(i64, Digest),
    Tag(i64, String),
    Link(i64, Digest),
    /// The time of an image's last pull, which changes more often than the image.
    Pull(i64, Digest),
    /// What an account has set for its registry in a region: `<account>/<region>`.
    Registry(String),
}

impl Subject {
    /// The repository of the row; `None` for what is set for a registry.
    pub(crate) fn repository(&self) -> Option<i64> {
        match self {
            Self::Repository(id)
            | Self::Image(id, _)
            | Self::Tag(id, _)
            | Self::Link(id, _)
            | Self::Pull(id, _) => Some(*id),
            Self::Registry(_) => None,
        }
    }
}

/// What a row held when it was read; `None` where there was no such row.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Record {
    pub(crate) subject: Subject,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) state: Option<State>,
}

/// What a row holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum State {
    Repository(Box<RepositoryState>),
    Image(Box<ImageState>),
    Tag(TagState),
    Link(LinkState),
    /// Milliseconds since the epoch.
    Pull(i64),
    Registry(Box<RegistryState>),
}

/// A repository with its settings and policy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct RepositoryState {
    pub(crate) account: String,
    pub(crate) region: String,
    pub(crate) name: String,
    pub(crate) created_at: i64,
    pub(crate) mutability: MutabilityMode,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) mutability_exclusions: Vec<String>,
    pub(crate) scan_on_push: bool,
    pub(crate) encryption: Encryption,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) tags: BTreeMap<String, String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) policy: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) lifecycle_policy: Option<String>,
}

/// An image with its manifest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ImageState {
    pub(crate) media_type: String,
    pub(crate) content_size: u64,
    pub(crate) pushed_at: i64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) pulled_at: Option<i64>,
    /// The image is in the archive.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) archived: bool,
    /// The image is in the archive and on its way back.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) activating: bool,
    /// A replication brought the image and nobody has pushed it since.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) replicated: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) archived_at: Option<i64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) activated_at: Option<i64>,
    /// The bytes of the manifest, which is JSON.
    pub(crate) manifest: String,
}

/// A tag and the image that it names.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct TagState {
    pub(crate) image: Digest,
    pub(crate) tagged_at: i64,
}

/// A blob that a repository links, and where its bytes are.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct LinkState {
    pub(crate) size: u64,
    pub(crate) key: String,
    /// How the archive holds the blob, where `key` is one of the archive.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) archived: Option<ArchivedState>,
}

/// How the archive holds a blob.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ArchivedState {
    pub(crate) encoding: String,
    pub(crate) stored_size: u64,
}

/// What an account has set for its registry. Keys that sign are not among it: they are secrets.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct RegistryState {
    pub(crate) policy: Option<String>,
    /// Account settings, and the scanning and the signing configuration.
    pub(crate) settings: BTreeMap<String, String>,
    /// Principals whose pulls are not recorded.
    pub(crate) pull_time_exclusions: Vec<String>,
    pub(crate) templates: Vec<TemplateState>,
    pub(crate) pull_through_rules: Vec<RuleState>,
}

/// A template for repositories that the registry creates.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct TemplateState {
    pub(crate) settings: TemplateSettings,
    pub(crate) created_at: i64,
    pub(crate) updated_at: i64,
}

/// A rule of the pull-through cache.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct RuleState {
    pub(crate) prefix: String,
    pub(crate) upstream_url: String,
    pub(crate) upstream_kind: String,
    pub(crate) upstream_prefix: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) credential: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) custom_role: Option<String>,
    pub(crate) created_at: i64,
    pub(crate) updated_at: i64,
}
