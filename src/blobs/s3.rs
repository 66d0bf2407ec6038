//! Blobs as objects: parts of equal size under the key that the blob keeps, readable by any replica
//! between requests.
//!
//! ```text
//! upload fits one part     one object under its final key, written again as it grows
//! upload is larger         a multipart upload to the final key; full parts go there as they fill
//! its unfinished part      twice, side by side: as the next part of the multipart upload, which is taken if nothing follows,
//!                          and as an object of its own, which whoever appends reads back
//! ```
//! An append only ever extends what the index knows: should a request die half way, the next one
//! writes the same parts again.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::{Stream, StreamExt};
use object_store::aws::{AmazonS3, AmazonS3Builder};
use object_store::memory::InMemory;
use object_store::multipart::{MultipartStore, PartId};
use object_store::path::Path;
use object_store::signer::Signer;
use object_store::{GetOptions, GetRange, ObjectMeta, ObjectStore, ObjectStoreExt, PutPayload};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;
use url::Url;
use uuid::Uuid;
use wharfinger_base::Timestamp;
use wharfinger_oci::{Algorithm, Digest, Hasher};

use crate::append::Feed;
use crate::config::S3Config;
use crate::error::{AppendError, BodyError, Error, FinishError, Result};
use crate::key::{self, BlobKey};
use crate::object_reader::ObjectStream;
use crate::reader::{BlobReader, clip};
use crate::staging::{AppendLimits, Parts, Place, Staged, StoredBlob};

const MIB: u64 = 1024 * 1024;
/// A part, unless a larger upload is announced: 10,000 of them hold 156 GiB.
const PART: u64 = 16 * MIB;
/// S3's limit is 10,000; the rest is room for what an announced size leaves out.
const PARTS_PLANNED: u64 = 9_000;
/// S3's own largest part.
const MAX_PART: u64 = 5 * 1024 * MIB;
/// Parts of one upload on their way at once: one travels while another waits for its answer.
const PARTS_AT_ONCE: usize = 2;
/// Parts in memory, of all uploads together: 8 are 128 MiB. An upload waits before it fills
/// another.
const PARTS_IN_MEMORY: usize = 8;

/// The object side of the store.
pub(super) struct Objects {
    store: Arc<dyn ObjectStore>,
    multipart: Arc<dyn MultipartStore>,
    signer: Option<Arc<dyn Signer>>,
    prefix: Path,
    part: u64,
    in_memory: Arc<Semaphore>,
}

impl fmt::Debug for Objects {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Objects({}, {})", self.store, self.prefix)
    }
}

impl Objects {
    /// Connects to a bucket and learns what it can do by writing one object under `probe`.
    pub(super) async fn s3(config: &S3Config, probe: Uuid) -> Result<Self> {
        Self::s3_of_parts(config, PART, probe).await
    }

    pub(super) async fn s3_of_parts(config: &S3Config, part: u64, probe: Uuid) -> Result<Self> {
        let s3 = Arc::new(client(config)?);
        let prefix = Path::parse(&config.prefix).map_err(object_store::Error::from)?;
        Self {
            signer: Some(Arc::clone(&s3) as _),
            ..Self::over(Arc::clone(&s3) as _, s3, prefix, part)
        }
        .probed(probe)
        .await
    }

    /// Objects in memory; `part` is the part size, small in tests.
    pub(super) async fn memory(part: u64, probe: Uuid) -> Result<Self> {
        let memory = Arc::new(InMemory::new());
        Self::over(Arc::clone(&memory) as _, memory, Path::default(), part)
            .probed(probe)
            .await
    }

    fn over(
        store: Arc<dyn ObjectStore>,
        multipart: Arc<dyn MultipartStore>,
        prefix: Path,
        part: u64,
    ) -> Self {
        let in_memory = Arc::new(Semaphore::new(PARTS_IN_MEMORY));
        Self {
            store,
            multipart,
            signer: None,
            prefix,
            part,
            in_memory,
        }
    }

    /// Writes one object and removes it: a bucket that can't be written is an error at the start.
    async fn probed(self, probe: Uuid) -> Result<Self> {
        let path = self.path(&key::probe(probe));
        self.store
            .put(&path, PutPayload::from_static(b"probe"))
            .await?;
        self.remove(&path).await?;
        Ok(self)
    }

    #[expect(clippy::unused_self, reason = "the same call as the disk's")]
    pub(super) fn begin(&self, id: Uuid, algorithm: Algorithm) -> Staged {
        Staged {
            id,
            size: 0,
            hasher: Hasher::new(algorithm),
            place: Place::Objects(Parts::default()),
        }
    }

