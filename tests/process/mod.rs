//! The program itself: what it prints, what it refuses to start on, and how it stops.

mod audit;
mod backup;
mod blob_stores;
mod errors;
mod fsck;
mod http;
mod keys;
mod local_clusters;
mod policy;

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::time::Duration;

use crate::support::{Process, run, stderr};

fn variables(printed: &str) -> Vec<&str> {
    printed
        .lines()
        .map(|line| {
            line.strip_prefix("export ")
                .and_then(|line| line.split('=').next())
                .unwrap_or(line)
        })
        .collect()
}

const FOUR: [&str; 4] = [
    "AWS_ENDPOINT_URL",
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_DEFAULT_REGION",
];

#[test]
fn the_first_start_prints_four_lines_and_later_ones_none() {
    let folder = tempfile::tempdir().expect("a folder");
    let first = Process::start(folder.path(), &[]);
    let port = first.address.rsplit(':').next().expect("a port").to_owned();
    let printed = first.stop();
    assert_eq!(variables(&printed), FOUR);
    assert!(
        printed.contains(&format!("AWS_ENDPOINT_URL=http://localhost:{port}\n")),
        "{printed}"
    );
    assert_eq!(Process::start(folder.path(), &[]).stop(), "");
}

#[test]
fn users_are_made_beside_a_running_server() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = Process::start(folder.path(), &[]);
    let made = run(
        folder.path(),
        &[
            "user",
            "create",
            "ci",
            "--policy",
            "AmazonEC2ContainerRegistryReadOnly",
        ],
    );
    let printed = String::from_utf8_lossy(&made.stdout).into_owned();
    assert_eq!(variables(&printed), FOUR, "{}", stderr(&made));
    let port = server.address.rsplit(':').next().expect("a port");
    assert!(
        printed.contains(&format!("localhost:{port}\n")),
        "the running server's address: {printed}"
    );
    let again = run(folder.path(), &["user", "create", "ci"]);
    assert!(
        !again.status.success() && stderr(&again).contains("ci"),
        "{}",
        stderr(&again)
    );
    let unknown = run(
        folder.path(),
        &["user", "create", "x", "--policy", "Everything"],
    );
    assert!(
        !unknown.status.success() && stderr(&unknown).contains("Everything"),
        "{}",
        stderr(&unknown)
    );
    assert!(
        run(folder.path(), &["user", "disable", "ci"])
            .status
            .success()
    );
    let listed =
        String::from_utf8_lossy(&run(folder.path(), &["user", "list"]).stdout).into_owned();
    assert!(
        listed.contains("\nci\tdisabled\tAKIA")
            && listed.ends_with("\tAmazonEC2ContainerRegistryReadOnly\n"),
        "{listed}"
    );
    assert!(
        run(folder.path(), &["user", "delete", "ci"])
            .status
            .success()
    );
}

#[test]
fn a_folder_that_is_served_is_not_served_twice() {
    let folder = tempfile::tempdir().expect("a folder");
    let first = Process::start(folder.path(), &[]);
    let second = run(folder.path(), &["serve", "--listen", "127.0.0.1:0"]);
    assert!(!second.status.success());
    assert!(
        stderr(&second).contains("already serving"),
        "{}",
        stderr(&second)
    );
    assert_eq!(variables(&first.stop()), FOUR);
}

#[test]
fn configurations_are_checked_by_name() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("server.toml");
    let check = |text: &str| {
        std::fs::write(&file, text).expect("written");
        let output = run(folder.path(), &["check", "--config", "server.toml"]);
        (
            output.status.success(),
            format!(
                "{}{}",
                String::from_utf8_lossy(&output.stdout),
                stderr(&output)
            ),
        )
    };
    assert_eq!(check("region = \"eu-west-1\""), (true, "ok\n".to_owned()));
    for (text, named) in [
        ("lissten = \"x\"", "lissten"),
        ("max_connections = -1", "max_connections"),
        ("max_connections = 0", "max_connections"),
        (
            "tls_certificate = \"no.crt\"\ntls_key = \"no.key\"",
            "no.crt",
        ),
    ] {
        let (right, said) = check(text);
        assert!(!right && said.contains(named), "{text}: {said}");
        assert!(
            !run(
                folder.path(),
                &[
                    "serve",
                    "--config",
                    "server.toml",
                    "--listen",
                    "127.0.0.1:0"
                ]
            )
            .status
            .success(),
            "{text}"
        );
    }
}

