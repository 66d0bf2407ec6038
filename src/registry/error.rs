//! Errors of the registry's operations. Each API maps them to the codes of its protocol.

use wharfinger_aws::Region;
use wharfinger_blobs as blobs;
use wharfinger_db as db;
use wharfinger_oci::{Digest, ManifestError, Reference, RepositoryName, Tag};

use crate::lifecycle::LifecyclePolicyError;
use crate::model::RegistryId;
use crate::pull_through::import_error::ImportError;
use crate::pull_through::rule::Prefix;
use crate::pull_through::secret::SecretError;
use crate::replication::rules::ReplicationRulesError;

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("The repository with name '{name}' does not exist in the registry with id \
        '{}'", registry.account)]
    NoSuchRepository {
        name: RepositoryName,
        registry: RegistryId,
    },
    #[error("The repository with name '{name}' already exists in the registry with id \
        '{}'", registry.account)]
    RepositoryExists {
        name: RepositoryName,
        registry: RegistryId,
    },
    #[error("The repository with name '{name}' in registry with id '{}' cannot be deleted \
        because it still contains images", registry.account)]
    RepositoryNotEmpty {
        name: RepositoryName,
        registry: RegistryId,
    },
    #[error("Repository policy does not exist for the repository with name '{name}' in the \
        registry with id '{}'", registry.account)]
    NoRepositoryPolicy {
        name: RepositoryName,
        registry: RegistryId,
    },
    #[error("Registry policy does not exist in the registry with id '{}'", registry.account)]
    NoRegistryPolicy { registry: RegistryId },
    #[error(
        "The signing configuration does not exist in the registry with id '{}'",
        registry.account
    )]
    NoSigningConfiguration { registry: RegistryId },
    #[error(
        "The repository creation template with prefix '{prefix}' already exists in the registry \
         with id '{}'",
        registry.account
    )]
    TemplateExists {
        prefix: String,
        registry: RegistryId,
    },
    #[error(
        "The repository creation template with prefix '{prefix}' does not exist in the registry \
         with id '{}'",
        registry.account
    )]
    NoSuchTemplate {
        prefix: String,
        registry: RegistryId,
    },
    #[error("The pull time update exclusion of the principal '{principal}' already exists")]
    ExclusionExists { principal: String },
    #[error("The pull time update exclusion of the principal '{principal}' does not exist")]
    NoSuchExclusion { principal: String },
    /// A registry has as many of something as it may have.
    #[error("The registry has the most {what} that it may have, which is {limit}")]
    QuotaReached { what: &'static str, limit: u64 },
    #[error("the name of a signing key has 2 to 64 letters, digits and _, and {0:?} has not")]
    SigningKeyName(String),
    #[error("there is a signing key {0} already")]
    SigningKeyExists(String),
    #[error("there is no signing key {0}")]
    NoSigningKey(String),
    #[error("Requested image not found")]
    NoSuchImage(Reference),
    #[error("The image with digest '{0}' is archived")]
    ImageArchived(Digest),
    #[error("The image cannot be archived, because the manifest list {by} references it")]
    ArchiveOfMember { by: Digest },
    #[error(transparent)]
    LifecyclePolicy(#[from] LifecyclePolicyError),
    #[error("Lifecycle policy does not exist for the repository with name '{name}' in the \
        registry with id '{}'", registry.account)]
    NoLifecyclePolicy {
        name: RepositoryName,
        registry: RegistryId,
    },
    #[error("Lifecycle policy preview does not exist for the repository with name '{name}' in \
        the registry with id '{}'", registry.account)]
    NoLifecyclePreview {
        name: RepositoryName,
        registry: RegistryId,
    },
    #[error("A lifecycle policy preview is in progress for the repository with name '{name}' in \
        the registry with id '{}'", registry.account)]
    LifecyclePreviewInProgress {
        name: RepositoryName,
        registry: RegistryId,
    },
    /// The very same tag on the very same manifest is there already. The Distribution API calls
    /// that success, `PutImage` does not.
    #[error("Image with digest '{digest}' and tag '{tag}' already exists")]
    ImageExists { digest: Digest, tag: Tag },
    #[error(
        "The image tag '{tag}' already exists in the '{name}' repository and cannot be \
         overwritten because the repository is immutable."
    )]
    TagImmutable { tag: Tag, name: RepositoryName },
    #[error(
        "The image with digest '{digest}' would have more than the {limit} tags that one image may \
         have"
    )]
    TooManyTags { digest: Digest, limit: u64 },
    #[error("the image is referenced by the manifest list {by}")]
    ReferencedByIndex { by: Digest },
    #[error("the manifest's digest is {}, not {}", .0.actual, .0.expected)]
    ManifestDigestMismatch(Box<Mismatch>),
    #[error(transparent)]
    Manifest(#[from] ManifestError),
    #[error("layers that the manifest names are not in the repository: {}", list(.0))]
    MissingBlobs(Vec<Digest>),
    #[error("manifests that the index names are not in the repository: {}", list(.0))]
    MissingMembers(Vec<Digest>),
    /// Neither indexes nor artifacts without files are scanned.
    #[error("the image is of a type that cannot be scanned")]
    UnsupportedImage,
    #[error("The scan quota per image has been exceeded. Wait and try again.")]
    ScanQuota,
    #[error("no such blob: {0}")]
    NoSuchBlob(Digest),
    #[error("no such upload")]
    NoSuchUpload,
    /// Another request is writing to this upload right now.
    #[error("another request is writing to this upload")]
    UploadBusy,
    /// As many uploads are open as may be, of the caller or of all; some must end or expire first.
    #[error("too many uploads are open: the limit is {limit}")]
    TooManyUploads { limit: u64 },
    #[error("First byte of the layer part is {given} instead of {expected}")]
    OutOfOrder { given: u64, expected: u64 },
    #[error("the part has {actual} bytes, not the {declared} that were declared")]
    PartLength { declared: u64, actual: u64 },
    #[error("the uploaded content has digest {}, not {}", .0.actual, .0.expected)]
    DigestMismatch(Box<Mismatch>),
    #[error("a layer part other than the last has fewer than {minimum_bytes} bytes")]
    PartTooSmall { minimum_bytes: u64 },
    #[error("the upload has no bytes")]
    EmptyUpload,
    #[error("the content is larger than the limit of {limit_bytes} bytes")]
    TooLarge { limit_bytes: u64 },
    /// The client closed the connection or was too slow; no response can be sent.
    #[error("the request's body ended early: {0}")]
    BodyEnded(String),
    #[error("The pull through cache rule with prefix '{prefix}' does not exist in the registry \
        with id '{}'", registry.account)]
    NoSuchPullThroughRule {
        prefix: Prefix,
        registry: RegistryId,
    },
    #[error("The pull through cache rule with prefix '{prefix}' already exists in the registry \
        with id '{}'", registry.account)]
    PullThroughRuleExists {
        prefix: Prefix,
        registry: RegistryId,
    },
    #[error("A registry can have at most {limit} pull through cache rules")]
    TooManyPullThroughRules { limit: u64 },
    #[error("The specified upstream registry isn't supported: {0}")]
    UnsupportedUpstream(String),
    /// The secret of a pull-through rule gives no credentials.
    #[error(transparent)]
    UpstreamSecret(#[from] SecretError),
    /// What a request needs did not come from upstream.
    #[error(transparent)]
    Import(#[from] ImportError),
    #[error(transparent)]
    ReplicationRules(#[from] ReplicationRulesError),
    #[error(
        "The replication destination with region '{}' and registry id '{}' is not in the \
         replication configuration of the registry",
        destination.region, destination.account
    )]
    NoReplicationDestination { destination: RegistryId },
    #[error("A replication backfill is already in progress for the destination region '{region}'")]
    BackfillInProgress { region: Region },
    #[error("The replication backfill with id '{id}' does not exist in the registry with id '{}'",
        registry.account)]
    NoSuchBackfill { id: String, registry: RegistryId },
    #[error(
        "The replication backfill with id '{id}' cannot be stopped, because its status is \
        {status}"
    )]
    BackfillNotRunning { id: String, status: &'static str },
    #[error("no space left for content")]
    NoSpace,
    #[error("the index failed")]
    Index(#[from] db::Error),
    #[error("the blob store failed")]
    Blobs(#[source] blobs::Error),
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

/// Content that is not what it was said to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mismatch {
    pub expected: Digest,
    pub actual: Digest,
}

fn list(digests: &[Digest]) -> String {
    digests
        .iter()
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join(", ")
}
