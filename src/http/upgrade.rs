//! Upgrades of HTTP/1.1 connections to another protocol, such as a websocket.
//!
//! The listener counts a connection until its upgrade. From then on whoever took the upgrade has to
//! bound how many there are, how long they may be silent, and has to end them when the server
//! stops. What stays is the limit on writes: they fail when the peer takes nothing for
//! [`crate::ConnectionLimits::stall_timeout`].

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use http::Extensions;
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// The upgrade that a request requests. It takes place once the response with the status 101 is
/// written.
#[derive(Debug)]
pub struct ConnectionUpgrade(OnUpgrade);

impl ConnectionUpgrade {
    /// Takes the upgrade out of the extensions of a request; `None` where the connection cannot
    /// leave HTTP, as on HTTP/2.
    #[must_use]
    pub fn take(extensions: &mut Extensions) -> Option<Self> {
        extensions.remove::<OnUpgrade>().map(Self)
    }

    /// The connection, once the response is written.
    ///
    /// # Errors
    /// The response had another status, or the connection ended.
    pub async fn stream(self) -> io::Result<UpgradedStream> {
        let upgraded = self.0.await.map_err(io::Error::other)?;
        Ok(UpgradedStream(TokioIo::new(upgraded)))
    }
}

/// A connection that has left HTTP.
#[derive(Debug)]
pub struct UpgradedStream(TokioIo<Upgraded>);

impl AsyncRead for UpgradedStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buffer)
    }
}

impl AsyncWrite for UpgradedStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}
