//! HTTP/2: each stream has its own deadlines, and a peer cannot have the server work for nothing.

use std::net::Ipv4Addr;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use bytes::Bytes;
use h2::client::{Builder, SendRequest};
use h2::{Reason, RecvStream};
use http::{HeaderName, HeaderValue, Request, StatusCode};
use tokio::io::AsyncWriteExt as _;
use tokio::net::{TcpSocket, TcpStream};
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

use crate::ConnectionLimits;
use crate::tests::support::{LARGE, Server, read_to_end, short_timeouts};

const PATIENCE: Duration = Duration::from_secs(20);

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

struct Client {
    requests: SendRequest<Bytes>,
    connection: JoinHandle<Result<(), h2::Error>>,
}

impl Client {
    async fn connect(server: &Server) -> Self {
        Self::connect_with(server, Builder::new().initial_window_size(1024 * 1024)).await
    }

    async fn connect_with(server: &Server, builder: &Builder) -> Self {
        Self::on(server.connect().await, builder).await
    }

    /// Connects from an address of this machine.
    async fn connect_from(address: Ipv4Addr, server: &Server) -> Self {
        let socket = TcpSocket::new_v4().expect("a socket");
        socket.bind((address, 0).into()).expect("binds");
        let socket = socket.connect(server.address).await.expect("connects");
        Self::on(socket, &Builder::new()).await
    }

    async fn on(socket: TcpStream, builder: &Builder) -> Self {
        let (requests, connection) = builder.handshake(socket).await.expect("a handshake");
        Self {
            requests,
            connection: tokio::spawn(connection),
        }
    }

    /// Sends a request without a body; its status and body.
    async fn get(&self, path: &str) -> (StatusCode, RecvStream) {
        let mut requests = self.requests.clone().ready().await.expect("open");
        let (response, _) = requests
            .send_request(request("GET", path), true)
            .expect("sent");
        let response = timeout(PATIENCE, response).await.expect("in time");
        let response = response.expect("a response");
        (response.status(), response.into_body())
    }

    async fn is_usable(&self) -> bool {
        let (status, body) = self.get("/").await;
        status == StatusCode::OK && read(body).await == Ok(b"length 0".to_vec())
    }
}

fn request(method: &str, path: &str) -> Request<()> {
    let uri = format!("http://x{path}");
    let request = Request::builder().method(method).uri(uri);
    request.body(()).expect("a request")
}

/// Reads a body to its end; the reason if the server resets the stream.
async fn read(mut body: RecvStream) -> Result<Vec<u8>, Reason> {
    let mut bytes = Vec::new();
    while let Some(data) = timeout(PATIENCE, body.data()).await.expect("in time") {
        let data = data.map_err(|error| error.reason().unwrap_or(Reason::INTERNAL_ERROR))?;
        bytes.extend_from_slice(&data);
        let _ = body.flow_control().release_capacity(data.len());
    }
    Ok(bytes)
}

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).expect("short").to_be_bytes();
    let head = [&length[1..], &[kind, flags], &stream.to_be_bytes()[..]].concat();
    [&head, payload].concat()
}

/// A connection of frames made by hand.
async fn raw(server: &Server) -> TcpStream {
    let mut socket = server.connect().await;
    let settings = frame(4, 0, 0, &[]);
    let opening = [PREFACE, &settings].concat();
    socket.write_all(&opening).await.expect("sends");
    socket
}

/// Sends the same bytes again and again until the server closes the connection.
async fn flood(socket: &mut TcpStream, bytes: &[u8]) {
    let bytes = bytes.repeat(64);
    let flooding = async { while socket.write_all(&bytes).await.is_ok() {} };
    timeout(PATIENCE, flooding).await.expect("closed in time");
}

#[tokio::test]
async fn bodies_arrive_whole_through_windows_of_every_size() {
    let server = Server::start(ConnectionLimits::default());
    for window in [1_000, 65_535, 8 * 1024 * 1024] {
        let mut builder = Builder::new();
        builder.initial_window_size(window);
        let client = Client::connect_with(&server, &builder).await;
        assert!(client.is_usable().await);
        let (_, body) = client
            .get(if window > 1_000 { "/large" } else { "/" })
            .await;
        let expected = if window > 1_000 { LARGE } else { 8 };
        assert_eq!(read(body).await.map(|bytes| bytes.len()), Ok(expected));
        assert!(client.is_usable().await);
    }
}

#[tokio::test]
async fn a_stream_whose_window_stays_closed_is_reset_and_the_others_go_on() {
    let server = Server::start(short_timeouts());
    for path in ["/large", "/"] {
        let mut builder = Builder::new();
        builder.initial_window_size(0);
        let client = Client::connect_with(&server, &builder).await;
        let cut = server.traffic.cut.load(Relaxed);
        let (status, body) = client.get(path).await;
        assert_eq!(status, StatusCode::OK);
        assert_eq!(read(body).await, Err(Reason::CANCEL), "{path}");
        assert_eq!(server.traffic.cut.load(Relaxed), cut + 1);
        let (status, _body) = client.get("/early").await;
        assert_eq!(status, StatusCode::UNAUTHORIZED, "the connection is open");
    }
}

