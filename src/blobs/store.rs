//! The store as other crates see it: one handle over either backend.

use std::fmt;
use std::ops::Range;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::Stream;
use tokio::task::spawn_blocking;
use url::Url;
use uuid::Uuid;
use wharfinger_base::{Durability, Ids, Timestamp};
use wharfinger_oci::{Algorithm, Digest};

use crate::config::BlobsConfig;
use crate::disk::Disk;
use crate::error::{AppendError, BodyError, Error, FinishError, Result};
use crate::key::BlobKey;
use crate::reader::{BlobReader, clip};
use crate::s3::Objects;
use crate::staging::{AppendLimits, Staged, StoredBlob};

/// Part size of the store in memory, small so that tests meet parts.
pub(crate) const MEMORY_PART: u64 = 64 * 1024;

/// Blobs and the uploads that become blobs. Cloning shares the store.
#[derive(Clone, Debug)]
pub struct BlobStore(pub(crate) Backend);

#[derive(Clone, Debug)]
pub(crate) enum Backend {
    Disk(Arc<Disk>),
    Objects(Arc<Objects>),
}

impl BlobStore {
    /// Opens the store: creates missing directories, or writes one object to learn that the bucket
    /// can be written.
    pub async fn open(config: &BlobsConfig, durability: Durability, ids: Ids) -> Result<Self> {
        let backend = match config {
            BlobsConfig::Disk { root } => {
                let root = root.clone();
                Backend::Disk(Arc::new(
                    spawn_blocking(move || Disk::open(root, durability)).await??,
                ))
            }
            BlobsConfig::S3(s3) => Backend::Objects(Arc::new(Objects::s3(s3, ids).await?)),
            BlobsConfig::Memory => Backend::Objects(Arc::new(Objects::memory(MEMORY_PART, ids))),
        };
        Ok(Self(backend))
    }

    /// Opens a store that is only read: makes no folders, so that it may be on a medium that cannot
    /// be written to.
    ///
    /// # Errors
    /// [`Error::NotFound`] where there is no folder.
    pub async fn open_to_read(config: &BlobsConfig, ids: Ids) -> Result<Self> {
        match config {
            BlobsConfig::Disk { root } => {
                let root = root.clone();
                Ok(Self(Backend::Disk(Arc::new(
                    spawn_blocking(move || Disk::open_to_read(root)).await??,
                ))))
            }
            other => Self::open(other, Durability::Full, ids).await,
        }
    }

    /// As [`BlobStore::open`], with parts so small that tests meet them: 5 MiB in a bucket, the
    /// least that S3 takes.
    #[cfg(test)]
    pub(crate) async fn open_bucket_for_test(config: &BlobsConfig) -> Result<(Self, usize)> {
        const PART: u64 = 5 * 1024 * 1024;
        let (BlobsConfig::S3(s3), ids) = (config, Ids::default()) else {
            return Err(super::Error::NotFound);
        };
        let backend = Backend::Objects(Arc::new(Objects::s3_of_parts(s3, PART, ids).await?));
        Ok((Self(backend), usize::try_from(PART).unwrap_or(0)))
    }

    /// The identity that the store holds, if any: it moves with the content.
    ///
    /// # Errors
    /// Also where `identity` in the store holds anything but a UUID.
    pub async fn identity(&self) -> Result<Option<Uuid>> {
        match &self.0 {
            Backend::Disk(disk) => {
                let disk = Arc::clone(disk);
                spawn_blocking(move || disk.identity()).await?
            }
            Backend::Objects(objects) => objects.identity().await,
        }
    }

    /// Gives a store without an identity the one proposed; returns the one that the store has then,
    /// which another server of a bucket may have given to it.
    pub async fn set_identity(&self, proposed: Uuid) -> Result<Uuid> {
        match &self.0 {
            Backend::Disk(disk) => {
                let disk = Arc::clone(disk);
                spawn_blocking(move || disk.set_identity(proposed)).await??;
            }
            Backend::Objects(objects) => objects.set_identity(proposed).await?,
        }
        self.identity().await?.ok_or(Error::NotFound)
    }

    /// The state of an upload of which nothing has come yet. Touches nothing. `algorithm` is the
    /// one to hash along the way.
    #[must_use]
    pub fn begin(&self, id: Uuid, algorithm: Algorithm) -> Staged {
        match &self.0 {
            Backend::Disk(disk) => disk.begin(id, algorithm),
            Backend::Objects(objects) => objects.begin(id, algorithm),
        }
    }

    /// Appends a body at the end of the upload and returns its length in bytes. The pieces are
    /// hashed as they arrive; nothing is held whole.
    ///
    /// After an error `staged` says what is kept: what had arrived if the sender broke off, nothing
    /// of the body otherwise. Kept bytes are with the kernel or the object store, not yet
    /// durable: that comes with [`BlobStore::finish`]. If this future is dropped, the upload is
    /// as `staged` was before. Two appends to one upload at once: `Busy` on a disk; on an object
    /// store the caller must keep them apart.
    pub async fn append<S, E>(
        &self,
        staged: &mut Staged,
        body: S,
        limits: AppendLimits,
    ) -> Result<u64, AppendError>
    where
        S: Stream<Item = Result<Bytes, E>>,
        E: Into<BodyError>,
    {
        let body = pin!(body);
        match &self.0 {
            Backend::Disk(disk) => disk.append(staged, body, limits).await,
            Backend::Objects(objects) => objects.append(staged, body, limits).await,
        }
    }

