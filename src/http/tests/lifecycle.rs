//! Connections from their acceptance to the drain.

use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use tokio::io::AsyncReadExt as _;
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};

use crate::tests::support::{Server, read_to_end, read_until, send};
use crate::{ConnectionLimits, Drained};

const REQUEST: &str = "GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";

#[tokio::test]
async fn connections_above_the_limit_wait_and_are_served_later() {
    let server = Server::start(ConnectionLimits {
        connections: 1,
        ..ConnectionLimits::default()
    });
    let first = server.connect().await;
    let mut second = server.connect().await;
    send(&mut second, REQUEST).await;
    let mut byte = [0];
    let early = timeout(Duration::from_millis(150), second.read(&mut byte)).await;
    assert!(early.is_err(), "served above the limit");
    drop(first);
    assert!(read_to_end(&mut second).await.ends_with("length 0"));
    assert_eq!(server.traffic.accepted.load(Relaxed), 2);
}

#[tokio::test]
async fn connections_of_one_address_above_their_limit_are_closed() {
    let server = Server::start(ConnectionLimits {
        connections_per_address: 2,
        ..ConnectionLimits::default()
    });
    let held = [server.connect().await, server.connect().await];
    server.wait_for(2, |traffic| &traffic.open).await;
    assert_eq!(read_to_end(&mut server.connect().await).await, "");
    assert_eq!(server.traffic.turned_away.load(Relaxed), 1);
    drop(held);
    server.wait_for(0, |traffic| &traffic.open).await;
    assert!(server.exchange(REQUEST).await.ends_with("length 0"));
}

#[tokio::test]
async fn a_drain_finishes_what_is_in_flight_and_accepts_no_more() {
    let server = Server::start(ConnectionLimits::default());
    let mut idle = server.connect().await;
    send(&mut idle, "GET / HTTP/1.1\r\nHost: x\r\n\r\n").await;
    read_until(&mut idle, "length 0").await;
    let mut slow = server.connect().await;
    send(&mut slow, "GET /slow HTTP/1.1\r\nHost: x\r\n\r\n").await;
    sleep(Duration::from_millis(100)).await;
    server.stop.send(()).expect("still runs");
    assert!(read_to_end(&mut slow).await.ends_with("length 0"));
    assert_eq!(read_to_end(&mut idle).await, "");
    assert_eq!(server.task.await.expect("no panic"), Drained { cut: 0 });
    assert!(TcpStream::connect(server.address).await.is_err());
}

#[tokio::test]
async fn a_drain_is_bounded() {
    let server = Server::start(ConnectionLimits {
        drain_timeout: Duration::from_millis(100),
        ..ConnectionLimits::default()
    });
    let mut stuck = server.connect().await;
    send(
        &mut stuck,
        "PUT / HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nabc",
    )
    .await;
    server.wait_for(1, |traffic| &traffic.open).await;
    sleep(Duration::from_millis(50)).await;
    server.stop.send(()).expect("still runs");
    assert_eq!(server.task.await.expect("no panic"), Drained { cut: 1 });
    assert_eq!(read_to_end(&mut stuck).await, "");
}
