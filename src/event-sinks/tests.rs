//! Webhooks against receivers that accept, refuse, redirect, hang and are not there.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse as _, Response};
use axum::routing::post;
use tokio::net::TcpListener;
use wharfinger_base::Timestamp;

use super::*;

/// Signature and body of each request.
type Received = Arc<Mutex<Vec<(String, String)>>>;

/// A receiver that responds by the path of the request; returns its URL and what it received.
async fn receiver() -> (String, Received) {
    let received = Received::default();
    let take = |State(received): State<Received>, headers: HeaderMap, body: String| async move {
        let header = headers.get("wharfinger-signature");
        let signature = header.and_then(|value| value.to_str().ok()).unwrap_or("");
        let mut all = received.lock().expect("not poisoned");
        all.push((signature.to_owned(), body));
    };
    let refuse = |status: u16| async move { StatusCode::from_u16(status).expect("a status") };
    let app = Router::new()
        .route("/ok", post(take))
        .route("/422", post(move || refuse(422)))
        .route("/500", post(move || refuse(500)))
        .route("/404", post(move || refuse(404)))
        .route("/redirect", post(|| async { moved() }))
        .route("/later", post(|| async { later() }))
        .route("/hang", post(std::future::pending::<StatusCode>))
        .with_state(Arc::clone(&received));
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let url = format!("http://{}", listener.local_addr().expect("an address"));
    tokio::spawn(async move { axum::serve(listener, app).await });
    (url, received)
}

fn moved() -> Response {
    (StatusCode::TEMPORARY_REDIRECT, [("location", "/ok")]).into_response()
}

fn later() -> Response {
    (StatusCode::TOO_MANY_REQUESTS, [("retry-after", "17")]).into_response()
}

fn sink(url: &str, secret_file: Option<PathBuf>) -> Sink {
    let config = WebhookConfig {
        url: url.parse().expect("a URL"),
        secret_file,
        ca_file: None,
        timeout: Duration::from_millis(500),
    };
    Sink::Webhook(WebhookSink::new(config).expect("a sink"))
}

fn events() -> Vec<String> {
    vec!["{\"n\":1}".to_owned(), "{\"n\":2}".to_owned()]
}

const NOW: Timestamp = Timestamp::from_ms(1_700_000_000_900);

#[tokio::test]
async fn events_arrive_in_order_and_signed() {
    let (url, received) = receiver().await;
    let folder = tempfile::tempdir().expect("a folder");
    let secret = folder.path().join("secret");
    std::fs::write(&secret, "a secret of sixteen\n").expect("written");
    let delivery = sink(&format!("{url}/ok"), Some(secret));
    let delivery = delivery.deliver(events(), NOW).await;
    assert_eq!((delivery.delivered, delivery.failure), (2, None));
    let received = received.lock().expect("not poisoned").clone();
    let bodies: Vec<_> = received.iter().map(|(_, body)| body.as_str()).collect();
    assert_eq!(bodies, ["{\"n\":1}", "{\"n\":2}"]);
    let signature = &received[0].0;
    assert!(signature.starts_with("t=1700000000,v1="), "{signature}");
    assert_eq!(signature.len(), "t=1700000000,v1=".len() + 64);
}

#[tokio::test]
async fn what_a_receiver_refuses_is_rejected_or_tried_again() {
    let (url, received) = receiver().await;
    for (path, rejected, after) in [
        ("422", true, None),
        ("500", false, None),
        ("404", false, None),
        ("redirect", false, None),
        ("later", false, Some(Duration::from_secs(17))),
    ] {
        let delivery = sink(&format!("{url}/{path}"), None);
        let delivery = delivery.deliver(events(), NOW).await;
        assert_eq!(delivery.delivered, 0, "{path}");
        match delivery.failure {
            Some(SinkFailure::Rejected { .. }) => assert!(rejected, "{path}"),
            Some(SinkFailure::Retry { after: given, .. }) => {
                assert_eq!((given, rejected), (after, false), "{path}");
            }
            None => panic!("{path} was delivered"),
        }
    }
    let followed = received.lock().expect("not poisoned").len();
    assert_eq!(followed, 0, "a redirect was followed");
}

#[tokio::test]
async fn a_receiver_that_hangs_or_is_missing_costs_the_timeout_only() {
    let (url, _) = receiver().await;
    let started = Instant::now();
    for url in [
        format!("{url}/hang?token=TOPSECRET"),
        "http://127.0.0.1:9/x".to_owned(),
    ] {
        let delivery = sink(&url, None).deliver(events(), NOW).await;
        let Some(SinkFailure::Retry { why, .. }) = delivery.failure else {
            panic!("{url}: no reason to retry");
        };
        assert!(!why.contains("TOPSECRET"), "{why}");
    }
    assert!(started.elapsed() < Duration::from_secs(5));
}

#[test]
fn short_secrets_and_files_without_certificates_are_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("file");
    std::fs::write(&file, "too short").expect("written");
    let config = |secret_file, ca_file| WebhookConfig {
        url: "https://localhost/".parse().expect("a URL"),
        secret_file,
        ca_file,
        timeout: Duration::from_secs(1),
    };
    let short = WebhookSink::new(config(Some(file.clone()), None)).err();
    assert!(matches!(short, Some(SinkError::ShortSecret { .. })));
    let empty = WebhookSink::new(config(None, Some(file))).err();
    assert!(matches!(empty, Some(SinkError::Certificates { .. })));
    let missing = WebhookSink::new(config(Some(folder.path().join("none")), None)).err();
    assert!(matches!(missing, Some(SinkError::File { .. })));
}
