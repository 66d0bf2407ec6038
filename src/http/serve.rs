//! Serves one connection: TLS handshake, choice of the protocol, requests, end.

use std::convert::Infallible;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;

use bytes::Bytes;
use http::header::{CONNECTION, EXPECT};
use http::{HeaderValue, Request, Response, StatusCode};
use http_body::Body;
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};
use tokio_rustls::TlsAcceptor;

use crate::conformance;
use crate::connection::{Connection, InFlight};
use crate::http2_stream::{StreamExecutor, Writing};
use crate::limits::{self, ConnectionLimits, Http2Limits};
use crate::peers::Peer;
use crate::request_body::{RequestBody, UnreadBody};
use crate::response_body::{Http1Body, Http2Body, ResponseContent};
use crate::sendfile::SendfileIo;
use crate::socket::Socket;
use crate::stream::{Protocol, Stream};
use crate::traffic::Traffic;
use crate::watchdog::{Watchdog, WatchdogDecision};

/// Responds to requests. One clone per connection.
pub trait Handler: Clone + Send + Sync + 'static {
    type Body: Body<Data = Bytes, Error: Into<Box<dyn std::error::Error + Send + Sync>>>
        + Send
        + Unpin
        + 'static;

    fn handle(
        &self,
        request: Request<RequestBody>,
        connection: &Arc<Connection>,
    ) -> impl Future<Output = Response<Self::Body>> + Send + 'static + use<Self>;
}

/// What a connection's task is told by its listener.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ConnectionOrder {
    Serve,
    /// Finish the requests in flight, take no more.
    Drain,
    Cut,
}

/// What all connections of a listener share.
pub(crate) struct ListenerState {
    pub(crate) tls: Option<TlsAcceptor>,
    pub(crate) limits: Arc<ConnectionLimits>,
    pub(crate) traffic: Arc<Traffic>,
    /// Whether all connections are in use, so that further ones wait.
    pub(crate) full: AtomicBool,
    http1: http1::Builder,
    /// HTTP/2 connections that may still get the configured limits.
    full_http2: Arc<Semaphore>,
}

impl ListenerState {
    pub(crate) fn new(
        tls: Option<TlsAcceptor>,
        limits: Arc<ConnectionLimits>,
        traffic: Arc<Traffic>,
    ) -> Self {
        Self {
            tls,
            http1: http1_builder(&limits),
            limits,
            traffic,
            full: AtomicBool::new(false),
            full_http2: Arc::new(Semaphore::new(limits::FULL_CONNECTIONS)),
        }
    }

    /// The limits of a new HTTP/2 connection, with the permit for the configured ones, which it
    /// holds to its end.
    fn http2_limits(&self, connection: &Connection) -> (Http2Limits, Option<OwnedSemaphorePermit>) {
        let may_be_full = limits::may_be_full(connection.earlier_connections());
        let permits = may_be_full.then(|| Arc::clone(&self.full_http2));
        let permit = permits.and_then(|permits| permits.try_acquire_owned().ok());
        (self.limits.http2(permit.is_some()), permit)
    }
}

/// Serves an accepted socket to its end.
pub(crate) async fn connection<H: Handler>(
    shared: Arc<ListenerState>,
    tcp: TcpStream,
    peer: Peer,
    handler: H,
    order: watch::Receiver<ConnectionOrder>,
) {
    // Responses are written whole; Nagle's algorithm would only delay them. A failure leaves the
    // socket usable.
    let _ = tcp.set_nodelay(true);
    match shared.tls.clone() {
        None => serve_plain(&shared, tcp, peer, handler, order).await,
        Some(tls) => serve_tls(&shared, &tls, tcp, peer, handler, order).await,
    }
}

async fn serve_plain<H: Handler>(
    shared: &Arc<ListenerState>,
    tcp: TcpStream,
    peer: Peer,
    handler: H,
    mut order: watch::Receiver<ConnectionOrder>,
) {
    let io = SendfileIo::new(tcp);
    let traffic = Arc::clone(&shared.traffic);
    let connection = Arc::new(Connection::new(peer, Some(io.queue()), traffic));
    let socket = Socket::new(io, Arc::clone(&connection), &shared.limits);
    let detected = Stream::detect(socket, &connection, shared.limits.header_bytes);
    if let Some(Some((stream, protocol))) = opening(shared, &mut order, detected).await {
        serve(shared, stream, protocol, &connection, handler, order).await;
    }
}