#[test]
fn the_health_of_a_server_with_tls_is_checked_over_tls() {
    let folder = tempfile::tempdir().expect("a folder");
    let pair =
        rcgen::generate_simple_self_signed(vec!["registry.test".to_owned()]).expect("rcgen signs");
    std::fs::write(folder.path().join("tls.crt"), pair.cert.pem()).expect("written");
    std::fs::write(
        folder.path().join("tls.key"),
        pair.signing_key.serialize_pem(),
    )
    .expect("written");
    let tls = ["--tls-certificate", "tls.crt", "--tls-key", "tls.key"];
    let server = Process::start(folder.path(), &tls);
    let health = |more: &[&str]| {
        run(
            folder.path(),
            &[&["healthcheck", "--listen", &server.address], more].concat(),
        )
    };
    assert!(health(&tls).status.success(), "{}", stderr(&health(&tls)));
    assert!(!health(&[]).status.success(), "plain HTTP to a TLS port");
    assert!(
        server
            .stop()
            .contains("AWS_ENDPOINT_URL=https://localhost:")
    );
}

#[test]
fn traces_go_to_the_collector_that_is_named_and_follow_their_caller() {
    const TRACE: [u8; 16] = *b"0123456789abcdef";
    let collector = TcpListener::bind("127.0.0.1:0").expect("a port");
    let endpoint = format!("http://{}", collector.local_addr().expect("an address"));
    let received = std::thread::spawn(move || {
        let (mut socket, _) = collector.accept().expect("an exporter");
        socket
            .set_read_timeout(Some(Duration::from_secs(1)))
            .expect("a socket");
        let mut bytes = Vec::new();
        // Ends by the time-out: the exporter waits for its response.
        let _ = socket.read_to_end(&mut bytes);
        let _ = socket.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
        bytes
    });
    let folder = tempfile::tempdir().expect("a folder");
    let server = Process::start(folder.path(), &["--dev", "--otel-endpoint", &endpoint]);
    let id = hex::encode(TRACE);
    let request = format!(
        "GET /v2/ HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\ntraceparent: \
         00-{id}-00f067aa0ba902b7-01\r\n\r\n"
    );
    let mut socket = TcpStream::connect(&server.address).expect("connects");
    socket.write_all(request.as_bytes()).expect("sent");
    let mut response = String::new();
    socket.read_to_string(&mut response).expect("a response");
    assert!(response.starts_with("HTTP/1.1 200"), "{response}");
    server.stop();
    let received = received.join().expect("a collector");
    assert!(received.starts_with(b"POST /v1/traces "));
    assert!(
        received.windows(TRACE.len()).any(|window| window == TRACE),
        "the span is a child of its caller's"
    );
}

#[test]
fn a_development_server_is_on_loopback_or_not_at_all() {
    let folder = tempfile::tempdir().expect("a folder");
    let open = run(folder.path(), &["serve", "--dev", "--listen", "0.0.0.0:0"]);
    assert!(
        !open.status.success() && stderr(&open).contains("loopback"),
        "{}",
        stderr(&open)
    );
    let server = Process::start(folder.path(), &["--dev"]);
    let health = run(folder.path(), &["healthcheck", "--listen", &server.address]);
    assert!(health.status.success(), "{}", stderr(&health));
    server.signal("-HUP");
    assert_eq!(variables(&server.stop()), FOUR);
    assert!(
        !run(folder.path(), &["healthcheck", "--listen", "127.0.0.1:1"])
            .status
            .success()
    );
}
