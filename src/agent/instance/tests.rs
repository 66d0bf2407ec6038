//! The registration of an instance at a control plane that fails at first.

use std::sync::Mutex;

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::post;
use serde_json::Value;
use tokio::time::timeout;
use url::Url;

use super::*;
use crate::keys::tests::TestKeys;
use crate::runtime::tests::simulated::Simulated;
use crate::trust::{ServerTrust, Tls};

const PATIENCE: Duration = Duration::from_secs(20);

type Requests = Arc<Mutex<Vec<Value>>>;

/// Takes a registration, but its first response does not reach the agent.
async fn register(State(requests): State<Requests>, body: String) -> (StatusCode, &'static str) {
    let mut requests = requests.lock().expect("no test panics here");
    requests.push(serde_json::from_str(&body).expect("JSON"));
    if requests.len() == 1 {
        return (StatusCode::SERVICE_UNAVAILABLE, "");
    }
    let instance = r#"{"containerInstance": {"containerInstanceArn": "arn:instance"}}"#;
    (StatusCode::OK, instance)
}

#[tokio::test]
async fn all_attempts_to_register_have_the_same_token() {
    let requests = Requests::default();
    let routes = Router::new().route("/", post(register));
    let routes = routes.with_state(Arc::clone(&requests));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await;
    let listener = listener.expect("a port");
    let address = listener.local_addr().expect("an address");
    tokio::spawn(async move { axum::serve(listener, routes).await });
    let endpoint = format!("http://{address}");
    let clock = Clock::default();
    let tls = Tls::load(ServerTrust::OwnListener).await.expect("TLS");
    let url = Url::parse(&endpoint).expect("a URL");
    let client = AwsClient::new(url, "us-east-1".to_owned(), &tls, clock.clone());
    let runtime = Simulated::new(clock.clone());
    let shared = Shared {
        host: runtime.info().await.expect("it replies"),
        runtime: Arc::new(runtime),
        client: client.expect("a client"),
        keys: Arc::new(InstanceKeys::new(Arc::new(TestKeys), clock.clone())),
        tls: tls.endpoint,
        poll_endpoint: Some(endpoint),
        clock,
        ids: Ids::default(),
    };
    let folder = tempfile::tempdir().expect("a folder");
    let config = InstanceConfig {
        cluster: "demo".to_owned(),
        state: folder.path().to_owned(),
        availability_zone: "us-east-1a".to_owned(),
        bind_ip: None,
        reserved_memory_mib: 0,
        attributes: Vec::new(),
        cleanup_wait: Duration::ZERO,
        ends_when_inactive: true,
    };
    let twice = async {
        while requests.lock().expect("no test panics here").len() < 2 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::select! {
        () = run(shared, config) => panic!("the instance ended"),
        done = timeout(PATIENCE, twice) => done.expect("two attempts"),
    }
    let requests = requests.lock().expect("no test panics here").clone();
    assert!(requests[0]["clientToken"].is_string());
    assert_eq!(requests[0]["clientToken"], requests[1]["clientToken"]);
}
