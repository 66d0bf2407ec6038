//! Files over loopback connections and hyper: every byte is as in the file, or the connection
//! closes.

use std::convert::Infallible;
use std::io::Write as _;
use std::net::SocketAddr;
use std::time::Duration;

use axum::body::Body as AnyBody;
use http::{Request, Response};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::*;

const SIZE: usize = 6 * PIECE + 12_345;

/// Bytes that tell their offset, none of them zero.
fn pattern(length: usize) -> Vec<u8> {
    (0..length)
        .map(|i| u8::try_from((i * 31 + i / 251 + i / 65_521) % 255).unwrap_or(0) + 1)
        .collect()
}

static PATTERN: LazyLock<Vec<u8>> = LazyLock::new(|| pattern(SIZE));

fn file() -> Arc<File> {
    let mut file = tempfile::tempfile().expect("a file");
    file.write_all(&PATTERN).expect("written");
    Arc::new(file)
}

/// The responses to `/START-END`, `/hello`, and the misuses that must do no harm.
async fn respond(
    request: Request<Incoming>,
    file: Arc<File>,
    other_queue: SendfileQueue,
) -> Response<AnyBody> {
    let queue = request
        .extensions()
        .get::<SendfileQueue>()
        .expect("an extension")
        .clone();
    let body = match request.uri().path() {
        "/hello" => AnyBody::from("hello"),
        "/dropped" => {
            drop(
                std::future::poll_fn(|cx| {
                    Pin::new(&mut queue.body(Arc::clone(&file), 0..100)).poll_frame(cx)
                })
                .await,
            );
            AnyBody::from("hello")
        }
        "/other" => AnyBody::new(other_queue.body(file, 0..100)),
        "/beyond" => AnyBody::new(queue.body(file, SIZE as u64 - 10..SIZE as u64 + 10)),
        range => {
            let (start, end) = range
                .trim_start_matches('/')
                .split_once('-')
                .expect("a range");
            AnyBody::new(queue.body(
                file,
                start.parse().expect("a number")..end.parse().expect("a number"),
            ))
        }
    };
    Response::new(body)
}

async fn serve(writev: bool) -> (SocketAddr, Arc<File>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("bound");
    let file = file();
    let served = Arc::clone(&file);
    tokio::spawn(async move {
        let other_queue = SendfileQueue::default();
        while let Ok((stream, _)) = listener.accept().await {
            let (served, other_queue, io) = (
                Arc::clone(&served),
                other_queue.clone(),
                SendfileIo::new(stream),
            );
            let queue = io.queue();
            let service = service_fn(move |mut request: Request<Incoming>| {
                request.extensions_mut().insert(queue.clone());
                let response = respond(request, Arc::clone(&served), other_queue.clone());
                async move { Ok::<_, Infallible>(response.await) }
            });
            tokio::spawn(
                http1::Builder::new()
                    .writev(writev)
                    .pipeline_flush(false)
                    .serve_connection(TokioIo::new(io), service),
            );
        }
    });
    (address, file)
}

struct Client {
    stream: TcpStream,
    read: Vec<u8>,
}

impl Client {
    async fn connect(address: SocketAddr) -> Self {
        Self {
            stream: TcpStream::connect(address).await.expect("connected"),
            read: Vec::new(),
        }
    }

    async fn send(&mut self, method: &str, paths: &[String]) {
        let heads: Vec<String> = paths
            .iter()
            .map(|path| format!("{method} {path} HTTP/1.1\r\nhost: x\r\n\r\n"))
            .collect();
        self.stream
            .write_all(heads.concat().as_bytes())
            .await
            .expect("sent");
    }

    async fn more(&mut self) -> bool {
        self.stream
            .read_buf(&mut self.read)
            .await
            .is_ok_and(|read| read > 0)
    }

