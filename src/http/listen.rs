//! The listener: accepts, encrypts, detects the protocol, serves, and drains when told to.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::time::{Instant, timeout};
use tokio_rustls::TlsAcceptor;

use crate::connection::{Connection, Tracked, Verdict, Watchdog};
use crate::limits::{self, Limits};
use crate::sendfile::SendfileIo;
use crate::stream::Stream;

/// Answers requests. One clone per connection.
pub trait Handler: Clone + Send + Sync + 'static {
    type Body: Body<Data = Bytes, Error: Into<Box<dyn std::error::Error + Send + Sync>>>
        + Send
        + Unpin
        + 'static;

    fn handle(
        &self,
        request: Request<Incoming>,
        connection: &Arc<Connection>,
    ) -> impl Future<Output = Response<Self::Body>> + Send + 'static + use<Self>;
}

/// What went through the listener since it started; for metrics.
#[derive(Debug, Default)]
pub struct Traffic {
    pub accepted: AtomicU64,
    pub open: AtomicU64,
    /// Cut off: too slow a head, a stalled transfer, a failed handshake.
    pub cut: AtomicU64,
    pub bytes_in: AtomicU64,
    pub bytes_out: AtomicU64,
}

/// What a connection's task is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Order {
    Serve,
    Drain,
    Cut,
}

/// How a drain ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Drained {
    /// Connections that did not finish in time and were dropped.
    pub cut: usize,
}

/// A bound listener that has not begun to accept: binding early makes a taken port an error before
/// anything else starts.
pub struct Listener {
    tcp: TcpListener,
    tls: Option<TlsAcceptor>,
    limits: Arc<Limits>,
    traffic: Arc<Traffic>,
}

/// What all connections of a listener share.
struct Shared {
    tls: Option<TlsAcceptor>,
    limits: Arc<Limits>,
    traffic: Arc<Traffic>,
    http1: http1::Builder,
    http2: http2::Builder<TokioExecutor>,
}

impl Listener {
    pub fn bind(address: SocketAddr, tls: Option<TlsAcceptor>, limits: Limits) -> io::Result<Self> {
        let socket = if address.is_ipv4() {
            TcpSocket::new_v4()?
        } else {
            TcpSocket::new_v6()?
        };
        socket.set_reuseaddr(true)?;
        socket.bind(address)?;
        let tcp = socket.listen(limits::BACKLOG)?;
        Ok(Self {
            tcp,
            tls,
            limits: Arc::new(limits),
            traffic: Arc::default(),
        })
    }

    /// The address in use, with the port that the system chose where 0 was asked for.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.tcp.local_addr()
    }

    pub fn traffic(&self) -> Arc<Traffic> {
        Arc::clone(&self.traffic)
    }

    /// Serves until `stop` is ready, then accepts no more, lets requests in flight finish within
    /// the drain timeout, and cuts the rest.
    pub async fn serve<H: Handler>(self, handler: H, stop: impl Future<Output = ()>) -> Drained {
        let Self {
            tcp,
            tls,
            limits,
            traffic,
        } = self;
        let shared = Arc::new(Shared {
            tls,
            http1: http1_builder(&limits),
            http2: http2_builder(&limits),
            limits,
            traffic,
        });
        let cap = u32::try_from(shared.limits.connections.clamp(1, 1 << 20)).unwrap_or(1 << 20);
        let permits = Arc::new(Semaphore::new(cap as usize));
        let (orders, order) = watch::channel(Order::Serve);
        tokio::pin!(stop);
        loop {
            let accepted = tokio::select! {
                biased;
                () = &mut stop => break,
                accepted = accept(&tcp, &permits) => accepted,
            };
            match accepted {
                Ok((tcp, peer, permit)) => {
                    let task = connection_task(
                        Arc::clone(&shared),
                        tcp,
                        peer,
                        handler.clone(),
                        order.clone(),
                    );
                    tokio::spawn(hold(permit, task));
                }
                Err(error) => {
                    tracing::warn!(%error, "cannot accept a connection");
                    tokio::time::sleep(limits::ACCEPT_PAUSE).await;
                }
            }
        }
        drop((tcp, order));
        drain(&permits, cap, &orders, shared.limits.drain_timeout).await
    }
}

