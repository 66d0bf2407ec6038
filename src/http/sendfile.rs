//! Lets the kernel send files over plain HTTP/1: bodies give hyper *markers*, and the connection's
//! IO sends the file instead of a marker.
//!
//! hyper only moves slices of memory. Therefore a body queues a piece of its file at its connection
//! and yields a slice of a region of zeros that is never read: the slice's start names the piece,
//! and its length tells how much of the piece is left. hyper (with `http1::Builder::writev(true)`,
//! which keeps slices as they are) passes it on to [`SendfileIo`], which knows the addresses of the
//! region and calls `sendfile(2)` instead of writing. Headers before a marker are written as usual.
//!
//! Zeros never reach a client: a marker that is not exactly the rest of the queue's first piece is
//! an error, and so is every write after a marker was dropped unsent (copied by a layer in between,
//! or lost with a body), so that the connection closes. A piece leaves the queue with its marker,
//! so nothing of one response is left when the next one is written.

use std::collections::VecDeque;
use std::fs::File;
use std::future::Future;
use std::io::{self, IoSlice, IoSliceMut};
use std::num::NonZeroU64;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use rustix::fs::Advice;
use rustix::io::ReadWriteFlags;
use rustix::net::SendFlags;
use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};
use tokio::net::TcpStream;
use tokio::runtime::Handle;
use tokio::task::{JoinHandle, spawn_blocking};

/// Largest piece in bytes. One call sends this much at most, so that one download does not keep a
/// worker for long (0.2 ms).
const PIECE: usize = 1024 * 1024;
/// Offsets at which a marker may start. A name is used again after this many pieces. That is safe:
/// a piece exists only for a moment, and must match the first one of its own connection's queue.
const NAMES: usize = 4 * 1024 * 1024;
/// Distance in bytes between the probes for pages that are not in memory: the kernel reads ahead
/// in steps of this size.
const PROBE_STEP: u64 = 128 * 1024;
/// Distance in bytes between the reads that load a piece into memory.
const TOUCH_STEP: u64 = 16 * 1024;
/// Bytes after a cold piece that the kernel is advised to read too.
const READ_AHEAD: u64 = 4 * 1024 * 1024;

/// From this size in bytes on, another worker is woken before a piece is sent: sending it takes
/// some 20 times as long as that does.
const HAND_OVER: usize = 256 * 1024;

/// Zeros that are never read: they take address space, but no memory.
static REGION: LazyLock<Vec<u8>> = LazyLock::new(|| vec![0; NAMES + PIECE]);
static NEXT_NAME: AtomicUsize = AtomicUsize::new(0);

/// Pieces of files that wait to be sent over one connection. Cloning shares the queue.
#[derive(Clone, Debug, Default)]
pub struct SendfileQueue {
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    pieces: VecDeque<FilePiece>,
    /// A marker was dropped unsent: nothing more may be written.
    broken: bool,
}

#[derive(Debug)]
struct FilePiece {
    /// The offset of its marker in the region.
    name: usize,
    file: Arc<File>,
    offset: u64,
    left: usize,
    sent: usize,
}

/// The slice that hyper holds instead of a piece.
struct Marker {
    name: usize,
    length: usize,
    queue: SendfileQueue,
}

impl AsRef<[u8]> for Marker {
    fn as_ref(&self) -> &[u8] {
        &REGION[self.name..self.name + self.length]
    }
}

impl Drop for Marker {
    fn drop(&mut self) {
        let mut state = self.queue.lock();
        if let Some(at) = state
            .pieces
            .iter()
            .position(|piece| piece.name == self.name)
        {
            state.pieces.remove(at);
            state.broken = true;
        }
    }
}

impl SendfileQueue {
    /// Returns a body that sends `range` of `file`. It is for a response over this queue's
    /// connection only. If the file becomes shorter meanwhile, the connection is closed.
    pub fn body(&self, file: Arc<File>, range: Range<u64>) -> SendfileBody {
        SendfileBody {
            queue: self.clone(),
            file,
            rest: range,
            warm: 0,
            warming: None,
        }
    }