    /// The Content-Length of the next head, which is taken off.
    async fn head(&mut self) -> usize {
        let end = loop {
            if let Some(at) = self
                .read
                .windows(4)
                .position(|window| window == b"\r\n\r\n")
            {
                break at + 4;
            }
            assert!(
                self.more().await,
                "closed in the head: {:?}",
                String::from_utf8_lossy(&self.read)
            );
        };
        let head = String::from_utf8(self.read.drain(..end).collect())
            .expect("text")
            .to_lowercase();
        assert!(head.starts_with("http/1.1 200"), "{head}");
        head.split_once("content-length: ")
            .and_then(|(_, rest)| rest.split_once('\r'))
            .expect("a length")
            .0
            .parse()
            .expect("a number")
    }

    async fn body(&mut self, length: usize) -> Vec<u8> {
        while self.read.len() < length {
            assert!(
                self.more().await,
                "closed at {} of {length}",
                self.read.len()
            );
        }
        self.read.drain(..length).collect()
    }

    async fn get(&mut self, range: Range<usize>) -> Vec<u8> {
        self.send("GET", &[format!("/{}-{}", range.start, range.end)])
            .await;
        let length = self.head().await;
        assert_eq!(length, range.len());
        self.body(length).await
    }

    /// Everything until the server closes.
    async fn until_closed(mut self) -> Vec<u8> {
        while self.more().await {}
        self.read
    }
}

