//! Responses to expired credentials, over a connection to a server with a clock that the test sets.

use std::future::pending;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use wharfinger_api_core::{HttpServiceBuilder, HttpServiceConfig};
use wharfinger_base::{Clock, Ids, Timestamp};
use wharfinger_http::{ConnectionLimits, Listener};
use wharfinger_iam::{
    Caller, LAYER_TICKET_TTL, LayerGrant, PASSWORD_TTL, RegistryGrant, TokenScopes,
};

use super::state;
use crate::challenge::ChallengeScheme;
use crate::error::DistributionErrors;
use crate::state::DistributionState;

const MANIFEST: &str = "/v2/team/web/manifests/v1";
/// What a caller with valid credentials gets for the repository, which does not exist.
const UNKNOWN: &str = "HTTP/1.1 404 ";

struct World {
    clock: Clock,
    state: Arc<DistributionState>,
    /// The root of the account, by its access key.
    root: Caller,
    address: SocketAddr,
}

impl World {
    /// A server that is not under `--dev`, with Bearer challenges.
    async fn start() -> Self {
        let clock = Clock::manual(Timestamp::from_ms(1_000));
        let mut state = state(clock.clone(), false).await;
        state.config.challenge = ChallengeScheme::Bearer;
        let key = state.iam.bootstrap().await.expect("an account");
        let key = key.expect("a key");
        let root = Caller::root(key.account).with_access_key(key.access_key_id.into());
        let state = Arc::new(state);
        let config = HttpServiceConfig {
            access_log: false,
            slow_request: Duration::MAX,
            rate_limit: None,
            traces: false,
        };
        let metrics = Arc::clone(&state.metrics);
        let service = HttpServiceBuilder::new(&config, &Ids::default(), metrics)
            .routes::<DistributionErrors>(crate::routes(Arc::clone(&state)))
            .build();
        let any_port = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let listener = Listener::bind(any_port, None, ConnectionLimits::default());
        let listener = listener.expect("a listener");
        let address = listener.address().expect("an address");
        tokio::spawn(listener.serve(service, pending()));
        Self {
            clock,
            state,
            root,
            address,
        }
    }

    /// The bytes of the response to a GET.
    async fn get(&self, target: &str, authorization: Option<&str>) -> String {
        let authorization =
            authorization.map_or_else(String::new, |value| format!("Authorization: {value}\r\n"));
        let request = format!(
            "GET {target} HTTP/1.1\r\nHost: registry.test\r\nConnection: close\r\n\
             {authorization}\r\n"
        );
        let mut socket = TcpStream::connect(self.address).await.expect("connects");
        socket.write_all(request.as_bytes()).await.expect("sends");
        let mut response = String::new();
        let read = socket.read_to_string(&mut response);
        read.await.expect("a response");
        response
    }
}

#[track_caller]
fn assert_ends_with_error(response: &str, code: &str, message: &str) {
    let document = format!(r#"{{"errors":[{{"code":"{code}","message":"{message}"}}]}}"#);
    assert!(response.ends_with(&document), "{response}");
}

#[tokio::test]
async fn an_expired_password_is_denied_in_the_words_of_ecr() {
    let world = World::start().await;
    let password = world.state.iam.password_for(&world.root);
    let password = password.expect("a password").token;
    let pair = STANDARD.encode(format!("AWS:{}", password.reveal()));
    let basic = format!("Basic {pair}");
    let response = world.get(MANIFEST, Some(&basic)).await;
    assert!(response.starts_with(UNKNOWN), "{response}");

    world.clock.advance(PASSWORD_TTL);
    let response = world.get(MANIFEST, Some(&basic)).await;
    assert!(response.starts_with("HTTP/1.1 403 "), "{response}");
    assert!(!response.contains("www-authenticate"), "{response}");
    let message = "Your authorization token has expired. Reauthenticate and try again.";
    assert_ends_with_error(&response, "DENIED", message);
}

#[tokio::test]
async fn an_expired_bearer_token_is_challenged_as_invalid() {
    let world = World::start().await;
    let grant = RegistryGrant {
        account: world.root.account,
        region: world.state.names.region.clone(),
        scopes: TokenScopes::parse("repository:team/web:pull").expect("a scope"),
    };
    let issued = world.state.iam.registry_token(&world.root, &grant);
    let issued = issued.expect("a token");
    let bearer = format!("Bearer {}", issued.token.reveal());
    let response = world.get(MANIFEST, Some(&bearer)).await;
    assert!(response.starts_with(UNKNOWN), "{response}");

    let lifetime = issued.expires_at.since(issued.issued_at);
    world.clock.advance(lifetime);
    let response = world.get(MANIFEST, Some(&bearer)).await;
    assert!(response.starts_with("HTTP/1.1 401 "), "{response}");
    let challenge = "www-authenticate: Bearer realm=\"http://registry.test/token\",\
                     service=\"registry.test\",scope=\"repository:team/web:pull\",\
                     error=\"invalid_token\"\r\n";
    assert!(response.contains(challenge), "{response}");
    assert_ends_with_error(&response, "UNAUTHORIZED", "the bearer token has expired");
}

#[tokio::test]
async fn an_expired_download_url_is_denied() {
    let world = World::start().await;
    let digest = format!("sha256:{}", "ab".repeat(32));
    let grant = LayerGrant {
        account: world.root.account,
        region: world.state.names.region.clone(),
        repository: "team/web".parse().expect("a name"),
        digest: digest.parse().expect("a digest"),
    };
    let ticket = world.state.iam.layer_ticket(&world.root, &grant);
    let ticket = ticket.expect("a ticket").token;
    let url = format!("/v2/team/web/blobs/{digest}?ticket={}", ticket.reveal());
    let response = world.get(&url, None).await;
    assert!(response.starts_with(UNKNOWN), "{response}");

    world.clock.advance(LAYER_TICKET_TTL);
    let response = world.get(&url, None).await;
    assert!(response.starts_with("HTTP/1.1 403 "), "{response}");
    assert!(!response.contains("www-authenticate"), "{response}");
    let message = "the download URL is not valid or has expired";
    assert_ends_with_error(&response, "DENIED", message);
}
