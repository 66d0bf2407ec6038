//! Fetches missing and damaged blobs from other registries, for a repair.

use async_trait::async_trait;
use futures_util::{StreamExt, TryStreamExt};
use wharfinger_base::Ids;
use wharfinger_blobs::{BlobBytes, BlobKey};
use wharfinger_oci::RepositoryName;
use wharfinger_registry_client::{BlobDownload, RegistryClient, Upstream};

use crate::error::Error;
use crate::fsck::Fsck;
use crate::model::{Blob, RegistryId};
use crate::pull_through::PullThrough;
use crate::store::fsck as store;
use crate::store::repositories;

/// Repositories that a blob is looked for in, of those that link it.
const REPOSITORIES: usize = 16;

/// Where blobs may be had from.
#[async_trait]
pub trait RepairSource: Send + Sync {
    /// Begins to read a blob of the repository; `None` where the source lacks it or fails, which
    /// it logs.
    async fn open(
        &self,
        registry: &RegistryId,
        repository: &RepositoryName,
        blob: &Blob,
    ) -> Option<BlobBytes>;
}

/// Another registry that has the same repositories under the same names.
pub struct ReplicaSource {
    pub client: RegistryClient,
    pub upstream: Upstream,
}

#[async_trait]
impl RepairSource for ReplicaSource {
    async fn open(
        &self,
        _registry: &RegistryId,
        repository: &RepositoryName,
        blob: &Blob,
    ) -> Option<BlobBytes> {
        let name = repository.as_str();
        let download = self
            .client
            .blob(&self.upstream, name, &blob.digest, blob.size);
        match download.await {
            Ok(download) => Some(bytes(download)),
            Err(error) => {
                let digest = &blob.digest;
                tracing::info!(%repository, %digest, %error, "the replica does not give the blob");
                None
            }
        }
    }
}

/// The upstream registries of the rules of the pull-through cache.
#[async_trait]
impl RepairSource for PullThrough {
    async fn open(
        &self,
        registry: &RegistryId,
        repository: &RepositoryName,
        blob: &Blob,
    ) -> Option<BlobBytes> {
        match self.download(registry, repository, blob).await {
            Ok(download) => download.map(bytes),
            Err(error) => {
                let digest = &blob.digest;
                tracing::info!(%repository, %digest, %error, "upstream does not give the blob");
                None
            }
        }
    }
}

fn bytes(download: BlobDownload) -> BlobBytes {
    download
        .into_stream()
        .map_err(std::io::Error::other)
        .boxed()
}

impl Fsck {
    /// Brings the bytes of a blob back from one of the sources, verified; false where none has
    /// them. Damaged bytes are replaced on a disk, and stay for the caller on an object store,
    /// where the new ones have another key.
    pub(super) async fn fetch_again(&self, blob: &Blob) -> Result<bool, Error> {
        if self.sources.is_empty() {
            return Ok(false);
        }
        let digest = blob.digest;
        let linking = self.db.read(move |tx| {
            let mut named = Vec::new();
            for repository in store::linking(tx, &digest)?.into_iter().take(REPOSITORIES) {
                named.extend(repositories::name_of(tx, repository)?);
            }
            Ok::<_, Error>(named)
        });
        for (registry, name) in linking.await? {
            for source in &self.sources {
                let Some(bytes) = source.open(&registry, &name, blob).await else {
                    continue;
                };
                let upload = Ids::default().uuid();
                let copied = self.store.copy_bytes(bytes, blob.size, &digest, upload);
                match copied.await {
                    Ok(()) => {
                        self.relocate(blob).await?;
                        tracing::info!(%digest, repository = %name, "fetched a blob again");
                        return Ok(true);
                    }
                    Err(error) => {
                        tracing::info!(%digest, %error, "a fetched blob was not taken");
                    }
                }
            }
        }
        Ok(false)
    }

    /// Lets the index name the new bytes.
    async fn relocate(&self, blob: &Blob) -> Result<(), Error> {
        let key = BlobKey::of_blob(&blob.digest);
        if blob.key == key {
            return Ok(());
        }
        let (old, new) = (blob.clone(), key.clone());
        self.db
            .write(move |tx| store::relocate(tx, &old, &new).map_err(Error::from))
            .await
    }
}