    fn push(&self, file: &Arc<File>, offset: u64, length: usize) -> Bytes {
        let name = NEXT_NAME.fetch_add(1, Ordering::Relaxed) % NAMES;
        let piece = FilePiece {
            name,
            file: Arc::clone(file),
            offset,
            left: length,
            sent: 0,
        };
        self.lock().pieces.push_back(piece);
        Bytes::from_owner(Marker {
            name,
            length,
            queue: self.clone(),
        })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A part of a file as an HTTP body of exactly known size, sent by the kernel.
#[derive(Debug)]
pub struct SendfileBody {
    queue: SendfileQueue,
    file: Arc<File>,
    rest: Range<u64>,
    /// The file was just loaded into memory up to this offset.
    warm: u64,
    warming: Option<JoinHandle<io::Result<u64>>>,
}

impl Body for SendfileBody {
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
        let length = usize::try_from(this.rest.end - this.rest.start)
            .unwrap_or(usize::MAX)
            .min(PIECE);
        let piece = this.rest.start..this.rest.start + length as u64;
        while this.warm < piece.end {
            if this.warming.is_none() && in_memory(&this.file, &piece) {
                break;
            }
            let (file, cold) = (&this.file, piece.clone());
            let warming = this.warming.get_or_insert_with(|| {
                let file = Arc::clone(file);
                spawn_blocking(move || load(&file, cold))
            });
            let warmed = ready!(Pin::new(warming).poll(cx));
            this.warming = None;
            this.warm = warmed.map_err(io::Error::other).flatten()?;
        }
        this.rest.start = piece.end;
        Poll::Ready(Some(Ok(Frame::data(this.queue.push(
            &this.file,
            piece.start,
            length,
        )))))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.rest.end - self.rest.start)
    }
}

/// Whether sending the piece would not wait for the disk, as far as a few probes tell.
fn in_memory(file: &File, piece: &Range<u64>) -> bool {
    let mut byte = [0];
    let mut probe = |offset| {
        let buffers = &mut [IoSliceMut::new(&mut byte)];
        let read = rustix::io::preadv2(file, buffers, offset, ReadWriteFlags::NOWAIT);
        read.is_ok_and(|read| read > 0)
    };
    let mut offset = piece.start;
    while offset < piece.end {
        if !probe(offset) {
            return false;
        }
        offset += PROBE_STEP;
    }
    probe(piece.end - 1)
}

/// Loads the piece into memory and returns its end. Blocks.
fn load(file: &File, piece: Range<u64>) -> io::Result<u64> {
    let _ = rustix::fs::fadvise(
        file,
        piece.start,
        NonZeroU64::new(piece.end - piece.start + READ_AHEAD),
        Advice::WillNeed,
    );
    let mut byte = [0];
    let mut offset = piece.start;
    while offset < piece.end {
        file.read_exact_at(&mut byte, offset)?;
        offset += TOUCH_STEP;
    }
    file.read_exact_at(&mut byte, piece.end - 1)?;
    Ok(piece.end)
}

/// A plain TCP connection that sends a piece of a file when a marker is written to it.
#[derive(Debug)]
pub(crate) struct SendfileIo {
    stream: TcpStream,
    queue: SendfileQueue,
}

impl SendfileIo {
    pub(crate) fn new(stream: TcpStream) -> Self {
        // At the start, when memory comes from the system as zeros and need not be written.
        LazyLock::force(&REGION);
        Self {
            stream,
            queue: SendfileQueue::default(),
        }
    }

    /// The queue of this connection.
    pub(crate) fn queue(&self) -> SendfileQueue {
        self.queue.clone()
    }

