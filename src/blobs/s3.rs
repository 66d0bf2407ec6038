//! Blobs as objects of a bucket, readable by every replica between two requests of an upload.
//!
//! ```text
//! upload fits one part    one object, of a new name for each append; the newest becomes the blob
//! upload is larger        a multipart upload with a fixed name; full parts are sent as they fill
//! its unfinished part     stored twice: as the next part of the multipart upload, which counts if
//!                         nothing follows, and as an object, which the next append reads back
//! ```
//! No object is ever overwritten, so a request that reaches the bucket late can't change a blob.
//! All names of an upload begin with its id: [`Objects::abort`] finds what a crash left.

mod append;
mod client;
mod finish;
mod multiparts;
mod part_slots;
#[cfg(test)]
mod tests;

use std::fmt;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use append::Append;
pub(crate) use append::part_size;
use bytes::Bytes;
use futures_util::{Stream, StreamExt};
use multiparts::MultipartUploads;
use object_store::memory::InMemory;
use object_store::multipart::MultipartStore;
use object_store::path::Path;
use object_store::signer::Signer;
use object_store::{GetOptions, GetRange, ObjectStore, ObjectStoreExt, PutPayload};
use part_slots::PartSlots;
use url::Url;
use uuid::Uuid;
use wharfinger_base::Ids;
use wharfinger_oci::{Algorithm, Hasher};

use crate::append::Feed;
use crate::config::S3Config;
use crate::error::{AppendError, BodyError, Error, Result};
use crate::key::{self, BlobKey};
use crate::object_reader::{ObjectRef, ObjectStream};
use crate::reader::{BlobReader, clip};
use crate::staging::{AppendLimits, BackendState, Parts, Staged};

const MIB: u64 = 1024 * 1024;
/// Size of a part, unless a larger upload is announced: 10,000 of them hold 156 GiB.
const PART: u64 = 16 * MIB;
/// The largest object that `CopyObject` of S3 takes.
const S3_COPY_LIMIT: u64 = 5 * 1024 * MIB;

/// The blob store over an object store.
pub(crate) struct Objects {
    pub(crate) store: Arc<dyn ObjectStore>,
    pub(crate) multipart: Arc<dyn MultipartStore>,
    /// What only S3 has; `None` in memory.
    s3: Option<S3Extras>,
    pub(crate) prefix: Path,
    pub(crate) part: u64,
    /// The largest object that the store copies by itself.
    pub(crate) copy_limit: u64,
    slots: PartSlots,
    ids: Ids,
}

struct S3Extras {
    bucket: String,
    signer: Arc<dyn Signer>,
    multiparts: MultipartUploads,
}

impl fmt::Debug for Objects {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Objects({}, {})", self.store, self.prefix)
    }
}

impl fmt::Display for Objects {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.s3 {
            Some(s3) => write!(formatter, "s3://{}/{}", s3.bucket, self.prefix),
            None => formatter.write_str("memory"),
        }
    }
}

impl Objects {
    /// Connects to a bucket and checks that it can be written.
    pub(crate) async fn s3(config: &S3Config, ids: Ids) -> Result<Self> {
        Self::s3_of_parts(config, PART, ids).await
    }

    pub(crate) async fn s3_of_parts(config: &S3Config, part: u64, ids: Ids) -> Result<Self> {
        let s3 = Arc::new(client::connect(config)?);
        let extras = S3Extras {
            bucket: config.bucket.clone(),
            signer: Arc::clone(&s3) as _,
            multiparts: MultipartUploads::new(Arc::clone(&s3) as _, config)?,
        };
        let objects = Self {
            store: Arc::clone(&s3) as _,
            multipart: s3,
            s3: Some(extras),
            prefix: Path::parse(&config.prefix).map_err(object_store::Error::from)?,
            part,
            copy_limit: S3_COPY_LIMIT,
            slots: PartSlots::default(),
            ids,
        };
        objects.probe().await?;
        Ok(objects)
    }

    /// Objects in memory; `part` is the part size, small in tests.
    pub(crate) fn memory(part: u64, ids: Ids) -> Self {
        let memory = Arc::new(InMemory::new());
        Self::over(Arc::clone(&memory) as _, memory, part, ids)
    }

    fn over(
        store: Arc<dyn ObjectStore>,
        multipart: Arc<dyn MultipartStore>,
        part: u64,
        ids: Ids,
    ) -> Self {
        Self {
            store,
            multipart,
            s3: None,
            prefix: Path::default(),
            part,
            // So small that tests meet it.
            copy_limit: 4 * part,
            slots: PartSlots::default(),
            ids,
        }
    }

    async fn probe(&self) -> Result<()> {
        let path = self.path(&key::probe(self.ids.uuid()));
        self.store
            .put(&path, PutPayload::from_static(b"probe"))
            .await?;
        self.remove(&path).await
    }

    #[expect(clippy::unused_self, reason = "the same call as the disk's")]
    pub(crate) fn begin(&self, id: Uuid, algorithm: Algorithm) -> Staged {
        Staged {
            id,
            size: 0,
            hasher: Hasher::new(algorithm),
            state: BackendState::Objects(Parts::default()),
        }
    }

