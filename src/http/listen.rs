//! The listener: accepts connections within their limits, and drains when it is told to stop.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::time::{Instant, sleep, timeout};
use tokio_rustls::TlsAcceptor;

use crate::limits::{self, ConnectionLimits};
use crate::peers::{Admitted, Peer, Peers};
use crate::serve::{self, ConnectionOrder, Handler, ListenerState};
use crate::traffic::{OpenConnection, Traffic};

/// How a drain ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Drained {
    /// Connections that did not finish in time and were dropped.
    pub cut: usize,
}

/// A bound listener that does not accept yet: binding early makes a port that is taken an error
/// before anything else starts.
pub struct Listener {
    tcp: TcpListener,
    tls: Option<TlsAcceptor>,
    limits: Arc<ConnectionLimits>,
    traffic: Arc<Traffic>,
}

impl Listener {
    pub fn bind(
        address: SocketAddr,
        tls: Option<TlsAcceptor>,
        limits: ConnectionLimits,
    ) -> io::Result<Self> {
        let socket = if address.is_ipv4() {
            TcpSocket::new_v4()?
        } else {
            TcpSocket::new_v6()?
        };
        socket.set_reuseaddr(true)?;
        socket.bind(address)?;
        let tcp = socket.listen(limits::BACKLOG)?;
        Ok(Self::new(tcp, tls, limits))
    }

    /// A listener without TLS on a socket that somebody else bound, for example in another network
    /// namespace. It must be non-blocking.
    pub fn on(tcp: std::net::TcpListener, limits: ConnectionLimits) -> io::Result<Self> {
        Ok(Self::new(TcpListener::from_std(tcp)?, None, limits))
    }

    fn new(tcp: TcpListener, tls: Option<TlsAcceptor>, limits: ConnectionLimits) -> Self {
        Self {
            tcp,
            tls,
            limits: Arc::new(limits),
            traffic: Arc::default(),
        }
    }

    /// The address in use, with the port that the system chose if 0 was configured.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.tcp.local_addr()
    }

    pub fn traffic(&self) -> Arc<Traffic> {
        Arc::clone(&self.traffic)
    }

    /// Serves until `stop` is ready, then accepts no more connections, lets requests in flight
    /// finish within the drain timeout, and drops the rest.
    pub async fn serve<H: Handler>(self, handler: H, stop: impl Future<Output = ()>) -> Drained {
        let Self {
            tcp,
            tls,
            limits,
            traffic,
        } = self;
        let shared = Arc::new(ListenerState::new(tls, limits, traffic));
        let cap = u32::try_from(shared.limits.connections.clamp(1, 1 << 20)).unwrap_or(1 << 20);
        let permits = Arc::new(Semaphore::new(cap as usize));
        let peers = Peers::new(shared.limits.connections_per_address);
        let mut warnings = Warnings::default();
        let (orders, order) = watch::channel(ConnectionOrder::Serve);
        tokio::pin!(stop);
        loop {
            let accepted = tokio::select! {
                biased;
                () = &mut stop => break,
                accepted = accept(&tcp, &permits, &shared) => accepted,
            };
            let (tcp, address, permit) = match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    warnings.warn(Instant::now(), &error);
                    sleep(limits::ACCEPT_PAUSE).await;
                    continue;
                }
            };
            let Some(admitted) = peers.admit(address.ip()) else {
                shared.traffic.turned_away.fetch_add(1, Relaxed);
                continue;
            };
            let peer = Peer {
                address,
                earlier_connections: admitted.earlier,
            };
            let held = HeldByConnection {
                _admitted: admitted,
                _open: OpenConnection::count(&shared.traffic),
                _permit: permit,
            };
            let task = serve::connection(
                Arc::clone(&shared),
                tcp,
                peer,
                handler.clone(),
                order.clone(),
            );
            tokio::spawn(async move {
                let _held = held;
                task.await;
            });
        }
        drop((tcp, order));
        drain(&permits, cap, &orders, shared.limits.drain_timeout).await
    }
}

/// What a connection holds until its end. The permit is released last (fields are dropped in their
/// order): it lets the next connection in, which must not count together with this one.
struct HeldByConnection {
    _admitted: Admitted,
    _open: OpenConnection,
    _permit: OwnedSemaphorePermit,
}

async fn drain(
    permits: &Semaphore,
    cap: u32,
    orders: &watch::Sender<ConnectionOrder>,
    patience: Duration,
) -> Drained {
    // A send fails only when no connection listens any more.
    let _ = orders.send(ConnectionOrder::Drain);
    if timeout(patience, permits.acquire_many(cap)).await.is_ok() {
        return Drained { cut: 0 };
    }
    let cut = cap as usize - permits.available_permits();
    let _ = orders.send(ConnectionOrder::Cut);
    Drained { cut }
}

/// Takes a permit first: at the limit, clients wait in the kernel's queue instead of being turned
/// away, and idle connections are closed early.
async fn accept(
    tcp: &TcpListener,
    permits: &Arc<Semaphore>,
    shared: &ListenerState,
) -> io::Result<(TcpStream, SocketAddr, OwnedSemaphorePermit)> {
    shared.full.store(permits.available_permits() == 0, Relaxed);
    let permit = Arc::clone(permits)
        .acquire_owned()
        .await
        .map_err(io::Error::other)?;
    shared.full.store(false, Relaxed);
    loop {
        match tcp.accept().await {
            Ok((stream, peer)) => return Ok((stream, peer, permit)),
            // The client gave up while it waited in the queue.
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset
                ) => {}
            Err(error) => return Err(error),
        }
    }
}

/// Failures of `accept`, which repeat as long as their cause lasts.
#[derive(Default)]
struct Warnings {
    last: Option<Instant>,
    /// Failures since the last warning.
    silent: u64,
}

impl Warnings {
    /// Logs a failure, at most once per [`limits::ACCEPT_WARNING_INTERVAL`]. Returns whether it
    /// did.
    fn warn(&mut self, now: Instant, error: &io::Error) -> bool {
        let recent = |last| now - last < limits::ACCEPT_WARNING_INTERVAL;
        if self.last.is_some_and(recent) {
            self.silent += 1;
            return false;
        }
        tracing::warn!(%error, earlier = self.silent, "cannot accept a connection");
        self.last = Some(now);
        self.silent = 0;
        true
    }
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv4Addr};
    use std::thread;

    use super::*;

    #[test]
    fn repeated_failures_are_logged_once_per_interval() {
        let start = Instant::now();
        let error = io::Error::from_raw_os_error(24);
        let mut warnings = Warnings::default();
        let logged = (0..=400_u32)
            .filter(|step| warnings.warn(start + limits::ACCEPT_PAUSE * *step, &error))
            .count();
        assert_eq!(logged, 3, "in 20 seconds");
    }

    #[test]
    fn a_connection_that_lets_the_next_one_in_is_not_counted_any_more() {
        const PEER: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
        let permits = Arc::new(Semaphore::new(1));
        let peers = Peers::new(1);
        let traffic = Arc::<Traffic>::default();
        for _ in 0..1_000 {
            let held = HeldByConnection {
                _admitted: peers.admit(PEER).expect("the only connection"),
                _open: OpenConnection::count(&traffic),
                _permit: Arc::clone(&permits).try_acquire_owned().expect("free"),
            };
            thread::scope(|scope| {
                scope.spawn(move || drop(held));
                while permits.available_permits() == 0 {
                    thread::yield_now();
                }
                assert!(peers.admit(PEER).is_some(), "turned away");
            });
        }
    }
}
