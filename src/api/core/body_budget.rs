//! The memory for request bodies that are received whole, and for large responses: charged as bytes
//! are received or collected, and bounded in all, per peer and per access key.

use std::collections::HashMap;
use std::hash::Hash;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::body::HttpBody;
use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt as _;
use tokio::sync::Notify;
use tokio::time::{Instant, timeout, timeout_at};
use wharfinger_http::RequestBodyError;

use crate::rate_limit::network;

/// The first bytes of each body, which are not charged, so that most requests are served while all
/// memory is in use. All streams of an HTTP/2 connection together get 0.8 MiB by it, less than the
/// connection may buffer anyway.
const FREE_BYTES: usize = 8 * 1024;

/// Bodies held in memory at once: nine of the largest, of 28 MiB.
const TOTAL_BYTES: usize = 256 * 1024 * 1024;

/// Share of one access key: half, so that no single one keeps out all others.
const KEY_SHARE_BYTES: usize = TOTAL_BYTES / 2;

/// Share of one peer (IPv6: of one /64 network): three of the largest bodies. It is smaller than
/// that of a key, whose id is not proved yet: a peer that sends another's key id leaves the owner
/// of the key memory for one of the largest bodies.
const PEER_SHARE_BYTES: usize = TOTAL_BYTES * 3 / 8;

/// How long a whole body may take: 28 MiB at 1 Mbit/s.
const BODY_TIMEOUT: Duration = Duration::from_mins(5);

/// How long a body may wait for memory. It is refused after that rather than kept, because bodies
/// that wait for each other hold memory themselves.
const MAX_WAIT: Duration = Duration::from_secs(5);

/// The budget of one server.
#[derive(Debug, Default)]
pub(crate) struct BodyBudget {
    used: Mutex<Used>,
    released: Notify,
}

#[derive(Debug, Default)]
struct Used {
    total: usize,
    by_peer: HashMap<IpAddr, usize>,
    by_key: HashMap<Arc<str>, usize>,
}

/// A body within its limits, and the memory that is charged for it until this is dropped.
#[derive(Debug)]
pub struct ReceivedBody {
    pub bytes: Bytes,
    _reservation: BodyReservation,
}

/// Why a body was not received.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReceiveBodyError {
    #[error("the request's body is too large")]
    TooLarge,
    #[error("the server has no memory for the request's body now")]
    Exhausted,
    #[error("the request's body is not framed correctly")]
    Malformed,
    #[error("the request's body did not arrive in time, or not whole")]
    EndedEarly,
}

/// An encoded response, and the memory that is charged for it until it was sent.
#[derive(Debug)]
pub(crate) struct EncodedDocument {
    bytes: Vec<u8>,
    _memory: BodyReservation,
}

impl EncodedDocument {
    pub(crate) const fn new(bytes: Vec<u8>, memory: BodyReservation) -> Self {
        Self {
            bytes,
            _memory: memory,
        }
    }
}

impl From<EncodedDocument> for Bytes {
    fn from(document: EncodedDocument) -> Self {
        struct Charged(EncodedDocument);
        impl AsRef<[u8]> for Charged {
            fn as_ref(&self) -> &[u8] {
                &self.0.bytes
            }
        }
        Self::from_owner(Charged(document))
    }
}

/// No memory became free in time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Exhausted;

/// The memory of one body; returned to the budget by the drop.
#[derive(Debug)]
pub(crate) struct BodyReservation {
    budget: Arc<BodyBudget>,
    /// The network that the peer's share belongs to.
    peer: Option<IpAddr>,
    key: Option<Arc<str>>,
    free: usize,
    bytes: usize,
}

impl BodyBudget {
    /// Starts a body from `peer`, signed with `key` as far as is known.
    pub(crate) fn reserve(
        self: &Arc<Self>,
        peer: Option<IpAddr>,
        key: Option<&str>,
    ) -> BodyReservation {
        BodyReservation {
            budget: Arc::clone(self),
            peer: peer.map(network),
            key: key.map(Arc::from),
            free: FREE_BYTES,
            bytes: 0,
        }
    }

