//! The registration of an instance at a control plane that fails at first.

use std::sync::Mutex;

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::post;
use serde_json::{Value, json};
use tokio::time::timeout;
use url::Url;

use super::*;
use crate::image_cleanup::RecentPulls;
use crate::imported_image::PauseImage;
use crate::keys::tests::TestKeys;
use crate::runtime::NewContainer;
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

/// An instance at a control plane that fails at first.
struct Bench {
    requests: Requests,
    shared: Shared,
    runtime: Simulated,
    config: InstanceConfig,
    folder: tempfile::TempDir,
}

impl Bench {
    async fn new() -> Self {
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
            pause_image: PauseImage::default(),
            recent_pulls: RecentPulls::default(),
            host: runtime.info().await.expect("it replies"),
            runtime: Arc::new(runtime.clone()),
            client: client.expect("a client"),
            keys: Arc::new(InstanceKeys::new(
                Arc::new(TestKeys::default()),
                clock.clone(),
            )),
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
        Self {
            requests,
            shared,
            runtime,
            config,
            folder,
        }
    }

    /// Runs the instance until a condition holds.
    async fn run_until(&self, mut holds: impl AsyncFnMut() -> bool) {
        let held = async {
            while !holds().await {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::select! {
            () = run(self.shared.clone(), self.config.clone()) => panic!("the instance ended"),
            held = timeout(PATIENCE, held) => held.expect("the condition holds"),
        }
    }

    fn requests(&self) -> Vec<Value> {
        self.requests.lock().expect("no test panics here").clone()
    }
}

#[tokio::test]
async fn all_attempts_to_register_have_the_same_token() {
    let bench = Bench::new().await;
    bench.run_until(async || bench.requests().len() == 2).await;
    let requests = bench.requests();
    assert!(requests[0]["clientToken"].is_string());
    assert_eq!(requests[0]["clientToken"], requests[1]["clientToken"]);
}

#[tokio::test]
async fn the_containers_of_an_earlier_instance_are_removed_in_the_end() {
    let bench = Bench::new().await;
    let state = StateFolder::open(bench.folder.path())
        .await
        .expect("opened");
    let earlier = InstanceRecord {
        cluster: "demo".to_owned(),
        instance_arn: "arn:earlier".to_owned(),
        ..InstanceRecord::default()
    };
    state.set_instance(&earlier).await.expect("written");
    let config = json!({"Image": "web", "Labels": {labels::INSTANCE: "arn:earlier"}});
    let new = NewContainer {
        config: config.as_object().expect("an object").clone(),
        ..NewContainer::default()
    };
    let id = bench.runtime.create(new).await.expect("created");
    bench.runtime.fail_removals(2);
    let is_removed = async || bench.runtime.inspect(&id).await.is_err();
    bench.run_until(is_removed).await;
    let stored = state.instance().await.expect("read").expect("registered");
    assert_eq!(stored.instance_arn, "arn:instance");
    // A start after a crash would have gone on with it.
    assert!(stored.former.contains("arn:earlier"));
}
