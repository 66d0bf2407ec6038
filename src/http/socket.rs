//! The socket of one connection: counts bytes, ends writes that the peer does not take, and
//! discards what still arrives after the last response.

use std::future::Future as _;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep};

use crate::connection::Connection;
use crate::limits::{ConnectionLimits, LINGER_BYTES, LINGER_IDLE};
use crate::stall::StallTimer;

/// Bytes discarded by one read.
const DISCARD_BYTES: usize = 16 * 1024;

/// A TCP socket. TLS is above it, so what it counts is what the network carries.
pub(crate) struct Socket<S> {
    io: S,
    connection: Arc<Connection>,
    stall: StallTimer,
    write_waits: bool,
    linger_timeout: Duration,
    linger: Option<Linger>,
}

/// The state of a lingering close.
struct Linger {
    deadline: Instant,
    discarded: u64,
    /// Whether something is known to be on its way.
    expected: bool,
    sleep: Pin<Box<Sleep>>,
}

impl<S> Socket<S> {
    pub(crate) fn new(io: S, connection: Arc<Connection>, limits: &ConnectionLimits) -> Self {
        Self {
            io,
            connection,
            stall: StallTimer::new(limits),
            write_waits: false,
            linger_timeout: limits.linger_timeout,
            linger: None,
        }
    }

    /// Counts what was written, or fails the write if the peer takes too little.
    fn written(
        &mut self,
        cx: &mut Context<'_>,
        outcome: Poll<io::Result<usize>>,
    ) -> Poll<io::Result<usize>> {
        if outcome.is_pending() != self.write_waits {
            self.write_waits = outcome.is_pending();
            self.connection.set_write_waits(self.write_waits);
        }
        match &outcome {
            Poll::Ready(Ok(bytes)) => {
                self.connection.add_out(*bytes);
                self.stall.pause();
            }
            Poll::Ready(Err(_)) => {}
            Poll::Pending => {
                ready!(self.stall.poll_stalled(self.connection.bytes_out(), cx));
                self.connection.count_cut();
                return Poll::Ready(Err(io::Error::new(
                    io::ErrorKind::TimedOut,
                    "the peer does not take its response",
                )));
            }
        }
        outcome
    }
}

impl<S: AsyncRead + Unpin> Socket<S> {
    /// Discards input after the writing side was shut down, so that the peer can finish sending
    /// and then reads the response: closing a socket with unread input makes the kernel reset the
    /// connection, and the peer may lose the response.
    fn poll_linger(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let timeout = self.linger_timeout;
        let expected = self.connection.has_unread_input();
        let linger = self.linger.get_or_insert_with(|| Linger {
            deadline: Instant::now() + timeout,
            discarded: 0,
            expected,
            sleep: Box::pin(sleep(timeout.min(LINGER_IDLE))),
        });
        let mut bytes = [0; DISCARD_BYTES];
        while linger.discarded < LINGER_BYTES {
            let mut buffer = ReadBuf::new(&mut bytes);
            match Pin::new(&mut self.io).poll_read(cx, &mut buffer) {
                Poll::Ready(Ok(())) if !buffer.filled().is_empty() => {
                    linger.expected = true;
                    linger.discarded += buffer.filled().len() as u64;
                    self.connection.add_in(buffer.filled().len());
                    let next = (Instant::now() + LINGER_IDLE).min(linger.deadline);
                    linger.sleep.as_mut().reset(next);
                }
                Poll::Ready(_) => break,
                Poll::Pending if !linger.expected => break,
                Poll::Pending => return linger.sleep.as_mut().poll(cx),
            }
            if Instant::now() >= linger.deadline {
                break;
            }
        }
        Poll::Ready(())
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Socket<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.io).poll_read(cx, buffer))?;
        self.connection.add_in(buffer.filled().len() - before);
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Socket<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let outcome = Pin::new(&mut self.io).poll_write(cx, bytes);
        self.written(cx, outcome)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let outcome = Pin::new(&mut self.io).poll_write_vectored(cx, slices);
        self.written(cx, outcome)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.linger.is_none() {
            ready!(Pin::new(&mut self.io).poll_shutdown(cx))?;
        }
        ready!(self.poll_linger(cx));
        Poll::Ready(Ok(()))
    }
}
