//! The boundary to registries that other servers hold: what a replication needs of one, and which
//! destinations are such registries.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use wharfinger_blobs::BlobReader;
use wharfinger_oci::{Digest, MediaType, Reference, RepositoryName, Tag};

use crate::content::Content;
use crate::error::Error;
use crate::model::{Blob, RegistryId};

/// Why a request to a remote registry did not succeed.
#[derive(Debug, thiserror::Error)]
pub enum RemoteError {
    /// The registry cannot be reached, has failed, or limits requests: the same request may succeed
    /// later, and not before `retry_after` where the registry says so.
    #[error("the registry is unavailable: {reason}")]
    Unavailable {
        reason: String,
        retry_after: Option<Duration>,
    },
    /// The credentials of the configuration do not allow the request.
    #[error("the registry denies access: {0}")]
    Denied(String),
    /// The tag names another image and must not move.
    #[error("the tag is immutable in the registry")]
    TagImmutable,
    /// A manifest names content that the registry does not have, perhaps because it collected it
    /// since. The replication checks each blob and member again.
    #[error("the registry lacks content of the manifest: {0}")]
    MissingContent(String),
    /// The registry refuses the request, and would refuse it again.
    #[error("the registry refuses the request: {0}")]
    Refused(String),
    /// Content of this server could not be read.
    #[error("content to replicate could not be read")]
    Content(#[source] Error),
}

/// A blob of this server that is to be sent.
pub struct BlobSource {
    content: Content,
    blob: Blob,
}

impl BlobSource {
    pub(super) const fn new(content: Content, blob: Blob) -> Self {
        Self { content, blob }
    }

    pub const fn digest(&self) -> &Digest {
        &self.blob.digest
    }

    /// In bytes.
    pub const fn size(&self) -> u64 {
        self.blob.size
    }

    /// Opens the bytes from an offset to the end, as an HTTP body of exactly known size. An upload
    /// that was interrupted continues by it.
    ///
    /// # Errors
    /// [`RemoteError::Content`].
    pub async fn open(&self, from: u64) -> Result<BlobReader, RemoteError> {
        let range = from.min(self.blob.size)..self.blob.size;
        let opened = self.content.open(&self.blob, Some(range)).await;
        opened.map_err(RemoteError::Content)
    }
}

/// A manifest that is to be sent.
#[derive(Clone, Debug)]
pub struct RemoteManifest {
    pub digest: Digest,
    pub media_type: MediaType,
    /// The bytes as they were pushed.
    pub bytes: Bytes,
}

/// A registry of another server. Every request may be repeated: a replication that was interrupted
/// starts again, looks first at what is there already, and sends the rest.
///
/// Names of repositories are those of this server; an implementation that keeps them elsewhere
/// translates them. It signs in, follows `Location`, limits its times, and may repeat a request
/// that failed on its way; longer pauses are the matter of the caller.
#[async_trait]
pub trait RemoteRegistry: Send + Sync {
    /// Whether images of the registry may be sent there: it is written to with credentials of the
    /// operator, which are not for every account of this server.
    fn accepts(&self, source: &RegistryId) -> bool;

    /// Whether the repository has the blob.
    async fn has_blob(
        &self,
        repository: &RepositoryName,
        digest: &Digest,
    ) -> Result<bool, RemoteError>;

    /// Uploads a blob that the repository does not have.
    async fn put_blob(
        &self,
        repository: &RepositoryName,
        blob: &BlobSource,
    ) -> Result<(), RemoteError>;

    /// The digest of the manifest that a tag or digest names; `None` where there is none.
    async fn manifest_digest(
        &self,
        repository: &RepositoryName,
        reference: &Reference,
    ) -> Result<Option<Digest>, RemoteError>;

    /// Stores a manifest under its digest or under a tag, which moves where it names another one.
    /// Everything that the manifest names was sent before.
    ///
    /// # Errors
    /// [`RemoteError::TagImmutable`], [`RemoteError::MissingContent`].
    async fn put_manifest(
        &self,
        repository: &RepositoryName,
        reference: &Reference,
        manifest: &RemoteManifest,
    ) -> Result<(), RemoteError>;

    /// Deletes a manifest with all its tags. One that is not there is no error.
    async fn delete_manifest(
        &self,
        repository: &RepositoryName,
        digest: &Digest,
    ) -> Result<(), RemoteError>;

    /// Deletes a tag and nothing else. One that is not there is no error.
    async fn delete_tag(&self, repository: &RepositoryName, tag: &Tag) -> Result<(), RemoteError>;
}

/// The destinations of replications that other servers hold, by account and region. All others are
/// registries of this server. Cloning shares them.
#[derive(Clone, Default)]
pub struct RemoteDestinations(Arc<HashMap<RegistryId, Arc<dyn RemoteRegistry>>>);

impl RemoteDestinations {
    pub fn new(registries: HashMap<RegistryId, Arc<dyn RemoteRegistry>>) -> Self {
        Self(Arc::new(registries))
    }

    /// The remote registry that is this destination; `None` where this server holds it.
    pub fn get(&self, destination: &RegistryId) -> Option<Arc<dyn RemoteRegistry>> {
        self.0.get(destination).cloned()
    }
}
