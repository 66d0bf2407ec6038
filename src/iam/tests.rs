//! Tests over a real index: first start, sign-in by every kind of credential, users, and how soon a
//! change takes effect.

mod generation;
mod identities;
mod managed_policies;
mod oidc_providers;
mod replicas;
mod reset;
mod role_sessions;
mod roles;
mod sessions;
mod tokens;
mod users;

use std::time::Duration;

use hmac::{Hmac, KeyInit as _, Mac as _};
use http::{HeaderMap, HeaderValue};
use sha2::{Digest as _, Sha256};
use wharfinger_aws::sigv4::{Request, SignatureError, body_hash};
use wharfinger_base::Timestamp;

use super::*;
use crate::tests::tokens::registry_grant;

/// 2026-11-23T12:00:00Z.
const NOON: i64 = 1_795_435_200_000;
const STAMP: &str = "20261123T120000Z";

/// Who may assume the roles of tests: all of the account.
const TRUST: &str = r#"{"Version":"2012-10-17","Statement":{"Effect":"Allow",
    "Principal":{"AWS":"123456789012"},"Action":"sts:AssumeRole"}}"#;

fn missing(kind: EntityKind, name: &str) -> Error {
    Error::NoSuchEntity {
        kind,
        name: name.to_owned(),
    }
}

fn exists(kind: EntityKind, name: &str) -> Error {
    Error::EntityExists {
        kind,
        name: name.to_owned(),
    }
}

/// A role that all of the account may assume.
fn new_role(name: &str) -> NewEntity {
    NewEntity {
        role: Some(NewRole {
            trust_policy: TRUST.to_owned(),
            description: None,
            max_session: None,
        }),
        ..NewEntity::new(EntityKind::Role, name)
    }
}

struct World {
    db: Db,
    master: MasterKey,
    clock: Clock,
}

impl World {
    fn new() -> Self {
        let master = MasterKey::random(&Ids::default());
        Self {
            db: Db::memory(MIGRATIONS).expect("an index"),
            master,
            clock: Clock::manual(Timestamp::from_ms(NOON)),
        }
    }

    async fn try_open(&self, config: Config) -> Result<Iam, Error> {
        Iam::open(
            self.db.clone(),
            &self.master,
            self.clock.clone(),
            Ids::default(),
            config,
        )
        .await
    }

    async fn open(&self) -> Iam {
        self.try_open(Config::default()).await.expect("opens")
    }

    async fn dev(&self) -> Iam {
        self.try_open(Config {
            dev: true,
            ..Config::default()
        })
        .await
        .expect("opens")
    }

    fn after(&self, duration: Duration) {
        self.clock.advance(duration);
    }
}

fn keyed(key: &[u8], data: &str) -> Vec<u8> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("any length");
    mac.update(data.as_bytes());
    mac.finalize().into_bytes().to_vec()
}

/// Signs an empty `POST /` at noon as a client would.
fn headers(key_id: &str, secret: &str) -> HeaderMap {
    headers_of_session(key_id, secret, None)
}

/// The same, with the token of a session.
fn headers_of_session(key_id: &str, secret: &str, token: Option<&str>) -> HeaderMap {
    let (line, name) = token.map_or((String::new(), ""), |token| {
        let line = format!("x-amz-security-token:{token}\n");
        (line, ";x-amz-security-token")
    });
    let canonical = format!(
        "POST\n/\n\nhost:localhost\nx-amz-date:{STAMP}\n{line}\nhost;x-amz-date{name}\n{}",
        body_hash(b"")
    );
    let scope = format!("{}/eu-west-1/ecr/aws4_request", &STAMP[..8]);
    let to_sign = format!(
        "AWS4-HMAC-SHA256\n{STAMP}\n{scope}\n{}",
        hex::encode(Sha256::digest(canonical))
    );
    let mut key = format!("AWS4{secret}").into_bytes();
    for part in scope.split('/') {
        key = keyed(&key, part);
    }
    let signature = hex::encode(keyed(&key, &to_sign));
    let value = format!(
        "AWS4-HMAC-SHA256 Credential={key_id}/{scope}, SignedHeaders=host;x-amz-date{name}, \
         Signature={signature}"
    );
    let mut headers = HeaderMap::new();
    headers.insert("host", HeaderValue::from_static("localhost"));
    headers.insert("x-amz-date", HeaderValue::from_static(STAMP));
    headers.insert("authorization", value.parse().expect("a value"));
    if let Some(token) = token {
        headers.insert("x-amz-security-token", token.parse().expect("a value"));
    }
    headers
}