    pub(crate) async fn append<S, E>(
        &self,
        staged: &mut Staged,
        body: S,
        limits: AppendLimits,
    ) -> Result<u64, AppendError>
    where
        S: Stream<Item = Result<Bytes, E>> + Unpin,
        E: Into<BodyError>,
    {
        let before = staged.size;
        let mut feed = Feed::new(body, limits, before);
        let mut append = Append::resume(self, staged, limits.expected)?;
        match append.take_all(&mut feed).await {
            Ok(end) => {
                let last = limits.last && end.is_ok();
                match append.settle(last).await {
                    Ok(settled) => {
                        *staged = settled;
                        end.map(|()| staged.size - before)
                    }
                    Err(error) => Err(append.failed(staged, error.into())),
                }
            }
            Err(error) => Err(append.failed(staged, error)),
        }
    }

    /// Removes everything that the upload left in the bucket but the object at `keep`. Multipart
    /// uploads first: once they are gone, no request that is still on its way can make an object
    /// out of them.
    pub(crate) async fn abort(&self, staged: &Staged, keep: Option<&BlobKey>) -> Result<()> {
        self.abort_multiparts(staged, None).await?;
        let keep = keep.map(|key| self.path(key.as_str()));
        let mut objects = self
            .store
            .list(Some(&self.path(&key::of_session(staged.id))));
        while let Some(object) = objects.next().await {
            let location = object?.location;
            if keep.as_ref() != Some(&location) {
                self.remove(&location).await?;
            }
        }
        Ok(())
    }

    /// Aborts the multipart uploads of the upload, but the one whose id is `keep`.
    async fn abort_multiparts(&self, staged: &Staged, keep: Option<&str>) -> Result<()> {
        let path = self.path(BlobKey::of_upload(staged.id).as_str());
        let known = match &staged.state {
            BackendState::Objects(parts) => parts.multipart.as_slice(),
            BackendState::Disk { .. } => &[],
        };
        self.abort_multiparts_at(&path, known, keep).await
    }

    /// Aborts the multipart uploads that would make the object at `path`, those the bucket lists
    /// and `known` ones, but the one whose id is `keep`.
    pub(crate) async fn abort_multiparts_at(
        &self,
        path: &Path,
        known: &[String],
        keep: Option<&str>,
    ) -> Result<()> {
        let mut uploads = match &self.s3 {
            Some(s3) => s3.multiparts.list(path).await?,
            None => Vec::new(),
        };
        uploads.extend_from_slice(known);
        for upload in uploads.iter().filter(|upload| keep != Some(upload)) {
            match self.multipart.abort_multipart(path, upload).await {
                Ok(()) | Err(object_store::Error::NotFound { .. }) => {}
                // The store in memory has no error of its own for an unknown upload.
                Err(_) if self.s3.is_none() => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    /// Whether the bytes that `staged` counts are there, as far as one request can tell.
    pub(crate) async fn check(&self, staged: &Staged) -> Result<()> {
        let BackendState::Objects(parts) = &staged.state else {
            return Err(Error::Lost);
        };
        let Some(tail) = &parts.tail_object else {
            return Ok(());
        };
        let meta = self.store.head(&self.path(tail)).await.map_err(lost)?;
        if meta.size == parts.tail {
            Ok(())
        } else {
            Err(Error::Lost)
        }
    }

    pub(crate) async fn open_blob(
        &self,
        key: &BlobKey,
        range: Option<Range<u64>>,
    ) -> Result<BlobReader> {
        let path = self.path(key.as_str());
        if range.as_ref().is_some_and(Range::is_empty) {
            let size = self.store.head(&path).await?.size;
            let range = clip(range, size)?;
            return Ok(BlobReader::of_objects(ObjectStream::empty(), range, size));
        }
        let options = GetOptions {
            range: range.clone().map(GetRange::Bounded),
            ..GetOptions::default()
        };
        let object = match self.store.get_opts(&path, options).await {
            Err(object_store::Error::NotFound { .. }) => return Err(Error::NotFound),
            Err(error) if range.is_some() => {
                // Stores word an unsatisfiable range in different ways: the size tells.
                clip(range, self.store.head(&path).await?.size)?;
                return Err(error.into());
            }
            object => object?,
        };
        let size = object.meta.size;
        let range = clip(range, size)?;
        let stream = self.object(path).stream(object, range.clone());
        Ok(BlobReader::of_objects(stream, range, size))
    }

    fn object(&self, path: Path) -> ObjectRef {
        ObjectRef {
            store: Arc::clone(&self.store),
            path,
        }
    }

    pub(crate) async fn presign_get(&self, key: &BlobKey, valid: Duration) -> Result<Option<Url>> {
        match &self.s3 {
            None => Ok(None),
            Some(s3) => Ok(Some(
                s3.signer
                    .signed_url(http::Method::GET, &self.path(key.as_str()), valid)
                    .await?,
            )),
        }
    }

    pub(crate) async fn delete(&self, key: &BlobKey) -> Result<()> {
        self.remove(&self.path(key.as_str())).await
    }

    /// The first `size` bytes of an object: at most one part.
    async fn read_back(&self, key: &str, size: u64) -> Result<Bytes> {
        let path = self.path(key);
        let bytes = self.store.get_range(&path, 0..size).await.map_err(lost)?;
        if bytes.len() as u64 == size {
            Ok(bytes)
        } else {
            Err(Error::Lost)
        }
    }

    pub(crate) async fn remove(&self, path: &Path) -> Result<()> {
        match self.store.delete(path).await {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    pub(crate) fn path(&self, key: &str) -> Path {
        key.split('/').fold(self.prefix.clone(), Path::join)
    }
}

/// An object that the index counts on and the store does not have.
fn lost(error: object_store::Error) -> Error {
    match Error::from(error) {
        Error::NotFound => Error::Lost,
        error => error,
    }
}
