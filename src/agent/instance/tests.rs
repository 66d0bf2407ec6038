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
type Response = (StatusCode, &'static str);

/// What does not reach the agent.
const LOST: Response = (StatusCode::SERVICE_UNAVAILABLE, "");
const DENIED: Response = (
    StatusCode::BAD_REQUEST,
    r#"{"__type": "AccessDeniedException", "message": "not authorized"}"#,
);
const GONE: Response = (
    StatusCode::BAD_REQUEST,
    r#"{"__type": "ClientException", "message": "not registered"}"#,
);

/// Takes a registration, but has another response to the first one.
async fn register(
    State((requests, first)): State<(Requests, Response)>,
    body: String,
) -> (StatusCode, String) {
    let mut requests = requests.lock().expect("no test panics here");
    let request: Value = serde_json::from_str(&body).expect("JSON");
    requests.push(request.clone());
    if requests.len() == 1 {
        return (first.0, first.1.to_owned());
    }
    let arn = request["containerInstanceArn"].as_str();
    let arn = arn.unwrap_or("arn:instance");
    let instance = json!({"containerInstance": {"containerInstanceArn": arn}});
    (StatusCode::OK, instance.to_string())
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
    /// `first` is what the control plane sends back first.
    async fn new(first: Response) -> Self {
        let requests = Requests::default();
        let routes = Router::new().route("/", post(register));
        let routes = routes.with_state((Arc::clone(&requests), first));
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

    /// Has the instance registered before, as `arn:earlier`.
    async fn registered_earlier(&self) -> StateFolder {
        let state = StateFolder::open(self.folder.path()).await;
        let state = state.expect("opened");
        let earlier = InstanceRecord {
            cluster: "demo".to_owned(),
            instance_arn: "arn:earlier".to_owned(),
            ..InstanceRecord::default()
        };
        state.set_instance(&earlier).await.expect("written");
        state
    }

    /// A container of that instance, by its ID.
    async fn container(&self) -> String {
        let config = json!({"Image": "web", "Labels": {labels::INSTANCE: "arn:earlier"}});
        let new = NewContainer {
            config: config.as_object().expect("an object").clone(),
            ..NewContainer::default()
        };
        self.runtime.create(new).await.expect("created")
    }

    fn requests(&self) -> Vec<Value> {
        self.requests.lock().expect("no test panics here").clone()
    }
}

#[tokio::test]
async fn all_attempts_to_register_have_the_same_token() {
    let bench = Bench::new(LOST).await;
    bench.run_until(async || bench.requests().len() == 2).await;
    let requests = bench.requests();
    assert!(requests[0]["clientToken"].is_string());
    assert_eq!(requests[0]["clientToken"], requests[1]["clientToken"]);
}

#[tokio::test]
async fn the_containers_of_an_earlier_instance_are_removed_in_the_end() {
    let bench = Bench::new(GONE).await;
    let state = bench.registered_earlier().await;
    let id = bench.container().await;
    bench.runtime.fail_removals(2);
    let is_removed = async || bench.runtime.inspect(&id).await.is_err();
    bench.run_until(is_removed).await;
    let stored = state.instance().await.expect("read").expect("registered");
    assert_eq!(stored.instance_arn, "arn:instance");
    // A start after a crash would have gone on with it.
    assert!(stored.former.contains("arn:earlier"));
}

#[tokio::test]
async fn an_instance_whose_registration_is_refused_for_a_moment_is_no_new_one() {
    let bench = Bench::new(DENIED).await;
    let state = bench.registered_earlier().await;
    bench.run_until(async || bench.requests().len() == 2).await;
    // A second start, so that the first one has stored what it registered.
    bench.run_until(async || bench.requests().len() == 3).await;
    for request in bench.requests() {
        assert_eq!(request["containerInstanceArn"], "arn:earlier");
    }
    let stored = state.instance().await.expect("read").expect("registered");
    assert_eq!(stored.instance_arn, "arn:earlier");
    assert!(stored.former.is_empty());
}
