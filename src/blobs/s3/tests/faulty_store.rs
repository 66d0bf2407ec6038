//! An object store in memory that fails as it is told to.

use std::fmt;
use std::ops::Range;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::stream::{self, BoxStream};
use futures_util::{StreamExt, TryStreamExt};
use object_store::memory::InMemory;
use object_store::multipart::{MultipartStore, PartId};
use object_store::path::Path;
use object_store::{
    CopyOptions, GetOptions, GetResult, GetResultPayload, ListResult, MultipartId, MultipartUpload,
    ObjectMeta, ObjectStore, PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
};

/// See the methods for the faults.
#[derive(Debug, Default)]
pub(super) struct FaultyStore {
    inner: InMemory,
    multiparts: Mutex<Vec<MultipartId>>,
    breaks: AtomicUsize,
    hangs: AtomicUsize,
    after: AtomicUsize,
    parts_left: AtomicUsize,
    parts_fail: AtomicBool,
    loses_completion: AtomicBool,
}

fn failure() -> object_store::Error {
    object_store::Error::Generic {
        store: "faulty",
        source: "it was told to fail".into(),
    }
}

impl FaultyStore {
    /// The next `count` response bodies break off after so many bytes.
    pub(super) fn break_bodies(&self, count: usize, after: usize) {
        self.after.store(after, Ordering::SeqCst);
        self.breaks.store(count, Ordering::SeqCst);
    }

    /// The next `count` response bodies fall silent after so many bytes.
    pub(super) fn hang_bodies(&self, count: usize, after: usize) {
        self.after.store(after, Ordering::SeqCst);
        self.hangs.store(count, Ordering::SeqCst);
    }

    /// After `count` more parts, all fail; none where it is `usize::MAX`.
    pub(super) fn fail_parts_after(&self, count: usize) {
        self.parts_left.store(count, Ordering::SeqCst);
        self.parts_fail.store(count != usize::MAX, Ordering::SeqCst);
    }

    /// The next completion of a multipart upload succeeds, and its response is lost.
    pub(super) fn lose_next_completion(&self) {
        self.loses_completion.store(true, Ordering::SeqCst);
    }

    /// Multipart uploads neither completed nor aborted.
    pub(super) fn open_multiparts(&self) -> usize {
        self.multiparts.lock().expect("not poisoned").len()
    }

    pub(super) async fn objects(&self) -> usize {
        self.inner.list(None).count().await
    }

    fn close(&self, id: &MultipartId) {
        let mut multiparts = self.multiparts.lock().expect("not poisoned");
        multiparts.retain(|open| open != id);
    }
}

fn take(count: &AtomicUsize) -> bool {
    let taken = count.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| {
        left.checked_sub(1)
    });
    taken.is_ok()
}

impl fmt::Display for FaultyStore {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("FaultyStore")
    }
}

#[async_trait]
impl ObjectStore for FaultyStore {
    async fn put_opts(
        &self,
        location: &Path,
        payload: PutPayload,
        opts: PutOptions,
    ) -> Result<PutResult> {
        self.inner.put_opts(location, payload, opts).await
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        opts: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        self.inner.put_multipart_opts(location, opts).await
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        let mut object = self.inner.get_opts(location, options).await?;
        let fault: Option<BoxStream<'static, Result<Bytes>>> = if take(&self.breaks) {
            Some(stream::once(async { Err(failure()) }).boxed())
        } else if take(&self.hangs) {
            Some(stream::pending().boxed())
        } else {
            None
        };
        if let Some(fault) = fault {
            let range: Range<u64> = object.range.clone();
            let (meta, attributes) = (object.meta.clone(), object.attributes.clone());
            let all: Vec<Bytes> = object.into_stream().try_collect().await?;
            let all: Bytes = all.concat().into();
            let head = all.slice(..all.len().min(self.after.load(Ordering::SeqCst)));
            let pieces = stream::once(async move { Ok(head) }).chain(fault).boxed();
            object = GetResult {
                payload: GetResultPayload::Stream(pieces),
                meta,
                range,
                attributes,
                extensions: object_store::Extensions::default(),
            };
        }
        Ok(object)
    }

    fn delete_stream(
        &self,
        locations: BoxStream<'static, Result<Path>>,
    ) -> BoxStream<'static, Result<Path>> {
        self.inner.delete_stream(locations)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.inner.list(prefix)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.inner.copy_opts(from, to, options).await
    }
}

#[async_trait]
impl MultipartStore for FaultyStore {
    async fn create_multipart(&self, path: &Path) -> Result<MultipartId> {
        let id = self.inner.create_multipart(path).await?;
        let mut multiparts = self.multiparts.lock().expect("not poisoned");
        multiparts.push(id.clone());
        Ok(id)
    }

    async fn put_part(
        &self,
        path: &Path,
        id: &MultipartId,
        part_idx: usize,
        data: PutPayload,
    ) -> Result<PartId> {
        if self.parts_fail.load(Ordering::SeqCst) && !take(&self.parts_left) {
            return Err(failure());
        }
        self.inner.put_part(path, id, part_idx, data).await
    }

    async fn complete_multipart(
        &self,
        path: &Path,
        id: &MultipartId,
        parts: Vec<PartId>,
    ) -> Result<PutResult> {
        let completed = self.inner.complete_multipart(path, id, parts).await?;
        self.close(id);
        if self.loses_completion.swap(false, Ordering::SeqCst) {
            return Err(failure());
        }
        Ok(completed)
    }

    async fn abort_multipart(&self, path: &Path, id: &MultipartId) -> Result<()> {
        self.close(id);
        self.inner.abort_multipart(path, id).await
    }
}
