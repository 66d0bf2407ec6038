//! Bodies of responses: they keep their request in flight until they are handed over, and on HTTP/2
//! until they are written.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use http_body::{Body, Frame, SizeHint};
use http_body_util::{Either, Full};

use crate::connection::InFlight;
use crate::http2_stream::Writing;

/// Largest piece of an HTTP/2 body that is handed to h2 at once. A piece leaves the reach of the
/// stream's deadline only when h2 has written it.
const PIECE_BYTES: usize = 64 * 1024;

/// The content of a response: a handler's, or the text of a refusal by the listener itself.
pub(crate) type ResponseContent<B> = Either<B, Full<Bytes>>;

/// A body on HTTP/1, where the connection has one response at a time and its socket the deadline.
#[derive(Debug)]
pub(crate) struct Http1Body<B> {
    content: B,
    in_flight: Arc<InFlight>,
}

impl<B> Http1Body<B> {
    pub(crate) fn new(content: B, in_flight: Arc<InFlight>) -> Self {
        Self { content, in_flight }
    }
}

impl<B: Body<Data = Bytes> + Unpin> Body for Http1Body<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        Pin::new(&mut self.content).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.content.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.content.size_hint()
    }
}

impl<B> Drop for Http1Body<B> {
    fn drop(&mut self) {
        // HTTP/1 has no resets: a peer that gives up ends its connection.
        self.in_flight.complete();
    }
}

/// A body on HTTP/2. Its end is held back until the last piece is written, so that hyper keeps the
/// stream's task, and with it the stream's deadline, until then.
#[derive(Debug)]
pub(crate) struct Http2Body<B> {
    content: B,
    /// What is left of a frame that was longer than a piece.
    rest: Bytes,
    /// Whether there was nothing to send from the start.
    empty: bool,
    writing: Arc<Writing>,
    in_flight: Arc<InFlight>,
}

impl<B: Body<Data = Bytes> + Unpin> Http2Body<B> {
    pub(crate) fn new(content: B, writing: Arc<Writing>, in_flight: Arc<InFlight>) -> Self {
        Self {
            empty: content.is_end_stream(),
            content,
            rest: Bytes::new(),
            writing,
            in_flight,
        }
    }

    fn piece(&mut self) -> Frame<BodyPiece> {
        let length = self.rest.len().min(PIECE_BYTES);
        let bytes = self.rest.split_to(length);
        Frame::data(BodyPiece::new(bytes, &self.writing))
    }
}

impl<B: Body<Data = Bytes> + Unpin> Body for Http2Body<B> {
    type Data = BodyPiece;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<BodyPiece>, B::Error>>> {
        let this = &mut *self;
        if !this.rest.is_empty() {
            return Poll::Ready(Some(Ok(this.piece())));
        }
        let frame = if this.content.is_end_stream() {
            None
        } else {
            ready!(Pin::new(&mut this.content).poll_frame(cx)?)
        };
        match frame.map(Frame::into_data) {
            Some(Ok(data)) => {
                this.rest = data;
                Poll::Ready(Some(Ok(this.piece())))
            }
            Some(Err(frame)) => {
                this.in_flight.complete();
                let trailers = frame.into_trailers().unwrap_or_default();
                Poll::Ready(Some(Ok(Frame::trailers(trailers))))
            }
            None => {
                ready!(this.writing.poll_written(cx));
                this.in_flight.complete();
                Poll::Ready(None)
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.empty
    }

    fn size_hint(&self) -> SizeHint {
        self.content.size_hint()
    }
}

impl<B> Drop for Http2Body<B> {
    fn drop(&mut self) {
        // hyper drops an empty body without polling it.
        if self.empty {
            self.in_flight.complete();
        }
    }
}

/// A part of an HTTP/2 body that reports how much of it was written.
#[derive(Debug)]
pub(crate) struct BodyPiece {
    bytes: Bytes,
    writing: Arc<Writing>,
}

impl BodyPiece {
    fn new(bytes: Bytes, writing: &Arc<Writing>) -> Self {
        writing.add_piece();
        Self {
            bytes,
            writing: Arc::clone(writing),
        }
    }
}

impl Buf for BodyPiece {
    fn remaining(&self) -> usize {
        self.bytes.remaining()
    }

    fn chunk(&self) -> &[u8] {
        self.bytes.chunk()
    }

    fn advance(&mut self, count: usize) {
        self.bytes.advance(count);
        self.writing.add_bytes(count);
    }
}

impl Drop for BodyPiece {
    fn drop(&mut self) {
        self.writing.remove_piece();
    }
}
