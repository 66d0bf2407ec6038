//! One connection as the rest of the program sees it: who is at the other end, what is under way,
//! and when to give up on it.

use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64};
use std::task::{Context, Poll};
use std::time::Duration;

use http_body::{Body, Frame, SizeHint};
use tokio::time::Instant;

use crate::limits::{Limits, MINIMUM_RATE};
use crate::sendfile::SendfileQueue;

/// A head has begun and is incomplete.
pub(super) const IN_HEAD: u8 = 1;
/// A read found nothing while the peer owes the rest of a body.
pub(super) const AWAITS_BODY: u8 = 2;
/// A write found no room: the peer does not take its answer.
pub(super) const AWAITS_ROOM: u8 = 4;

/// One connection. Handlers get it as a request extension (`Arc<Connection>`). Only its own task
/// writes the counters, so relaxed atomics are enough everywhere.
#[derive(Debug)]
pub struct Connection {
    peer: SocketAddr,
    sendfile: Option<SendfileQueue>,
    doubly_framed: AtomicBool,
    waits: AtomicU8,
    in_flight: AtomicU32,
    requests: AtomicU64,
    bytes_in: AtomicU64,
    bytes_out: AtomicU64,
}

impl Connection {
    /// A plain connection has a queue for the kernel to send files from; an encrypted one has none.
    pub fn new(peer: SocketAddr, sendfile: Option<SendfileQueue>) -> Self {
        Self {
            peer,
            sendfile,
            doubly_framed: AtomicBool::new(false),
            waits: AtomicU8::new(0),
            in_flight: AtomicU32::new(0),
            requests: AtomicU64::new(0),
            bytes_in: AtomicU64::new(0),
            bytes_out: AtomicU64::new(0),
        }
    }

    /// The address at the other end of the socket.
    pub fn peer(&self) -> SocketAddr {
        self.peer
    }

    /// Whether the connection is encrypted: answers that hold absolute URLs need it.
    pub fn is_tls(&self) -> bool {
        self.sendfile.is_none()
    }

    /// Where a body may ask the kernel to send a file; for HTTP/1 answers only, because HTTP/2 cuts
    /// bodies into frames of its own.
    pub fn sendfile(&self) -> Option<&SendfileQueue> {
        self.sendfile.as_ref()
    }

    /// Whether a request came with both Content-Length and Transfer-Encoding (see
    /// [`crate::framing`]): answer 400 and close.
    pub fn is_doubly_framed(&self) -> bool {
        self.doubly_framed.load(Relaxed)
    }

    pub(super) fn mark_doubly_framed(&self) {
        self.doubly_framed.store(true, Relaxed);
    }

    pub(super) fn set_waits(&self, waits: u8) {
        self.waits.store(waits, Relaxed);
    }

    pub(super) fn add_in(&self, bytes: usize) {
        self.bytes_in
            .store(self.bytes_in.load(Relaxed) + bytes as u64, Relaxed);
    }

    pub(super) fn add_out(&self, bytes: usize) {
        self.bytes_out
            .store(self.bytes_out.load(Relaxed) + bytes as u64, Relaxed);
    }

    pub(super) fn begin(self: &Arc<Self>) -> InFlight {
        self.requests.fetch_add(1, Relaxed);
        self.in_flight.fetch_add(1, Relaxed);
        InFlight(Arc::clone(self))
    }

    pub(super) fn snapshot(&self) -> Snapshot {
        Snapshot {
            waits: self.waits.load(Relaxed),
            in_flight: self.in_flight.load(Relaxed),
            requests: self.requests.load(Relaxed),
            bytes_in: self.bytes_in.load(Relaxed),
            bytes_out: self.bytes_out.load(Relaxed),
        }
    }
}

/// A request under way; its end is the drop, wherever that happens (answer sent, peer gone, task
/// cut).
#[derive(Debug)]
pub(super) struct InFlight(Arc<Connection>);

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.in_flight.fetch_sub(1, Relaxed);
    }
}

/// An answer's body that keeps its request counted until the last byte has been handed to the
/// connection.
#[derive(Debug)]
pub struct Tracked<B> {
    body: B,
    _in_flight: InFlight,
}

impl<B> Tracked<B> {
    pub(super) fn new(body: B, in_flight: InFlight) -> Self {
        Self {
            body,
            _in_flight: in_flight,
        }
    }
}

impl<B: Body + Unpin> Body for Tracked<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// The counters of a connection at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Snapshot {
    pub(super) waits: u8,
    pub(super) in_flight: u32,
    pub(super) requests: u64,
    pub(super) bytes_in: u64,
    pub(super) bytes_out: u64,
}

/// What to do with a connection now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Keep,
    /// Nothing under way for too long: close politely.
    Retire,
    /// The peer holds us up: drop the connection.
    Cut,
}

/// Looks at a connection now and then. Working from counters at each look, instead of arming a
/// timer per request, costs the hot path nothing; a timeout may be overrun by one look
/// ([`Limits::watch_interval`]).
#[derive(Debug)]
pub(super) struct Watchdog {
    idle_since: Instant,
    idle_requests: u64,
    head_since: Option<(Instant, u64)>,
    transfer: Option<(Instant, u64)>,
    retired_at: Option<Instant>,
}

