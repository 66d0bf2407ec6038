//! How a connection to PostgreSQL is made: the URL's `sslmode`, and TLS through rustls.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use postgres::config::{SslMode, TargetSessionAttrs};
use postgres::tls::{ChannelBinding, MakeTlsConnect, TlsConnect};
use postgres::{Client, Config, NoTls, Socket};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, InvalidDnsNameError, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use wharfinger_tls::{client_builder, unverified_client};

use crate::error::OpenError;

/// How long one connection attempt may take, per host of the URL.
const CONNECT_WAIT: Duration = Duration::from_secs(5);
/// How long sent bytes may stay unacknowledged before the connection counts as lost.
const PEER_WAIT: Duration = Duration::from_secs(20);
/// A server that is silent for this long, while a response is awaited, is probed this often and so
/// many times before the connection counts as lost.
const PROBE_AFTER: Duration = Duration::from_secs(10);
const PROBE_INTERVAL: Duration = Duration::from_secs(3);
const PROBES: u32 = 3;

/// Makes connections from one URL.
pub(super) struct Connector {
    config: Config,
    tls: Option<Tls>,
}

impl Connector {
    pub(super) fn from_url(url: &str) -> Result<Self, OpenError> {
        let (rest, mode, root) = take_tls_settings(url);
        let mut config: Config = rest
            .parse()
            .map_err(|error: postgres::Error| OpenError::Url(error.to_string()))?;
        let (ssl_mode, tls) = match mode {
            Some("disable") => (SslMode::Disable, None),
            // As libpq has it: encrypt where the server can. Who can put himself between could as
            // well deny it, so a check of the certificate would keep nobody out.
            None | Some("allow" | "prefer") => (SslMode::Prefer, Some(Tls::unverified()?)),
            Some("require" | "verify-ca" | "verify-full") => {
                (SslMode::Require, Some(Tls::verified(root)?))
            }
            Some(other) => return Err(OpenError::Url(format!("sslmode={other} is not known"))),
        };
        config
            .ssl_mode(ssl_mode)
            .connect_timeout(CONNECT_WAIT)
            .tcp_user_timeout(PEER_WAIT)
            .keepalives_idle(PROBE_AFTER)
            .keepalives_interval(PROBE_INTERVAL)
            .keepalives_retries(PROBES);
        if !rest.contains("target_session_attrs=") {
            // Of several hosts, the one that takes writes: not a standby.
            config.target_session_attrs(TargetSessionAttrs::ReadWrite);
        }
        if config.get_application_name().is_none() {
            config.application_name("wharfinger");
        }
        Ok(Self { config, tls })
    }

    pub(super) fn connect(&self) -> Result<Client, postgres::Error> {
        match &self.tls {
            None => self.config.connect(NoTls),
            Some(tls) => self.config.connect(tls.clone()),
        }
    }
}

/// Takes `sslmode` and `sslrootcert` out of the URL's query: the driver supports neither
/// `verify-full` nor certificates.
fn take_tls_settings(url: &str) -> (String, Option<&str>, Option<&str>) {
    let Some((base, query)) = url.split_once('?') else {
        return (url.to_owned(), None, None);
    };
    let (mut mode, mut root, mut rest) = (None, None, Vec::new());
    for pair in query.split('&') {
        match pair.split_once('=') {
            Some(("sslmode", value)) => mode = Some(value),
            Some(("sslrootcert", value)) => root = Some(value),
            _ => rest.push(pair),
        }
    }
    (format!("{base}?{}", rest.join("&")), mode, root)
}

#[derive(Clone)]
struct Tls(Arc<ClientConfig>);

impl Tls {
    fn verified(root: Option<&str>) -> Result<Self, OpenError> {
        let mut roots = RootCertStore::empty();
        if let Some(path) = root {
            let path = percent_encoding::percent_decode_str(path).decode_utf8_lossy();
            let unreadable = |error: rustls::pki_types::pem::Error| {
                OpenError::Url(format!("sslrootcert {path}: {error}"))
            };
            for certificate in CertificateDer::pem_file_iter(&*path).map_err(unreadable)? {
                roots
                    .add(certificate.map_err(unreadable)?)
                    .map_err(|error| OpenError::Url(format!("sslrootcert {path}: {error}")))?;
            }
        } else {
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        }
        Ok(Self(Arc::new(
            client_builder()
                .map_err(|error| setup_error(&error))?
                .with_root_certificates(roots)
                .with_no_client_auth(),
        )))
    }

    /// For `sslmode=prefer` only.
    fn unverified() -> Result<Self, OpenError> {
        let config = unverified_client().map_err(|error| setup_error(&error))?;
        Ok(Self(Arc::new(config)))
    }
}

fn setup_error(error: &rustls::Error) -> OpenError {
    OpenError::Connect(error.to_string())
}

impl MakeTlsConnect<Socket> for Tls {
    type Stream = Encrypted;
    type TlsConnect = Handshake;
    type Error = InvalidDnsNameError;

    fn make_tls_connect(&mut self, domain: &str) -> Result<Handshake, InvalidDnsNameError> {
        Ok(Handshake {
            name: ServerName::try_from(domain.to_owned())?,
            config: Arc::clone(&self.0),
        })
    }
}

struct Handshake {
    name: ServerName<'static>,
    config: Arc<ClientConfig>,
}

impl TlsConnect<Socket> for Handshake {
    type Stream = Encrypted;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<Encrypted>> + Send>>;

    fn connect(self, socket: Socket) -> Self::Future {
        Box::pin(async move {
            TlsConnector::from(self.config)
                .connect(self.name, socket)
                .await
                .map(Encrypted)
        })
    }
}

/// The driver wants its own trait on the stream, so the stream needs a name of ours.
struct Encrypted(TlsStream<Socket>);

impl postgres::tls::TlsStream for Encrypted {
    fn channel_binding(&self) -> ChannelBinding {
        ChannelBinding::none()
    }
}

impl AsyncRead for Encrypted {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Encrypted {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tls_settings_leave_the_url() {
        let url = "postgres://u:p@h/d?sslmode=verify-full&options=-csearch_path%3Dx\
                   &sslrootcert=%2Fca.pem";
        let (rest, mode, root) = take_tls_settings(url);
        assert_eq!(rest, "postgres://u:p@h/d?options=-csearch_path%3Dx");
        assert_eq!((mode, root), (Some("verify-full"), Some("%2Fca.pem")));
        assert!(
            Connector::from_url("postgres://u@h/d?sslmode=disable")
                .is_ok_and(|connector| connector.tls.is_none())
        );
        assert!(
            Connector::from_url("postgres://u@h/d").is_ok_and(|connector| connector.tls.is_some())
        );
    }

    #[test]
    fn unusable_urls_are_refused() {
        for url in [
            "postgres://u@h/d?sslmode=maybe",
            "postgres://u@h/d?sslmode=require&sslrootcert=/none.pem",
            "postgres://h/d?color=red",
        ] {
            assert!(
                matches!(Connector::from_url(url), Err(OpenError::Url(_))),
                "{url}"
            );
        }
    }
}
