//! Whom the agent takes for a server: the TLS settings of its connections.

use std::sync::Arc;

use rustls::{ClientConfig, Error, RootCertStore};

/// Whom the agent takes for the control plane.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ServerTrust {
    /// Whoever a certificate authority of the system vouches for.
    System,
    /// Whoever listens at the endpoint: only for the listener of this very process.
    OwnListener,
}

/// The TLS settings for each kind of server.
#[derive(Clone, Debug)]
pub(crate) struct Tls {
    /// For the control plane.
    pub(crate) endpoint: Arc<ClientConfig>,
    /// For all others: whom a certificate authority of the system vouches for.
    pub(crate) others: Arc<ClientConfig>,
}

impl Tls {
    /// Reads the certificate authorities of the system.
    ///
    /// # Errors
    /// Where the provider supports no version of TLS.
    pub(crate) async fn load(trust: ServerTrust) -> Result<Self, Error> {
        // It reads files.
        let made = tokio::task::spawn_blocking(move || {
            let others = Arc::new(verified_client()?);
            let endpoint = match trust {
                ServerTrust::System => Arc::clone(&others),
                ServerTrust::OwnListener => Arc::new(wharfinger_tls::unverified_client()?),
            };
            Ok(Self { endpoint, others })
        });
        made.await
            .unwrap_or_else(|panic| Err(Error::General(panic.to_string())))
    }
}

fn verified_client() -> Result<ClientConfig, Error> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    let builder = wharfinger_tls::client_builder()?;
    Ok(builder.with_root_certificates(roots).with_no_client_auth())
}
