//! Serves the endpoints of tasks on a listener, within limits: containers must not be able to take
//! the memory, the connections or the time of the agent.

use std::future::Future;
use std::net::TcpListener;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::header::{CONNECTION, HeaderValue};
use axum::http::{Request, Response, Version};
use tokio::task::JoinHandle;
use tower::Service as _;
use wharfinger_http::{Connection, ConnectionLimits, Handler, Listener, RequestBody};

/// Connections of a listener at once. SDKs open one for a moment; further ones wait in the kernel's
/// queue, and idle ones give way to them.
const CONNECTIONS: usize = 32;
/// Bytes of a request's head. The longest path has some hundred.
const HEAD_BYTES: usize = 16 * 1024;
/// How long a head may take. The client is on the same host.
const HEAD_TIMEOUT: Duration = Duration::from_secs(3);
/// How long a connection may be idle, or a transfer stand still.
const IDLE_TIMEOUT: Duration = Duration::from_secs(15);
/// Requests at once on a connection of HTTP/2, and resets of them. Such a connection holds 320 KiB.
const STREAMS: u32 = 4;
const RESETS: usize = 16;
/// Bytes of request bodies, which nobody reads, on a stream and on a connection of HTTP/2.
const STREAM_WINDOW_BYTES: u32 = 16 * 1024;
const CONNECTION_WINDOW_BYTES: u32 = 65_535;
/// How long a request body that nobody wants is discarded.
const LINGER_TIMEOUT: Duration = Duration::from_secs(1);

/// A listener that is served until this is dropped, which ends its connections as well.
pub(crate) struct Serving(JoinHandle<()>);

impl Drop for Serving {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Serves `routes` on a listener.
pub(super) fn serve(listener: TcpListener, routes: Router) -> Serving {
    Serving(tokio::spawn(async move {
        match Listener::on(listener, limits()) {
            Ok(listener) => {
                let endless = std::future::pending();
                listener.serve(Routes(routes), endless).await;
            }
            Err(error) => tracing::warn!(%error, "the endpoints of a task cannot listen"),
        }
    }))
}

fn limits() -> ConnectionLimits {
    ConnectionLimits {
        connections: CONNECTIONS,
        // All clients have the same address.
        connections_per_address: CONNECTIONS,
        header_bytes: HEAD_BYTES,
        header_timeout: HEAD_TIMEOUT,
        idle_timeout: IDLE_TIMEOUT,
        stall_timeout: IDLE_TIMEOUT,
        linger_timeout: LINGER_TIMEOUT,
        streams: STREAMS,
        stream_window_bytes: STREAM_WINDOW_BYTES,
        connection_window_bytes: CONNECTION_WINDOW_BYTES,
        resets: RESETS,
        ..ConnectionLimits::default()
    }
}

#[derive(Clone)]
struct Routes(Router);

impl Handler for Routes {
    type Body = Body;

    fn handle(
        &self,
        request: Request<RequestBody>,
        _: &Arc<Connection>,
    ) -> impl Future<Output = Response<Body>> + Send + use<> {
        let is_http2 = request.version() == Version::HTTP_2;
        let response = self.0.clone().call(request);
        async move {
            let Ok(mut response) = response.await;
            // The tasks of a host share a listener: the next connection may be another task's.
            if !is_http2 {
                let close = HeaderValue::from_static("close");
                response.headers_mut().insert(CONNECTION, close);
            }
            response
        }
    }
}

#[cfg(test)]
mod tests {
    use axum::routing::get;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpStream;
    use tokio::time::timeout;

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(20);

    struct Bench {
        address: std::net::SocketAddr,
        _serving: Serving,
    }

    impl Bench {
        fn new() -> Self {
            let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
            listener.set_nonblocking(true).expect("set");
            let address = listener.local_addr().expect("an address");
            let routes = Router::new().route("/", get(async || "here"));
            Self {
                address,
                _serving: serve(listener, routes),
            }
        }

        async fn connect(&self) -> TcpStream {
            TcpStream::connect(self.address).await.expect("connected")
        }

        /// Sends a head, and returns all that comes until the end of the connection.
        async fn response(&self, head: &str) -> String {
            let mut stream = self.connect().await;
            let _ = stream.write_all(head.as_bytes()).await;
            rest(&mut stream).await
        }
    }

    async fn rest(stream: &mut TcpStream) -> String {
        let mut text = Vec::new();
        let read = timeout(PATIENCE, stream.read_to_end(&mut text)).await;
        // A connection may be cut.
        let _ = read.expect("it ends");
        String::from_utf8_lossy(&text).into_owned()
    }

    #[tokio::test]
    async fn silent_connections_end_and_let_others_in() {
        let bench = Bench::new();
        let mut silent = Vec::new();
        for _ in 0..2 * CONNECTIONS {
            silent.push(bench.connect().await);
        }
        let response = bench.response("GET / HTTP/1.1\r\nconnection: close\r\nhost: a\r\n\r\n");
        let response = response.await;
        assert!(response.starts_with("HTTP/1.1 200 "), "{response}");
        for mut stream in silent {
            assert_eq!(rest(&mut stream).await, "");
        }
    }

    #[tokio::test]
    async fn a_slow_head_is_cut() {
        let bench = Bench::new();
        let response = bench.response("GET / HTTP/1.1\r\nhost: a\r\n").await;
        assert!(!response.starts_with("HTTP/1.1 200 "), "{response}");
    }

    #[tokio::test]
    async fn a_large_head_is_refused() {
        let bench = Bench::new();
        let value = "x".repeat(HEAD_BYTES);
        let head = format!("GET / HTTP/1.1\r\nhost: a\r\nx-a: {value}\r\n\r\n");
        let response = bench.response(&head).await;
        assert!(response.starts_with("HTTP/1.1 431 "), "{response}");
    }
}