    /// Receives the body, up to `max_bytes`, while there is memory for it.
    pub(crate) async fn receive<B>(
        self: &Arc<Self>,
        mut body: B,
        max_bytes: usize,
        peer: Option<IpAddr>,
        key: Option<&str>,
    ) -> Result<ReceivedBody, ReceiveBodyError>
    where
        B: HttpBody<Data = Bytes, Error = axum::Error> + Unpin,
    {
        let mut reservation = self.reserve(peer, key);
        let receive = async {
            let mut bytes = BytesMut::new();
            while let Some(frame) = body.frame().await {
                let frame = frame.map_err(|error| ReceiveBodyError::of(&error))?;
                let Ok(data) = frame.into_data() else {
                    continue;
                };
                if bytes.len() + data.len() > max_bytes {
                    return Err(ReceiveBodyError::TooLarge);
                }
                let granted = reservation.grow(data.len()).await;
                granted.map_err(|Exhausted| ReceiveBodyError::Exhausted)?;
                bytes.extend_from_slice(&data);
            }
            Ok(bytes.freeze())
        };
        let received = timeout(BODY_TIMEOUT, receive).await;
        let bytes = received.map_err(|_elapsed| ReceiveBodyError::EndedEarly)??;
        Ok(ReceivedBody {
            bytes,
            _reservation: reservation,
        })
    }

    fn used(&self) -> MutexGuard<'_, Used> {
        self.used.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ReceiveBodyError {
    fn of(error: &axum::Error) -> Self {
        match RequestBodyError::find(error) {
            Some(RequestBodyError::Malformed) => Self::Malformed,
            _ => Self::EndedEarly,
        }
    }
}

impl BodyReservation {
    /// Charges `bytes` more, which were just received.
    ///
    /// # Errors
    /// [`Exhausted`] if they do not become free within [`MAX_WAIT`].
    pub(crate) async fn grow(&mut self, bytes: usize) -> Result<(), Exhausted> {
        let free = bytes.min(self.free);
        self.free -= free;
        let bytes = bytes - free;
        if bytes == 0 {
            return Ok(());
        }
        let deadline = Instant::now() + MAX_WAIT;
        loop {
            let budget = Arc::clone(&self.budget);
            let released = budget.released.notified();
            if self.try_grow(bytes) {
                return Ok(());
            }
            timeout_at(deadline, released)
                .await
                .map_err(|_| Exhausted)?;
        }
    }

