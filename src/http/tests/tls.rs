//! The listener with TLS.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::sleep;
use tokio_rustls::client::TlsStream;

use crate::tests::support::{Server, read_to_end, short_timeouts};
use crate::{Certificates, ConnectionLimits, TlsFiles};

fn write_certificate(folder: &Path, name: &str) -> (TlsFiles, CertificateDer<'static>) {
    let pair = rcgen::generate_simple_self_signed(vec![name.to_owned(), "localhost".to_owned()])
        .expect("rcgen signs");
    let files = TlsFiles {
        certificate: folder.join("tls.crt"),
        key: folder.join("tls.key"),
    };
    fs::write(&files.certificate, pair.cert.pem()).expect("write");
    fs::write(&files.key, pair.signing_key.serialize_pem()).expect("write");
    let certificate = CertificateDer::from_pem_slice(pair.cert.pem().as_bytes()).expect("PEM");
    (files, certificate)
}

async fn connect(
    server: &Server,
    trusted: &CertificateDer<'static>,
) -> std::io::Result<TlsStream<TcpStream>> {
    let mut roots = rustls::RootCertStore::empty();
    roots.add(trusted.clone()).expect("a root");
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    let name = ServerName::try_from("localhost").expect("a name");
    tokio_rustls::TlsConnector::from(Arc::new(config))
        .connect(name, server.connect().await)
        .await
}

#[tokio::test]
async fn a_new_certificate_serves_new_handshakes_and_old_connections_stay() {
    let folder = tempfile::tempdir().expect("a folder");
    let (files, first) = write_certificate(folder.path(), "first.test");
    let certificates = Certificates::load(files).expect("loads");
    let server = Server::start_with(ConnectionLimits::default(), Some(&certificates));
    let _silent = server.connect().await; // Delays nobody.
    let mut before = connect(&server, &first).await.expect("the first one");
    let (_, second) = write_certificate(folder.path(), "second.test");
    assert!(certificates.reload(false).expect("reloads"));
    let mut after = connect(&server, &second).await.expect("the second one");
    assert!(connect(&server, &first).await.is_err());
    let request = b"PUT / HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 3\r\n\r\nabc";
    for stream in [&mut before, &mut after] {
        stream.write_all(request).await.expect("sends");
        assert!(read_to_end(stream).await.ends_with("length 3"));
    }
}

#[tokio::test]
async fn an_incomplete_handshake_and_a_response_that_is_not_taken_are_cut() {
    let folder = tempfile::tempdir().expect("a folder");
    let (files, certificate) = write_certificate(folder.path(), "a.test");
    let certificates = Certificates::load(files).expect("loads");
    let server = Server::start_with(short_timeouts(), Some(&certificates));
    let mut silent = server.connect().await;
    silent.write_all(&[22, 3, 1, 2, 0]).await.expect("sends");
    assert_eq!(read_to_end(&mut silent).await, "");
    assert_eq!(server.traffic.cut.load(Relaxed), 1);
    let mut deaf = connect(&server, &certificate).await.expect("a handshake");
    let request = b"GET /large HTTP/1.1\r\nHost: x\r\n\r\n";
    deaf.write_all(request).await.expect("sends");
    server.wait_for(2, |traffic| &traffic.cut).await;
    server.wait_for(0, |traffic| &traffic.open).await;
}

#[tokio::test]
async fn an_early_response_reaches_a_client_that_is_still_sending() {
    let folder = tempfile::tempdir().expect("a folder");
    let (files, certificate) = write_certificate(folder.path(), "a.test");
    let certificates = Certificates::load(files).expect("loads");
    let server = Server::start_with(ConnectionLimits::default(), Some(&certificates));
    let mut stream = connect(&server, &certificate).await.expect("a handshake");
    let head = b"PUT /early HTTP/1.1\r\nHost: x\r\nContent-Length: 8000000\r\n\r\n";
    stream.write_all(head).await.expect("sends");
    for _ in 0..8 {
        let body = vec![b'a'; 1_000_000];
        stream.write_all(&body).await.expect("no broken pipe");
        sleep(Duration::from_millis(5)).await;
    }
    let mut response = String::new();
    stream
        .read_to_string(&mut response)
        .await
        .expect("no reset");
    assert!(response.starts_with("HTTP/1.1 401 "), "{response}");
    assert!(response.ends_with("\r\n\r\nno"), "{response}");
}
