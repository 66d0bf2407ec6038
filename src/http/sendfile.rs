//! Lets the kernel send files over plain HTTP/1: bodies hand hyper *markers*, and the connection's
//! IO sends the file in their place.
//!
//! hyper only moves slices of memory. So a body queues a piece of its file at its connection and
//! yields a slice of a region of zeros that is never read: where it starts names the piece, and how
//! long it is says how much of the piece is left. hyper (with `http1::Builder::writev(true)`, which
//! keeps slices as they are) passes it on to [`SendfileIo`], which knows the region's addresses and
//! calls `sendfile(2)` instead of writing. Headers before a marker are written as usual.
//!
//! That zeros reach a client is ruled out: a marker that is not exactly the rest of the queue's
//! head is an error, and so is everything written after a marker was dropped unsent (copied by a
//! layer in between, or lost with a body), so that the connection closes. A piece leaves the queue
//! with its marker: nothing of one answer is there when the next one is written.

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
use tokio::task::{JoinHandle, spawn_blocking};

/// Largest piece: one call sends so much at most, so that one download cannot hold a worker for
/// long (0.2 ms).
const PIECE: usize = 1024 * 1024;
/// Places at which a marker may start. So many pieces may follow before one is named like an
/// earlier one; as each lives a moment only, and must match the head of its own connection's queue,
/// that is out of reach.
const NAMES: usize = 4 * 1024 * 1024;
/// Distance at which a piece is probed for pages that are not in memory: the kernel reads ahead in
/// steps of this size.
const PROBE_STEP: u64 = 128 * 1024;
/// Distance at which a piece is read to bring it into memory.
const TOUCH_STEP: u64 = 16 * 1024;
/// How far beyond a cold piece the kernel is asked to read on.
const READ_AHEAD: u64 = 4 * 1024 * 1024;

/// Zeros that are never touched: address space, no memory.
static REGION: LazyLock<Vec<u8>> = LazyLock::new(|| vec![0; NAMES + PIECE]);
static NEXT_NAME: AtomicUsize = AtomicUsize::new(0);

/// Files waiting to be sent over one connection. Cloning shares it.
#[derive(Clone, Debug, Default)]
pub struct SendfileQueue {
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    pieces: VecDeque<Piece>,
    /// A marker was dropped unsent: nothing more may be written.
    broken: bool,
}

#[derive(Debug)]
struct Piece {
    /// Where its marker starts in the region.
    name: usize,
    file: Arc<File>,
    offset: u64,
    left: usize,
    sent: usize,
}

/// What hyper holds in place of a piece.
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
    /// A body that sends `range` of `file`, for an answer over this queue's connection and no
    /// other. The file must not shrink meanwhile.
    pub fn body(&self, file: Arc<File>, range: Range<u64>) -> SendfileBody {
        SendfileBody {
            queue: self.clone(),
            file,
            rest: range,
            warm: 0,
            warming: None,
        }
    }

    /// Puts the queue among the extensions of an HTTP/1 request, where the answer may take it.
    /// HTTP/2 cuts bodies into frames of its own.
    pub fn offer<B>(&self, request: &mut http::Request<B>) {
        if request.version() <= http::Version::HTTP_11 {
            request.extensions_mut().insert(self.clone());
        }
    }

    fn push(&self, file: &Arc<File>, offset: u64, length: usize) -> Bytes {
        let name = NEXT_NAME.fetch_add(1, Ordering::Relaxed) % NAMES;
        let piece = Piece {
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
    /// Up to here the file was just brought into memory.
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
                spawn_blocking(move || bring_in(&file, cold))
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
    let mut probe = |offset| matches!(rustix::io::preadv2(file, &mut [IoSliceMut::new(&mut byte)], offset, ReadWriteFlags::NOWAIT), Ok(read) if read > 0);
    let mut offset = piece.start;
    while offset < piece.end {
        if !probe(offset) {
            return false;
        }
        offset += PROBE_STEP;
    }
    probe(piece.end - 1)
}

/// Reads the piece into memory and returns its end. Blocking.
fn bring_in(file: &File, piece: Range<u64>) -> io::Result<u64> {
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

/// A plain TCP connection that sends files where it is handed markers.
#[derive(Debug)]
pub struct SendfileIo {
    stream: TcpStream,
    queue: SendfileQueue,
}

impl SendfileIo {
    pub fn new(stream: TcpStream) -> Self {
        LazyLock::force(&REGION); // while memory is fresh from the system, and zero without being written
        Self {
            stream,
            queue: SendfileQueue::default(),
        }
    }

    /// To be offered to each request that comes over this connection.
    pub fn queue(&self) -> SendfileQueue {
        self.queue.clone()
    }

    pub fn get_ref(&self) -> &TcpStream {
        &self.stream
    }

    /// Sends as much of the marked piece as the socket takes.
    fn poll_send(&self, cx: &mut Context<'_>, marker: &[u8]) -> Poll<io::Result<usize>> {
        loop {
            ready!(self.stream.poll_write_ready(cx))?;
            let mut state = self.queue.lock();
            let piece = state.head(marker)?;
            let mut offset = piece.offset;
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

    /// Writes what comes before a marker, then begins with the marker: the two share a packet.
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
            // Full, or failed: the next call says so again.
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
    /// The piece that `marker` stands for: the head of the queue, with exactly so much left.
    fn head(&mut self, marker: &[u8]) -> io::Result<&Piece> {
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

fn out_of_step() -> io::Error {
    io::Error::other("an answer's body and its connection are out of step")
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
