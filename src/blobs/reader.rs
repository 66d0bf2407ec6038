//! Reads a blob as a response body: from the page cache at once, from the disk on a blocking
//! thread, or from an object store.

use std::fs::File;
use std::future::Future;
use std::io::{self, IoSliceMut};
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use futures_util::task::AtomicWaker;
use http_body::{Frame, SizeHint};
use rustix::io::{Errno, ReadWriteFlags};
use tokio::task::{JoinHandle, spawn_blocking};

use crate::buffers::{self, Buffer};
use crate::error::{Error, Result};
use crate::object_reader::ObjectStream;

/// The bytes of a blob, or of a range of it, as an HTTP body of exactly known size. Sends fewer
/// bytes only by ending in an error.
#[derive(Debug)]
pub struct BlobReader {
    source: Source,
    /// Of the blob, what is still to be sent.
    rest: Range<u64>,
    /// Of the whole blob.
    total: u64,
}

#[derive(Debug)]
enum Source {
    File(FileSource),
    Objects(ObjectStream),
}

#[derive(Debug)]
struct FileSource {
    file: Arc<File>,
    loans: Arc<Loans>,
    pending: Option<JoinHandle<io::Result<(Buffer, usize)>>>,
    /// The filesystem cannot say whether bytes are in memory (older overlayfs): always read on
    /// a blocking thread.
    cannot_tell: bool,
}

/// Buffers of one reader that are not sent yet.
#[derive(Debug, Default)]
struct Loans {
    count: AtomicUsize,
    returned: AtomicWaker,
}

impl BlobReader {
    pub(crate) fn of_file(file: Arc<File>, range: Range<u64>, total: u64) -> Self {
        let source = FileSource {
            file,
            loans: Arc::default(),
            pending: None,
            cannot_tell: false,
        };
        Self {
            source: Source::File(source),
            rest: range,
            total,
        }
    }

    pub(crate) fn of_objects(stream: ObjectStream, range: Range<u64>, total: u64) -> Self {
        Self {
            source: Source::Objects(stream),
            rest: range,
            total,
        }
    }

    /// Size of the whole blob in bytes.
    #[must_use]
    pub const fn total(&self) -> u64 {
        self.total
    }

    /// Bytes this body still sends.
    #[must_use]
    pub const fn remaining(&self) -> u64 {
        self.rest.end - self.rest.start
    }

    /// The open file and the range to send of it, for a connection that can hand both to the kernel
    /// (`transport::SendfileQueue::body`).
    ///
    /// # Errors
    /// Returns the reader itself if the content is not in a file, or if reading has begun.
    pub fn into_file(self) -> Result<(Arc<File>, Range<u64>), Self> {
        match self.source {
            Source::File(FileSource {
                file,
                pending: None,
                ..
            }) => Ok((file, self.rest)),
            source => Err(Self { source, ..self }),
        }
    }

    /// Reads what is left into memory: for small things only. Fails past `limit` bytes.
    pub async fn read_to_end(mut self, limit: u64) -> Result<Bytes> {
        if self.remaining() > limit {
            return Err(io::Error::from(io::ErrorKind::FileTooLarge).into());
        }
        let mut all = Vec::with_capacity(usize::try_from(self.remaining()).unwrap_or(0));
        while let Some(frame) =
            std::future::poll_fn(|cx| http_body::Body::poll_frame(Pin::new(&mut self), cx)).await
        {
            if let Ok(bytes) = frame?.into_data() {
                all.extend_from_slice(&bytes);
            }
        }
        Ok(all.into())
    }
}

/// The requested part of `size` bytes: all of them, or a range that must lie within them.
pub(crate) fn clip(range: Option<Range<u64>>, size: u64) -> Result<Range<u64>> {
    match range {
        None => Ok(0..size),
        Some(range) if range.start <= range.end && range.end <= size => Ok(range),
        Some(_) => Err(Error::OutOfRange { size }),
    }
}

impl http_body::Body for BlobReader {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        let this = &mut *self;
        if this.rest.is_empty() {
            return Poll::Ready(None);
        }
        let read = match &mut this.source {
            Source::File(file) => ready!(file.poll_read(&this.rest, cx)),
            Source::Objects(stream) => ready!(stream.poll_read(cx)),
        };
        Poll::Ready(Some(read.and_then(|bytes| {
            let left = this.rest.end - this.rest.start;
            match bytes.len() as u64 {
                0 => Err(io::Error::new(
                    io::ErrorKind::UnexpectedEof,
                    "a stored blob is shorter than its size",
                )),
                length if length > left => {
                    Err(io::Error::other("the store sent more than was requested"))
                }
                length => {
                    this.rest.start += length;
                    Ok(Frame::data(bytes))
                }
            }
        })))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.remaining())
    }
}

impl FileSource {
    /// Some bytes from the start of `rest`; none at the end of the file.
    fn poll_read(&mut self, rest: &Range<u64>, cx: &mut Context<'_>) -> Poll<io::Result<Bytes>> {
        if let Some(pending) = &mut self.pending {
            let done = ready!(Pin::new(pending).poll(cx));
            self.pending = None;
            return Poll::Ready(
                done.map_err(io::Error::other)
                    .flatten()
                    .map(|(buffer, read)| self.lend(buffer, read)),
            );
        }
        if buffers::crowded() && self.loans.count.load(Ordering::Acquire) > 0 {
            self.loans.returned.register(cx.waker());
            if self.loans.count.load(Ordering::Acquire) > 0 {
                return Poll::Pending;
            }
        }
        let mut buffer = Buffer::take(rest.end - rest.start);
        let memory = buffer.memory(rest.end - rest.start);
        if !self.cannot_tell {
            match rustix::io::preadv2(
                &self.file,
                &mut [IoSliceMut::new(memory)],
                rest.start,
                ReadWriteFlags::NOWAIT,
            ) {
                Ok(read) => return Poll::Ready(Ok(self.lend(buffer, read))),
                Err(Errno::AGAIN | Errno::INTR) => {}
                Err(_) => self.cannot_tell = true, // a true error comes again from the plain read
            }
        }
        let (file, rest) = (Arc::clone(&self.file), rest.clone());
        self.pending = Some(spawn_blocking(move || {
            let read = file.read_at(buffer.memory(rest.end - rest.start), rest.start)?;
            Ok((buffer, read))
        }));
        self.poll_read(&(0..0), cx)
    }

    fn lend(&self, buffer: Buffer, filled: usize) -> Bytes {
        self.loans.count.fetch_add(1, Ordering::AcqRel);
        buffer.freeze(filled, Loan(Arc::clone(&self.loans)))
    }
}

/// Tells the reader when one of its buffers is sent.
struct Loan(Arc<Loans>);

impl Drop for Loan {
    fn drop(&mut self) {
        self.0.count.fetch_sub(1, Ordering::AcqRel);
        self.0.returned.wake();
    }
}
