//! The registry's types: repository, image, blob and upload, as the index stores them.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use uuid::Uuid;
use wharfinger_aws::{AccountId, Arn, Region};
use wharfinger_base::Timestamp;
use wharfinger_blobs::BlobKey;
use wharfinger_iam::Policy;
use wharfinger_oci::{Digest, MediaType, RepositoryName, Tag};

use crate::archive::Encoding;

/// Most tags of one image: ECR's quota. It bounds what the deletion of an image changes at once.
pub(super) const MAX_TAGS_PER_IMAGE: u64 = 1_000;

/// A registry: one account's in one region.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct RegistryId {
    pub account: AccountId,
    pub region: Region,
}

impl RegistryId {
    /// The ARN a repository of this name has, or would have.
    pub fn repository_arn(&self, name: &RepositoryName) -> Arn {
        Arn::ecr_repository(&self.region, &self.account, name.as_str())
    }
}

/// A repository's row number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RepositoryId(pub i64);

/// Names one text of the policy of a repository or registry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct PolicyId {
    /// The row number; a new text gets a new one.
    pub(crate) row: i64,
    /// When the text was set. Tells it from one that a failover lost, whose number is used again.
    pub(crate) set_at: Timestamp,
}

/// A repository with all that decisions about it need.
#[derive(Clone, Debug)]
pub struct Repository {
    pub id: RepositoryId,
    pub registry: RegistryId,
    pub name: RepositoryName,
    pub created_at: Timestamp,
    pub settings: RepositorySettings,
    /// The repository's policy, from the same snapshot as the other members; `None` where it has
    /// none.
    pub policy: Option<Arc<Policy>>,
    /// The policy of the registry, from the same snapshot.
    pub registry_policy: Option<Arc<Policy>>,
}

impl Repository {
    pub fn arn(&self) -> Arn {
        self.registry.repository_arn(&self.name)
    }
}

/// What `CreateRepository` may set.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct RepositorySettings {
    pub mutability: TagMutability,
    pub scan_on_push: bool,
    pub encryption: Encryption,
    /// Resource tags: at most 50, keys to 128 and values to 256 characters (checked by the API).
    pub tags: BTreeMap<String, String>,
}

/// Whether tags may move, with the exclusions that make it the other way for tags that match.
#[derive(Clone, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct TagMutability {
    pub mode: MutabilityMode,
    /// Wildcard patterns (`*` only); empty unless the mode is one with exclusions.
    pub exclusions: Vec<String>,
}

/// ECR's `imageTagMutability`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum MutabilityMode {
    #[default]
    Mutable,
    Immutable,
    MutableWithExclusion,
    ImmutableWithExclusion,
}

/// How content is declared to be encrypted at rest. Fixed when the repository is made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Encryption {
    /// `AES256`, `KMS` or `KMS_DSSE`.
    pub kind: String,
    pub kms_key: Option<String>,
}

impl Default for Encryption {
    fn default() -> Self {
        Self {
            kind: "AES256".to_owned(),
            kms_key: None,
        }
    }
}

/// A stored manifest, without its bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Image {
    pub id: i64,
    pub digest: Digest,
    pub media_type: MediaType,
    pub artifact_type: Option<String>,
    pub subject: Option<Digest>,
    /// Config and layers, in bytes; for an index the largest of its members.
    pub content_size: u64,
    pub manifest_size: u64,
    pub pushed_at: Timestamp,
    pub pulled_at: Option<Timestamp>,
    pub status: ImageStatus,
    /// When it went to the archive, and when it came back, the last time.
    pub archived_at: Option<Timestamp>,
    pub activated_at: Option<Timestamp>,
}

/// Whether an image can be pulled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum ImageStatus {
    #[default]
    Active,
    /// In the archive: it is listed and described, but not pulled until it is restored.
    Archived,
    /// On its way back from the archive. It cannot be pulled yet.
    Activating,
}

/// A manifest as it is served: the bytes that were pushed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredManifest {
    pub image: Image,
    pub bytes: Bytes,
}

/// An image with the tags it has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TaggedImage {
    pub image: Image,
    pub tags: Vec<Tag>,
}

/// One line of `ListImages`: a digest with one of its tags, or an untagged digest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImageListing {
    pub digest: Digest,
    pub tag: Option<Tag>,
}

/// Which images a listing shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum TagStatus {
    #[default]
    Any,
    Tagged,
    Untagged,
}

/// Content that a repository links.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Blob {
    pub digest: Digest,
    pub size: u64,
    pub key: BlobKey,
}

/// A blob whose bytes are in the archive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ArchivedBlob {
    pub digest: Digest,
    /// Bytes of the content.
    pub size: u64,
    /// Where the archive holds it, which is another store than that of the blobs.
    pub key: BlobKey,
    pub encoding: Encoding,
    /// Bytes that it takes in the archive.
    pub stored_size: u64,
}

/// An upload session as a client sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Upload {
    pub id: Uuid,
    pub repository: RepositoryId,
    /// Bytes received and kept.
    pub size: u64,
}

/// An image that refers to another, as a referrers listing shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Referrer {
    pub digest: Digest,
    pub media_type: String,
    pub artifact_type: Option<String>,
    pub size: u64,
    pub annotations: BTreeMap<String, String>,
    pub status: ImageStatus,
}
