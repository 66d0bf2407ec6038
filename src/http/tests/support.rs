//! A listener with a handler whose paths cover what tests need, and clients of raw bytes.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use http::header::{CONNECTION, UPGRADE};
use http::{HeaderValue, Request, Response, StatusCode};
use http_body_util::BodyExt as _;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

use crate::{
    Certificates, Connection, ConnectionLimits, ConnectionUpgrade, Drained, Handler, Listener,
    RequestBody, RequestBodyError, Traffic,
};

/// Longer than anything that a test waits for.
const PATIENCE: Duration = Duration::from_secs(20);

/// Bytes of the response to `/large`: more than socket buffers hold.
pub(super) const LARGE: usize = 64 * 1024 * 1024;

/// - `/early`: 401 without reading the body
/// - `/slow`: as all others, after 300 ms
/// - `/large`: [`LARGE`] bytes
/// - `/upgrade`: 101, and then what arrives is sent back
/// - all others: the length of the request's body, or why it could not be read
#[derive(Clone)]
struct TestHandler;

impl Handler for TestHandler {
    type Body = Body;

    fn handle(
        &self,
        mut request: Request<RequestBody>,
        _connection: &Arc<Connection>,
    ) -> impl Future<Output = Response<Body>> + Send + use<> {
        let upgrade = ConnectionUpgrade::take(request.extensions_mut());
        async move {
            let path = request.uri().path().to_owned();
            match path.as_str() {
                "/early" => return respond(StatusCode::UNAUTHORIZED, "no"),
                "/large" => return Response::new(Body::from(vec![b'a'; LARGE])),
                "/upgrade" => return echo(upgrade.expect("HTTP/1.1")),
                "/slow" => sleep(Duration::from_millis(300)).await,
                _ => {}
            }
            match request.into_body().collect().await {
                Ok(body) => {
                    let text = format!("length {}", body.to_bytes().len());
                    respond(StatusCode::OK, &text)
                }
                Err(error) => {
                    let status = match RequestBodyError::find(&error) {
                        Some(RequestBodyError::Stalled) => StatusCode::REQUEST_TIMEOUT,
                        Some(RequestBodyError::Malformed) => StatusCode::BAD_REQUEST,
                        _ => StatusCode::INTERNAL_SERVER_ERROR,
                    };
                    respond(status, &error.to_string())
                }
            }
        }
    }
}

/// Switches to a protocol that sends back what arrives.
fn echo(upgrade: ConnectionUpgrade) -> Response<Body> {
    tokio::spawn(async move {
        let stream = upgrade.stream().await.expect("upgraded");
        let (mut reading, mut writing) = tokio::io::split(stream);
        let _ = tokio::io::copy(&mut reading, &mut writing).await;
        let _ = writing.shutdown().await;
    });
    let mut response = respond(StatusCode::SWITCHING_PROTOCOLS, "");
    let headers = response.headers_mut();
    headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
    headers.insert(UPGRADE, HeaderValue::from_static("echo"));
    response
}

fn respond(status: StatusCode, text: &str) -> Response<Body> {
    let mut response = Response::new(Body::from(Bytes::from(text.to_owned())));
    *response.status_mut() = status;
    response
}

pub(super) struct Server {
    pub(super) address: SocketAddr,
    pub(super) traffic: Arc<Traffic>,
    pub(super) stop: oneshot::Sender<()>,
    pub(super) task: JoinHandle<Drained>,
}

impl Server {
    pub(super) fn start(limits: ConnectionLimits) -> Self {
        Self::start_with(limits, None)
    }

    pub(super) fn start_with(
        limits: ConnectionLimits,
        certificates: Option<&Arc<Certificates>>,
    ) -> Self {
        let tls = certificates.map(|certificates| certificates.acceptor().expect("TLS sets up"));
        let listener = Listener::bind(([127, 0, 0, 1], 0).into(), tls, limits).expect("binds");
        let address = listener.address().expect("has an address");
        let traffic = listener.traffic();
        let (stop, stopped) = oneshot::channel::<()>();
        let task = tokio::spawn(listener.serve(TestHandler, async move {
            let _ = stopped.await;
        }));
        Self {
            address,
            traffic,
            stop,
            task,
        }
    }

    pub(super) async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.expect("connects")
    }

    /// Sends `bytes`, then reads until the server closes the connection.
    pub(super) async fn exchange(&self, bytes: impl AsRef<[u8]>) -> String {
        let mut socket = self.connect().await;
        send(&mut socket, bytes).await;
        read_to_end(&mut socket).await
    }

    /// Waits until the counter has a value.
    pub(super) async fn wait_for(&self, value: u64, counter: impl Fn(&Traffic) -> &AtomicU64) {
        let reached = async {
            while counter(&self.traffic).load(Relaxed) != value {
                sleep(Duration::from_millis(5)).await;
            }
        };
        timeout(PATIENCE, reached).await.expect("counted");
    }
}

/// Timeouts that a test can wait for.
pub(super) fn short_timeouts() -> ConnectionLimits {
    ConnectionLimits {
        header_timeout: Duration::from_millis(300),
        idle_timeout: Duration::from_millis(600),
        stall_timeout: Duration::from_millis(400),
        linger_timeout: Duration::from_millis(500),
        drain_timeout: Duration::from_millis(600),
        ..ConnectionLimits::default()
    }
}

pub(super) async fn send(socket: &mut TcpStream, bytes: impl AsRef<[u8]>) {
    socket.write_all(bytes.as_ref()).await.expect("sends");
}

/// What arrives until the server closes the connection. A reset counts as a close.
pub(super) async fn read_to_end(socket: &mut (impl AsyncRead + Unpin)) -> String {
    let mut response = Vec::new();
    let _ = timeout(PATIENCE, socket.read_to_end(&mut response))
        .await
        .expect("the server closes in time");
    String::from_utf8_lossy(&response).into_owned()
}

/// Reads until `text` has arrived.
pub(super) async fn read_until(socket: &mut (impl AsyncRead + Unpin), text: &str) -> String {
    let mut response = Vec::new();
    let arrived = async {
        while !String::from_utf8_lossy(&response).contains(text) {
            let read = socket.read_buf(&mut response).await.expect("open");
            assert!(
                read > 0,
                "closed after {:?}",
                String::from_utf8_lossy(&response)
            );
        }
    };
    timeout(PATIENCE, arrived).await.expect("arrives in time");
    String::from_utf8_lossy(&response).into_owned()
}
