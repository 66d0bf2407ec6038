//! TLS: certificate and key from PEM files, offered to new handshakes and replaced while the server
//! runs.

use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use std::{fs, io};

use arc_swap::ArcSwap;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::{self, PemObject as _};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use tokio_rustls::TlsAcceptor;

/// The interval between two checks of the files, which cost two `stat` calls. SIGHUP reloads at
/// once.
pub const RELOAD_INTERVAL: Duration = Duration::from_secs(5);

/// The files of the certificate chain and of its private key, both PEM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsFiles {
    pub certificate: PathBuf,
    pub key: PathBuf,
}

#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    #[error("cannot read {path}")]
    Read { path: PathBuf, source: io::Error },
    #[error("{path} holds no usable PEM block")]
    Pem { path: PathBuf, source: pem::Error },
    #[error("{0} holds no certificate")]
    NoCertificate(PathBuf),
    #[error("the certificate {certificate} and the key {key} do not work together")]
    Mismatch {
        certificate: PathBuf,
        key: PathBuf,
        source: rustls::Error,
    },
    #[error("cannot set up TLS")]
    Setup(#[from] rustls::Error),
}

/// The certificate in use. Connections keep the one that they started with.
#[derive(Debug)]
pub struct Certificates {
    files: TlsFiles,
    current: ArcSwap<CertifiedKey>,
    seen: ArcSwap<Option<Fingerprint>>,
}

/// Inode, modification time and length of both files: changes with any of them, also when a
/// symbolic link is replaced.
type Fingerprint = [(u64, i64, i64, u64); 2];

impl Certificates {
    pub fn load(files: TlsFiles) -> Result<Arc<Self>, TlsError> {
        let seen = fingerprint(&files);
        let current = read(&files)?;
        Ok(Arc::new(Self {
            files,
            current: ArcSwap::from_pointee(current),
            seen: ArcSwap::from_pointee(seen),
        }))
    }

    /// Reads the files again if they changed since the last call, or always with `force`. Returns
    /// whether a new certificate is in use. After an error the old one stays in use, and the files
    /// are not read again until they change once more.
    pub fn reload(&self, force: bool) -> Result<bool, TlsError> {
        let now = fingerprint(&self.files);
        if !force && (now.is_none() || now == **self.seen.load()) {
            return Ok(false);
        }
        self.seen.store(Arc::new(now));
        self.current.store(Arc::new(read(&self.files)?));
        Ok(true)
    }

    /// Returns the acceptor that performs TLS handshakes: TLS 1.2 and 1.3, HTTP/2 preferred,
    /// sessions resumed by tickets.
    pub fn acceptor(self: &Arc<Self>) -> Result<TlsAcceptor, TlsError> {
        let resolver = Arc::clone(self) as Arc<dyn ResolvesServerCert>;
        let mut config =
            rustls::ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
                .with_safe_default_protocol_versions()?
                .with_no_client_auth()
                .with_cert_resolver(resolver);
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        config.ticketer = aws_lc_rs::Ticketer::new()?;
        Ok(TlsAcceptor::from(Arc::new(config)))
    }
}

impl ResolvesServerCert for Certificates {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.current.load_full())
    }
}

fn read(files: &TlsFiles) -> Result<CertifiedKey, TlsError> {
    let text = |path: &Path| {
        fs::read(path).map_err(|source| TlsError::Read {
            path: path.to_owned(),
            source,
        })
    };
    let pem = |path: &Path, source| TlsError::Pem {
        path: path.to_owned(),
        source,
    };
    let chain: Vec<CertificateDer<'static>> =
        CertificateDer::pem_slice_iter(&text(&files.certificate)?)
            .collect::<Result<_, _>>()
            .map_err(|source| pem(&files.certificate, source))?;
    if chain.is_empty() {
        return Err(TlsError::NoCertificate(files.certificate.clone()));
    }
    let key = PrivateKeyDer::from_pem_slice(&text(&files.key)?)
        .map_err(|source| pem(&files.key, source))?;
    CertifiedKey::from_der(chain, key, &aws_lc_rs::default_provider()).map_err(|source| {
        TlsError::Mismatch {
            certificate: files.certificate.clone(),
            key: files.key.clone(),
            source,
        }
    })
}

fn fingerprint(files: &TlsFiles) -> Option<Fingerprint> {
    let of = |path: &Path| {
        fs::metadata(path)
            .ok()
            .map(|seen| (seen.ino(), seen.mtime(), seen.mtime_nsec(), seen.len()))
    };
    Some([of(&files.certificate)?, of(&files.key)?])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write_pair(folder: &Path, name: &str) -> TlsFiles {
        let pair = rcgen::generate_simple_self_signed(vec![name.to_owned()]).expect("rcgen signs");
        let files = TlsFiles {
            certificate: folder.join("tls.crt"),
            key: folder.join("tls.key"),
        };
        fs::write(&files.certificate, pair.cert.pem()).expect("write");
        fs::write(&files.key, pair.signing_key.serialize_pem()).expect("write");
        files
    }

    #[test]
    fn files_are_read_again_only_when_they_change() {
        let folder = tempfile::tempdir().expect("a folder");
        let certificates =
            Certificates::load(write_pair(folder.path(), "first.test")).expect("loads");
        let first = certificates.current.load_full();
        assert!(!certificates.reload(false).expect("nothing to do"));
        write_pair(folder.path(), "second.test");
        assert!(certificates.reload(false).expect("reloads"));
        assert_ne!(certificates.current.load().cert, first.cert);
        assert!(certificates.reload(true).expect("forced"));
    }

    #[test]
    fn a_broken_pair_keeps_the_old_certificate_and_is_reported_once() {
        let folder = tempfile::tempdir().expect("a folder");
        let files = write_pair(folder.path(), "first.test");
        let certificates = Certificates::load(files.clone()).expect("loads");
        let first = certificates.current.load_full();
        fs::write(&files.key, "not a key at all").expect("write");
        assert!(matches!(
            certificates.reload(false),
            Err(TlsError::Pem { .. })
        ));
        assert!(!certificates.reload(false).expect("not tried again"));
        assert_eq!(certificates.current.load().cert, first.cert);
    }

    #[test]
    fn a_key_of_another_certificate_is_refused() {
        let folder = tempfile::tempdir().expect("a folder");
        let files = write_pair(folder.path(), "first.test");
        let other =
            rcgen::generate_simple_self_signed(vec!["other.test".to_owned()]).expect("rcgen signs");
        fs::write(&files.key, other.signing_key.serialize_pem()).expect("write");
        assert!(matches!(
            Certificates::load(files),
            Err(TlsError::Mismatch { .. })
        ));
    }
}
