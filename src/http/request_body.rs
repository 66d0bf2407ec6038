//! The body of a request, with a deadline for its progress.

use std::error::Error as StdError;
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use tokio::time::timeout;

use crate::connection::InFlight;
use crate::limits::{ConnectionLimits, SHORT_BODY_BYTES, SHORT_BODY_TIME};
use crate::stall::StallTimer;

/// Why a request's body ended early.
#[derive(Debug, thiserror::Error)]
pub enum RequestBodyError {
    /// The peer sent less than the minimum rate for too long.
    #[error("the request's body arrives too slowly")]
    Stalled,
    /// The body is not framed as RFC 9112 requires, for example a chunk size that is no number.
    #[error("the request's body is malformed")]
    Malformed,
    /// The peer closed the connection or reset the stream.
    #[error("the request's body ended early")]
    Interrupted(#[source] hyper::Error),
}

impl RequestBodyError {
    /// The error of this type that caused `error`, through any layers of bodies in between.
    pub fn find<'a>(error: &'a (dyn StdError + 'static)) -> Option<&'a Self> {
        find(error)
    }
}

fn find<'a, E: StdError + 'static>(mut error: &'a (dyn StdError + 'static)) -> Option<&'a E> {
    loop {
        if let Some(found) = error.downcast_ref() {
            return Some(found);
        }
        error = error.source()?;
    }
}

impl From<hyper::Error> for RequestBodyError {
    fn from(error: hyper::Error) -> Self {
        let kind = find::<io::Error>(&error).map(io::Error::kind);
        match kind {
            Some(io::ErrorKind::InvalidInput | io::ErrorKind::InvalidData) => Self::Malformed,
            _ => Self::Interrupted(error),
        }
    }
}

/// The body of a request. It fails with [`RequestBodyError::Stalled`] if the peer keeps its reader
/// waiting; time in which nobody reads it does not count.
#[derive(Debug)]
pub struct RequestBody {
    /// `None` once this is dropped.
    body: Option<Incoming>,
    /// `None` where nothing is left to read.
    transfer: Option<Box<Transfer>>,
}

#[derive(Debug)]
struct Transfer {
    stall: StallTimer,
    bytes: u64,
    rest: Arc<Rest>,
    in_flight: Arc<InFlight>,
}

/// What is left of a body.
#[derive(Debug, Default)]
struct Rest {
    ended: AtomicBool,
    /// The body, if its reader dropped it before its end.
    unread: Mutex<Option<Incoming>>,
}

/// What a handler left unread of its request's body.
#[derive(Debug)]
pub(crate) struct UnreadBody(Option<Arc<Rest>>);

impl UnreadBody {
    pub(crate) fn is_empty(&self) -> bool {
        let ended = |rest: &Arc<Rest>| rest.ended.load(Relaxed);
        self.0.as_ref().is_none_or(ended)
    }

    /// Reads the rest of a short body. Returns whether nothing is left.
    pub(crate) async fn discard(&self) -> bool {
        let unread = self.0.as_ref().and_then(|rest| lock(&rest.unread).take());
        let Some(mut body) = unread else {
            return self.is_empty();
        };
        if body
            .size_hint()
            .upper()
            .is_none_or(|bytes| bytes > SHORT_BODY_BYTES)
        {
            return false;
        }
        let read = async {
            while !body.is_end_stream() {
                match poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await {
                    Some(Ok(_)) => {}
                    Some(Err(_)) => return false,
                    None => break,
                }
            }
            true
        };
        timeout(SHORT_BODY_TIME, read).await.unwrap_or(false)
    }
}

impl RequestBody {
    pub(crate) fn new(
        body: Incoming,
        in_flight: &Arc<InFlight>,
        limits: &ConnectionLimits,
    ) -> (Self, UnreadBody) {
        let mut transfer = None;
        let mut unread = UnreadBody(None);
        if !body.is_end_stream() {
            let rest = Arc::<Rest>::default();
            unread.0 = Some(Arc::clone(&rest));
            transfer = Some(Box::new(Transfer {
                stall: StallTimer::new(limits),
                bytes: 0,
                rest,
                in_flight: Arc::clone(in_flight),
            }));
        }
        let body = Some(body);
        (Self { body, transfer }, unread)
    }

    /// Notes that nothing is left, and releases the request.
    fn end(&mut self) {
        if let Some(transfer) = self.transfer.take() {
            transfer.rest.ended.store(true, Relaxed);
        }
    }
}

impl Drop for RequestBody {
    fn drop(&mut self) {
        if let Some(transfer) = self.transfer.take() {
            *lock(&transfer.rest.unread) = self.body.take();
        }
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = RequestBodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, RequestBodyError>>> {
        let this = &mut *self;
        let (Some(body), Some(transfer)) = (&mut this.body, &mut this.transfer) else {
            return Poll::Ready(None);
        };
        match Pin::new(&mut *body).poll_frame(cx) {
            Poll::Pending => {
                ready!(transfer.stall.poll_stalled(transfer.bytes, cx));
                transfer.in_flight.connection().count_cut();
                Poll::Ready(Some(Err(RequestBodyError::Stalled)))
            }
            Poll::Ready(Some(Ok(frame))) => {
                transfer.bytes += frame.data_ref().map_or(0, |data| data.len() as u64);
                transfer.stall.pause();
                if body.is_end_stream() {
                    this.end();
                }
                Poll::Ready(Some(Ok(frame)))
            }
            Poll::Ready(Some(Err(error))) => Poll::Ready(Some(Err(error.into()))),
            Poll::Ready(None) => {
                this.end();
                Poll::Ready(None)
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.transfer.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        let hint = self.body.as_ref().map(Body::size_hint);
        hint.unwrap_or_else(|| SizeHint::with_exact(0))
    }
}

fn lock(unread: &Mutex<Option<Incoming>>) -> MutexGuard<'_, Option<Incoming>> {
    unread.lock().unwrap_or_else(PoisonError::into_inner)
}
