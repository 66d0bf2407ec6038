//! Connections that leave HTTP.

use std::time::Duration;

use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use tokio::time::sleep;

use crate::ConnectionLimits;
use crate::tests::support::{Server, read_to_end, read_until, send, short_timeouts};

const UPGRADE: &str =
    "GET /upgrade HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n";

async fn upgraded(server: &Server) -> TcpStream {
    let mut socket = server.connect().await;
    send(&mut socket, UPGRADE).await;
    let head = read_until(&mut socket, "\r\n\r\n").await;
    assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
    socket
}

#[tokio::test]
async fn an_upgraded_connection_lives_longer_than_all_timeouts_of_http() {
    let limits = short_timeouts();
    let silence = limits.idle_timeout + limits.header_timeout + Duration::from_millis(600);
    let server = Server::start(limits);
    let mut socket = upgraded(&server).await;
    for text in ["first", "second"] {
        sleep(silence).await;
        send(&mut socket, text).await;
        read_until(&mut socket, text).await;
    }
    socket.shutdown().await.expect("open");
    assert_eq!(read_to_end(&mut socket).await, "");
}

#[tokio::test]
async fn an_upgraded_connection_is_not_counted_by_the_listener() {
    let server = Server::start(ConnectionLimits {
        connections: 2,
        connections_per_address: 1,
        ..ConnectionLimits::default()
    });
    let mut sockets = Vec::new();
    for _ in 0..4 {
        sockets.push(upgraded(&server).await);
        server.wait_for(0, |traffic| &traffic.open).await;
    }
    for socket in &mut sockets {
        send(socket, "hello").await;
        read_until(socket, "hello").await;
    }
}

#[tokio::test]
async fn more_than_a_head_holds_passes_an_upgraded_connection() {
    let server = Server::start(ConnectionLimits::default());
    let mut socket = upgraded(&server).await;
    let part = "0123456789abcdef".repeat(1024);
    for number in 0..8 {
        let text = format!("{part} end {number};");
        send(&mut socket, &text).await;
        read_until(&mut socket, &format!(" end {number};")).await;
    }
}

#[tokio::test]
async fn bytes_that_follow_the_request_at_once_are_not_lost() {
    let server = Server::start(ConnectionLimits::default());
    let mut socket = server.connect().await;
    send(&mut socket, format!("{UPGRADE}early")).await;
    read_until(&mut socket, "early").await;
}
