//! Tests over a real index: first start, sign-in by every kind of credential, users, and how soon a
//! change takes effect.

use std::time::Duration;

use hmac::{Hmac, KeyInit as _, Mac as _};
use http::{HeaderMap, HeaderValue};
use sha2::{Digest as _, Sha256};
use wharfinger_aws::sigv4::{Request, SignatureError, body_hash};
use wharfinger_base::Page;

use super::*;

/// 2026-11-23T12:00:00Z.
const NOON: i64 = 1_795_435_200_000;
const STAMP: &str = "20261123T120000Z";

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
    let canonical = format!(
        "POST\n/\n\nhost:localhost\nx-amz-date:{STAMP}\n\nhost;x-amz-date\n{}",
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
        "AWS4-HMAC-SHA256 Credential={key_id}/{scope}, SignedHeaders=host;x-amz-date, Signature={signature}"
    );
    let mut headers = HeaderMap::new();
    headers.insert("host", HeaderValue::from_static("localhost"));
    headers.insert("x-amz-date", HeaderValue::from_static(STAMP));
    headers.insert("authorization", value.parse().expect("a value"));
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
        "AmazonEC2ContainerRegistryReadOnly"
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
async fn a_password_lasts_twelve_hours() {
    let world = World::new();
    let iam = world.open().await;
    let key = user(&iam, "ci", &[]).await;
    let caller = signs_in(&iam, &key).await.expect("in").caller;
    let password = iam.password_for(&caller).expect("a password");
    let text = password.token.reveal();
    assert!(!text.contains([':', ' ', '\n']) && text.len() < 4_096);
    assert_eq!(
        password.expires_at,
        Timestamp::from_ms(NOON + 12 * 3_600_000)
    );

    let header = basic("AWS", text);
    let again = iam.authenticate_header(Some(&header)).await.expect("in");
    assert_eq!(
        (again.arn(), &again.access_key_id),
        (caller.arn(), &caller.access_key_id)
    );
    assert!(again.registry_grant.is_none());
    assert!(iam.authenticate_basic("AWS", text).await.is_ok());
    for (user, password) in [
        ("aws", text.as_str()),
        ("ci", text),
        ("AWS", ""),
        ("AWS", &text[1..]),
        ("AWS", key.secret_access_key.reveal()),
    ] {
        assert_eq!(
            iam.authenticate_basic(user, password).await.err(),
            Some(Error::BadCredentials),
            "{user}"
        );
    }
    assert_eq!(
        bearer(&iam, text).await.err(),
        Some(Error::BadCredentials),
        "a password is no Bearer token"
    );
    for bad in [
        "",
        "Basic",
        "Basic %",
        "Basic QVdT",
        "Digest x",
        "Bearer ",
        &"x".repeat(100_000),
    ] {
        assert_eq!(
            iam.authenticate_header(Some(bad)).await.err(),
            Some(Error::BadCredentials),
            "{}",
            &bad[..bad.len().min(20)]
        );
    }
    assert_eq!(
        iam.authenticate_header(None).await.err(),
        Some(Error::MissingCredentials)
    );

    let elsewhere = World::new();
    elsewhere.clock.advance(Duration::ZERO);
    assert_eq!(
        elsewhere
            .open()
            .await
            .authenticate_header(Some(&header))
            .await
            .err(),
        Some(Error::BadCredentials)
    );

    world.after(Duration::from_hours(12) - Duration::from_millis(1));
    assert!(iam.authenticate_header(Some(&header)).await.is_ok());
    world.after(Duration::from_millis(1));
    let expired = iam
        .authenticate_header(Some(&header))
        .await
        .expect_err("expired");
    assert_eq!(
        expired.to_string(),
        "Your authorization token has expired. Reauthenticate and try again."
    );
}

