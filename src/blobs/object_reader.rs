//! The stream of an object's bytes out of an object store, as the reader polls it.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::{fmt, io};

use bytes::Bytes;
use futures_util::Stream;
use futures_util::stream::BoxStream;

/// Bytes as they come from the store.
pub(super) struct ObjectStream(BoxStream<'static, object_store::Result<Bytes>>);

impl ObjectStream {
    pub(super) fn new(stream: BoxStream<'static, object_store::Result<Bytes>>) -> Self {
        Self(stream)
    }

    /// The next bytes; none at the end.
    pub(super) fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Bytes>> {
        loop {
            return match Pin::new(&mut self.0).poll_next(cx) {
                Poll::Pending => Poll::Pending,
                Poll::Ready(Some(Ok(bytes))) if bytes.is_empty() => continue,
                Poll::Ready(Some(Ok(bytes))) => Poll::Ready(Ok(bytes)),
                Poll::Ready(Some(Err(error))) => Poll::Ready(Err(io::Error::other(error))),
                Poll::Ready(None) => Poll::Ready(Ok(Bytes::new())),
            };
        }
    }
}

impl fmt::Debug for ObjectStream {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("ObjectStream")
    }
}