async fn serve_tls<H: Handler>(
    shared: &Arc<ListenerState>,
    tls: &TlsAcceptor,
    tcp: TcpStream,
    peer: Peer,
    handler: H,
    mut order: watch::Receiver<ConnectionOrder>,
) {
    let connection = Arc::new(Connection::new(peer, None, Arc::clone(&shared.traffic)));
    let socket = Socket::new(tcp, Arc::clone(&connection), &shared.limits);
    let handshake = async {
        let stream = tls.accept(socket).await?;
        Stream::detect(stream, &connection, shared.limits.header_bytes).await
    };
    // Boxed: otherwise the connection's task keeps the memory of the handshake to its end.
    let opened = opening(shared, &mut order, Box::pin(handshake)).await;
    if let Some(Some((stream, protocol))) = opened {
        serve(shared, stream, protocol, &connection, handler, order).await;
    }
}

/// Handshake and first bytes, within the header timeout. A drain ends it, because no request has
/// been made yet.
async fn opening<T>(
    shared: &ListenerState,
    order: &mut watch::Receiver<ConnectionOrder>,
    work: impl Future<Output = io::Result<T>>,
) -> Option<T> {
    let outcome = tokio::select! {
        outcome = timeout(shared.limits.header_timeout, work) => outcome,
        _ = order.wait_for(|order| *order != ConnectionOrder::Serve) => return None,
    };
    match outcome {
        Ok(Ok(opened)) => return Some(opened),
        Ok(Err(error)) => tracing::debug!(%error, "connection failed before its first request"),
        Err(_) => tracing::debug!("no request within the header timeout"),
    }
    shared.traffic.cut.fetch_add(1, Relaxed);
    None
}

async fn serve<H: Handler, S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(
    shared: &Arc<ListenerState>,
    stream: Stream<S>,
    protocol: Protocol,
    connection: &Arc<Connection>,
    handler: H,
    order: watch::Receiver<ConnectionOrder>,
) {
    let io = TokioIo::new(stream);
    let limits = Arc::clone(&shared.limits);
    let served = Arc::clone(connection);
    match protocol {
        Protocol::Http1 => {
            let service = service_fn(move |request| {
                let waits_for_continue = request.headers().contains_key(EXPECT);
                let (response, unread, in_flight) = begin(request, &handler, &served, &limits);
                let connection = Arc::clone(&served);
                async move {
                    let mut response = response.await;
                    // A client that waits for `100 Continue` sends nothing, and reading would send
                    // it that.
                    if !unread.is_empty() && (waits_for_continue || !unread.discard().await) {
                        connection.note_unread_body();
                        let headers = response.headers_mut();
                        headers.insert(CONNECTION, HeaderValue::from_static("close"));
                    }
                    if response.status() == StatusCode::SWITCHING_PROTOCOLS {
                        connection.note_upgrade();
                    }
                    Ok::<_, Infallible>(response.map(|content| Http1Body::new(content, in_flight)))
                }
            });
            // After an upgrade this ends, and the stream belongs to whoever took the upgrade: with
            // limits of its own, and not counted here any more.
            let serving = shared.http1.serve_connection(io, service).with_upgrades();
            let retire = http1::UpgradeableConnection::graceful_shutdown;
            drive(shared, serving, retire, connection, protocol, order).await;
        }
        Protocol::Http2 => {
            let (allowed, _permit) = shared.http2_limits(connection);
            let builder = http2_builder(connection, &limits, allowed);
            let service = service_fn(move |request| {
                if served.excess_resets() > limits.resets as u64 {
                    served.close_now();
                }
                let (response, _, in_flight) = begin(request, &handler, &served, &limits);
                async move {
                    let writing = Writing::current();
                    let body = |content| Http2Body::new(content, writing, in_flight);
                    Ok::<_, Infallible>(response.await.map(body))
                }
            });
            let serving = builder.serve_connection(io, service);
            let retire = http2::Connection::graceful_shutdown;
            drive(shared, serving, retire, connection, protocol, order).await;
        }
    }
}

/// Begins a request: checks it and hands it to the handler.
fn begin<H: Handler>(
    request: Request<Incoming>,
    handler: &H,
    connection: &Arc<Connection>,
    limits: &ConnectionLimits,
) -> (
    impl Future<Output = Response<ResponseContent<H::Body>>> + Send + use<H>,
    UnreadBody,
    Arc<InFlight>,
) {
    let checked = conformance::check(&request, connection);
    let in_flight = connection.begin_request();
    let (head, body) = request.into_parts();
    let (body, unread) = RequestBody::new(body, &in_flight, limits);
    let outcome = match checked {
        Ok(()) => Ok(handler.handle(Request::from_parts(head, body), connection)),
        Err(malformed) => {
            connection.count_refused();
            Err(malformed)
        }
    };
    let response = async {
        match outcome {
            Ok(response) => response.await.map(ResponseContent::Left),
            Err(malformed) => malformed.into_response(),
        }
    };
    (response, unread, in_flight)
}