async fn hold(permit: OwnedSemaphorePermit, task: impl Future<Output = ()>) {
    task.await;
    drop(permit);
}

async fn drain(
    permits: &Semaphore,
    cap: u32,
    orders: &watch::Sender<Order>,
    patience: Duration,
) -> Drained {
    // A send fails only when no connection listens any more.
    let _ = orders.send(Order::Drain);
    if timeout(patience, permits.acquire_many(cap)).await.is_ok() {
        return Drained { cut: 0 };
    }
    let cut = cap as usize - permits.available_permits();
    let _ = orders.send(Order::Cut);
    Drained { cut }
}

/// A permit first: at the cap, clients wait in the kernel's queue instead of being turned away.
async fn accept(
    tcp: &TcpListener,
    permits: &Arc<Semaphore>,
) -> io::Result<(TcpStream, SocketAddr, OwnedSemaphorePermit)> {
    let permit = Arc::clone(permits)
        .acquire_owned()
        .await
        .map_err(io::Error::other)?;
    loop {
        match tcp.accept().await {
            Ok((stream, peer)) => return Ok((stream, peer, permit)),
            // The client gave up while it waited in the queue: not our failure.
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset
                ) => {}
            Err(error) => return Err(error),
        }
    }
}

async fn connection_task<H: Handler>(
    shared: Arc<Shared>,
    tcp: TcpStream,
    peer: SocketAddr,
    handler: H,
    order: watch::Receiver<Order>,
) {
    shared.traffic.accepted.fetch_add(1, Relaxed);
    shared.traffic.open.fetch_add(1, Relaxed);
    // Answers are written whole; waiting for more (Nagle) would only delay them. A failure leaves
    // the socket usable.
    let _ = tcp.set_nodelay(true);
    match shared.tls.clone() {
        None => serve_plain(&shared, tcp, peer, handler, order).await,
        Some(tls) => {
            let connection = Arc::new(Connection::new(peer, None));
            serve_tls(&shared, &tls, tcp, &connection, handler, order).await;
        }
    }
    shared.traffic.open.fetch_sub(1, Relaxed);
}

async fn serve_plain<H: Handler>(
    shared: &Arc<Shared>,
    tcp: TcpStream,
    peer: SocketAddr,
    handler: H,
    mut order: watch::Receiver<Order>,
) {
    let io = SendfileIo::new(tcp);
    let connection = Arc::new(Connection::new(peer, Some(io.queue())));
    let opened = opening(
        shared,
        &mut order,
        Stream::open(io, Arc::clone(&connection)),
    )
    .await;
    if let Some(Some((stream, http2))) = opened {
        serve(shared, stream, http2, &connection, handler, order).await;
    }
}

async fn serve_tls<H: Handler>(
    shared: &Arc<Shared>,
    tls: &TlsAcceptor,
    tcp: TcpStream,
    connection: &Arc<Connection>,
    handler: H,
    mut order: watch::Receiver<Order>,
) {
    let handshake = async {
        let stream = tls.accept(tcp).await?;
        Stream::open(stream, Arc::clone(connection)).await
    };
    // Boxed: what a handshake needs, the connection would keep for life.
    let opened = opening(shared, &mut order, Box::pin(handshake)).await;
    if let Some(Some((stream, http2))) = opened {
        serve(shared, stream, http2, connection, handler, order).await;
    }
}

/// Handshake and first bytes, within the header timeout; a drain ends it, because no request has
/// been made yet.
async fn opening<T>(
    shared: &Shared,
    order: &mut watch::Receiver<Order>,
    work: impl Future<Output = io::Result<T>>,
) -> Option<T> {
    let outcome = tokio::select! {
        outcome = timeout(shared.limits.header_timeout, work) => outcome,
        _ = order.wait_for(|order| *order != Order::Serve) => return None,
    };
    match outcome {
        Ok(Ok(opened)) => return Some(opened),
        Ok(Err(error)) => tracing::debug!(%error, "connection failed before its first request"),
        Err(_) => tracing::debug!("connection too slow to make a request"),
    }
    shared.traffic.cut.fetch_add(1, Relaxed);
    None
}