#[tokio::test]
async fn a_window_that_opens_byte_by_byte_is_below_the_minimum_rate() {
    let server = Server::start(ConnectionLimits {
        minimum_rate: 10_000,
        ..short_timeouts()
    });
    let mut builder = Builder::new();
    builder.initial_window_size(100);
    let client = Client::connect_with(&server, &builder).await;
    let (_, mut body) = client.get("/large").await;
    let dripping = async {
        while let Some(Ok(data)) = body.data().await {
            for _ in 0..data.len() {
                sleep(Duration::from_millis(5)).await;
                let _ = body.flow_control().release_capacity(1);
            }
        }
    };
    timeout(PATIENCE, dripping).await.expect("reset");
    assert_eq!(server.traffic.cut.load(Relaxed), 1);
}

#[tokio::test]
async fn a_request_body_that_stops_arriving_gets_408_and_the_others_go_on() {
    let server = Server::start(short_timeouts());
    let client = Client::connect(&server).await;
    for sent in [0, 3] {
        let mut requests = client.requests.clone().ready().await.expect("open");
        let (response, mut body) = requests
            .send_request(request("PUT", "/"), false)
            .expect("sent");
        if sent > 0 {
            let data = Bytes::from(vec![b'a'; sent]);
            body.send_data(data, false).expect("sent");
        }
        let response = timeout(PATIENCE, response).await.expect("in time");
        let status = response.expect("a response").status();
        assert_eq!(status, StatusCode::REQUEST_TIMEOUT, "after {sent} bytes");
        assert!(client.is_usable().await);
    }
}

#[tokio::test]
async fn an_early_response_leaves_the_connection_usable() {
    let server = Server::start(ConnectionLimits::default());
    let client = Client::connect(&server).await;
    let mut requests = client.requests.clone().ready().await.expect("open");
    let (response, mut body) = requests
        .send_request(request("PUT", "/early"), false)
        .expect("sent");
    body.send_data(Bytes::from(vec![0; 60_000]), false)
        .expect("sent");
    let response = response.await.expect("a response");
    assert_eq!(response.status(), StatusCode::UNAUTHORIZED);
    assert_eq!(read(response.into_body()).await, Ok(b"no".to_vec()));
    assert!(client.is_usable().await);
}

#[tokio::test]
async fn a_peer_that_resets_its_streams_is_closed() {
    let server = Server::start(ConnectionLimits {
        resets: 20,
        ..ConnectionLimits::default()
    });
    let client = Client::connect(&server).await;
    let mut requests = client.requests.clone();
    for _ in 0..500 {
        let Ok(ready) = requests.ready().await else {
            break;
        };
        requests = ready;
        let Ok((response, mut stream)) = requests.send_request(request("GET", "/slow"), true)
        else {
            break;
        };
        stream.send_reset(Reason::CANCEL);
        drop(response);
        // One at a time, so that each reaches a handler before its reset.
        sleep(Duration::from_millis(1)).await;
    }
    let closed = timeout(PATIENCE, client.connection).await;
    assert!(closed.is_ok(), "closed by the server");
    server.wait_for(0, |traffic| &traffic.open).await;
}

#[tokio::test]
async fn resets_among_completed_requests_are_allowed() {
    let server = Server::start(ConnectionLimits {
        resets: 2,
        ..ConnectionLimits::default()
    });
    let client = Client::connect(&server).await;
    for _ in 0..8 {
        let (_, body) = client.get("/large").await;
        drop(body);
        assert!(client.is_usable().await);
    }
}

#[tokio::test]
async fn the_configured_number_of_streams_is_announced() {
    let server = Server::start(ConnectionLimits {
        streams: 7,
        ..ConnectionLimits::default()
    });
    let client = Client::connect(&server).await;
    assert!(client.is_usable().await);
    assert_eq!(client.requests.current_max_send_streams(), 7);
}

#[tokio::test]
async fn further_connections_of_an_address_have_fewer_streams_and_smaller_windows() {
    let server = Server::start(ConnectionLimits::default());
    let mut first = Vec::new();
    for _ in 0..64 {
        first.push(server.connect().await);
    }
    server.wait_for(64, |traffic| &traffic.open).await;
    let client = Client::connect(&server).await;
    assert!(client.is_usable().await);
    assert_eq!(client.requests.current_max_send_streams(), 6);
    // Longer than both windows.
    let mut requests = client.requests.clone().ready().await.expect("open");
    let (response, mut body) = requests
        .send_request(request("PUT", "/"), false)
        .expect("sent");
    let data = Bytes::from(vec![b'a'; 1_000_000]);
    body.send_data(data, true).expect("sent");
    let response = timeout(PATIENCE, response).await.expect("in time");
    let response = response.expect("a response").into_body();
    assert_eq!(read(response).await, Ok(b"length 1000000".to_vec()));

    drop(first);
    server.wait_for(1, |traffic| &traffic.open).await;
    let client = Client::connect(&server).await;
    assert!(client.is_usable().await);
    assert_eq!(client.requests.current_max_send_streams(), 100);
}

