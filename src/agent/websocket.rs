//! Signed websockets to the control plane.

use std::sync::Arc;
use std::time::Duration;

use futures_util::SinkExt as _;
use http::HeaderMap;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::{self, Error, Message};
use url::Url;
use wharfinger_base::Clock;
use wharfinger_ecs_protocol::FrameError;
use wharfinger_ecs_protocol::limits::SILENCE;

use crate::aws_client::{CallError, Signing, sign};
use crate::keys::Keys;

/// Time for the connection, the TLS handshake and the upgrade together.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// Time to write a message.
const SEND_TIMEOUT: Duration = Duration::from_secs(10);
/// Longest piece of a refusal that is looked at.
const MAX_REFUSAL_CHARS: usize = 500;

/// The bytes of a connection, with or without TLS.
pub(crate) trait Bytes: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Bytes for T {}

pub(crate) type Socket = WebSocketStream<Box<dyn Bytes>>;

/// Why a websocket was not opened.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConnectError {
    #[error("the endpoint {0} is not a URL")]
    Endpoint(String),
    #[error("cannot connect: {0}")]
    Io(#[from] std::io::Error),
    #[error("no connection within {}s", CONNECT_TIMEOUT.as_secs())]
    TimedOut,
    #[error(transparent)]
    Signing(#[from] CallError),
    #[error("the server refuses with {status}: {message}")]
    Refused { status: u16, message: String },
    #[error("the upgrade failed: {0}")]
    Upgrade(Box<Error>),
}

/// Why a session ended.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SessionEnd {
    #[error(transparent)]
    Connect(#[from] ConnectError),
    #[error("the connection failed: {0}")]
    Socket(Box<tungstenite::Error>),
    #[error("nothing came for {}s", SILENCE.as_secs())]
    Silence,
    #[error("the server did not take a message within {}s", SEND_TIMEOUT.as_secs())]
    Stalled,
    #[error("a message cannot be read: {0}")]
    Frame(#[from] FrameError),
    #[error("the server closed the connection")]
    Closed,
    #[error("the instance is not registered any more")]
    Inactive,
}

impl From<tungstenite::Error> for SessionEnd {
    fn from(error: tungstenite::Error) -> Self {
        Self::Socket(Box::new(error))
    }
}

/// Where and how to connect.
pub(crate) struct Connect<'a> {
    /// The endpoint that the control plane named.
    pub(crate) endpoint: &'a str,
    /// Name and value of each parameter of the query.
    pub(crate) query: &'a [(&'a str, &'a str)],
    pub(crate) keys: &'a Keys,
    pub(crate) region: &'a str,
    pub(crate) clock: &'a Clock,
    pub(crate) tls: &'a Arc<ClientConfig>,
    /// Largest frame and message, in bytes.
    pub(crate) max_bytes: usize,
}

/// Opens `GET {endpoint}/ws?{query}`, signed.
///
/// # Errors
/// [`ConnectError`].
pub(crate) async fn connect(to: &Connect<'_>) -> Result<Socket, ConnectError> {
    let opening = timeout(CONNECT_TIMEOUT, open(to)).await;
    opening.map_err(|_| ConnectError::TimedOut)?
}

/// Sends a frame.
///
/// # Errors
/// Where the server does not take it in time, or the connection has failed.
pub(crate) async fn send(socket: &mut Socket, frame: String) -> Result<(), SessionEnd> {
    let sent = timeout(SEND_TIMEOUT, socket.send(Message::text(frame))).await;
    sent.map_err(|_| SessionEnd::Stalled)??;
    Ok(())
}

async fn open(to: &Connect<'_>) -> Result<Socket, ConnectError> {
    let bad = || ConnectError::Endpoint(to.endpoint.to_owned());
    let mut url = Url::parse(to.endpoint).map_err(|_| bad())?;
    let secure = matches!(url.scheme(), "https" | "wss");
    let path = format!("{}/ws", url.path().trim_end_matches('/'));
    url.set_path(&path);
    url.query_pairs_mut().extend_pairs(to.query);
    let mut headers = HeaderMap::new();
    let signing = Signing {
        method: "GET",
        keys: to.keys,
        region: to.region,
        service: "ecs",
        body: b"",
        clock: to.clock,
    };
    sign(&mut headers, &url, &signing)?;
    let host = url.host_str().ok_or_else(bad)?.to_owned();
    let port = url.port_or_known_default().ok_or_else(bad)?;
    let name = host
        .trim_start_matches('[')
        .trim_end_matches(']')
        .to_owned();
    let stream = TcpStream::connect((name.as_str(), port)).await?;
    stream.set_nodelay(true)?;
    let stream: Box<dyn Bytes> = if secure {
        let server = ServerName::try_from(name).map_err(|_| bad())?;
        let connector = TlsConnector::from(Arc::clone(to.tls));
        Box::new(connector.connect(server, stream).await?)
    } else {
        Box::new(stream)
    };
    let scheme = if secure { "wss" } else { "ws" };
    let text = url.as_str();
    let after = text.split_once("://").map_or(text, |(_, after)| after);
    let upgrade = |error: Error| refused(error);
    let mut request = format!("{scheme}://{after}")
        .into_client_request()
        .map_err(upgrade)?;
    request.headers_mut().extend(headers);
    let config = WebSocketConfig::default()
        .max_message_size(Some(to.max_bytes))
        .max_frame_size(Some(to.max_bytes));
    let opened = tokio_tungstenite::client_async_with_config(request, stream, Some(config)).await;
    opened.map(|(socket, _)| socket).map_err(upgrade)
}

fn refused(error: Error) -> ConnectError {
    match error {
        tungstenite::Error::Http(response) => {
            let body = response.body().as_deref().unwrap_or_default();
            let message = String::from_utf8_lossy(body);
            ConnectError::Refused {
                status: response.status().as_u16(),
                message: message.chars().take(MAX_REFUSAL_CHARS).collect(),
            }
        }
        other => ConnectError::Upgrade(Box::new(other)),
    }
}