    /// Whether the bytes that `staged` counts are there: `Lost` says that the upload must be
    /// dropped. One look at the file or object, and a reading of the whole file if the machine
    /// was started again since.
    pub async fn check(&self, staged: &Staged) -> Result<()> {
        match &self.0 {
            Backend::Disk(disk) => disk.check(staged).await,
            Backend::Objects(objects) => objects.check(staged).await,
        }
    }

    /// Reads staged bytes of an upload from `offset`, up to `limit`, while it is being appended to:
    /// those that were written already, which may be none. They have not been verified. On an
    /// object store they cannot be read.
    pub async fn read_staged(&self, id: Uuid, offset: u64, limit: usize) -> Result<Bytes> {
        match &self.0 {
            Backend::Disk(disk) => disk.read_staged(id, offset, limit).await,
            Backend::Objects(_) => Ok(Bytes::new()),
        }
    }

    /// Makes the upload a blob, durable before this returns (unless durability is relaxed). On a
    /// disk the upload and its bytes are gone after every error, since a failed fsync must not be
    /// tried again, and a file that is there already is replaced. On an object store they stay: the
    /// caller finishes again, or ends the upload with [`BlobStore::abort`]. `contested` says that a
    /// request which died, or lost the upload, may still be at work on it.
    pub async fn finish(
        &self,
        staged: Staged,
        digest: &Digest,
        contested: bool,
    ) -> Result<StoredBlob, FinishError> {
        match &self.0 {
            Backend::Disk(disk) => disk.finish(staged, *digest).await,
            Backend::Objects(objects) => objects.finish(&staged, digest, contested).await,
        }
    }

    /// Drops what the upload left in the store, but the object at `keep`. On an object store the
    /// caller must first have made sure, in the index, that no request can still make a blob of it.
    /// Nothing there is no error.
    pub async fn abort(&self, staged: &Staged, keep: Option<&BlobKey>) -> Result<()> {
        match &self.0 {
            Backend::Disk(disk) => disk.abort(staged.id()).await,
            Backend::Objects(objects) => objects.abort(staged, keep).await,
        }
    }

    /// Whether all uploads of the same content have one key, [`BlobStore::key_of`] its digest.
    #[must_use]
    pub fn has_keys_by_digest(&self) -> bool {
        matches!(self.0, Backend::Disk(_))
    }

    /// The key of every blob with this digest, where keys follow from digests; on an object store
    /// each upload has its own.
    #[must_use]
    pub fn key_of(&self, digest: &Digest) -> Option<BlobKey> {
        match &self.0 {
            Backend::Disk(_) => Some(BlobKey::of_blob(digest)),
            Backend::Objects(_) => None,
        }
    }

    /// Whether a blob of `size` bytes is stored under the key.
    pub async fn has(&self, key: &BlobKey, size: u64) -> Result<bool> {
        match self.open_blob(key, size, Some(0..0)).await {
            Ok(_) => Ok(true),
            Err(Error::NotFound | Error::WrongLength { .. }) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Opens a blob of `size` bytes, or `range` of them, which must lie within it.
    ///
    /// # Errors
    /// [`Error::WrongLength`] where what is stored has another size: sending it would break the
    /// framing of the response.
    pub async fn open_blob(
        &self,
        key: &BlobKey,
        size: u64,
        range: Option<Range<u64>>,
    ) -> Result<BlobReader> {
        clip(range.clone(), size)?;
        let opened = match &self.0 {
            Backend::Disk(disk) => disk.open_blob(key, range).await,
            Backend::Objects(objects) => objects.open_blob(key, range).await,
        };
        match opened {
            Ok(reader) if reader.total() == size => Ok(reader),
            Ok(reader) => Err(wrong_length(size, reader.total())),
            Err(Error::OutOfRange { size: actual }) => Err(wrong_length(size, actual)),
            Err(error) => Err(error),
        }
    }

    /// A URL from which anybody may read the blob for as long as `valid`; `None` where only this
    /// process can.
    pub async fn presign_get(&self, key: &BlobKey, valid: Duration) -> Result<Option<Url>> {
        match &self.0 {
            Backend::Disk(_) => Ok(None),
            Backend::Objects(objects) => objects.presign_get(key, valid).await,
        }
    }

    /// Removes a blob; readers on a disk that have it open go on. Nothing there is no error.
    pub async fn delete(&self, key: &BlobKey) -> Result<()> {
        match &self.0 {
            Backend::Disk(disk) => disk.delete(key).await,
            Backend::Objects(objects) => objects.delete(key).await,
        }
    }

    /// Removes at most `limit` staged files untouched since `older_than`; returns how many. In an
    /// object store nothing is written that the index does not know of, so there are none.
    pub async fn sweep_staging(&self, older_than: Timestamp, limit: usize) -> Result<usize> {
        match &self.0 {
            Backend::Disk(disk) => disk.sweep(older_than, limit).await,
            Backend::Objects(_) => Ok(0),
        }
    }
}

fn wrong_length(expected: u64, actual: u64) -> Error {
    Error::WrongLength { expected, actual }
}

/// Where the store is, for messages.
impl fmt::Display for BlobStore {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Backend::Disk(disk) => write!(formatter, "{}", disk.root.display()),
            Backend::Objects(objects) => write!(formatter, "{objects}"),
        }
    }
}
