//! The HTTP clients of a [`crate::RegistryClient`], and the certificate authorities that they
//! trust.

use std::path::Path;
use std::time::Duration;

use reqwest::Client;
use reqwest::redirect::Policy;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::{ClientConfig, RootCertStore};

use crate::Result;
use crate::addresses::PublicAddresses;
use crate::error::Error;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Connections to one host that are kept while they are not used.
const IDLE_CONNECTIONS: usize = 16;

/// The authorities of a private network, besides those of the system.
#[derive(Clone, Debug, Default)]
pub struct Authorities(Vec<CertificateDer<'static>>);

/// A file that cannot be used as the authorities.
#[derive(Debug, thiserror::Error)]
pub enum AuthoritiesError {
    #[error("it cannot be read as certificates")]
    Pem(#[source] rustls::pki_types::pem::Error),
    #[error("it has no certificate")]
    None,
    #[error("it has a certificate that cannot be used")]
    Certificate(#[source] rustls::Error),
}

impl Authorities {
    /// Reads a PEM file. Blocks for as long as that takes.
    ///
    /// # Errors
    /// [`AuthoritiesError`].
    pub fn read(path: &Path) -> Result<Self, AuthoritiesError> {
        let certificates = CertificateDer::pem_file_iter(path).map_err(AuthoritiesError::Pem)?;
        let certificates: Vec<_> = certificates
            .collect::<Result<_, _>>()
            .map_err(AuthoritiesError::Pem)?;
        if certificates.is_empty() {
            return Err(AuthoritiesError::None);
        }
        let mut roots = RootCertStore::empty();
        for certificate in &certificates {
            let added = roots.add(certificate.clone());
            added.map_err(AuthoritiesError::Certificate)?;
        }
        Ok(Self(certificates))
    }
}

pub(crate) struct HttpClients {
    /// For the addresses that the configuration names.
    pub(crate) configured: Client,
    /// For all others, which must be public.
    pub(crate) public: Client,
    /// For the listener of this very server, whose certificate is for other names.
    pub(crate) own: Client,
}

impl HttpClients {
    pub(crate) async fn load(authorities: &Authorities) -> Result<Self> {
        let failed = |error: &dyn std::error::Error| Error::Unavailable(error.to_string());
        let authorities = authorities.clone();
        let tls = tokio::task::spawn_blocking(move || tls_config(authorities)).await;
        let tls = tls.map_err(|panic| failed(&panic))?;
        let tls = tls.map_err(|error| failed(&error))?;
        let unverified = wharfinger_tls::unverified_client().map_err(|error| failed(&error))?;
        let builder = |tls: &ClientConfig| {
            Client::builder()
                .tls_backend_preconfigured(tls.clone())
                .redirect(Policy::none())
                .connect_timeout(CONNECT_TIMEOUT)
                .pool_max_idle_per_host(IDLE_CONNECTIONS)
                .user_agent(concat!("wharfinger/", env!("CARGO_PKG_VERSION")))
        };
        // A proxy would look names up by itself, and reach what is not public.
        let public = builder(&tls).no_proxy().dns_resolver(PublicAddresses);
        let public = public.build();
        // The configuration names where a registry is reached: no proxy in between.
        let direct = builder(&tls).no_proxy().build();
        let own = builder(&unverified).no_proxy().build();
        Ok(Self {
            configured: direct.map_err(|error| failed(&error))?,
            public: public.map_err(|error| failed(&error))?,
            own: own.map_err(|error| failed(&error))?,
        })
    }
}

fn tls_config(authorities: Authorities) -> Result<ClientConfig, rustls::Error> {
    let mut roots = RootCertStore::empty();
    let system = rustls_native_certs::load_native_certs().certs;
    roots.add_parsable_certificates(system.into_iter().chain(authorities.0));
    let builder = wharfinger_tls::client_builder()?;
    Ok(builder.with_root_certificates(roots).with_no_client_auth())
}