    /// Sends as much of the marked piece as the socket takes.
    fn poll_send(&self, cx: &mut Context<'_>, marker: &[u8]) -> Poll<io::Result<usize>> {
        loop {
            ready!(self.stream.poll_write_ready(cx))?;
            let mut state = self.queue.lock();
            let piece = state.first(marker)?;
            let mut offset = piece.offset;
            if piece.left >= HAND_OVER {
                wake_idle_worker();
            }
            let sent = self.stream.try_io(Interest::WRITABLE, || {
                rustix::fs::sendfile(&self.stream, &piece.file, Some(&mut offset), piece.left)
                    .map_err(io::Error::from)
            });
            match sent {
                Ok(0) => {
                    return Poll::Ready(Err(io::Error::new(
                        io::ErrorKind::UnexpectedEof,
                        "a file became shorter while it was sent",
                    )));
                }
                Ok(sent) => {
                    state.advance(sent);
                    return Poll::Ready(Ok(sent));
                }
                Err(error)
                    if matches!(
                        error.kind(),
                        io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted
                    ) => {}
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
    }

    /// Writes what comes before a marker, then starts with the marker, so that the two share a
    /// packet.
    fn poll_head_and_send(
        &mut self,
        cx: &mut Context<'_>,
        head: &[IoSlice<'_>],
        marker: &[u8],
    ) -> Poll<io::Result<usize>> {
        let length: usize = head.iter().map(|slice| slice.len()).sum();
        let written = match head {
            [one] => ready!(self.poll_write_more(cx, one))?,
            several => ready!(Pin::new(&mut self.stream).poll_write_vectored(cx, several))?,
        };
        if written < length {
            return Poll::Ready(Ok(written));
        }
        match self.poll_send(cx, marker) {
            Poll::Ready(Ok(sent)) => Poll::Ready(Ok(written + sent)),
            // Full, or failed: the next call returns that again.
            Poll::Ready(Err(_)) | Poll::Pending => Poll::Ready(Ok(written)),
        }
    }

    /// Writes with the hint that more follows at once.
    fn poll_write_more(&self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        loop {
            ready!(self.stream.poll_write_ready(cx))?;
            let flags = SendFlags::MORE | SendFlags::NOSIGNAL;
            match self.stream.try_io(Interest::WRITABLE, || {
                rustix::net::send(&self.stream, bytes, flags).map_err(io::Error::from)
            }) {
                Err(error)
                    if matches!(
                        error.kind(),
                        io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted
                    ) => {}
                written => return Poll::Ready(written),
            }
        }
    }
}

impl State {
    /// The piece that `marker` stands for: the queue's first one, with exactly this much left.
    fn first(&mut self, marker: &[u8]) -> io::Result<&FilePiece> {
        let region = REGION.as_ptr().addr();
        match self.pieces.front() {
            Some(piece)
                if !self.broken
                    && region + piece.name + piece.sent == marker.as_ptr().addr()
                    && piece.left == marker.len() =>
            {
                Ok(piece)
            }
            _ => Err(out_of_step()),
        }
    }

    fn advance(&mut self, sent: usize) {
        let Some(piece) = self.pieces.front_mut() else {
            return;
        };
        piece.offset += sent as u64;
        piece.sent += sent;
        piece.left -= sent;
        if piece.left == 0 {
            self.pieces.pop_front();
        }
    }
}

/// Wakes a worker of the runtime that is idle, if there is one, to wait for events.
///
/// The worker that ran out of tasks last waits for events, and the others sleep. When an event
/// comes, it runs that task, and until it is done no worker waits for the next event, although the
/// others are idle (`enable_eager_driver_handoff` of tokio, not stable yet, is about the same).
fn wake_idle_worker() {
    let Ok(runtime) = Handle::try_current() else {
        return;
    };
    // The first task gets the slot of what this worker runs next, which wakes nobody. The second
    // one moves it to the queue, and tokio wakes an idle worker for that.
    for _ in 0..2 {
        runtime.spawn(std::future::ready(()));
    }
}

fn out_of_step() -> io::Error {
    io::Error::other("the body of a response and its connection are out of step")
}

fn is_marker(slice: &[u8]) -> bool {
    let region = REGION.as_ptr_range();
    !slice.is_empty() && region.contains(&slice.as_ptr())
}

impl AsyncRead for SendfileIo {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for SendfileIo {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[IoSlice::new(bytes)])
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if self.queue.lock().broken {
            return Poll::Ready(Err(out_of_step()));
        }
        let this = &mut *self;
        match slices.iter().position(|slice| is_marker(slice)) {
            None => Pin::new(&mut this.stream).poll_write_vectored(cx, slices),
            Some(0) => this.poll_send(cx, &slices[0]),
            Some(at) => this.poll_head_and_send(cx, &slices[..at], &slices[at]),
        }
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
#[path = "tests/sendfile.rs"]
mod tests;
