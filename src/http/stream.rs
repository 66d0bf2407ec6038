//! The bytes of one connection on their way to hyper: finds out which protocol the peer speaks, and
//! keeps the head of each HTTP/1 request for [`crate::conformance`].

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf};

use crate::connection::Connection;

/// The first bytes of a client that speaks HTTP/2 without negotiation (RFC 9113 section 3.4).
const HTTP2_PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Size of the first read: holds one small request.
const FIRST_READ_BYTES: usize = 1024;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Protocol {
    Http1,
    Http2,
}

/// A socket, plain or encrypted, whose first bytes are read again.
pub(crate) struct Stream<S> {
    io: S,
    first: BytesMut,
    /// `None` on HTTP/2.
    capture: Option<Arc<Connection>>,
    head_bytes: usize,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Stream<S> {
    /// Reads until it is clear which protocol the peer speaks. `None` if the peer closes the
    /// connection before.
    pub(crate) async fn detect(
        mut io: S,
        connection: &Arc<Connection>,
        head_bytes: usize,
    ) -> io::Result<Option<(Self, Protocol)>> {
        let mut first = BytesMut::with_capacity(FIRST_READ_BYTES);
        let protocol = loop {
            if io.read_buf(&mut first).await? == 0 {
                return Ok(None);
            }
            let compared = first.len().min(HTTP2_PREFACE.len());
            if first[..compared] != HTTP2_PREFACE[..compared] {
                break Protocol::Http1;
            }
            if compared == HTTP2_PREFACE.len() {
                break Protocol::Http2;
            }
        };
        let stream = Self {
            io,
            first,
            capture: (protocol == Protocol::Http1).then(|| Arc::clone(connection)),
            head_bytes,
        };
        Ok(Some((stream, protocol)))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Stream<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        let before = buffer.filled().len();
        if this.first.is_empty() {
            ready!(Pin::new(&mut this.io).poll_read(cx, buffer))?;
        } else {
            let count = this.first.len().min(buffer.remaining());
            buffer.put_slice(&this.first[..count]);
            this.first.advance(count);
            if this.first.is_empty() {
                this.first = BytesMut::new();
            }
        }
        let arrived = &buffer.filled()[before..];
        if let Some(connection) = &this.capture
            && !arrived.is_empty()
            && !connection.is_upgraded()
        {
            let idle = connection.is_idle();
            if idle {
                connection.begin_head();
            }
            let limit = this.head_bytes;
            connection.head().extend(arrived, limit, !idle);
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Stream<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write_vectored(cx, slices)
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
