//! Reads an object out of an object store, going on after a failure at the byte it had come to.

use std::ops::Range;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use std::{fmt, io};

use bytes::Bytes;
use futures_util::stream::{self, BoxStream};
use futures_util::{Stream, StreamExt};
use object_store::path::Path;
use object_store::{GetOptions, GetRange, GetResult, ObjectStore};

/// How long the store may be silent within an object before the read is tried again. Only time in
/// which somebody waits for bytes counts: a slow client may take hours.
const CHUNK_TIMEOUT: Duration = Duration::from_secs(30);
/// Failures in a row, without a byte between them, before a read ends in an error.
const FAILURES: u32 = 8;
/// Wait after the first failure; it doubles. With 8 failures they are 12.7 seconds together, the
/// time of a restart of the store.
const FIRST_PAUSE: Duration = Duration::from_millis(100);

/// An object to be read.
pub(crate) struct ObjectRef {
    pub(crate) store: Arc<dyn ObjectStore>,
    pub(crate) path: Path,
}

/// The bytes of an object, or of a range of it.
pub(crate) struct ObjectStream(BoxStream<'static, io::Result<Bytes>>);

/// A read that is under way.
struct Reading {
    object: ObjectRef,
    /// The entity tag of the first response: the rest must come from the same object.
    e_tag: Option<String>,
    rest: Range<u64>,
    body: Option<BoxStream<'static, object_store::Result<Bytes>>>,
    failures: u32,
}

impl ObjectRef {
    /// Reads `range`, whose bytes begin to come in `first`.
    pub(crate) fn stream(self, first: GetResult, range: Range<u64>) -> ObjectStream {
        self.read(range, first.meta.e_tag.clone(), Some(first.into_stream()))
    }

    /// Reads `range`.
    pub(crate) fn open(self, range: Range<u64>) -> ObjectStream {
        self.read(range, None, None)
    }

    fn read(
        self,
        rest: Range<u64>,
        e_tag: Option<String>,
        body: Option<BoxStream<'static, object_store::Result<Bytes>>>,
    ) -> ObjectStream {
        let reading = Reading {
            object: self,
            e_tag,
            rest,
            body,
            failures: 0,
        };
        let pieces = stream::try_unfold(reading, |mut reading| async move {
            let piece = reading.next().await?;
            Ok(piece.map(|bytes| (bytes, reading)))
        });
        ObjectStream(pieces.boxed())
    }
}

impl Reading {
    /// The next bytes; `None` at the end of the range.
    async fn next(&mut self) -> io::Result<Option<Bytes>> {
        loop {
            if self.rest.is_empty() {
                return Ok(None);
            }
            let failure = match tokio::time::timeout(CHUNK_TIMEOUT, self.piece()).await {
                Ok(Ok(Some(piece))) => {
                    self.rest.start += piece.len() as u64;
                    self.failures = 0;
                    return Ok(Some(piece));
                }
                Ok(Ok(None)) => io::ErrorKind::UnexpectedEof.into(),
                Ok(Err(error)) if is_final(&error) => return Err(io::Error::other(error)),
                Ok(Err(error)) => io::Error::other(error),
                Err(_) => io::ErrorKind::TimedOut.into(),
            };
            self.body = None;
            self.failures += 1;
            if self.failures == FAILURES {
                return Err(failure);
            }
            tokio::time::sleep(FIRST_PAUSE * 2_u32.pow(self.failures - 1)).await;
        }
    }

    /// The next bytes of the response body, after a request for one where there is none.
    async fn piece(&mut self) -> object_store::Result<Option<Bytes>> {
        let body = match &mut self.body {
            Some(body) => body,
            None => {
                let options = GetOptions {
                    range: Some(GetRange::Bounded(self.rest.clone())),
                    if_match: self.e_tag.clone(),
                    ..GetOptions::default()
                };
                let object = self.object.store.get_opts(&self.object.path, options);
                let object = object.await?;
                self.e_tag.clone_from(&object.meta.e_tag);
                self.body.insert(object.into_stream())
            }
        };
        loop {
            match body.next().await.transpose()? {
                Some(piece) if piece.is_empty() => {}
                piece => return Ok(piece),
            }
        }
    }
}

/// Whether trying again can't help: the object is gone or was replaced.
fn is_final(error: &object_store::Error) -> bool {
    matches!(
        error,
        object_store::Error::NotFound { .. } | object_store::Error::Precondition { .. }
    )
}

impl ObjectStream {
    pub(crate) fn empty() -> Self {
        Self(stream::empty().boxed())
    }

    /// The next bytes; `None` at the end.
    pub(crate) async fn next(&mut self) -> Option<io::Result<Bytes>> {
        self.0.next().await
    }

    /// The next bytes; none at the end.
    pub(crate) fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Bytes>> {
        Pin::new(&mut self.0)
            .poll_next(cx)
            .map(|next| next.unwrap_or_else(|| Ok(Bytes::new())))
    }
}

impl fmt::Debug for ObjectStream {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("ObjectStream")
    }
}