impl Watchdog {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            idle_since: now,
            idle_requests: 0,
            head_since: None,
            transfer: None,
            retired_at: None,
        }
    }

    pub(super) fn look(&mut self, now: Instant, seen: Snapshot, limits: &Limits) -> Verdict {
        if self.head_is_late(now, seen, limits.header_timeout)
            || self.is_stalled(now, seen, limits.stall_timeout)
        {
            return Verdict::Cut;
        }
        if seen.in_flight > 0 || seen.requests != self.idle_requests {
            (self.idle_since, self.idle_requests, self.retired_at) = (now, seen.requests, None);
            return Verdict::Keep;
        }
        match self.retired_at {
            // The polite close found no one to take it.
            Some(retired) if now.duration_since(retired) >= limits.header_timeout => Verdict::Cut,
            None if now.duration_since(self.idle_since) >= limits.idle_timeout => {
                self.retired_at = Some(now);
                Verdict::Retire
            }
            _ => Verdict::Keep,
        }
    }

    fn head_is_late(&mut self, now: Instant, seen: Snapshot, timeout: Duration) -> bool {
        if seen.waits & IN_HEAD == 0 {
            self.head_since = None;
            return false;
        }
        match self.head_since {
            Some((since, requests)) if requests == seen.requests => {
                now.duration_since(since) >= timeout
            }
            _ => {
                self.head_since = Some((now, seen.requests));
                false
            }
        }
    }

    fn is_stalled(&mut self, now: Instant, seen: Snapshot, timeout: Duration) -> bool {
        if seen.waits & (AWAITS_BODY | AWAITS_ROOM) == 0 {
            self.transfer = None;
            return false;
        }
        let bytes = seen.bytes_in + seen.bytes_out;
        match self.transfer {
            Some((since, _)) if now.duration_since(since) < timeout => false,
            Some((since, before))
                if bytes - before < MINIMUM_RATE * now.duration_since(since).as_secs()
                    || bytes == before =>
            {
                true
            }
            _ => {
                self.transfer = Some((now, bytes));
                false
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const IDLE: Snapshot = Snapshot {
        waits: 0,
        in_flight: 0,
        requests: 1,
        bytes_in: 10,
        bytes_out: 10,
    };

    fn limits() -> Limits {
        Limits {
            header_timeout: Duration::from_secs(10),
            idle_timeout: Duration::from_mins(1),
            stall_timeout: Duration::from_secs(30),
            ..Limits::default()
        }
    }

    #[test]
    fn an_idle_connection_is_retired_once_and_then_cut() {
        let start = Instant::now();
        let mut watchdog = Watchdog::new(start);
        let mut look =
            |seconds, seen| watchdog.look(start + Duration::from_secs(seconds), seen, &limits());
        assert_eq!(look(5, IDLE), Verdict::Keep);
        assert_eq!(look(64, IDLE), Verdict::Keep);
        assert_eq!(look(65, IDLE), Verdict::Retire);
        assert_eq!(look(70, IDLE), Verdict::Keep);
        assert_eq!(look(75, IDLE), Verdict::Cut);
    }

    #[test]
    fn a_long_request_keeps_its_connection() {
        let start = Instant::now();
        let mut watchdog = Watchdog::new(start);
        for seconds in (0..600).step_by(5) {
            let seen = Snapshot {
                in_flight: 1,
                ..IDLE
            };
            assert_eq!(
                watchdog.look(start + Duration::from_secs(seconds), seen, &limits()),
                Verdict::Keep
            );
        }
    }

    #[test]
    fn a_head_that_drips_is_cut_and_busy_heads_are_not() {
        let start = Instant::now();
        let mut watchdog = Watchdog::new(start);
        for (seconds, requests, verdict) in [
            (0, 1, Verdict::Keep),
            (9, 1, Verdict::Keep),
            (11, 2, Verdict::Keep),
            (20, 2, Verdict::Keep),
            (21, 2, Verdict::Cut),
        ] {
            let seen = Snapshot {
                waits: IN_HEAD,
                requests,
                bytes_in: seconds,
                ..IDLE
            };
            assert_eq!(
                watchdog.look(start + Duration::from_secs(seconds), seen, &limits()),
                verdict,
                "at {seconds}"
            );
        }
    }

    #[test]
    fn a_body_must_keep_the_minimum_rate() {
        let start = Instant::now();
        for (rate, verdict) in [
            (MINIMUM_RATE * 2, Verdict::Keep),
            (1, Verdict::Cut),
            (0, Verdict::Cut),
        ] {
            let mut watchdog = Watchdog::new(start);
            let mut last = Verdict::Keep;
            for seconds in (0..=90).step_by(5) {
                let seen = Snapshot {
                    waits: AWAITS_BODY,
                    in_flight: 1,
                    bytes_in: rate * seconds,
                    ..IDLE
                };
                last = watchdog.look(start + Duration::from_secs(seconds), seen, &limits());
                if last == Verdict::Cut {
                    break;
                }
            }
            assert_eq!(last, verdict, "at {rate} bytes per second");
        }
    }
}