async fn serve<H: Handler, S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(
    shared: &Arc<Shared>,
    stream: Stream<S>,
    http2: bool,
    connection: &Arc<Connection>,
    handler: H,
    order: watch::Receiver<Order>,
) {
    let of = Arc::clone(connection);
    let service = service_fn(move |request: Request<Incoming>| {
        let in_flight = of.begin();
        let answer = handler.handle(request, &of);
        async move { Ok::<_, Infallible>(answer.await.map(|body| Tracked::new(body, in_flight))) }
    });
    let io = TokioIo::new(stream);
    if http2 {
        let serving = shared.http2.serve_connection(io, service);
        drive(
            shared,
            serving,
            http2::Connection::graceful_shutdown,
            connection,
            order,
        )
        .await;
    } else {
        let serving = shared.http1.serve_connection(io, service);
        drive(
            shared,
            serving,
            http1::Connection::graceful_shutdown,
            connection,
            order,
        )
        .await;
    }
}

/// Runs a connection to its end under its watchdog and the listener's orders.
async fn drive<C: Future<Output = hyper::Result<()>>>(
    shared: &Shared,
    serving: C,
    retire: impl Fn(std::pin::Pin<&mut C>),
    connection: &Arc<Connection>,
    mut order: watch::Receiver<Order>,
) {
    tokio::pin!(serving);
    let mut looks = tokio::time::interval(shared.limits.watch_interval());
    looks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut watchdog = Watchdog::new(Instant::now());
    let mut counted = (0, 0);
    loop {
        tokio::select! {
            biased;
            ended = &mut serving => {
                if let Err(error) = ended {
                    tracing::debug!(%error, peer = %connection.peer(), "connection ended");
                }
                break;
            }
            changed = order.changed() => match changed.map(|()| *order.borrow_and_update()) {
                Ok(Order::Serve) => {}
                Ok(Order::Drain) => retire(serving.as_mut()),
                Ok(Order::Cut) | Err(_) => break,
            },
            _ = looks.tick() => {
                count(shared, connection, &mut counted);
                match watchdog.look(Instant::now(), connection.snapshot(), &shared.limits) {
                    Verdict::Keep => {}
                    Verdict::Retire => retire(serving.as_mut()),
                    Verdict::Cut => {
                        tracing::debug!(peer = %connection.peer(), "connection cut: the peer is too slow");
                        shared.traffic.cut.fetch_add(1, Relaxed);
                        break;
                    }
                }
            }
        }
    }
    count(shared, connection, &mut counted);
}

/// Adds what a connection moved since the last look: its own counters are not shared, so the hot
/// path meets no other thread.
fn count(shared: &Shared, connection: &Connection, counted: &mut (u64, u64)) {
    let now = connection.snapshot();
    shared
        .traffic
        .bytes_in
        .fetch_add(now.bytes_in - counted.0, Relaxed);
    shared
        .traffic
        .bytes_out
        .fetch_add(now.bytes_out - counted.1, Relaxed);
    *counted = (now.bytes_in, now.bytes_out);
}

fn http1_builder(limits: &Limits) -> http1::Builder {
    let mut builder = http1::Builder::new();
    // No header timer: the watchdog does that work without arming a timer per request. Vectored
    // writes keep a body's chunks unflattened, which saves a copy of each and is what the
    // sendfile queue lives on.
    builder
        .timer(TokioTimer::new())
        .header_read_timeout(None)
        .max_header_size(limits.header_bytes)
        .writev(true);
    builder
}

fn http2_builder(limits: &Limits) -> http2::Builder<TokioExecutor> {
    let mut builder = http2::Builder::new(TokioExecutor::new());
    builder
        .timer(TokioTimer::new())
        .max_concurrent_streams(limits::STREAMS)
        .initial_stream_window_size(limits::STREAM_WINDOW_BYTES)
        .initial_connection_window_size(limits::CONNECTION_WINDOW_BYTES)
        .max_frame_size(limits::FRAME_BYTES)
        .keep_alive_interval(limits::PING_INTERVAL)
        .keep_alive_timeout(limits::PING_TIMEOUT)
        .max_header_list_size(u32::try_from(limits.header_bytes).unwrap_or(u32::MAX));
    builder
}