    fn try_grow(&mut self, bytes: usize) -> bool {
        let mut used = self.budget.used();
        let of_peer = self.peer.map_or(0, |peer| share(&used.by_peer, &peer));
        let of_key = self.key.as_ref().map_or(0, |key| share(&used.by_key, key));
        let fits = used.total + bytes <= TOTAL_BYTES
            && of_peer + bytes <= PEER_SHARE_BYTES
            && of_key + bytes <= KEY_SHARE_BYTES;
        if fits {
            used.total += bytes;
            if let Some(peer) = self.peer {
                used.by_peer.insert(peer, of_peer + bytes);
            }
            if let Some(key) = &self.key {
                used.by_key.insert(Arc::clone(key), of_key + bytes);
            }
            self.bytes += bytes;
        }
        fits
    }
}

impl Drop for BodyReservation {
    fn drop(&mut self) {
        if self.bytes == 0 {
            return;
        }
        let mut used = self.budget.used();
        used.total -= self.bytes;
        if let Some(peer) = self.peer {
            release(&mut used.by_peer, &peer, self.bytes);
        }
        if let Some(key) = &self.key {
            release(&mut used.by_key, key, self.bytes);
        }
        drop(used);
        self.budget.released.notify_waiters();
    }
}

fn share<K: Eq + Hash>(shares: &HashMap<K, usize>, key: &K) -> usize {
    shares.get(key).copied().unwrap_or_default()
}

/// Reduces a share; one that is empty is removed, so that the map has no more entries than bodies.
fn release<K: Eq + Hash>(shares: &mut HashMap<K, usize>, key: &K, bytes: usize) {
    if let Some(share) = shares.get_mut(key) {
        *share -= bytes;
        if *share == 0 {
            shares.remove(key);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use axum::body::Body;

    use super::*;

    const PEERS: [Option<IpAddr>; 3] = [
        Some(IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1))),
        Some(IpAddr::V4(Ipv4Addr::new(10, 0, 0, 2))),
        Some(IpAddr::V4(Ipv4Addr::new(10, 0, 0, 3))),
    ];

    /// The largest body of an operation.
    const LARGEST_BODY_BYTES: usize = 28 * 1024 * 1024;

    #[tokio::test(start_paused = true)]
    async fn one_key_gets_half_and_one_peer_less() {
        let budget = Arc::new(BodyBudget::default());
        let mut first = budget.reserve(PEERS[0], Some("A"));
        assert_eq!(first.grow(FREE_BYTES + PEER_SHARE_BYTES).await, Ok(()));
        let mut same_peer = budget.reserve(PEERS[0], Some("B"));
        assert_eq!(same_peer.grow(FREE_BYTES).await, Ok(()));
        assert_eq!(same_peer.grow(1).await, Err(Exhausted));
        let mut same_key = budget.reserve(PEERS[1], Some("A"));
        let rest_of_key = KEY_SHARE_BYTES - PEER_SHARE_BYTES;
        assert_eq!(same_key.grow(FREE_BYTES + rest_of_key).await, Ok(()));
        assert_eq!(same_key.grow(1).await, Err(Exhausted));
        let mut other = budget.reserve(PEERS[2], Some("B"));
        let rest = TOTAL_BYTES - KEY_SHARE_BYTES;
        assert_eq!(other.grow(FREE_BYTES + PEER_SHARE_BYTES).await, Ok(()));
        let mut late = budget.reserve(PEERS[1], Some("C"));
        assert_eq!(
            late.grow(FREE_BYTES + rest - PEER_SHARE_BYTES).await,
            Ok(())
        );
        assert_eq!(late.grow(1).await, Err(Exhausted));
    }

    #[tokio::test(start_paused = true)]
    async fn a_peer_that_sends_the_key_id_of_another_leaves_it_the_largest_body() {
        let budget = Arc::new(BodyBudget::default());
        let mut bodies = Vec::new();
        loop {
            let mut body = budget.reserve(PEERS[0], Some("A"));
            if body.grow(LARGEST_BODY_BYTES).await.is_err() {
                break;
            }
            bodies.push(body);
        }
        let mut owner = budget.reserve(PEERS[1], Some("A"));
        assert_eq!(owner.grow(LARGEST_BODY_BYTES).await, Ok(()));
    }

    #[tokio::test(start_paused = true)]
    async fn a_network_of_ipv6_is_one_peer() {
        let budget = Arc::new(BodyBudget::default());
        let peer = |text: &str| Some(text.parse().expect("an address"));
        let mut first = budget.reserve(peer("2001:db8::1"), None);
        assert_eq!(first.grow(FREE_BYTES + PEER_SHARE_BYTES).await, Ok(()));
        let mut same = budget.reserve(peer("2001:db8::2"), None);
        assert_eq!(same.grow(FREE_BYTES + 1).await, Err(Exhausted));
        let mut other = budget.reserve(peer("2001:db8:0:1::1"), None);
        assert_eq!(other.grow(FREE_BYTES + 1).await, Ok(()));
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_waits_for_the_end_of_another() {
        let budget = Arc::new(BodyBudget::default());
        let mut first = budget.reserve(PEERS[0], None);
        assert_eq!(first.grow(PEER_SHARE_BYTES).await, Ok(()));
        let mut second = budget.reserve(PEERS[0], None);
        let waiting = tokio::spawn(async move { second.grow(PEER_SHARE_BYTES).await });
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished());
        drop(first);
        assert_eq!(waiting.await.expect("no panic"), Ok(()));
        let used = budget.used();
        assert_eq!((used.total, used.by_peer.len()), (0, 0));
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_is_received_within_its_limit_and_the_budget() {
        let budget = Arc::new(BodyBudget::default());
        let body = || Body::from(vec![0; 3 * FREE_BYTES]);
        let receive = |max_bytes| budget.receive(body(), max_bytes, PEERS[0], None);
        let received = receive(3 * FREE_BYTES).await.expect("received");
        assert_eq!(received.bytes.len(), 3 * FREE_BYTES);
        assert_eq!(budget.used().total, 2 * FREE_BYTES, "until it is dropped");
        let error = receive(FREE_BYTES).await.map(|received| received.bytes);
        assert_eq!(error, Err(ReceiveBodyError::TooLarge));
        let mut other = budget.reserve(PEERS[0], None);
        assert_eq!(other.grow(PEER_SHARE_BYTES - FREE_BYTES).await, Ok(()));
        let error = receive(3 * FREE_BYTES).await.map(|received| received.bytes);
        assert_eq!(error, Err(ReceiveBodyError::Exhausted));
        drop((received, other));
        assert_eq!(budget.used().total, 0);
    }

    #[tokio::test]
    async fn a_response_is_charged_until_it_was_sent() {
        let budget = Arc::new(BodyBudget::default());
        let mut memory = budget.reserve(PEERS[0], Some("A"));
        assert_eq!(memory.grow(2 * FREE_BYTES).await, Ok(()));
        let bytes = b"{}".to_vec();
        let mut body = Body::from(Bytes::from(EncodedDocument::new(bytes, memory)));
        let sent = body.frame().await.expect("a frame").expect("sent");
        let sent = sent.into_data().expect("data");
        assert_eq!((&*sent, budget.used().total), (&b"{}"[..], FREE_BYTES));
        drop((body, sent));
        assert_eq!(budget.used().total, 0);
    }

    #[tokio::test]
    async fn small_bodies_are_not_charged() {
        let budget = Arc::new(BodyBudget::default());
        let mut body = budget.reserve(PEERS[0], Some("A"));
        assert_eq!(body.grow(FREE_BYTES).await, Ok(()));
        assert_eq!(budget.used().total, 0);
    }
}