async fn signed(iam: &Iam, headers: &HeaderMap) -> Result<Signed, Error> {
    let hash = body_hash(b"");
    let request = Request {
        method: "POST",
        path: "/",
        query: "",
        headers,
        authority: None,
        body_hash: &hash,
    };
    let claim = iam.check_sigv4_head(&request).await?;
    iam.authenticate_sigv4(claim, &request).await
}

async fn signs_in(iam: &Iam, key: &NewAccessKey) -> Result<Signed, Error> {
    signed(
        iam,
        &headers(&key.access_key_id, key.secret_access_key.reveal()),
    )
    .await
}

fn basic(user: &str, password: &str) -> String {
    use base64::Engine as _;
    format!(
        "Basic {}",
        base64::engine::general_purpose::STANDARD.encode(format!("{user}:{password}"))
    )
}

async fn bearer(iam: &Iam, token: &str) -> Result<Arc<Caller>, Error> {
    let header = format!("Bearer {token}");
    iam.authenticate_header(Some(&header)).await
}

async fn user(iam: &Iam, name: &str, policies: &[&str]) -> NewAccessKey {
    let policies = policies
        .iter()
        .map(|name| PolicyAttachment::managed(name).expect("a policy"))
        .collect();
    iam.users()
        .create(AccountId::DEV, name, policies)
        .await
        .expect("made")
}

#[tokio::test]
async fn the_first_start_makes_one_root_key() {
    let world = World::new();
    let key = world
        .open()
        .await
        .bootstrap()
        .await
        .expect("works")
        .expect("a key");
    assert!(
        key.access_key_id.starts_with("AKIA")
            && key.access_key_id.len() == 20
            && key.secret_access_key.reveal().len() == 40
    );
    let iam = world.open().await;
    assert!(iam.bootstrap().await.expect("works").is_none());
    let signed = signs_in(&iam, &key).await.expect("signed in");
    assert_eq!(
        signed.caller.arn().as_str(),
        "arn:aws:iam::123456789012:root"
    );
    assert_eq!(signed.region, "eu-west-1".parse().ok());
    assert_eq!(
        (
            signed.service.as_deref(),
            signed.caller.access_key_id.as_deref()
        ),
        (Some("ecr"), Some(key.access_key_id.as_str()))
    );
}

#[tokio::test]
async fn another_master_key_is_told_apart() {
    let mut world = World::new();
    world.open().await;
    world.open().await;
    world.master = MasterKey::random(&Ids::default());
    assert!(matches!(
        world.try_open(Config::default()).await,
        Err(Error::WrongMasterKey { .. })
    ));
}

#[tokio::test]
async fn a_signature_must_be_the_keys_own() {
    let world = World::new();
    let iam = world.open().await;
    let key = user(&iam, "ci", &[]).await;
    for _ in 0..2 {
        assert_eq!(
            signs_in(&iam, &key)
                .await
                .expect("signed in")
                .caller
                .arn()
                .as_str(),
            "arn:aws:iam::123456789012:user/ci"
        );
        let wrong = signed(&iam, &headers(&key.access_key_id, "wrong")).await;
        assert_eq!(
            wrong.err(),
            Some(Error::Signature(SignatureError::Mismatch))
        );
    }
    let unknown = signed(
        &iam,
        &headers("AKIAUNKNOWN", key.secret_access_key.reveal()),
    )
    .await;
    assert_eq!(unknown.err(), Some(Error::UnknownKey));
    assert_eq!(
        signed(&iam, &headers(&"A".repeat(200), "x")).await.err(),
        Some(Error::UnknownKey)
    );
    assert_eq!(
        signed(&iam, &HeaderMap::new()).await.err(),
        Some(Error::MissingCredentials)
    );
    let mut session = headers(&key.access_key_id, key.secret_access_key.reveal());
    session.insert("x-amz-security-token", HeaderValue::from_static("x"));
    assert_eq!(signed(&iam, &session).await.err(), Some(Error::UnknownKey));
    world.after(Duration::from_mins(16));
    assert!(matches!(
        signs_in(&iam, &key).await,
        Err(Error::Signature(SignatureError::Expired { .. }))
    ));
}

