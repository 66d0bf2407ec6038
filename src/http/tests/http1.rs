//! Requests that HTTP/1.1 does not allow, and responses that come before the request's end.

use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::time::{Instant, sleep, timeout};

use crate::ConnectionLimits;
use crate::tests::support::{LARGE, Server, read_to_end, read_until, send, short_timeouts};

const CLOSE: &str = "Host: x\r\nConnection: close\r\n";

#[tokio::test]
async fn both_content_length_and_transfer_encoding_get_400() {
    let server = Server::start(ConnectionLimits::default());
    let chunks = "2\r\nab\r\n0\r\n\r\n";
    for head in [
        "Content-Length: 4\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding: chunked\r\nContent-Length: 4",
        &format!(
            "Content-Length:{}4\r\nTransfer-Encoding: chunked",
            " ".repeat(70)
        ),
    ] {
        let response = server
            .exchange(format!(
                "POST / HTTP/1.1\r\nHost: x\r\n{head}\r\n\r\n{chunks}GET / HTTP/1.1\r\n{CLOSE}\r\n"
            ))
            .await;
        assert!(response.starts_with("HTTP/1.1 400 "), "{response}");
        assert_eq!(response.matches("HTTP/1.1").count(), 1, "{response}");
    }
    let response = server
        .exchange(format!(
            "POST / HTTP/1.1\r\n{CLOSE}Transfer-Encoding: chunked\r\n\r\n{chunks}"
        ))
        .await;
    assert!(response.ends_with("length 2"), "{response}");
}

#[tokio::test]
async fn only_the_request_with_two_framings_gets_400() {
    let server = Server::start(ConnectionLimits::default());
    let response = server
        .exchange(
            "GET /slow HTTP/1.1\r\nHost: x\r\n\r\n\
             POST / HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 2\r\n\r\nab",
        )
        .await;
    assert_eq!(response.matches("HTTP/1.1 200").count(), 2, "{response}");
    let response = server
        .exchange(
            "GET /slow HTTP/1.1\r\nHost: x\r\n\r\n\
             POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n\
             0\r\n\r\n",
        )
        .await;
    assert!(response.starts_with("HTTP/1.1 200 "), "{response}");
    assert_eq!(response.matches("HTTP/1.1 400").count(), 1, "{response}");
}

#[tokio::test]
async fn chunked_requests_follow_each_other_on_one_connection() {
    let server = Server::start(ConnectionLimits::default());
    let mut socket = server.connect().await;
    for _ in 0..3 {
        let head = "PATCH / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n";
        send(&mut socket, head).await;
        send(&mut socket, "3\r\nabc\r\n0\r\n\r\n").await;
        read_until(&mut socket, "length 3").await;
    }
}

#[tokio::test]
async fn a_missing_duplicate_or_malformed_host_gets_400() {
    let server = Server::start(ConnectionLimits::default());
    for hosts in [
        "",
        "Host: a\r\nHost: b\r\n",
        "Host: a b\r\n",
        "Host: http://a/\r\n",
    ] {
        let response = server
            .exchange(format!("GET / HTTP/1.1\r\n{hosts}\r\n"))
            .await;
        assert!(
            response.starts_with("HTTP/1.1 400 "),
            "{hosts:?}: {response}"
        );
    }
    let response = server.exchange("GET / HTTP/1.0\r\n\r\n").await;
    assert!(response.starts_with("HTTP/1.0 200 "), "{response}");
    server.wait_for(4, |traffic| &traffic.refused).await;
}

#[tokio::test]
async fn malformed_chunks_are_told_from_an_early_end() {
    let server = Server::start(ConnectionLimits::default());
    let head = "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n";
    for chunks in ["zz\r\n", "ffffffffffffffffff\r\n", "1\r\nabc\r\n"] {
        let response = server.exchange(format!("{head}{chunks}")).await;
        assert!(
            response.starts_with("HTTP/1.1 400 "),
            "{chunks:?}: {response}"
        );
    }
    let mut socket = server.connect().await;
    send(&mut socket, format!("{head}5\r\nab")).await;
    socket.shutdown().await.expect("shuts down");
    let response = read_to_end(&mut socket).await;
    assert!(response.starts_with("HTTP/1.1 500 "), "{response}");
    assert!(response.ends_with("ended early"), "{response}");
}

#[tokio::test]
async fn heads_above_the_limit_get_431_and_are_counted() {
    let server = Server::start(ConnectionLimits {
        header_bytes: 8 * 1024,
        ..ConnectionLimits::default()
    });
    let long = format!(
        "GET / HTTP/1.1\r\n{CLOSE}A: {}\r\n\r\n",
        "a".repeat(200_000)
    );
    let many = format!("GET / HTTP/1.1\r\n{CLOSE}{}\r\n", "a: b\r\n".repeat(200));
    for head in [long, many] {
        let response = server.exchange(head).await;
        assert!(response.starts_with("HTTP/1.1 431 "), "{response}");
    }
    let response = server.exchange("NONSENSE\r\n\r\n").await;
    assert!(response.starts_with("HTTP/1.1 400 "), "{response}");
    server.wait_for(3, |traffic| &traffic.refused).await;
}