#[tokio::test]
async fn further_connections_of_all_addresses_have_fewer_streams() {
    let server = Server::start(ConnectionLimits::default());
    let mut first = Vec::new();
    for last in 1..=4 {
        for _ in 0..64 {
            let client = Client::connect_from([127, 0, 1, last].into(), &server).await;
            assert!(client.is_usable().await);
            assert_eq!(client.requests.current_max_send_streams(), 100);
            first.push(client);
        }
    }
    let streams = async || {
        let client = Client::connect(&server).await;
        assert!(client.is_usable().await);
        client.requests.current_max_send_streams()
    };
    assert_eq!(streams().await, 6);
    drop(first);
    server.wait_for(0, |traffic| &traffic.open).await;
    assert_eq!(streams().await, 100);
}

#[tokio::test]
async fn a_long_header_list_gets_431() {
    let server = Server::start(ConnectionLimits {
        header_bytes: 8 * 1024,
        ..ConnectionLimits::default()
    });
    let client = Client::connect(&server).await;
    let mut long = request("GET", "/");
    let value = "a".repeat(9 * 1024).parse().expect("a value");
    long.headers_mut().insert("x-long", value);
    let mut requests = client.requests.clone().ready().await.expect("open");
    let (response, _) = requests.send_request(long, true).expect("sent");
    let status = response.await.expect("a response").status();
    assert_eq!(status, StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE);
}

/// Each field takes memory besides its text, which the length of the list does not bound.
#[tokio::test]
async fn many_header_fields_get_431() {
    let server = Server::start(ConnectionLimits::default());
    let client = Client::connect(&server).await;
    for (fields, expected) in [
        (100, StatusCode::OK),
        (101, StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE),
        (800, StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE),
    ] {
        let mut many = request("GET", "/");
        for number in 0..fields {
            let name = format!("x{number}").parse::<HeaderName>().expect("a name");
            many.headers_mut()
                .insert(name, HeaderValue::from_static(""));
        }
        let mut requests = client.requests.clone().ready().await.expect("open");
        let (response, _) = requests.send_request(many, true).expect("sent");
        let status = response.await.expect("a response").status();
        assert_eq!(status, expected, "{fields} fields");
    }
    assert!(client.is_usable().await);
}

#[tokio::test]
async fn a_flood_of_continuation_frames_is_closed() {
    let server = Server::start(ConnectionLimits::default());
    for payload in [&[0x40, 1, b'a', 1, b'b'][..], &[]] {
        let mut socket = raw(&server).await;
        let headers = frame(1, 1, 1, &[0x82, 0x86, 0x84]);
        socket.write_all(&headers).await.expect("sends");
        flood(&mut socket, &frame(9, 0, 1, payload)).await;
    }
    server.wait_for(0, |traffic| &traffic.open).await;
}

/// The server stops reading while it cannot send its acknowledgements.
#[tokio::test]
async fn floods_whose_responses_nobody_reads_are_closed() {
    let server = Server::start(short_timeouts());
    for flooding in [frame(6, 0, 0, &[0; 8]), frame(4, 0, 0, &[])] {
        let mut socket = raw(&server).await;
        flood(&mut socket, &flooding).await;
    }
    server.wait_for(0, |traffic| &traffic.open).await;
}

#[tokio::test]
async fn silent_connections_are_closed() {
    let server = Server::start(short_timeouts());
    // Without a request, and with a head that does not end.
    for frames in [vec![], frame(1, 0, 1, &[0x82])] {
        let mut socket = raw(&server).await;
        socket.write_all(&frames).await.expect("sends");
        read_to_end(&mut socket).await;
    }
    server.wait_for(0, |traffic| &traffic.open).await;
}

#[tokio::test]
async fn twenty_connections_of_stalled_streams_do_not_block_a_server_of_twenty() {
    let server = Server::start(ConnectionLimits {
        connections: 20,
        ..short_timeouts()
    });
    let mut builder = Builder::new();
    builder.initial_window_size(0);
    let mut held = Vec::new();
    for index in 0..20 {
        let client = Client::connect_with(&server, &builder).await;
        let mut requests = client.requests.clone().ready().await.expect("open");
        let (method, path, end) = match index % 3 {
            0 => ("GET", "/large", true),
            1 => ("PUT", "/", false),
            _ => ("GET", "/", true),
        };
        let sent = requests.send_request(request(method, path), end);
        held.push((sent.expect("sent"), client));
    }
    let request = "GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
    let response = timeout(Duration::from_secs(5), server.exchange(request)).await;
    assert!(response.expect("in time").ends_with("length 0"));
}
