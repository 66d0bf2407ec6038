//! The numbers of a listener, for metrics.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;

/// What went through the listener since it started; for metrics.
#[derive(Debug, Default)]
pub struct Traffic {
    pub accepted: AtomicU64,
    pub open: AtomicU64,
    /// Connections and HTTP/2 streams that were ended because the peer was too slow, reset too many
    /// streams, or failed its TLS handshake.
    pub cut: AtomicU64,
    /// Connections closed at once because their address has too many.
    pub turned_away: AtomicU64,
    /// Requests that got 400 or 431 before they reached a handler.
    pub refused: AtomicU64,
    pub bytes_in: AtomicU64,
    pub bytes_out: AtomicU64,
}

/// Counts a connection as open until it is dropped, also when the connection's task panics.
pub(crate) struct OpenConnection(Arc<Traffic>);

impl OpenConnection {
    pub(crate) fn count(traffic: &Arc<Traffic>) -> Self {
        traffic.accepted.fetch_add(1, Relaxed);
        traffic.open.fetch_add(1, Relaxed);
        Self(Arc::clone(traffic))
    }
}

impl Drop for OpenConnection {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_panic_leaves_no_connection_counted_as_open() {
        let traffic = Arc::<Traffic>::default();
        let open = OpenConnection::count(&traffic);
        let task = tokio::spawn(async move {
            let _open = open;
            panic!("in a connection's task");
        });
        assert!(task.await.is_err());
        assert_eq!(traffic.open.load(Relaxed), 0);
    }
}