/// hyper's own limit, which the server relies on instead of stating one.
#[tokio::test]
async fn a_head_has_at_most_100_fields() {
    let server = Server::start(ConnectionLimits::default());
    for (fields, status) in [(100, 200), (101, 431)] {
        let more = "a: b\r\n".repeat(fields - CLOSE.lines().count());
        let response = server
            .exchange(format!("GET / HTTP/1.1\r\n{CLOSE}{more}\r\n"))
            .await;
        let expected = format!("HTTP/1.1 {status} ");
        assert!(response.starts_with(&expected), "{fields}: {response}");
    }
    server.wait_for(1, |traffic| &traffic.refused).await;
}

/// HTTP/2 needs its own preface: an upgrade, a tunnel and an unknown method are ordinary requests.
#[tokio::test]
async fn nothing_leaves_http_1_1() {
    let server = Server::start(ConnectionLimits::default());
    for request in [
        "GET / HTTP/1.1\r\nHost: x\r\nConnection: close, Upgrade, HTTP2-Settings\r\n\
         Upgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n\r\n",
        "BREW / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
    ] {
        let response = server.exchange(request).await;
        assert!(response.starts_with("HTTP/1.1 200 "), "{response}");
        assert_eq!(response.matches("HTTP/1.1").count(), 1, "{response}");
    }
}

#[tokio::test]
async fn a_client_that_shuts_down_its_sending_side_gets_its_response() {
    let server = Server::start(ConnectionLimits::default());
    for request in [
        "GET /slow HTTP/1.1\r\nHost: x\r\n\r\n",
        "PUT /slow HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\nab",
    ] {
        let mut socket = server.connect().await;
        send(&mut socket, request).await;
        socket.shutdown().await.expect("shuts down");
        let response = read_to_end(&mut socket).await;
        assert!(response.starts_with("HTTP/1.1 200 "), "{response}");
    }
}

/// A client that sends all of its body before it reads: it must get the whole response, with its
/// length, and no reset.
#[tokio::test]
async fn an_early_response_reaches_a_client_that_is_still_sending() {
    let server = Server::start(ConnectionLimits::default());
    for framing in ["Content-Length: 16000000", "Transfer-Encoding: chunked"] {
        let mut socket = server.connect().await;
        send(
            &mut socket,
            format!("PUT /early HTTP/1.1\r\nHost: x\r\n{framing}\r\n\r\nf42400\r\n"),
        )
        .await;
        for _ in 0..16 {
            send(&mut socket, vec![b'a'; 1_000_000]).await;
            sleep(Duration::from_millis(5)).await;
        }
        let mut response = Vec::new();
        let started = Instant::now();
        socket.read_to_end(&mut response).await.expect("no reset");
        let response = String::from_utf8(response).expect("text");
        assert!(response.starts_with("HTTP/1.1 401 "), "{response}");
        assert!(response.contains("connection: close"), "{response}");
        assert!(response.contains("content-length: 2\r\n"), "{response}");
        assert!(response.ends_with("\r\n\r\nno"), "{response}");
        assert!(started.elapsed() < Duration::from_secs(5), "at once");
    }
}

#[tokio::test]
async fn a_client_that_never_stops_sending_is_not_read_for_long() {
    let server = Server::start(short_timeouts());
    let mut socket = server.connect().await;
    let head = "PUT /early HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n";
    send(&mut socket, head).await;
    let sending = async {
        while socket.write_all(&[b'0'; 100]).await.is_ok() {
            sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(Duration::from_secs(10), sending)
        .await
        .expect("cut");
    server.wait_for(0, |traffic| &traffic.open).await;
}

#[tokio::test]
async fn an_early_response_keeps_the_connection_if_there_is_no_body_or_a_short_one() {
    let server = Server::start(ConnectionLimits::default());
    let mut socket = server.connect().await;
    for body in ["\r\n", "Content-Length: 3\r\n\r\nabc", "\r\n"] {
        let request = format!("PUT /early HTTP/1.1\r\nHost: x\r\n{body}");
        send(&mut socket, request).await;
        let response = read_until(&mut socket, "\r\n\r\nno").await;
        assert!(!response.contains("connection: close"), "{response}");
    }
}

/// The first part of the next head arrives with a request whose response takes longer than the
/// header timeout.
#[tokio::test]
async fn an_incomplete_pipelined_head_does_not_cut_a_running_download() {
    let server = Server::start(ConnectionLimits {
        stall_timeout: Duration::from_secs(30),
        ..short_timeouts()
    });
    let mut socket = server.connect().await;
    let request = "GET /large HTTP/1.1\r\nHost: x\r\n\r\n";
    send(&mut socket, format!("{request}GET /la")).await;
    sleep(Duration::from_millis(20)).await;
    send(&mut socket, "rge").await;
    let mut read = 0;
    let mut buffer = vec![0; LARGE / 64];
    while read < LARGE {
        // Altogether some three times the header timeout.
        sleep(Duration::from_millis(10)).await;
        let count = socket.read(&mut buffer).await.expect("not cut");
        assert!(count > 0, "closed after {read} bytes");
        read += count;
    }
}
