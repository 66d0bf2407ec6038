//! TLS to identity providers: the system's certificate authorities, or certificates that an
//! administrator registered by their thumbprints.
//!
//! Source: IAM user guide, "Obtain the thumbprint for an OIDC identity provider": the
//! thumbprint is the SHA-1 of a certificate of the chain, and counts where no trusted authority
//! signed the server's certificate.

use std::sync::{Arc, LazyLock};

use ::aws_lc_rs::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::verify_server_name;
use rustls::crypto::{CryptoProvider, aws_lc_rs, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme,
};
use wharfinger_tls::client_builder;

/// The authorities that the system trusts, read once: it takes some milliseconds.
static SYSTEM_ROOTS: LazyLock<Arc<RootCertStore>> = LazyLock::new(|| {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    Arc::new(roots)
});

/// The settings of a client that trusts the system's authorities and these thumbprints (SHA-1 in
/// hexadecimal). Reads the system's certificates at the first call.
///
/// # Errors
/// Where the TLS provider supports none of the protocol versions.
pub(super) fn client_config(thumbprints: &[String]) -> Result<ClientConfig, Error> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let verifier = PinnedCertificates {
        system: authorities(Arc::clone(&SYSTEM_ROOTS), &provider),
        provider,
        thumbprints: thumbprints.to_vec(),
    };
    Ok(client_builder()?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier))
        .with_no_client_auth())
}

/// A verifier with these roots; `None` where there are none.
fn authorities(
    roots: Arc<RootCertStore>,
    provider: &Arc<CryptoProvider>,
) -> Option<Arc<WebPkiServerVerifier>> {
    let builder = WebPkiServerVerifier::builder_with_provider(roots, Arc::clone(provider));
    builder.build().ok()
}

/// Accepts what the system's authorities signed, and chains with a registered certificate.
#[derive(Debug)]
struct PinnedCertificates {
    system: Option<Arc<WebPkiServerVerifier>>,
    provider: Arc<CryptoProvider>,
    thumbprints: Vec<String>,
}

impl PinnedCertificates {
    fn is_registered(&self, certificate: &CertificateDer<'_>) -> bool {
        let thumbprint = hex::encode(digest(&SHA1_FOR_LEGACY_USE_ONLY, certificate));
        let mut known = self.thumbprints.iter();
        known.any(|known| known.eq_ignore_ascii_case(&thumbprint))
    }

    /// Verifies the chain up to a registered certificate as its root: names, times and signatures
    /// count as usual.
    fn verify_under(
        &self,
        anchor: &CertificateDer<'_>,
        presented: &Presented<'_>,
    ) -> Result<ServerCertVerified, Error> {
        let mut roots = RootCertStore::empty();
        roots.add(anchor.clone().into_owned())?;
        let under = authorities(Arc::new(roots), &self.provider);
        let under = under.ok_or(CertificateError::UnknownIssuer)?;
        let verified = presented.verify(&under);
        // A certificate that signed itself is often marked as an authority, which no server's may
        // be otherwise. Its times have been checked by then.
        if anchor == presented.end_entity && is_marked_as_authority(&verified) {
            let parsed = ParsedCertificate::try_from(presented.end_entity)?;
            verify_server_name(&parsed, presented.server_name)?;
            return Ok(ServerCertVerified::assertion());
        }
        verified
    }
}

/// What a server shows of itself.
struct Presented<'a> {
    end_entity: &'a CertificateDer<'a>,
    intermediates: &'a [CertificateDer<'a>],
    server_name: &'a ServerName<'a>,
    ocsp_response: &'a [u8],
    now: UnixTime,
}

impl Presented<'_> {
    fn verify(&self, verifier: &WebPkiServerVerifier) -> Result<ServerCertVerified, Error> {
        verifier.verify_server_cert(
            self.end_entity,
            self.intermediates,
            self.server_name,
            self.ocsp_response,
            self.now,
        )
    }
}

fn is_marked_as_authority(verified: &Result<ServerCertVerified, Error>) -> bool {
    let Err(Error::InvalidCertificate(CertificateError::Other(other))) = verified else {
        return false;
    };
    other.to_string().contains("CaUsedAsEndEntity")
}

impl ServerCertVerifier for PinnedCertificates {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let presented = Presented {
            end_entity,
            intermediates,
            server_name,
            ocsp_response,
            now,
        };
        let unknown = || Err(CertificateError::UnknownIssuer.into());
        let by_system = (self.system.as_ref()).map_or_else(unknown, |one| presented.verify(one));
        let Err(refusal) = by_system else {
            return by_system;
        };
        let chain = std::iter::once(end_entity).chain(intermediates);
        let mut registered = chain.filter(|certificate| self.is_registered(certificate));
        registered
            .find_map(|anchor| self.verify_under(anchor, &presented).ok())
            .ok_or(refusal)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        let algorithms = &self.provider.signature_verification_algorithms;
        algorithms.supported_schemes()
    }
}
