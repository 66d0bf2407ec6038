//! The listener over loopback: raw sockets on the client's side, so that what is tested is the
//! bytes.

use std::fs;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

use crate::{Certificates, Connection, Drained, Handler, Limits, Listener, TlsFiles, Traffic};

/// Answers `/slow` after a while, all else at once with the length of the body it read; refuses two
/// framings.
#[derive(Clone)]
struct Echo;

impl Handler for Echo {
    type Body = Full<Bytes>;

    fn handle(
        &self,
        request: Request<Incoming>,
        connection: &Arc<Connection>,
    ) -> impl Future<Output = Response<Full<Bytes>>> + Send + use<> {
        let double = connection.is_doubly_framed();
        async move {
            if double {
                let mut refusal = Response::new(Full::new(Bytes::from_static(b"two framings")));
                *refusal.status_mut() = StatusCode::BAD_REQUEST;
                return refusal;
            }
            if request.uri().path() == "/slow" {
                sleep(Duration::from_millis(300)).await;
            }
            let length = request
                .into_body()
                .collect()
                .await
                .map_or(0, |body| body.to_bytes().len());
            Response::new(Full::new(format!("length {length}").into()))
        }
    }
}

struct Running {
    address: SocketAddr,
    traffic: Arc<Traffic>,
    stop: oneshot::Sender<()>,
    task: JoinHandle<Drained>,
}

fn start(limits: Limits, certificates: Option<&Arc<Certificates>>) -> Running {
    let tls = certificates.map(|certificates| certificates.acceptor().expect("TLS sets up"));
    let listener = Listener::bind(([127, 0, 0, 1], 0).into(), tls, limits).expect("binds");
    let (address, traffic) = (
        listener.address().expect("has an address"),
        listener.traffic(),
    );
    let (stop, stopped) = oneshot::channel::<()>();
    let task = tokio::spawn(listener.serve(Echo, async move {
        let _ = stopped.await;
    }));
    Running {
        address,
        traffic,
        stop,
        task,
    }
}

fn hurried() -> Limits {
    Limits {
        header_timeout: Duration::from_millis(200),
        idle_timeout: Duration::from_millis(400),
        stall_timeout: Duration::from_millis(300),
        drain_timeout: Duration::from_millis(600),
        ..Limits::default()
    }
}

async fn connect(running: &Running) -> TcpStream {
    TcpStream::connect(running.address).await.expect("connects")
}

/// Sends, then reads until the server closes.
async fn ask(mut socket: TcpStream, bytes: &[u8]) -> String {
    socket.write_all(bytes).await.expect("sends");
    rest(&mut socket).await
}

async fn rest(socket: &mut (impl tokio::io::AsyncRead + Unpin)) -> String {
    let mut answer = Vec::new();
    // A reset after the answer is a close too.
    let _ = timeout(Duration::from_secs(5), socket.read_to_end(&mut answer))
        .await
        .expect("the server closes in time");
    String::from_utf8_lossy(&answer).into_owned()
}

#[tokio::test]
async fn requests_with_two_framings_are_refused_in_either_order() {
    let running = start(Limits::default(), None);
    let tail = "2\r\nab\r\n0\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: x\r\n\r\n";
    for head in [
        "Content-Length: 4\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding: chunked\r\nContent-Length: 4",
    ] {
        let answer = ask(
            connect(&running).await,
            format!("POST / HTTP/1.1\r\nHost: x\r\n{head}\r\n\r\n{tail}").as_bytes(),
        )
        .await;
        assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
        assert_eq!(answer.matches("HTTP/1.1").count(), 1, "{answer}");
    }
    let chunked = format!(
        "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n{tail}"
    );
    assert!(
        ask(connect(&running).await, chunked.as_bytes())
            .await
            .ends_with("length 2")
    );
}

#[tokio::test]
async fn slow_heads_stalled_bodies_and_silence_are_cut() {
    let running = start(hurried(), None);
    assert_eq!(
        ask(connect(&running).await, b"").await,
        "",
        "no byte at all"
    );
    assert_eq!(
        ask(connect(&running).await, b"GET / HTTP/1.1\r\nHo").await,
        "",
        "half a head"
    );
    assert_eq!(
        ask(connect(&running).await, b"PRI * HTT").await,
        "",
        "half a preface"
    );
    let stalled = ask(
        connect(&running).await,
        b"PUT / HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nabc",
    )
    .await;
    assert!(!stalled.contains("200"), "{stalled}");
    let idle = ask(
        connect(&running).await,
        b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
    )
    .await;
    assert!(
        idle.ends_with("length 0"),
        "answered, then closed for idleness: {idle}"
    );
    assert!(running.traffic.cut.load(Relaxed) >= 4);
}

#[tokio::test]
async fn a_head_that_drips_does_not_outlive_its_timeout() {
    let running = start(hurried(), None);
    let mut socket = connect(&running).await;
    let dripped = timeout(Duration::from_secs(5), async {
        for byte in b"GET / HTTP/1.1\r\nX-Long: "
            .iter()
            .chain(std::iter::repeat_n(&b'a', 500))
        {
            if socket.write_all(&[*byte]).await.is_err() {
                break;
            }
            sleep(Duration::from_millis(20)).await;
        }
    });
    dripped.await.expect("cut long before the last byte");
}

