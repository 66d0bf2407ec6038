//! `wharfinger healthcheck`: requests `/readyz` of the server on this machine, for containers
//! without curl.

use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail};
use rustls::ClientConnection;
use rustls::pki_types::ServerName;
use wharfinger_tls::unverified_client;

use crate::config::Config;

/// A server that needs longer than this is not healthy.
const TIMEOUT: Duration = Duration::from_secs(5);

/// The response is a status line and a word; more is never read.
const MAX_RESPONSE_BYTES: u64 = 4 * 1024;

pub(super) fn run(config: &Config) -> anyhow::Result<ExitCode> {
    let address = reachable(config.listen);
    let mut socket = TcpStream::connect_timeout(&address, TIMEOUT)
        .with_context(|| format!("nothing listens on {address}"))?;
    socket.set_read_timeout(Some(TIMEOUT))?;
    socket.set_write_timeout(Some(TIMEOUT))?;
    let response = if config.tls.is_some() {
        // The check is whether our own listener responds, and its certificate names public hosts,
        // never loopback. Nothing secret is sent.
        let tls = Arc::new(unverified_client()?);
        let mut session = ClientConnection::new(tls, ServerName::from(address.ip()))?;
        request_readiness(&mut rustls::Stream::new(&mut session, &mut socket))?
    } else {
        request_readiness(&mut socket)?
    };
    let status = response.lines().next().unwrap_or_default();
    if status.split(' ').nth(1) != Some("200") {
        bail!("the server is not ready: {status}");
    }
    Ok(ExitCode::SUCCESS)
}

fn request_readiness(stream: &mut (impl Read + Write)) -> anyhow::Result<String> {
    stream.write_all(b"GET /readyz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")?;
    let mut response = Vec::new();
    // A TLS peer may close without saying so: what came before is what counts.
    let _ = stream.take(MAX_RESPONSE_BYTES).read_to_end(&mut response);
    Ok(String::from_utf8_lossy(&response).into_owned())
}

/// A server that listens on all addresses is reached on loopback.
fn reachable(listen: SocketAddr) -> SocketAddr {
    let ip = match listen.ip() {
        IpAddr::V4(Ipv4Addr::UNSPECIFIED) => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(Ipv6Addr::UNSPECIFIED) => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, listen.port())
}