#[tokio::test]
async fn a_bearer_token_carries_its_scopes() {
    let world = World::new();
    let iam = world.open().await;
    let key = user(&iam, "ci", &[]).await;
    let caller = signs_in(&iam, &key).await.expect("in").caller;
    let grant = registry_grant("repository:team/web:pull,push");
    let token = iam.registry_token(&caller, &grant).expect("a token");
    assert_eq!(
        token.expires_at.since(token.issued_at),
        Duration::from_mins(5)
    );
    let header = format!("Bearer {}", token.token.reveal());
    for _ in 0..2 {
        let again = iam.authenticate_header(Some(&header)).await.expect("in");
        assert_eq!(
            (again.arn(), again.registry_grant.as_deref()),
            (caller.arn(), Some(&grant))
        );
    }
    assert_eq!(
        iam.authenticate_basic("AWS", token.token.reveal())
            .await
            .err(),
        Some(Error::BadCredentials)
    );
    world.after(Duration::from_mins(5));
    assert_eq!(
        iam.authenticate_header(Some(&header)).await.err(),
        Some(Error::TokenExpired)
    );
}

fn registry_grant(scopes: &str) -> RegistryGrant {
    RegistryGrant {
        account: AccountId::DEV,
        region: "us-east-1".parse().expect("a region"),
        scopes: TokenScopes::parse(scopes).expect("few scopes"),
    }
}

#[tokio::test]
async fn a_token_that_would_not_be_accepted_is_not_issued() {
    let world = World::new();
    let iam = world.open().await;
    let key = user(&iam, "ci", &[]).await;
    let caller = signs_in(&iam, &key).await.expect("in").caller;
    let mut issued = 0;
    for count in 1..=TokenScopes::MAX {
        let scopes: Vec<_> = (0..count)
            .map(|n| {
                format!(
                    "repository:{}:pull,push,delete",
                    format!("r{n:02}").repeat(85)
                )
            })
            .collect();
        match iam.registry_token(&caller, &registry_grant(&scopes.join(" "))) {
            Ok(token) => {
                bearer(&iam, token.token.reveal())
                    .await
                    .expect("an issued token is accepted");
                issued += 1;
            }
            Err(error) => assert_eq!(error, Error::TokenTooLong, "{count} scopes"),
        }
    }
    assert!((10..TokenScopes::MAX).contains(&issued), "{issued} tokens");
}

fn layer_grant() -> LayerGrant {
    LayerGrant {
        account: AccountId::DEV,
        region: "us-east-1".parse().expect("a region"),
        repository: "team/web".parse().expect("a name"),
        digest: format!("sha256:{}", "ab".repeat(32))
            .parse()
            .expect("a digest"),
    }
}

#[tokio::test]
async fn a_ticket_names_its_issuer_and_one_layer_for_an_hour() {
    let world = World::new();
    let iam = world.open().await;
    let key = user(&iam, "ci", &[]).await;
    let caller = signs_in(&iam, &key).await.expect("in").caller;
    let ticket = iam
        .layer_ticket(&caller, &layer_grant())
        .expect("a ticket")
        .token;
    let (issuer, grant) = iam
        .verify_layer_ticket(ticket.reveal())
        .await
        .expect("valid");
    assert_eq!((issuer.arn(), grant), (caller.arn(), layer_grant()));
    assert_eq!(
        iam.verify_layer_ticket(&ticket.reveal()[1..]).await.err(),
        Some(Error::InvalidTicket)
    );
    assert_eq!(
        bearer(&iam, ticket.reveal()).await.err(),
        Some(Error::BadCredentials)
    );
    world.after(Duration::from_hours(1));
    assert_eq!(
        iam.verify_layer_ticket(ticket.reveal()).await.err(),
        Some(Error::InvalidTicket)
    );
}