    pub(super) async fn append<S, E>(
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
        let mut run = Append::resume(self, staged, limits.expected).await?;
        let end = loop {
            match feed.piece().await {
                Ok(Some(piece)) => run.take(piece).await?,
                Ok(None) => break Ok(()),
                Err(error) if error.keeps() => break Err(error),
                Err(error) => return Err(error),
            }
        };
        *staged = run.settle(limits.last && end.is_ok()).await?;
        end.map(|()| staged.size - before)
    }

    pub(super) async fn finish(
        &self,
        staged: Staged,
        digest: &Digest,
    ) -> Result<StoredBlob, FinishError> {
        let known = digest.algorithm() == staged.algorithm();
        if known {
            let actual = staged.hasher.clone().finish();
            if actual != *digest {
                self.abort(&staged).await?;
                return Err(FinishError::DigestMismatch { actual });
            }
        }
        let Place::Objects(parts) = &staged.place else {
            return Err(Error::Lost.into());
        };
        let key = BlobKey::of_upload(staged.id);
        let path = self.path(key.as_str());
        match &parts.multipart {
            None => self.finish_whole(&path, parts, staged.size).await?,
            Some(multipart) => self.finish_parts(&path, multipart, parts).await?,
        }
        if !known {
            let actual = self.rehash(&path, digest.algorithm(), staged.size).await?;
            if actual != *digest {
                self.remove(&path).await?;
                return Err(FinishError::DigestMismatch { actual });
            }
        }
        self.remove_tails(staged.id, parts).await?;
        Ok(StoredBlob {
            key,
            size: staged.size,
        })
    }

    /// One object is the blob already, unless a request that died wrote more to it than the index
    /// knows.
    async fn finish_whole(&self, path: &Path, parts: &Parts, size: u64) -> Result<()> {
        if size == 0 {
            self.store.put(path, PutPayload::new()).await?;
            return Ok(());
        }
        let meta = self.store.head(path).await.map_err(lost)?;
        if meta.size == size && meta.e_tag == parts.whole_tag {
            return Ok(());
        }
        let bytes = self.read_back(path, size).await?;
        self.store.put(path, bytes.into()).await?;
        Ok(())
    }

    async fn finish_parts(&self, path: &Path, multipart: &String, parts: &Parts) -> Result<()> {
        let ids = parts
            .ids
            .iter()
            .chain(&parts.last_id)
            .map(|id| PartId {
                content_id: id.clone(),
            })
            .collect();
        self.multipart
            .complete_multipart(path, multipart, ids)
            .await
            .map_err(lost)?;
        Ok(())
    }

    pub(super) async fn abort(&self, staged: &Staged) -> Result<()> {
        let Place::Objects(parts) = &staged.place else {
            return Ok(());
        };
        let path = self.path(BlobKey::of_upload(staged.id).as_str());
        if let Some(multipart) = &parts.multipart {
            match self
                .multipart
                .abort_multipart(&path, multipart)
                .await
                .map_err(Error::from)
            {
                Err(Error::NotFound) | Ok(()) => {}
                Err(error) => return Err(error),
            }
        }
        // Also the object of an append that the index never heard of.
        self.remove(&path).await?;
        self.remove_tails(staged.id, parts).await
    }

    async fn remove_tails(&self, id: Uuid, parts: &Parts) -> Result<()> {
        for count in &parts.tails_at {
            self.remove(&self.path(&key::tail(id, *count))).await?;
        }
        Ok(())
    }

    /// Whether the bytes that `staged` counts are there, as far as one question can tell.
    pub(super) async fn check(&self, staged: &Staged) -> Result<()> {
        let Place::Objects(parts) = &staged.place else {
            return Err(Error::Lost);
        };
        let path = match (&parts.multipart, parts.tail) {
            (_, 0) => return Ok(()),
            (None, _) => self.path(BlobKey::of_upload(staged.id).as_str()),
            (Some(_), _) if !parts.tail_kept => return Ok(()),
            (Some(_), _) => self.path(&key::tail(staged.id, parts.ids.len())),
        };
        let meta = self.store.head(&path).await.map_err(lost)?;
        if meta.size < parts.tail {
            Err(Error::Lost)
        } else {
            Ok(())
        }
    }

