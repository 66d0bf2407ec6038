//! Copies whole blobs from another store, under the key that follows from their digest on every
//! side: for backups and their restore.
//!
//! A copy is visible once all of its bytes were verified and are durable. On an object store the
//! key is written by whoever copies the blob, always with the same bytes.

use std::future::poll_fn;
use std::pin::Pin;
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream::{self, BoxStream, StreamExt, TryStreamExt};
use http_body::Body as _;
use object_store::multipart::PartId;
use object_store::path::Path;
use object_store::{ObjectStoreExt, PutPayload};
use uuid::Uuid;
use wharfinger_oci::{Algorithm, Digest, Hasher};

use crate::error::{AppendError, Error, FinishError, Result};
use crate::key::BlobKey;
use crate::reader::BlobReader;
use crate::s3::{Objects, part_size};
use crate::staging::AppendLimits;
use crate::store::{Backend, BlobStore};

/// How long a store may take to give the next bytes.
const IDLE: Duration = Duration::from_mins(2);

/// Why a blob was not copied.
#[derive(Debug, thiserror::Error)]
pub enum CopyBlobError {
    #[error("its bytes have the digest {actual}")]
    WrongDigest { actual: Digest },
    #[error("it cannot be read: {0}")]
    Source(String),
    #[error(transparent)]
    Store(#[from] Error),
}

/// The bytes of a blob as they come.
pub type BlobBytes = BoxStream<'static, std::io::Result<Bytes>>;

impl BlobStore {
    /// Copies the content of `source`, which has the digest, to [`BlobKey::of_blob`]. `upload`
    /// names what is staged meanwhile; what a killed process left of an earlier copy of the same
    /// blob is removed.
    ///
    /// # Errors
    /// [`CopyBlobError::WrongDigest`]: nothing is stored then.
    pub async fn copy_blob(
        &self,
        source: BlobReader,
        digest: &Digest,
        upload: Uuid,
    ) -> Result<(), CopyBlobError> {
        let size = source.remaining();
        self.copy_bytes(pieces(source), size, digest, upload).await
    }

    /// The same, of `size` bytes from anywhere.
    pub async fn copy_bytes(
        &self,
        source: BlobBytes,
        size: u64,
        digest: &Digest,
        upload: Uuid,
    ) -> Result<(), CopyBlobError> {
        match &self.0 {
            Backend::Disk(disk) => {
                let mut staged = self.begin(upload, digest.algorithm());
                let limits = AppendLimits {
                    max_bytes: size,
                    idle_timeout: IDLE,
                    expected: Some(size),
                    last: true,
                };
                if let Err(error) = self.append(&mut staged, source, limits).await {
                    disk.abort(upload).await?;
                    return Err(match error {
                        AppendError::Store(error) => CopyBlobError::Store(error),
                        error => CopyBlobError::Source(error.to_string()),
                    });
                }
                match disk.finish(staged, *digest).await {
                    Ok(_) => Ok(()),
                    Err(FinishError::DigestMismatch { actual }) => {
                        Err(CopyBlobError::WrongDigest { actual })
                    }
                    Err(FinishError::Store(error)) => Err(CopyBlobError::Store(error)),
                }
            }
            Backend::Objects(objects) => objects.copy_bytes(source, size, digest).await,
        }
    }
}

/// The content as it is read.
fn pieces(source: BlobReader) -> BlobBytes {
    let pieces = stream::try_unfold(source, |mut source| async move {
        let piece = next_piece(&mut source).await?;
        Ok(piece.map(|piece| (piece, source)))
    });
    pieces.boxed()
}

/// The next bytes; `None` at the end.
async fn next_piece(source: &mut BlobReader) -> std::io::Result<Option<Bytes>> {
    while let Some(frame) = poll_fn(|cx| Pin::new(&mut *source).poll_frame(cx)).await {
        if let Ok(bytes) = frame?.into_data() {
            return Ok(Some(bytes));
        }
    }
    Ok(None)
}

impl Objects {
    async fn copy_bytes(
        &self,
        source: BlobBytes,
        size: u64,
        digest: &Digest,
    ) -> Result<(), CopyBlobError> {
        let path = self.path(BlobKey::of_blob(digest).as_str());
        let mut parts = Parts {
            source,
            rest: Bytes::new(),
            hasher: Hasher::new(digest.algorithm()),
        };
        if size <= self.part {
            let payload = parts.next(size).await?;
            check(parts.hasher, digest)?;
            self.store.put(&path, payload).await.map_err(Error::from)?;
            return Ok(());
        }
        self.abort_multiparts_at(&path, &[], None).await?;
        let upload = self.multipart.create_multipart(&path).await;
        let upload = upload.map_err(Error::from)?;
        let part_size = part_size(self.part, Some(size));
        let copied = self.copy_parts(parts, part_size, (&path, &upload), Some(digest));
        let copied = copied.await;
        if copied.is_err() {
            // Where this fails, too, the next copy of the blob removes it.
            let _ = self.multipart.abort_multipart(&path, &upload).await;
        }
        copied
    }