/// Runs a connection to its end, with its timeouts and the listener's orders.
async fn drive<C: Future<Output = hyper::Result<()>>>(
    shared: &ListenerState,
    serving: C,
    retire: impl Fn(Pin<&mut C>),
    connection: &Arc<Connection>,
    protocol: Protocol,
    mut order: watch::Receiver<ConnectionOrder>,
) {
    tokio::pin!(serving);
    let mut checks = interval(shared.limits.check_interval());
    checks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut watchdog = Watchdog::new(Instant::now());
    let mut counted = CountedBytes::default();
    loop {
        tokio::select! {
            biased;
            ended = &mut serving => {
                if let Err(error) = ended {
                    ended_with(connection, &error);
                }
                break;
            }
            changed = order.changed() => match changed.map(|()| *order.borrow_and_update()) {
                Ok(ConnectionOrder::Serve) => {}
                Ok(ConnectionOrder::Drain) => retire(serving.as_mut()),
                Ok(ConnectionOrder::Cut) | Err(_) => break,
            },
            () = connection.closed(), if protocol == Protocol::Http2 => {
                tracing::debug!(peer = %connection.peer(), "connection cut: too many resets");
                connection.count_cut();
                break;
            }
            _ = checks.tick() => {
                counted.add(shared, connection);
                let full = shared.full.load(Relaxed);
                let seen = connection.snapshot();
                match watchdog.check(Instant::now(), seen, full, &shared.limits) {
                    WatchdogDecision::Keep => {}
                    WatchdogDecision::Retire => retire(serving.as_mut()),
                    WatchdogDecision::Cut => {
                        tracing::debug!(peer = %connection.peer(), "connection cut: too slow");
                        connection.count_cut();
                        break;
                    }
                }
            }
        }
    }
    counted.add(shared, connection);
}

/// hyper itself responds to heads that it cannot parse: 400, or 431 where they are too large.
fn ended_with(connection: &Connection, error: &hyper::Error) {
    tracing::debug!(%error, peer = %connection.peer(), "connection ended");
    if error.is_parse() {
        connection.count_refused();
    }
}

/// Bytes of a connection that [`Traffic`] has already.
#[derive(Default)]
struct CountedBytes {
    bytes_in: u64,
    bytes_out: u64,
}

impl CountedBytes {
    /// Adds what the connection moved since the last call. Each connection counts for itself, so
    /// that no request writes to memory that connections share.
    fn add(&mut self, shared: &ListenerState, connection: &Connection) {
        let (bytes_in, bytes_out) = (connection.bytes_in(), connection.bytes_out());
        let traffic = &shared.traffic;
        traffic
            .bytes_in
            .fetch_add(bytes_in - self.bytes_in, Relaxed);
        traffic
            .bytes_out
            .fetch_add(bytes_out - self.bytes_out, Relaxed);
        *self = Self {
            bytes_in,
            bytes_out,
        };
    }
}

fn http1_builder(limits: &ConnectionLimits) -> http1::Builder {
    let mut builder = http1::Builder::new();
    // hyper's own limit of 100 header fields: a stated one makes it clear a buffer for each head.
    // No header timer: the watchdog bounds heads without setting a timer for each request.
    // Vectored writes keep the chunks of a body apart, which saves copying them and is what the
    // sendfile queue needs. Half-closed: a peer may shut down its writing side and read on.
    builder
        .timer(TokioTimer::new())
        .header_read_timeout(None)
        .max_header_size(limits.header_bytes)
        .half_close(true)
        .writev(true);
    builder
}

fn http2_builder(
    connection: &Arc<Connection>,
    limits: &Arc<ConnectionLimits>,
    allowed: Http2Limits,
) -> http2::Builder<StreamExecutor> {
    let mut builder = http2::Builder::new(StreamExecutor {
        connection: Arc::clone(connection),
        limits: Arc::clone(limits),
    });
    builder
        .timer(TokioTimer::new())
        .max_concurrent_streams(allowed.streams)
        .max_pending_accept_reset_streams(limits.resets)
        .max_local_error_reset_streams(limits.resets)
        .initial_stream_window_size(allowed.stream_window_bytes)
        .initial_connection_window_size(allowed.connection_window_bytes)
        .max_frame_size(limits::FRAME_BYTES)
        .keep_alive_interval(limits::PING_INTERVAL)
        .keep_alive_timeout(limits::PING_TIMEOUT)
        .max_header_list_size(u32::try_from(limits.header_bytes).unwrap_or(u32::MAX));
    builder
}