fn assert_same(got: &[u8], range: Range<usize>) {
    assert!(*got == PATTERN[range.clone()], "{range:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_size_and_range_arrives_as_it_is_over_one_connection() {
    let (address, _) = serve(true).await;
    let mut client = Client::connect(address).await;
    for length in [
        0,
        1,
        2,
        4_095,
        4_096,
        65_536,
        PIECE - 1,
        PIECE,
        PIECE + 1,
        3 * PIECE + 17,
        SIZE,
    ] {
        assert_same(&client.get(0..length).await, 0..length);
    }
    for range in [
        1..2,
        4_095..4_097,
        100..PIECE + 100,
        PIECE..2 * PIECE,
        SIZE - 1..SIZE,
        SIZE - PIECE - 1..SIZE,
        7..7,
    ] {
        assert_same(&client.get(range.clone()).await, range);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pipelined_responses_come_in_order_and_whole() {
    let (address, _) = serve(true).await;
    let mut client = Client::connect(address).await;
    let ranges: Vec<Range<usize>> = (0..40)
        .map(|i| i * 100_000..i * 100_000 + (i * 7_919) % 300_000)
        .collect();
    let mut paths: Vec<String> = ranges
        .iter()
        .map(|range| format!("/{}-{}", range.start, range.end))
        .collect();
    paths.insert(20, "/hello".to_owned());
    client.send("GET", &paths).await;
    for (i, range) in ranges.into_iter().enumerate() {
        if i == 20 {
            assert_eq!(client.head().await, 5);
            assert_eq!(client.body(5).await, b"hello");
        }
        let length = client.head().await;
        assert_same(&client.body(length).await, range);
    }
}

#[tokio::test]
async fn head_sends_the_length_alone() {
    let (address, _) = serve(true).await;
    let mut client = Client::connect(address).await;
    client.send("HEAD", &["/0-2000000".to_owned()]).await;
    assert_eq!(client.head().await, 2_000_000);
    assert_same(&client.get(5..500_000).await, 5..500_000);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_reader_gets_every_byte() {
    let (address, _) = serve(true).await;
    let mut client = Client::connect(address).await;
    client.send("GET", &[format!("/0-{SIZE}")]).await;
    let length = client.head().await;
    let mut buffer = vec![0; 200_000];
    while client.read.len() < length {
        tokio::time::sleep(Duration::from_millis(2)).await;
        let read = client.stream.read(&mut buffer).await.expect("open");
        assert!(read > 0);
        client.read.extend_from_slice(&buffer[..read]);
    }
    assert_same(&client.body(length).await, 0..SIZE);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_leaves_in_the_middle_disturbs_no_other() {
    let (address, _) = serve(true).await;
    for _ in 0..20 {
        let mut leaving = Client::connect(address).await;
        leaving.send("GET", &[format!("/0-{SIZE}")]).await;
        leaving.head().await;
        drop(leaving);
        let mut staying = Client::connect(address).await;
        assert_same(&staying.get(1_000..PIECE).await, 1_000..PIECE);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_not_in_memory_is_loaded_first() {
    let (address, file) = serve(true).await;
    let mut client = Client::connect(address).await;
    for _ in 0..3 {
        file.sync_all().expect("written");
        rustix::fs::fadvise(&file, 0, None, Advice::DontNeed).expect("advised");
        assert_same(&client.get(0..SIZE).await, 0..SIZE);
    }
}

#[tokio::test]
async fn zeros_are_never_sent() {
    // Markers that were copied instead of passed on.
    let (address, _) = serve(false).await;
    let mut client = Client::connect(address).await;
    client.send("GET", &["/0-50000".to_owned()]).await;
    let response = client.until_closed().await;
    assert!(!response.contains(&0), "{}", response.len());

    // A marker lost on its way, one of another connection, a file that ends early.
    let (address, _) = serve(true).await;
    for path in ["/dropped", "/other", "/beyond"] {
        let mut client = Client::connect(address).await;
        client
            .send("GET", &[path.to_owned(), "/0-100".to_owned()])
            .await;
        let response = client.until_closed().await;
        assert!(!response.contains(&0), "{path}");
        let body = response
            .windows(4)
            .position(|window| window == b"\r\n\r\n")
            .map_or(0, |at| response.len() - at - 4);
        assert_eq!(body, 0, "{path}: {:?}", String::from_utf8_lossy(&response));
    }
}

#[tokio::test]
async fn a_plain_write_of_a_marker_sends_the_file_too() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("bound");
    let (client, server) = tokio::join!(TcpStream::connect(address), listener.accept());
    let mut io = SendfileIo::new(server.expect("accepted").0);
    let marker = io.queue().push(&file(), 10, 1_000);
    io.write_all(b"before").await.expect("written");
    io.write_all(&marker).await.expect("sent");
    assert!(io.write_all(&marker).await.is_err(), "sent once only");
    drop(io);
    let mut read = Vec::new();
    client
        .expect("connected")
        .read_to_end(&mut read)
        .await
        .expect("read");
    assert_eq!(&read[..6], b"before");
    assert_same(&read[6..], 10..1_010);
}

/// One task occupies a worker until an event was handled that only another worker can receive.
#[test]
fn events_are_received_while_a_worker_is_occupied() {
    const PATIENCE: Duration = Duration::from_secs(20);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime");
    let (busy, is_busy) = std::sync::mpsc::channel();
    let (handled, is_handled) = std::sync::mpsc::channel();
    let (first, second) = runtime.block_on(async {
        let ((first, mut occupying), (second, mut other)) = (pair().await, pair().await);
        tokio::spawn(async move {
            occupying.read_u8().await.expect("a byte");
            wake_idle_worker();
            busy.send(()).expect("somebody waits");
            is_handled
                .recv_timeout(PATIENCE)
                .expect("the event was handled");
            busy.send(()).expect("somebody waits");
        });
        tokio::spawn(async move {
            other.read_u8().await.expect("a byte");
            handled.send(()).expect("a task waits");
        });
        (first, second)
    });
    // The count is odd while a worker sleeps. Both do, before the first event comes.
    let metrics = runtime.metrics();
    while (0..2).any(|worker| metrics.worker_park_unpark_count(worker).is_multiple_of(2)) {
        std::thread::yield_now();
    }
    for mut stream in [first, second] {
        stream.write_all(b"x").expect("written");
        is_busy
            .recv_timeout(2 * PATIENCE)
            .expect("the task goes on");
    }
}

/// A blocking socket and its other end.
async fn pair() -> (std::net::TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("bound");
    let client = std::net::TcpStream::connect(address).expect("connected");
    let (server, _) = listener.accept().await.expect("accepted");
    (client, server)
}
