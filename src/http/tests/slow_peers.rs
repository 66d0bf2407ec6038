//! Peers that hold a connection and give nothing for it: each is cut within its timeout.

use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep, timeout};

use crate::ConnectionLimits;
use crate::tests::support::{LARGE, Server, read_to_end, send, short_timeouts};

#[tokio::test]
async fn incomplete_heads_and_silence_are_cut() {
    let server = Server::start(short_timeouts());
    for bytes in ["", "GET / HTTP/1.1\r\nHo", "PRI * HTT", "\r\n"] {
        assert_eq!(server.exchange(bytes).await, "", "{bytes:?}");
    }
    assert_eq!(server.traffic.cut.load(Relaxed), 4);
    let idle = server.exchange("GET / HTTP/1.1\r\nHost: x\r\n\r\n").await;
    assert!(idle.ends_with("length 0"), "served, then closed: {idle}");
}

#[tokio::test]
async fn a_head_that_arrives_byte_by_byte_is_cut() {
    let server = Server::start(short_timeouts());
    let mut socket = server.connect().await;
    let head = b"GET / HTTP/1.1\r\nX-Long: ";
    let sending = async {
        for byte in head.iter().chain(std::iter::repeat(&b'a')) {
            if socket.write_all(&[*byte]).await.is_err() {
                break;
            }
            sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(Duration::from_secs(5), sending).await.expect("cut");
}

/// The ways by which a request's body can stop arriving.
const STALLED_BODIES: [&[&str]; 5] = [
    &["PUT / HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nabc"],
    &["PUT / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab"],
    // A size that no counter can follow.
    &["PUT / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\nab"],
    // A head in two segments, cut within white space.
    &[
        "PUT / HTTP/1.1\r\nHost: x\r\nContent-Length:                                       ",
        "                                        9\r\n\r\nabc",
    ],
    &["PUT / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nX-Trailer: "],
];

#[tokio::test]
async fn a_body_that_stops_arriving_gets_408() {
    let server = Server::start(short_timeouts());
    for segments in STALLED_BODIES {
        let mut socket = server.connect().await;
        for segment in segments {
            send(&mut socket, segment).await;
            sleep(Duration::from_millis(20)).await;
        }
        let response = read_to_end(&mut socket).await;
        let status = &response[..response.len().min(13)];
        assert!(
            matches!(status, "HTTP/1.1 408 " | "HTTP/1.1 400 "),
            "{segments:?}: {response}"
        );
        assert!(response.contains("connection: close"), "{response}");
    }
}

#[tokio::test]
async fn a_body_below_the_minimum_rate_gets_408() {
    let server = Server::start(ConnectionLimits {
        minimum_rate: 10_000,
        ..short_timeouts()
    });
    let mut socket = server.connect().await;
    let head = "PUT / HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\n";
    send(&mut socket, head).await;
    let (mut reader, mut writer) = socket.split();
    let mut response = String::new();
    let reading = reader.read_to_string(&mut response);
    let sending = async {
        while writer.write_all(b"a").await.is_ok() {
            sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::select! {
        _ = reading => {}
        () = sending => {}
        () = sleep(Duration::from_secs(10)) => panic!("not cut"),
    }
    assert!(response.starts_with("HTTP/1.1 408 "), "{response}");
}

#[tokio::test]
async fn a_response_that_is_not_taken_is_cut() {
    let server = Server::start(short_timeouts());
    let mut socket = server.connect().await;
    send(&mut socket, "GET /large HTTP/1.1\r\nHost: x\r\n\r\n").await;
    server.wait_for(1, |traffic| &traffic.open).await;
    server.wait_for(0, |traffic| &traffic.open).await;
    assert_eq!(server.traffic.cut.load(Relaxed), 1);
}

/// The handler's part ends long before the peer has read what hyper and the kernel hold.
#[tokio::test]
async fn a_slow_reader_above_the_minimum_rate_is_served_whole() {
    let server = Server::start(ConnectionLimits {
        stall_timeout: Duration::from_secs(30),
        ..short_timeouts()
    });
    let mut socket = server.connect().await;
    send(&mut socket, "GET /large HTTP/1.1\r\nHost: x\r\n\r\n").await;
    let mut read = 0;
    let mut buffer = vec![0; LARGE / 32];
    while read < LARGE {
        // Altogether twice the idle and header timeouts.
        sleep(Duration::from_millis(60)).await;
        let count = socket.read(&mut buffer).await.expect("not cut");
        assert!(count > 0, "closed after {read} bytes");
        read += count;
    }
}

/// Pipelined requests without an end, whose responses nobody reads.
#[tokio::test]
async fn requests_without_readers_are_cut() {
    let server = Server::start(short_timeouts());
    let mut socket = server.connect().await;
    let requests = "GET / HTTP/1.1\r\nHost: x\r\n\r\n".repeat(1_000);
    let sending = async { while socket.write_all(requests.as_bytes()).await.is_ok() {} };
    timeout(Duration::from_secs(15), sending)
        .await
        .expect("cut");
    assert_eq!(server.traffic.cut.load(Relaxed), 1);
}

/// Twenty connections that hold their places by every means above: a client that comes later is
/// served within the longest of the timeouts.
#[tokio::test]
async fn twenty_silent_sockets_do_not_block_a_server_of_twenty_connections() {
    let server = Server::start(ConnectionLimits {
        connections: 20,
        ..short_timeouts()
    });
    let mut held: Vec<TcpStream> = Vec::new();
    let openings = STALLED_BODIES.iter().copied().chain([
        &[""][..],
        &["GET / HTTP/1.1\r\nHo"],
        &["GET / HTTP/1.1\r\nHost: x\r\n\r\n"],
        &["GET /large HTTP/1.1\r\nHost: x\r\n\r\n"],
        &["PUT /early HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nabc"],
        &["PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0"],
    ]);
    for segments in openings.cycle().take(20) {
        let mut socket = server.connect().await;
        for segment in segments {
            send(&mut socket, segment).await;
        }
        held.push(socket);
    }
    let started = Instant::now();
    let request = "GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
    let response = server.exchange(request).await;
    assert!(response.ends_with("length 0"), "{response}");
    assert!(
        started.elapsed() < Duration::from_secs(5),
        "{:?}",
        started.elapsed()
    );
    server.wait_for(0, |traffic| &traffic.open).await;
}

/// Idle connections give way to those that wait.
#[tokio::test]
async fn idle_connections_are_closed_early_when_all_are_in_use() {
    let server = Server::start(ConnectionLimits {
        connections: 2,
        ..ConnectionLimits::default()
    });
    let mut idle = [server.connect().await, server.connect().await];
    for socket in &mut idle {
        send(socket, "GET / HTTP/1.1\r\nHost: x\r\n\r\n").await;
    }
    let request = "GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
    let response = timeout(Duration::from_secs(10), server.exchange(request)).await;
    assert!(
        response
            .expect("before the idle timeout")
            .ends_with("length 0")
    );
}