#[tokio::test]
async fn a_change_counts_within_a_second() {
    let world = World::new();
    // Two servers on one index: what one changes, the other must feel.
    let (iam, other) = (world.open().await, world.open().await);
    let key = user(&iam, "ci", &[]).await;
    let password = iam
        .password_for(&signs_in(&iam, &key).await.expect("in").caller)
        .expect("a password");
    let header = basic("AWS", password.token.reveal());
    let second = Duration::from_secs(1);
    let both = async || {
        (
            signs_in(&iam, &key).await.err(),
            iam.authenticate_header(Some(&header)).await.err(),
        )
    };
    assert_eq!(both().await, (None, None));

    for undo in [true, false] {
        if undo {
            other
                .users()
                .disable(AccountId::DEV, "ci")
                .await
                .expect("done");
        } else {
            other
                .users()
                .disable_key(AccountId::DEV, &key.access_key_id)
                .await
                .expect("done");
        }
        world.after(second);
        assert_eq!(
            both().await,
            (Some(Error::DisabledKey), Some(Error::DisabledKey))
        );
        other
            .users()
            .enable(AccountId::DEV, "ci")
            .await
            .expect("done");
        other
            .users()
            .enable_key(AccountId::DEV, &key.access_key_id)
            .await
            .expect("done");
        world.after(second);
        assert_eq!(both().await, (None, None));
    }

    let read_only =
        PolicyAttachment::managed("AmazonEC2ContainerRegistryReadOnly").expect("a policy");
    other
        .users()
        .attach(AccountId::DEV, "ci", read_only)
        .await
        .expect("done");
    world.after(second);
    let caller = iam.authenticate_header(Some(&header)).await.expect("in");
    assert_eq!(
        &*caller.policies.policies[0].name,
        "arn:aws:iam::aws:policy/AmazonEC2ContainerRegistryReadOnly"
    );

    other
        .users()
        .delete(AccountId::DEV, "ci")
        .await
        .expect("done");
    world.after(second);
    assert_eq!(
        both().await,
        (Some(Error::UnknownKey), Some(Error::UnknownKey))
    );
}

#[tokio::test]
async fn a_clock_set_back_does_not_stretch_a_second() {
    let world = World::new();
    let iam = world.open().await;
    let key = user(&iam, "ci", &[]).await;
    world.after(Duration::from_secs(100));
    signs_in(&iam, &key).await.expect("in");
    iam.users()
        .disable(AccountId::DEV, "ci")
        .await
        .expect("done");
    let Clock::Manual(ms) = &world.clock else {
        return;
    };
    ms.store(NOON, std::sync::atomic::Ordering::SeqCst);
    assert_eq!(signs_in(&iam, &key).await.err(), Some(Error::DisabledKey));
}

#[tokio::test]
async fn dev_takes_anybody() {
    let world = World::new();
    let iam = world.dev().await;
    let arn = async |header: Option<&str>| {
        iam.authenticate_header(header)
            .await
            .expect("in")
            .arn()
            .to_string()
    };
    let (usual, other) = (
        "arn:aws:iam::123456789012:root",
        "arn:aws:iam::000000000001:root",
    );
    assert_eq!(arn(None).await, usual);
    for header in [
        "",
        "Bearer x",
        "Digest x",
        "Basic %",
        &basic("AWS", "x"),
        &basic("ann", ""),
    ] {
        assert_eq!(arn(Some(header)).await, usual, "{header}");
    }
    assert_eq!(arn(Some(&basic("000000000001", "x"))).await, other);

    let nobody = signed(&iam, &HeaderMap::new()).await.expect("in");
    assert_eq!((nobody.caller.arn().as_str(), nobody.region), (usual, None));
    assert_eq!(
        signed(&iam, &headers("test", "test"))
            .await
            .expect("in")
            .caller
            .arn()
            .as_str(),
        usual
    );
    let signed = signed(&iam, &headers("000000000001", "wrong"))
        .await
        .expect("in");
    assert_eq!(
        (signed.caller.arn().as_str(), signed.region),
        (other, "eu-west-1".parse().ok())
    );

    // The account survives `docker login` and the token endpoint.
    let password = iam.password_for(&signed.caller).expect("a password").token;
    assert_eq!(arn(Some(&basic("AWS", password.reveal()))).await, other);
    let grant = registry_grant("repository:web:pull");
    let token = iam
        .registry_token(&signed.caller, &grant)
        .expect("a token")
        .token;
    let caller = bearer(&iam, token.reveal()).await.expect("in");
    assert_eq!(
        (caller.arn().as_str(), caller.registry_grant.as_deref()),
        (other, Some(&grant))
    );

    // What was given out here is worth nothing without `--dev`.
    assert_eq!(
        world
            .open()
            .await
            .authenticate_basic("AWS", password.reveal())
            .await
            .err(),
        Some(Error::BadCredentials)
    );
}
