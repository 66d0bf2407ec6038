//! The bytes of one connection on their way to hyper: counted, watched for stalls and for doubly
//! framed requests.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf};

use crate::connection::{AWAITS_BODY, AWAITS_ROOM, Connection, IN_HEAD};
use crate::framing::Framing;

/// The first bytes of a client that speaks HTTP/2 without being asked to (RFC 9113 section 3.4).
const HTTP2_PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Room for the first read: one small request whole.
const FIRST_READ_BYTES: usize = 1024;

/// A socket, plain or encrypted, with its watch.
pub(super) struct Stream<S> {
    io: S,
    first: BytesMut,
    framing: Framing,
    waits: u8,
    connection: Arc<Connection>,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Stream<S> {
    /// Reads until it is clear whether the client speaks HTTP/2 (true) or HTTP/1. What was read is
    /// not lost: hyper reads it again. `None` where the client left without a word.
    pub(super) async fn open(
        mut io: S,
        connection: Arc<Connection>,
    ) -> io::Result<Option<(Self, bool)>> {
        let mut first = BytesMut::with_capacity(FIRST_READ_BYTES);
        let http2 = loop {
            if io.read_buf(&mut first).await? == 0 {
                return Ok(None);
            }
            let compared = first.len().min(HTTP2_PREFACE.len());
            if first[..compared] != HTTP2_PREFACE[..compared] {
                break false;
            }
            if compared == HTTP2_PREFACE.len() {
                break true;
            }
        };
        let framing = if http2 {
            Framing::off()
        } else {
            Framing::default()
        };
        Ok(Some((
            Self {
                io,
                first,
                framing,
                waits: 0,
                connection,
            },
            http2,
        )))
    }

    fn received(&mut self, bytes: &[u8]) {
        self.connection.add_in(bytes.len());
        self.framing.feed(bytes);
        if self.framing.is_double() {
            self.connection.mark_doubly_framed();
        }
        let head = if self.framing.in_head() { IN_HEAD } else { 0 };
        self.set_waits((self.waits & AWAITS_ROOM) | head);
    }

    fn wrote(&mut self, outcome: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        match &outcome {
            Poll::Ready(Ok(bytes)) => {
                self.connection.add_out(*bytes);
                self.set_waits(self.waits & !AWAITS_ROOM);
            }
            Poll::Ready(Err(_)) => {}
            Poll::Pending => self.set_waits(self.waits | AWAITS_ROOM),
        }
        outcome
    }

    fn set_waits(&mut self, waits: u8) {
        if waits != self.waits {
            self.waits = waits;
            self.connection.set_waits(waits);
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for Stream<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        if self.first.is_empty() {
            match Pin::new(&mut self.io).poll_read(cx, buf) {
                Poll::Ready(Ok(())) => {}
                Poll::Pending => {
                    if self.framing.in_body() {
                        let waits = self.waits | AWAITS_BODY;
                        self.set_waits(waits);
                    }
                    return Poll::Pending;
                }
                failed @ Poll::Ready(Err(_)) => return failed,
            }
        } else {
            let count = self.first.len().min(buf.remaining());
            buf.put_slice(&self.first[..count]);
            self.first.advance(count);
            if self.first.is_empty() {
                self.first = BytesMut::new();
            }
        }
        self.received(&buf.filled()[before..]);
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Stream<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let outcome = Pin::new(&mut self.io).poll_write(cx, bytes);
        self.wrote(outcome)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let outcome = Pin::new(&mut self.io).poll_write_vectored(cx, slices);
        self.wrote(outcome)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}
