//! The task of one HTTP/2 stream, with a deadline for the progress of its response.
//!
//! hyper does not poll a body while the peer's flow-control window is closed, so a body cannot
//! notice that by itself. Its pieces report what h2 writes of them; the task in which hyper serves
//! the stream watches that, and ends itself if the peer is too slow. hyper then resets the stream,
//! and the connection's other streams are not affected.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use std::sync::atomic::{AtomicU32, AtomicU64};
use std::task::{Context, Poll, ready};

use futures_util::task::AtomicWaker;
use hyper::rt::Executor;
use tokio::task::futures::TaskLocalFuture;

use crate::connection::Connection;
use crate::limits::ConnectionLimits;
use crate::stall::StallTimer;

tokio::task_local! {
    /// What the stream of the current task is writing.
    static WRITING: Arc<Writing>;
}

/// The part of a response that was handed to h2.
#[derive(Debug, Default)]
pub(crate) struct Writing {
    /// Pieces that are not written yet.
    pieces: AtomicU32,
    /// How often all pieces were written.
    caught_up: AtomicU32,
    bytes: AtomicU64,
    waker: AtomicWaker,
}

impl Writing {
    /// That of the current task's stream.
    pub(crate) fn current() -> Arc<Self> {
        WRITING.try_with(Arc::clone).unwrap_or_default()
    }

    pub(crate) fn add_piece(&self) {
        self.pieces.fetch_add(1, Relaxed);
    }

    pub(crate) fn add_bytes(&self, count: usize) {
        self.bytes.fetch_add(count as u64, Relaxed);
    }

    pub(crate) fn remove_piece(&self) {
        if self.pieces.fetch_sub(1, Release) == 1 {
            self.caught_up.fetch_add(1, Relaxed);
            self.waker.wake();
        }
    }

    /// Ready when all pieces are written.
    pub(crate) fn poll_written(&self, cx: &mut Context<'_>) -> Poll<()> {
        if self.pieces.load(Acquire) == 0 {
            return Poll::Ready(());
        }
        self.waker.register(cx.waker());
        match self.pieces.load(Acquire) {
            0 => Poll::Ready(()),
            _ => Poll::Pending,
        }
    }
}

/// Runs the streams of one connection.
#[derive(Clone, Debug)]
pub(crate) struct StreamExecutor {
    pub(crate) connection: Arc<Connection>,
    pub(crate) limits: Arc<ConnectionLimits>,
}

impl<F: Future<Output = ()> + Send + 'static> Executor<F> for StreamExecutor {
    fn execute(&self, stream: F) {
        let writing = Arc::<Writing>::default();
        tokio::spawn(StreamTask {
            stream: Box::pin(WRITING.scope(Arc::clone(&writing), stream)),
            stall: StallTimer::new(&self.limits),
            caught_up: 0,
            writing,
            connection: Arc::clone(&self.connection),
        });
    }
}

struct StreamTask<F> {
    stream: Pin<Box<TaskLocalFuture<Arc<Writing>, F>>>,
    stall: StallTimer,
    /// [`Writing::caught_up`] when the timer was started.
    caught_up: u32,
    writing: Arc<Writing>,
    connection: Arc<Connection>,
}

impl<F: Future<Output = ()>> Future for StreamTask<F> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = &mut *self;
        if this.stream.as_mut().poll(cx).is_ready() {
            return Poll::Ready(());
        }
        let bytes = this.writing.bytes.load(Relaxed);
        let caught_up = this.writing.caught_up.load(Relaxed);
        if caught_up != this.caught_up || this.writing.pieces.load(Relaxed) == 0 {
            // The peer took everything since the timer was started.
            this.caught_up = caught_up;
            this.stall.restart(bytes);
        }
        if this.writing.pieces.load(Relaxed) == 0 {
            return Poll::Pending;
        }
        ready!(this.stall.poll_stalled(bytes, cx));
        this.connection.count_cut();
        Poll::Ready(())
    }
}