#[tokio::test]
async fn heads_past_the_limit_get_431() {
    let running = start(
        Limits {
            header_bytes: 8 * 1024,
            ..Limits::default()
        },
        None,
    );
    let long = format!(
        "GET / HTTP/1.1\r\nHost: x\r\nA: {}\r\n\r\n",
        "a".repeat(9 * 1024)
    );
    let answer = ask(connect(&running).await, long.as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 431 "), "{answer}");
}

#[tokio::test]
async fn connections_past_the_cap_wait_and_are_served_later() {
    let running = start(
        Limits {
            connections: 1,
            ..Limits::default()
        },
        None,
    );
    let first = connect(&running).await;
    let mut second = connect(&running).await;
    second
        .write_all(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        .await
        .expect("sends");
    let mut byte = [0];
    assert!(
        timeout(Duration::from_millis(150), second.read(&mut byte))
            .await
            .is_err(),
        "served past the cap"
    );
    drop(first);
    assert!(rest(&mut second).await.ends_with("length 0"));
    assert_eq!(running.traffic.accepted.load(Relaxed), 2);
}

#[tokio::test]
async fn a_drain_finishes_what_is_in_flight_and_accepts_no_more() {
    let running = start(Limits::default(), None);
    let mut idle = connect(&running).await;
    idle.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        .await
        .expect("sends");
    let slow = tokio::spawn(ask(
        connect(&running).await,
        b"GET /slow HTTP/1.1\r\nHost: x\r\n\r\n",
    ));
    sleep(Duration::from_millis(100)).await;
    running.stop.send(()).expect("still runs");
    assert!(slow.await.expect("no panic").ends_with("length 0"));
    assert!(rest(&mut idle).await.ends_with("length 0"));
    assert_eq!(running.task.await.expect("no panic"), Drained { cut: 0 });
    assert!(TcpStream::connect(running.address).await.is_err());
}

#[tokio::test]
async fn a_drain_is_bounded() {
    let running = start(
        Limits {
            drain_timeout: Duration::from_millis(100),
            ..Limits::default()
        },
        None,
    );
    let mut stuck = connect(&running).await;
    stuck
        .write_all(b"PUT / HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nabc")
        .await
        .expect("sends");
    sleep(Duration::from_millis(50)).await;
    running.stop.send(()).expect("still runs");
    assert_eq!(running.task.await.expect("no panic"), Drained { cut: 1 });
    assert_eq!(rest(&mut stuck).await, "");
}

#[tokio::test]
async fn http2_is_spoken_without_an_upgrade() {
    let running = start(Limits::default(), None);
    let mut socket = connect(&running).await;
    socket
        .write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0")
        .await
        .expect("sends");
    let mut frame = [0; 9];
    socket.read_exact(&mut frame).await.expect("a frame");
    assert_eq!(frame[3], 4, "the server's preface is a SETTINGS frame");
}

fn certify(folder: &std::path::Path, name: &str) -> (TlsFiles, CertificateDer<'static>) {
    let pair = rcgen::generate_simple_self_signed(vec![name.to_owned(), "localhost".to_owned()])
        .expect("rcgen signs");
    let files = TlsFiles {
        certificate: folder.join("tls.crt"),
        key: folder.join("tls.key"),
    };
    fs::write(&files.certificate, pair.cert.pem()).expect("write");
    fs::write(&files.key, pair.signing_key.serialize_pem()).expect("write");
    (
        files,
        CertificateDer::from_pem_slice(pair.cert.pem().as_bytes()).expect("PEM"),
    )
}

async fn tls_connect(
    running: &Running,
    trusted: &CertificateDer<'static>,
) -> std::io::Result<tokio_rustls::client::TlsStream<TcpStream>> {
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
        .connect(name, connect(running).await)
        .await
}

#[tokio::test]
async fn a_new_certificate_serves_new_handshakes_and_old_connections_live_on() {
    let folder = tempfile::tempdir().expect("a folder");
    let (files, first) = certify(folder.path(), "first.test");
    let certificates = Certificates::load(files).expect("loads");
    let running = start(Limits::default(), Some(&certificates));
    let stalled = connect(&running).await; // Never says hello, and holds nobody up.
    let mut before = tls_connect(&running, &first)
        .await
        .expect("the first certificate");
    let (_, second) = certify(folder.path(), "second.test");
    assert!(certificates.reload(false).expect("reloads"));
    let mut after = tls_connect(&running, &second)
        .await
        .expect("the second certificate");
    assert!(tls_connect(&running, &first).await.is_err());
    for stream in [&mut before, &mut after] {
        stream
            .write_all(
                b"PUT / HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 3\r\n\r\nabc",
            )
            .await
            .expect("sends");
        assert!(rest(stream).await.ends_with("length 3"));
    }
    drop(stalled);
}