#[tokio::test]
async fn a_ticket_ends_with_its_issuer() {
    let world = World::new();
    let iam = world.open().await;
    let key = user(&iam, "ci", &[]).await;
    let caller = signs_in(&iam, &key).await.expect("in").caller;
    let ticket = iam
        .layer_ticket(&caller, &layer_grant())
        .expect("a ticket")
        .token;
    iam.users()
        .delete(AccountId::DEV, "ci")
        .await
        .expect("deleted");
    // Identities are cached for a second.
    world.after(Duration::from_secs(2));
    assert_eq!(
        iam.verify_layer_ticket(ticket.reveal()).await.err(),
        Some(Error::InvalidTicket)
    );
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

#[tokio::test]
async fn users_are_kept_in_order() {
    let world = World::new();
    let (iam, account) = (world.open().await, AccountId::DEV);
    let users = iam.users();
    for name in ["carl", "Ann", "bob"] {
        user(&iam, name, &["AdministratorAccess"]).await;
    }
    assert_eq!(
        users.create(account, "ANN", Vec::new()).await.err(),
        Some(Error::UserExists("ANN".into()))
    );
    for bad in ["", "a b", "a/b", "ä", &"x".repeat(65)] {
        assert!(
            matches!(
                users.create(account, bad, Vec::new()).await,
                Err(Error::InvalidName(_))
            ),
            "{bad}"
        );
    }
    let names = |page: &Page<UserSummary>| {
        page.items
            .iter()
            .map(|user| user.name.clone())
            .collect::<Vec<_>>()
    };
    let page = users.list(account, None, 2).await.expect("a page");
    assert_eq!(
        (names(&page), page.next.as_deref()),
        (vec!["Ann".to_owned(), "bob".to_owned()], Some("bob"))
    );
    let rest = users
        .list(account, page.next.as_deref(), 2)
        .await
        .expect("a page");
    assert_eq!((names(&rest), rest.next), (vec!["carl".to_owned()], None));
    assert!(
        users
            .list("000000000001".parse().expect("an account"), None, 9)
            .await
            .expect("a page")
            .items
            .is_empty()
    );

    let ann = &page.items[0];
    assert_eq!(ann.arn.as_str(), "arn:aws:iam::123456789012:user/Ann");
    assert!(ann.id.starts_with("AIDA") && ann.id.len() == 21 && ann.disabled_at.is_none());
    assert_eq!(
        (ann.keys.len(), ann.policies.as_slice()),
        (1, &["AdministratorAccess".to_owned()][..])
    );
    for name in ["ann", "Ann"] {
        users.disable(account, name).await.expect("done");
    }
    assert!(
        users.list(account, None, 1).await.expect("a page").items[0]
            .disabled_at
            .is_some()
    );
    assert_eq!(
        users.disable(account, "dora").await,
        Err(Error::NoSuchUser("dora".into()))
    );
    users.delete(account, "Ann").await.expect("done");
    assert_eq!(
        users.delete(account, "Ann").await,
        Err(Error::NoSuchUser("Ann".into()))
    );
}

#[tokio::test]
async fn keys_and_policies_are_counted() {
    let world = World::new();
    let (iam, account) = (world.open().await, AccountId::DEV);
    let users = iam.users();
    let first = user(&iam, "ci", &[]).await;
    let second = users.add_key(account, Some("ci")).await.expect("a key");
    assert!(signs_in(&iam, &first).await.is_ok() && signs_in(&iam, &second).await.is_ok());
    assert!(matches!(
        users.add_key(account, Some("ci")).await,
        Err(Error::LimitExceeded {
            limit: MAX_KEYS,
            ..
        })
    ));
    let third = users.rotate_key(account, Some("ci")).await.expect("a key");
    world.after(Duration::from_secs(1));
    assert_eq!(
        (
            signs_in(&iam, &first).await.err(),
            signs_in(&iam, &second).await.err()
        ),
        (Some(Error::UnknownKey), Some(Error::UnknownKey))
    );
    assert!(signs_in(&iam, &third).await.is_ok());
    assert!(
        signs_in(&iam, &users.rotate_key(account, None).await.expect("a key"))
            .await
            .is_ok(),
        "the root's too"
    );
    assert_eq!(
        users.delete_key(account, "AKIANONE").await,
        Err(Error::NoSuchKey("AKIANONE".into()))
    );
    let stranger = "000000000001".parse().expect("an account");
    assert!(
        users
            .delete_key(stranger, &third.access_key_id)
            .await
            .is_err(),
        "a key belongs to its account"
    );

    assert_eq!(
        PolicyAttachment::managed("Nothing").err(),
        Some(Error::NoSuchPolicy("Nothing".into()))
    );
    assert!(matches!(
        PolicyAttachment::inline("p", "{}"),
        Err(Error::Policy(_))
    ));
    let document = r#"{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"ecr:*","Resource":"*"}}"#;
    let inline = |name: &str| PolicyAttachment::inline(name, document).expect("a policy");
    for at in 0..MAX_POLICIES {
        users
            .attach(account, "ci", inline(&format!("p{at}")))
            .await
            .expect("attached");
    }
    users
        .attach(account, "ci", inline("p0"))
        .await
        .expect("replaced");
    assert!(matches!(
        users.attach(account, "ci", inline("more")).await,
        Err(Error::LimitExceeded { .. })
    ));
    users.detach(account, "ci", "p0").await.expect("detached");
    assert_eq!(
        users.detach(account, "ci", "p0").await,
        Err(Error::NotAttached("p0".into()))
    );
    users
        .attach(
            account,
            "ci",
            PolicyAttachment::managed("arn:aws:iam::aws:policy/AdministratorAccess")
                .expect("by ARN"),
        )
        .await
        .expect("attached");
    users
        .detach(account, "ci", "AdministratorAccess")
        .await
        .expect("detached");
}

/// Creating a user does not count as the first start.
#[tokio::test]
async fn the_root_gets_a_key_whenever_it_has_none() {
    let world = World::new();
    let iam = world.open().await;
    user(&iam, "ci", &[]).await;
    let key = iam.bootstrap().await.expect("works").expect("a key");
    let users = iam.users();
    users
        .disable_key(AccountId::DEV, &key.access_key_id)
        .await
        .expect("disabled");
    assert!(iam.bootstrap().await.expect("works").is_none());
    users
        .delete_key(AccountId::DEV, &key.access_key_id)
        .await
        .expect("deleted");
    let next = iam.bootstrap().await.expect("works").expect("a key");
    let listed = users.keys(AccountId::DEV, None).await.expect("keys");
    assert_eq!(listed.len(), 1);
    assert_eq!(listed[0].access_key_id, next.access_key_id);
}

/// A user created under the name of a deleted one is another principal.
#[tokio::test]
async fn policies_name_users_by_their_unique_ids() {
    for db in wharfinger_db::testing::every_engine(MIGRATIONS) {
        let world = World { db, ..World::new() };
        let iam = world.open().await;
        let users = iam.users();
        let policy = |principal: &str| {
            format!(
                r#"{{"Statement":{{"Effect":"Allow","Action":"ecr:*","Principal":{{"AWS":"{principal}"}}}}}}"#
            )
        };
        let by_name = policy("arn:aws:iam::123456789012:user/ci");
        let missing = users.bind_principals(&by_name).await.expect_err("no user");
        assert!(
            missing.to_string().contains("Principal not found"),
            "{missing}"
        );
        let key = user(&iam, "ci", &[]).await;
        let caller = signs_in(&iam, &key).await.expect("in").caller;
        let stored = users.bind_principals(&by_name).await.expect("bound");
        assert_eq!(stored, policy(caller.user_id()));
        assert_eq!(users.show_principals(&stored).await.as_ref(), Ok(&by_name));
        let other_case = policy("arn:aws:iam::123456789012:user/CI");
        assert!(users.bind_principals(&other_case).await.is_err());

        users.delete(AccountId::DEV, "ci").await.expect("deleted");
        let next = user(&iam, "ci", &[]).await;
        let successor = signs_in(&iam, &next).await.expect("in").caller;
        assert_eq!(users.show_principals(&stored).await.as_ref(), Ok(&stored));
        let compiled = Policy::parse(&stored, Grammar::Repository).expect("a policy");
        let allows = |caller: &Caller| {
            let request = AccessRequest {
                caller,
                action: "ecr:PutImage",
                resource: None,
                resource_account: AccountId::DEV,
                context: ConditionContext::default(),
                budget: &EvaluationBudget::default(),
            };
            evaluate(&request, &PolicySet::of(caller, Some(&compiled))).is_allow()
        };
        assert!(allows(&caller) && !allows(&successor));
        for unbound in ["*", "123456789012", "arn:aws:iam::123456789012:role/r"] {
            let unbound = policy(unbound);
            assert_eq!(users.bind_principals(&unbound).await.as_ref(), Ok(&unbound));
        }
    }
}

#[tokio::test]
async fn a_development_server_takes_no_index_that_was_served_without() {
    for db in wharfinger_db::testing::every_engine(MIGRATIONS) {
        let world = World { db, ..World::new() };
        let (dev, production) = (world.dev().await, world.open().await);
        dev.claim_index().await.expect("a new index");
        user(&dev, "ci", &[]).await;
        dev.claim_index().await.expect("a development index");
        production.claim_index().await.expect("taken over");
        assert_eq!(dev.claim_index().await, Err(Error::NotDevIndex));
        production.claim_index().await.expect("again");
    }
    let world = World::new();
    user(&world.open().await, "ci", &[]).await;
    let claimed = world.dev().await.claim_index().await;
    assert_eq!(claimed, Err(Error::NotDevIndex), "an index with keys");
}

/// Every statement of the store, on every engine at hand.
#[tokio::test]
async fn both_engines_keep_users_alike() {
    for db in wharfinger_db::testing::every_engine(MIGRATIONS) {
        let world = World { db, ..World::new() };
        let (iam, account) = (world.dev().await, AccountId::DEV);
        let (checked, users) = (world.open().await, iam.users());
        let root = iam.bootstrap().await.expect("works").expect("a key");
        assert!(iam.bootstrap().await.expect("works").is_none());
        let key = user(&iam, "ci", &["AdministratorAccess"]).await;
        assert!(users.create(account, "CI", Vec::new()).await.is_err());
        let inline = r#"{"Statement":{"Effect":"Deny","Action":"*","Resource":"*"}}"#;
        users
            .attach(
                account,
                "ci",
                PolicyAttachment::inline("no", inline).expect("a policy"),
            )
            .await
            .expect("attached");
        users
            .attach(
                account,
                "ci",
                PolicyAttachment::inline("no", inline).expect("a policy"),
            )
            .await
            .expect("replaced");
        let caller = signs_in(&checked, &key).await.expect("in").caller;
        assert_eq!(
            caller
                .policies
                .policies
                .iter()
                .map(|named| &*named.name)
                .collect::<Vec<_>>(),
            ["no", "AdministratorAccess"]
        );
        assert!(signs_in(&checked, &root).await.is_ok());
        users.detach(account, "ci", "no").await.expect("detached");
        users.add_key(account, Some("ci")).await.expect("a key");
        users
            .disable_key(account, &key.access_key_id)
            .await
            .expect("disabled");
        users.disable(account, "ci").await.expect("disabled");
        let listed = users.list(account, None, 9).await.expect("a page").items;
        assert_eq!(
            (listed.len(), listed[0].keys.len(), listed[0].policies.len()),
            (1, 2, 1)
        );
        assert!(
            listed[0].disabled_at.is_some()
                && listed[0]
                    .keys
                    .iter()
                    .any(|listed| listed.disabled_at.is_some())
        );
        users.enable(account, "ci").await.expect("enabled");
        users.rotate_key(account, Some("ci")).await.expect("a key");
        assert_eq!(
            users.delete_key(account, &key.access_key_id).await,
            Err(Error::NoSuchKey(key.access_key_id))
        );
        users.delete(account, "ci").await.expect("deleted");
    }
}
