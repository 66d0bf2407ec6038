//! The websocket of an agent: text frames of bounded size and number.

use std::time::Duration;

use futures_util::{SinkExt as _, StreamExt as _};
use tokio::time::{Instant, timeout};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Role, WebSocketConfig};
use tokio_tungstenite::tungstenite::{Bytes, Error, Message, Utf8Bytes};
use wharfinger_http::UpgradedStream;

/// The buffers of one connection, in bytes: most frames of agents are smaller.
const BUFFER_BYTES: usize = 4 * 1024;

/// Within this time, an agent must take a frame: the largest one at 64 KiB/s.
const SEND_TIMEOUT: Duration = Duration::from_mins(1);

/// After a close frame, the agent has this long to reply it.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(2);

/// Frames that an agent may send within [`FRAME_PERIOD`]: far more than the acknowledgements, pings
/// and figures of a host with hundreds of tasks.
const MAX_FRAMES: u32 = 3_000;
const FRAME_PERIOD: Duration = Duration::from_secs(30);

/// Why a connection ends.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SocketError {
    #[error("the agent closed the connection")]
    Closed,
    #[error("a frame is larger than allowed")]
    TooLarge,
    #[error("the agent sends too many frames")]
    TooMany,
    #[error("the agent does not take a message in time")]
    Stalled,
    #[error("{0}")]
    Failed(Error),
}

impl From<Error> for SocketError {
    fn from(error: Error) -> Self {
        match error {
            Error::ConnectionClosed | Error::AlreadyClosed => Self::Closed,
            Error::Capacity(_) => Self::TooLarge,
            error => Self::Failed(error),
        }
    }
}

/// The websocket of an agent, on the side of the server.
pub(crate) struct AgentSocket {
    socket: WebSocketStream<UpgradedStream>,
    frames: u32,
    period_ends: Instant,
}

impl AgentSocket {
    /// A socket that takes messages of at most `max_bytes`.
    pub(crate) async fn new(stream: UpgradedStream, max_bytes: usize) -> Self {
        let config = WebSocketConfig::default()
            .read_buffer_size(BUFFER_BYTES)
            .write_buffer_size(0)
            .max_message_size(Some(max_bytes))
            .max_frame_size(Some(max_bytes));
        let socket = WebSocketStream::from_raw_socket(stream, Role::Server, Some(config));
        Self {
            socket: socket.await,
            frames: 0,
            period_ends: Instant::now() + FRAME_PERIOD,
        }
    }

    /// The next frame: its text, or `None` for a ping or anything else that is only a sign of life.
    /// May be cancelled.
    pub(crate) async fn next(&mut self) -> Result<Option<Utf8Bytes>, SocketError> {
        let message = self.socket.next().await.ok_or(SocketError::Closed)??;
        let now = Instant::now();
        if now >= self.period_ends {
            self.frames = 0;
            self.period_ends = now + FRAME_PERIOD;
        }
        self.frames += 1;
        if self.frames > MAX_FRAMES {
            return Err(SocketError::TooMany);
        }
        match message {
            Message::Text(text) => Ok(Some(text)),
            // Amazon's agent sends its frames as text; some libraries know bytes only.
            Message::Binary(bytes) => Ok(Utf8Bytes::try_from(bytes).ok()),
            Message::Close(_) => Err(SocketError::Closed),
            Message::Ping(_) | Message::Pong(_) | Message::Frame(_) => Ok(None),
        }
    }

    pub(crate) async fn send(&mut self, frame: String) -> Result<(), SocketError> {
        let sent = timeout(SEND_TIMEOUT, self.socket.send(Message::text(frame))).await;
        Ok(sent.map_err(|_elapsed| SocketError::Stalled)??)
    }

    /// Requests for a sign of life, which every websocket gives by itself.
    pub(crate) async fn ping(&mut self) -> Result<(), SocketError> {
        let ping = Message::Ping(Bytes::new());
        let sent = timeout(SEND_TIMEOUT, self.socket.send(ping)).await;
        Ok(sent.map_err(|_elapsed| SocketError::Stalled)??)
    }

    /// Ends the connection, telling the agent why where it still listens.
    pub(crate) async fn close(mut self, why: &SocketError) {
        let code = match why {
            SocketError::Closed => CloseCode::Normal,
            SocketError::TooLarge => CloseCode::Size,
            SocketError::TooMany => CloseCode::Policy,
            SocketError::Stalled | SocketError::Failed(_) => return,
        };
        self.close_with(code, &why.to_string()).await;
    }

    /// Sends a close frame and waits for the agent's.
    pub(crate) async fn close_with(&mut self, code: CloseCode, reason: &str) {
        let frame = CloseFrame {
            code,
            reason: reason.to_owned().into(),
        };
        let closed = async {
            if self.socket.close(Some(frame)).await.is_ok() {
                while let Some(Ok(_)) = self.socket.next().await {}
            }
        };
        // An agent that is gone does not reply; the connection ends in any case.
        let _ = timeout(CLOSE_TIMEOUT, closed).await;
    }
}
