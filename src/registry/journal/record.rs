//! PURE: the records of the journal: what a row of the index holds, or that there is none.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use wharfinger_oci::Digest;

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
}

impl Subject {
    /// The repository of the row.
    pub(crate) fn repository(&self) -> i64 {
        match self {
            Self::Repository(id) | Self::Image(id, _) | Self::Tag(id, _) | Self::Link(id, _) => *id,
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
}

/// An image with its manifest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ImageState {
    pub(crate) media_type: String,
    pub(crate) content_size: u64,
    pub(crate) pushed_at: i64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) pulled_at: Option<i64>,
    /// When it went to the archive; `None` for an image that is not there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) archived_at: Option<i64>,
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
