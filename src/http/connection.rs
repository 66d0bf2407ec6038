//! One connection as the rest of the program sees it, and its counters.

use std::net::SocketAddr;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU32, AtomicU64};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use crate::head_capture::HeadCapture;
use crate::peers::Peer;
use crate::sendfile::SendfileQueue;
use crate::traffic::Traffic;

/// One connection. The counters are written by the connection's tasks only, so relaxed atomics are
/// enough.
#[derive(Debug)]
pub struct Connection {
    peer: Peer,
    sendfile: Option<SendfileQueue>,
    traffic: Arc<Traffic>,
    in_flight: AtomicU32,
    requests: AtomicU64,
    bytes_in: AtomicU64,
    bytes_out: AtomicU64,
    /// Whether a write waits for the peer.
    write_waits: AtomicBool,
    /// Whether bytes arrived that belong to no request yet.
    head_begun: AtomicBool,
    /// Whether a response was sent before the request's body was read to its end.
    body_unread: AtomicBool,
    /// Whether the connection has left HTTP.
    upgraded: AtomicBool,
    /// Streams that the peer reset, less the requests that were completed.
    excess_resets: AtomicI64,
    closing: Notify,
    head: Mutex<HeadCapture>,
}

impl Connection {
    /// A plain connection has a queue of files for the kernel to send; an encrypted one has none.
    pub(crate) fn new(peer: Peer, sendfile: Option<SendfileQueue>, traffic: Arc<Traffic>) -> Self {
        Self {
            peer,
            sendfile,
            traffic,
            in_flight: AtomicU32::new(0),
            requests: AtomicU64::new(0),
            bytes_in: AtomicU64::new(0),
            bytes_out: AtomicU64::new(0),
            write_waits: AtomicBool::new(false),
            head_begun: AtomicBool::new(false),
            body_unread: AtomicBool::new(false),
            upgraded: AtomicBool::new(false),
            excess_resets: AtomicI64::new(0),
            closing: Notify::new(),
            head: Mutex::default(),
        }
    }

    /// The address at the other end of the socket.
    pub fn peer(&self) -> SocketAddr {
        self.peer.address
    }

    /// The connections that the peer's address had when this one was accepted.
    pub(crate) fn earlier_connections(&self) -> usize {
        self.peer.earlier_connections
    }

    /// Whether the connection is encrypted: responses that hold absolute URLs need it.
    pub fn is_tls(&self) -> bool {
        self.sendfile.is_none()
    }

    /// The queue by which a body can have the kernel send a file. Only for HTTP/1 responses:
    /// HTTP/2 divides bodies into frames.
    pub fn sendfile(&self) -> Option<&SendfileQueue> {
        self.sendfile.as_ref()
    }

    pub(crate) fn bytes_in(&self) -> u64 {
        self.bytes_in.load(Relaxed)
    }

    pub(crate) fn bytes_out(&self) -> u64 {
        self.bytes_out.load(Relaxed)
    }

    pub(crate) fn add_in(&self, bytes: usize) {
        self.bytes_in.store(self.bytes_in() + bytes as u64, Relaxed);
    }

    pub(crate) fn add_out(&self, bytes: usize) {
        self.bytes_out
            .store(self.bytes_out() + bytes as u64, Relaxed);
    }

    pub(crate) fn set_write_waits(&self, waits: bool) {
        self.write_waits.store(waits, Relaxed);
    }

    /// Whether no request is in flight, so that what arrives on HTTP/1 belongs to the next head.
    pub(crate) fn is_idle(&self) -> bool {
        self.in_flight.load(Relaxed) == 0
    }

    /// Notes the first bytes of a request's head.
    pub(crate) fn begin_head(&self) {
        self.head_begun.store(true, Relaxed);
    }

    pub(crate) fn head(&self) -> MutexGuard<'_, HeadCapture> {
        self.head.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes that a request's head is complete.
    pub(crate) fn begin_request(self: &Arc<Self>) -> Arc<InFlight> {
        self.head_begun.store(false, Relaxed);
        self.requests.fetch_add(1, Relaxed);
        self.in_flight.fetch_add(1, Relaxed);
        Arc::new(InFlight {
            connection: Arc::clone(self),
            completed: AtomicBool::new(false),
        })
    }

    pub(crate) fn note_unread_body(&self) {
        self.body_unread.store(true, Relaxed);
    }

    /// Notes that what follows is no HTTP.
    pub(crate) fn note_upgrade(&self) {
        self.upgraded.store(true, Relaxed);
    }

    pub(crate) fn is_upgraded(&self) -> bool {
        self.upgraded.load(Relaxed)
    }

    /// Whether the peer may still be sending what nobody will read: the rest of a body, or of a
    /// head that was refused.
    pub(crate) fn has_unread_input(&self) -> bool {
        self.body_unread.load(Relaxed) || self.head_begun.load(Relaxed)
    }

    /// Counts a transfer that was ended because the peer was too slow.
    pub(crate) fn count_cut(&self) {
        self.traffic.cut.fetch_add(1, Relaxed);
    }

    /// Counts a request that was refused before it reached a handler.
    pub(crate) fn count_refused(&self) {
        self.traffic.refused.fetch_add(1, Relaxed);
    }

    /// By how many the streams that the peer reset exceed the requests that were completed.
    pub(crate) fn excess_resets(&self) -> u64 {
        u64::try_from(self.excess_resets.load(Relaxed)).unwrap_or(0)
    }

    /// Has the connection's task drop the connection.
    pub(crate) fn close_now(&self) {
        self.closing.notify_one();
    }

    /// Ready after [`Connection::close_now`].
    pub(crate) async fn closed(&self) {
        self.closing.notified().await;
    }

    pub(crate) fn snapshot(&self) -> Snapshot {
        Snapshot {
            head_begun: self.head_begun.load(Relaxed),
            busy: !self.is_idle() || self.write_waits.load(Relaxed),
            requests: self.requests.load(Relaxed),
        }
    }
}

/// A request in flight. It ends when this is dropped, that is, when its body has been read or
/// given up and its response has been handed over or given up.
#[derive(Debug)]
pub(crate) struct InFlight {
    connection: Arc<Connection>,
    completed: AtomicBool,
}

impl InFlight {
    pub(crate) fn connection(&self) -> &Connection {
        &self.connection
    }

    /// The response was handed over whole.
    pub(crate) fn complete(&self) {
        self.completed.store(true, Relaxed);
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        let excess = &self.connection.excess_resets;
        if !*self.completed.get_mut() {
            excess.fetch_add(1, Relaxed);
        } else if excess.load(Relaxed) > 0 {
            excess.fetch_sub(1, Relaxed);
        }
        self.connection.in_flight.fetch_sub(1, Relaxed);
    }
}

/// What the watchdog looks at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Snapshot {
    pub(crate) head_begun: bool,
    /// Whether a request is in flight, or the last bytes of a response wait for the peer.
    pub(crate) busy: bool,
    pub(crate) requests: u64,
}