    /// Copies an object within the store by reading and writing it: S3 itself copies objects of up
    /// to 5 GiB.
    pub(crate) async fn copy_large(&self, from: &BlobKey, to: &Path) -> Result<(), CopyBlobError> {
        let source = self.open_blob(from, None).await?;
        let part_size = part_size(self.part, Some(source.remaining()));
        let parts = Parts {
            source: pieces(source),
            rest: Bytes::new(),
            hasher: Hasher::new(Algorithm::Sha256),
        };
        self.abort_multiparts_at(to, &[], None).await?;
        let upload = self.multipart.create_multipart(to).await;
        let upload = upload.map_err(Error::from)?;
        let copied = self.copy_parts(parts, part_size, (to, &upload), None).await;
        if copied.is_err() {
            let _ = self.multipart.abort_multipart(to, &upload).await;
        }
        copied
    }

    async fn copy_parts(
        &self,
        mut parts: Parts,
        part_size: u64,
        (path, upload): (&Path, &String),
        digest: Option<&Digest>,
    ) -> Result<(), CopyBlobError> {
        let mut ids: Vec<PartId> = Vec::new();
        loop {
            let payload = parts.next(part_size).await?;
            if payload.content_length() == 0 {
                break;
            }
            let sent = self.multipart.put_part(path, upload, ids.len(), payload);
            ids.push(sent.await.map_err(Error::from)?);
        }
        if let Some(digest) = digest {
            check(parts.hasher, digest)?;
        }
        let completed = self.multipart.complete_multipart(path, upload, ids).await;
        completed.map_err(Error::from)?;
        Ok(())
    }
}

/// Bytes on their way into parts of equal size, which some object stores require.
struct Parts {
    source: BlobBytes,
    /// Read and not yet in a part.
    rest: Bytes,
    hasher: Hasher,
}

impl Parts {
    /// The next `limit` bytes, or what is left; nothing at the end.
    async fn next(&mut self, limit: u64) -> Result<PutPayload, CopyBlobError> {
        let mut pieces = Vec::new();
        let mut wanted = usize::try_from(limit).unwrap_or(usize::MAX);
        while wanted > 0 {
            if self.rest.is_empty() {
                let piece = tokio::time::timeout(IDLE, self.source.try_next()).await;
                let silent = |_| CopyBlobError::Source("its store is silent".to_owned());
                let piece = piece.map_err(silent)?;
                match piece.map_err(|why| CopyBlobError::Source(why.to_string()))? {
                    Some(piece) => self.rest = piece,
                    None => break,
                }
            }
            let piece = self.rest.split_to(wanted.min(self.rest.len()));
            self.hasher.update(&piece);
            wanted -= piece.len();
            pieces.push(piece);
        }
        Ok(pieces.into_iter().collect())
    }
}

fn check(hasher: Hasher, digest: &Digest) -> Result<(), CopyBlobError> {
    let actual = hasher.finish();
    if actual == *digest {
        Ok(())
    } else {
        Err(CopyBlobError::WrongDigest { actual })
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::tests::support::{digest, pattern, push, read};

    /// One of the behaviours of every backend.
    pub(crate) async fn are_copied(store: &BlobStore, part: usize) {
        let other = BlobStore(Backend::Objects(Arc::new(Objects::memory(
            crate::store::MEMORY_PART,
            wharfinger_base::Ids::default(),
        ))));
        for (seed, size) in [(61, 1), (62, part), (63, part + 1), (64, 2 * part + 7)] {
            let content = pattern(seed, size);
            let source = push(&other, &content).await;
            let open = || other.open_blob(&source.key, source.size, None);
            let expected = digest(&content);
            let wrong = digest(b"something else");
            let refused = store
                .copy_blob(open().await.expect("opened"), &wrong, Uuid::from_u128(1))
                .await;
            assert!(
                matches!(refused, Err(CopyBlobError::WrongDigest { actual }) if actual == expected),
                "{refused:?}"
            );
            let there = store.has(&BlobKey::of_blob(&wrong), size as u64).await;
            assert!(!there.expect("looked"));
            for upload in [1, 2] {
                let reader = open().await.expect("opened");
                let copied = store.copy_blob(reader, &expected, Uuid::from_u128(upload));
                copied.await.expect("copied");
            }
            let copy = crate::StoredBlob {
                key: BlobKey::of_blob(&expected),
                size: size as u64,
            };
            assert_eq!(read(store, &copy, None).await, content);
        }
    }
}