    pub(super) async fn open_blob(
        &self,
        key: &BlobKey,
        range: Option<Range<u64>>,
    ) -> Result<BlobReader> {
        let path = self.path(key.as_str());
        if range.as_ref().is_some_and(Range::is_empty) {
            let size = self.store.head(&path).await?.size;
            let range = clip(range, size)?;
            return Ok(BlobReader::of_objects(
                ObjectStream::new(futures_util::stream::empty().boxed()),
                range,
                size,
            ));
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
        Ok(BlobReader::of_objects(
            ObjectStream::new(object.into_stream()),
            range,
            size,
        ))
    }

    pub(super) async fn presign_get(&self, key: &BlobKey, valid: Duration) -> Result<Option<Url>> {
        match &self.signer {
            None => Ok(None),
            Some(signer) => Ok(Some(
                signer
                    .signed_url(http::Method::GET, &self.path(key.as_str()), valid)
                    .await?,
            )),
        }
    }

    pub(super) async fn delete(&self, key: &BlobKey) -> Result<()> {
        self.remove(&self.path(key.as_str())).await
    }

    /// Removes at most `limit` kept tails older than `older_than`. Multipart uploads cannot be
    /// listed: they end by `abort`, or by a lifecycle rule of the bucket.
    pub(super) async fn sweep(&self, older_than: Timestamp, limit: usize) -> Result<usize> {
        let prefix = self.path(key::UPLOADS);
        let mut tails = self.store.list(Some(&prefix));
        let mut swept = 0;
        while let Some(tail) = tails.next().await {
            let ObjectMeta {
                location,
                last_modified,
                ..
            } = tail?;
            if swept < limit && last_modified.timestamp_millis() < older_than.as_ms() {
                self.remove(&location).await?;
                swept += 1;
            }
        }
        Ok(swept)
    }

    /// The first `size` bytes of an object: at most one part.
    async fn read_back(&self, path: &Path, size: u64) -> Result<Bytes> {
        let bytes = self.store.get_range(path, 0..size).await.map_err(lost)?;
        if bytes.len() as u64 == size {
            Ok(bytes)
        } else {
            Err(Error::Lost)
        }
    }

    async fn rehash(&self, path: &Path, algorithm: Algorithm, size: u64) -> Result<Digest> {
        let mut hasher = Hasher::new(algorithm);
        let mut read = 0;
        let mut stream = self.store.get(path).await?.into_stream();
        while let Some(bytes) = stream.next().await {
            let bytes = bytes?;
            read += bytes.len() as u64;
            hasher.update(&bytes);
        }
        if read == size {
            Ok(hasher.finish())
        } else {
            Err(Error::Lost)
        }
    }

    async fn remove(&self, path: &Path) -> Result<()> {
        match self.store.delete(path).await {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    fn path(&self, key: &str) -> Path {
        key.split('/').fold(self.prefix.clone(), Path::join)
    }
}

fn client(config: &S3Config) -> Result<AmazonS3> {
    let builder = match &config.keys {
        Some(keys) => AmazonS3Builder::new()
            .with_access_key_id(&keys.access_key_id)
            .with_secret_access_key(keys.secret_access_key.reveal()),
        None => AmazonS3Builder::from_env(),
    };
    let mut builder = builder
        .with_bucket_name(&config.bucket)
        .with_virtual_hosted_style_request(false);
    if let Some(region) = &config.region {
        builder = builder.with_region(region);
    }
    if let Some(endpoint) = &config.endpoint {
        builder = builder.with_endpoint(endpoint).with_allow_http(true);
    }
    Ok(builder.build()?)
}

/// An object that the index counts on and the store does not have.
fn lost(error: object_store::Error) -> Error {
    match Error::from(error) {
        Error::NotFound => Error::Lost,
        error => error,
    }
}

/// Parts large enough that `announced` bytes fit the number of parts that S3 allows.
fn part_size(least: u64, announced: Option<u64>) -> u64 {
    let needed = announced
        .unwrap_or(0)
        .div_ceil(PARTS_PLANNED)
        .next_multiple_of(MIB);
    needed.clamp(least, MAX_PART)
}

/// One append under way: a copy of the upload's state, ahead of the caller's until it settles.
struct Append<'a> {
    objects: &'a Objects,
    staged: Staged,
    parts: Parts,
    /// The part being filled, and the room in memory it takes.
    filling: Vec<Bytes>,
    filled: u64,
    room: Option<OwnedSemaphorePermit>,
    /// Parts on their way, each with its index. Dropping the set stops them.
    travelling: JoinSet<Result<(usize, String)>>,
}

impl<'a> Append<'a> {
    async fn resume(objects: &'a Objects, staged: &Staged, announced: Option<u64>) -> Result<Self> {
        let Place::Objects(parts) = &staged.place else {
            return Err(Error::Lost);
        };
        let mut parts = parts.clone();
        if parts.part_size == 0 {
            parts.part_size = part_size(objects.part, announced);
        }
        let mut run = Self {
            objects,
            staged: staged.clone(),
            filling: Vec::new(),
            filled: 0,
            room: None,
            travelling: JoinSet::new(),
            parts,
        };
        if run.parts.tail > 0 {
            if !run.parts.tail_kept {
                return Err(Error::Lost);
            }
            run.make_room().await?;
            let path = match run.parts.multipart {
                None => run.path(),
                Some(_) => objects.path(&key::tail(staged.id, run.parts.ids.len())),
            };
            run.filled = run.parts.tail;
            run.filling
                .push(objects.read_back(&path, run.parts.tail).await?);
        }
        run.parts.last_id = None;
        Ok(run)
    }

    async fn take(&mut self, mut piece: Bytes) -> Result<()> {
        self.staged.hasher.update(&piece);
        self.staged.size += piece.len() as u64;
        while !piece.is_empty() {
            // A full part leaves only when more follows: an upload of one part stays one object.
            if self.filled == self.parts.part_size {
                self.send_part().await?;
            }
            self.make_room().await?;
            let room = usize::try_from(self.parts.part_size - self.filled).unwrap_or(usize::MAX);
            let head = piece.split_to(room.min(piece.len()));
            self.filled += head.len() as u64;
            self.filling.push(head);
        }
        Ok(())
    }

    /// Waits until another part may be in memory. Those that travel do not wait for this one, so
    /// the wait ends.
    async fn make_room(&mut self) -> Result<()> {
        if self.room.is_none() {
            let room = Arc::clone(&self.objects.in_memory).acquire_owned().await;
            self.room = Some(room.map_err(|_| Error::Lost)?);
        }
        Ok(())
    }

    async fn send_part(&mut self) -> Result<()> {
        while self.travelling.len() >= PARTS_AT_ONCE {
            self.arrived().await?;
        }
        let multipart = self.multipart().await?;
        let index = self.parts.ids.len();
        self.parts.ids.push(String::new()); // known when the part has arrived
        let payload: PutPayload = std::mem::take(&mut self.filling).into_iter().collect();
        let room = self.room.take();
        self.filled = 0;
        let (store, path) = (Arc::clone(&self.objects.multipart), self.path());
        self.travelling.spawn(async move {
            let part = store.put_part(&path, &multipart, index, payload).await?;
            drop(room);
            Ok((index, part.content_id))
        });
        Ok(())
    }

    async fn arrived(&mut self) -> Result<bool> {
        let Some(part) = self.travelling.join_next().await else {
            return Ok(false);
        };
        let (index, id) = part??;
        self.parts.ids[index] = id;
        Ok(true)
    }

    async fn multipart(&mut self) -> Result<String> {
        if let Some(multipart) = &self.parts.multipart {
            return Ok(multipart.clone());
        }
        let multipart = self
            .objects
            .multipart
            .create_multipart(&self.path())
            .await?;
        self.parts.multipart = Some(multipart.clone());
        self.parts.whole_tag = None;
        Ok(multipart)
    }

    /// Stores what is left over, so that nothing of the upload is in this process alone.
    async fn settle(mut self, last: bool) -> Result<Staged> {
        while self.arrived().await? {}
        self.parts.tail = self.filled;
        self.parts.tail_kept = true;
        let payload: PutPayload = std::mem::take(&mut self.filling).into_iter().collect();
        let store = &self.objects.store;
        match self.parts.multipart.clone() {
            _ if self.filled == 0 => {}
            None => self.parts.whole_tag = store.put(&self.path(), payload).await?.e_tag,
            Some(multipart) => {
                let (path, count) = (self.path(), self.parts.ids.len());
                let part =
                    self.objects
                        .multipart
                        .put_part(&path, &multipart, count, payload.clone());
                if last {
                    self.parts.last_id = Some(part.await?.content_id);
                    self.parts.tail_kept = false;
                } else {
                    let tail = self.objects.path(&key::tail(self.staged.id, count));
                    let (part, _) =
                        futures_util::future::try_join(part, store.put(&tail, payload)).await?;
                    self.parts.last_id = Some(part.content_id);
                    if !self.parts.tails_at.contains(&count) {
                        self.parts.tails_at.push(count);
                    }
                }
            }
        }
        self.staged.place = Place::Objects(self.parts);
        Ok(self.staged)
    }

    fn path(&self) -> Path {
        self.objects
            .path(BlobKey::of_upload(self.staged.id).as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_grow_with_what_is_announced() {
        assert_eq!(part_size(PART, None), 16 * MIB);
        assert_eq!(part_size(PART, Some(1)), 16 * MIB);
        for size in [100 * 1024 * MIB, 1_000 * 1024 * MIB, 5 * 1024 * 1024 * MIB] {
            let part = part_size(PART, Some(size));
            assert!(
                size.div_ceil(part) <= PARTS_PLANNED && (PART..=MAX_PART).contains(&part),
                "{size}: {part}"
            );
        }
        assert!((100 * 1024 * MIB).div_ceil(PART) < 10_000);
    }
}
