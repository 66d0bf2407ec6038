//! Makes an upload an object that is a blob.

use bytes::Bytes;
use object_store::multipart::PartId;
use object_store::path::Path;
use object_store::{ObjectStoreExt, PutPayload};
use uuid::Uuid;
use wharfinger_oci::{Algorithm, Digest, Hasher};

use crate::error::{Error, FinishError, Result};
use crate::key::BlobKey;
use crate::s3::{Objects, lost};
use crate::staging::{BackendState, Parts, Staged, StoredBlob};

impl Objects {
    /// Removes nothing, whatever the outcome: what is left over goes with [`Objects::abort`].
    ///
    /// With `contested`, another request may have opened a multipart upload for the same object and
    /// still be about to complete it: such are aborted first, so that what this call makes stays.
    pub(crate) async fn finish(
        &self,
        staged: &Staged,
        digest: &Digest,
        contested: bool,
    ) -> Result<StoredBlob, FinishError> {
        let known = digest.algorithm() == staged.algorithm();
        if known {
            let actual = staged.digest_so_far();
            if actual != *digest {
                return Err(FinishError::DigestMismatch { actual });
            }
        }
        let BackendState::Objects(parts) = &staged.state else {
            return Err(Error::Lost.into());
        };
        let key = self.make_object(staged, parts, digest, contested).await?;
        if !known {
            let path = self.path(key.as_str());
            let actual = self.rehash(path, digest.algorithm(), staged.size).await?;
            if actual != *digest {
                return Err(FinishError::DigestMismatch { actual });
            }
        }
        Ok(StoredBlob {
            key,
            size: staged.size,
        })
    }

    async fn make_object(
        &self,
        staged: &Staged,
        parts: &Parts,
        digest: &Digest,
        contested: bool,
    ) -> Result<BlobKey> {
        if staged.size == 0 {
            let key = BlobKey::of_object(staged.id, self.ids.uuid());
            let path = self.path(key.as_str());
            self.store.put(&path, PutPayload::new()).await?;
            return Ok(key);
        }
        match &parts.multipart {
            Some(multipart) if !parts.ids.is_empty() => {
                if contested {
                    self.abort_multiparts(staged, Some(multipart)).await?;
                }
                self.finish_parts(staged, multipart, parts, digest).await?;
                Ok(BlobKey::of_upload(staged.id))
            }
            _ => {
                let tail = parts.tail_object.as_deref().ok_or(Error::Lost)?;
                let meta = self.store.head(&self.path(tail)).await.map_err(lost)?;
                if meta.size != staged.size {
                    return Err(Error::Lost);
                }
                tail.parse().map_err(|_| Error::Lost)
            }
        }
    }

    async fn finish_parts(
        &self,
        staged: &Staged,
        multipart: &str,
        parts: &Parts,
        digest: &Digest,
    ) -> Result<()> {
        let last = match (&parts.last_id, parts.tail) {
            (_, 0) => None,
            (Some(id), _) => Some(id.clone()),
            (None, _) => Some(self.send_tail(staged.id, multipart, parts).await?),
        };
        let Err(error) = self.complete(staged.id, multipart, parts, last).await else {
            return Ok(());
        };
        // The response to an earlier request may have been lost: then the object is there.
        let path = self.path(BlobKey::of_upload(staged.id).as_str());
        match self.store.head(&path).await {
            Ok(meta) if meta.size == staged.size => {
                let actual = self.rehash(path, digest.algorithm(), staged.size).await?;
                return if actual == *digest {
                    Ok(())
                } else {
                    Err(Error::Lost)
                };
            }
            Ok(_) => return Err(Error::Lost),
            Err(object_store::Error::NotFound { .. }) => {}
            Err(error) => return Err(error.into()),
        }
        // A request that died may have replaced the last part after the index learnt of it.
        if parts.tail == 0 || parts.tail_object.is_none() {
            return Err(error);
        }
        let last = self.send_tail(staged.id, multipart, parts).await?;
        self.complete(staged.id, multipart, parts, Some(last)).await
    }

    async fn complete(
        &self,
        id: Uuid,
        multipart: &str,
        parts: &Parts,
        last: Option<String>,
    ) -> Result<()> {
        let path = self.path(BlobKey::of_upload(id).as_str());
        let ids = parts.ids.iter().cloned().chain(last);
        let ids = ids.map(|content_id| PartId { content_id }).collect();
        self.multipart
            .complete_multipart(&path, &multipart.to_owned(), ids)
            .await
            .map_err(lost)?;
        Ok(())
    }

    /// Sends the unfinished part, which an object holds, as the last part.
    async fn send_tail(&self, id: Uuid, multipart: &str, parts: &Parts) -> Result<String> {
        let tail = parts.tail_object.as_deref().ok_or(Error::Lost)?;
        let bytes: Bytes = self.read_back(tail, parts.tail).await?;
        let path = self.path(BlobKey::of_upload(id).as_str());
        let index = parts.ids.len();
        let multipart = multipart.to_owned();
        let sent = self
            .multipart
            .put_part(&path, &multipart, index, bytes.into());
        Ok(sent.await.map_err(lost)?.content_id)
    }

    async fn rehash(&self, path: Path, algorithm: Algorithm, size: u64) -> Result<Digest> {
        let mut hasher = Hasher::new(algorithm);
        let mut stream = self.object(path).open(0..size);
        while let Some(bytes) = stream.next().await {
            hasher.update(&bytes?);
        }
        Ok(hasher.finish())
    }
}
