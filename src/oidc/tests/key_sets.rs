//! Key sets over the network and out of files.

use std::sync::atomic::{AtomicUsize, Ordering};

use rcgen::{CertificateParams, KeyPair};
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::pki_types::PrivateKeyDer;
use wharfinger_base::Timestamp;

use super::*;
use crate::configured::KeySetFileError;
use crate::tests::{NOW, SigningKey, claims};

/// A provider on a loopback address.
struct Issuer {
    url: String,
    /// SHA-1 of its certificate.
    thumbprint: String,
    requests: Arc<AtomicUsize>,
    responses: Arc<std::sync::Mutex<Responses>>,
}

#[derive(Clone)]
struct Responses {
    document: Vec<u8>,
    keys: Vec<u8>,
    status: &'static str,
    /// Each request takes eleven seconds on this clock.
    slow: Option<Clock>,
}

impl Issuer {
    async fn start(key: &SigningKey, marked_as_authority: bool) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let url = format!("https://localhost:{port}");
        let pair = KeyPair::generate().expect("a key");
        let mut params = CertificateParams::new(vec!["localhost".to_owned()]).expect("a name");
        if marked_as_authority {
            params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        }
        let certificate = params.self_signed(&pair).expect("a certificate");
        let sha1 = &aws_lc_rs::digest::SHA1_FOR_LEGACY_USE_ONLY;
        let thumbprint = hex::encode(aws_lc_rs::digest::digest(sha1, certificate.der()));
        let provider = Arc::new(tokio_rustls::rustls::crypto::aws_lc_rs::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_no_client_auth()
            .with_single_cert(
                vec![certificate.der().clone()],
                PrivateKeyDer::Pkcs8(pair.serialize_der().into()),
            );
        let acceptor = TlsAcceptor::from(Arc::new(config.expect("a configuration")));
        let document = json!({"issuer": url, "jwks_uri": format!("{url}/keys")});
        let responses = Arc::new(std::sync::Mutex::new(Responses {
            document: document.to_string().into_bytes(),
            keys: key.set(),
            status: "200 OK",
            slow: None,
        }));
        let requests = Arc::new(AtomicUsize::new(0));
        let (current, count) = (Arc::clone(&responses), Arc::clone(&requests));
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (acceptor, current) = (acceptor.clone(), Arc::clone(&current));
                let count = Arc::clone(&count);
                tokio::spawn(async move {
                    let Ok(mut stream) = acceptor.accept(stream).await else {
                        return;
                    };
                    let mut head = [0; 4_096];
                    while let Ok(length @ 1..) = stream.read(&mut head).await {
                        count.fetch_add(1, Ordering::SeqCst);
                        let current = current.lock().expect("no panic").clone();
                        if let Some(clock) = &current.slow {
                            clock.advance(Duration::from_secs(11));
                        }
                        let body = if head[..length].starts_with(b"GET /keys ") {
                            current.keys
                        } else {
                            current.document
                        };
                        let head = format!(
                            "HTTP/1.1 {}\r\nLocation: /keys\r\nContent-Length: {}\r\n\r\n",
                            current.status,
                            body.len()
                        );
                        let _ = stream.write_all(head.as_bytes()).await;
                        let _ = stream.write_all(&body).await;
                    }
                });
            }
        });
        Self {
            url,
            thumbprint,
            requests,
            responses,
        }
    }

    fn set(&self, change: impl FnOnce(&mut Responses)) {
        change(&mut self.responses.lock().expect("no panic"));
    }

    /// Fetches since the last call: each is one request for the document and one for the keys.
    fn fetches(&self) -> usize {
        self.requests.swap(0, Ordering::SeqCst) / 2
    }
}

fn clock() -> Clock {
    Clock::manual(Timestamp::from_ms(NOW * 1000))
}

async fn gets(sets: &KeySets, issuer: &Issuer, thumbprints: &[String], token: &str) -> bool {
    let token = UnverifiedToken::read(token).expect("a token");
    let provider = Provider {
        url: &issuer.url,
        thumbprints,
    };
    let keys = sets.of(provider, &token).await;
    keys.is_ok_and(|keys| token.has_key_in(&keys))
}

#[tokio::test]
async fn a_registered_certificate_is_trusted_and_no_other() {
    let key = SigningKey::es256("one");
    for marked_as_authority in [false, true] {
        let issuer = Issuer::start(&key, marked_as_authority).await;
        let token = key.sign(&claims());
        let registered = [issuer.thumbprint.to_uppercase()];
        let sets = KeySets::new(None, clock(), false);
        assert!(gets(&sets, &issuer, &registered, &token).await);
        let sets = KeySets::new(None, clock(), false);
        for others in [vec![], vec!["0".repeat(40)]] {
            assert!(!gets(&sets, &issuer, &others, &token).await);
        }
        // The certificate is for the name, not for the address.
        let mut elsewhere = issuer;
        elsewhere.url = elsewhere.url.replace("localhost", "127.0.0.1");
        assert!(!gets(&sets, &elsewhere, &registered, &token).await);
    }
}

#[tokio::test]
async fn keys_are_kept_and_an_unknown_id_fetches_them_once_in_some_seconds() {
    let (one, two) = (SigningKey::es256("one"), SigningKey::es256("two"));
    let issuer = Issuer::start(&one, false).await;
    let registered = [issuer.thumbprint.clone()];
    let clock = clock();
    let sets = KeySets::new(None, clock.clone(), false);
    let (first, second) = (one.sign(&claims()), two.sign(&claims()));
    for _ in 0..3 {
        assert!(gets(&sets, &issuer, &registered, &first).await);
    }
    assert_eq!(issuer.fetches(), 1);
    for _ in 0..3 {
        assert!(!gets(&sets, &issuer, &registered, &second).await);
    }
    assert_eq!(issuer.fetches(), 0, "fetched just now");
    issuer.set(|responses| responses.keys = two.set());
    clock.advance(Duration::from_secs(10));
    let waiting = (0..5).map(|_| gets(&sets, &issuer, &registered, &second));
    let mut all = true;
    for found in waiting {
        all &= found.await;
    }
    assert!(all);
    assert_eq!(issuer.fetches(), 1);
    assert!(
        !gets(&sets, &issuer, &registered, &first).await,
        "a key that was withdrawn"
    );
    clock.advance(Duration::from_mins(10));
    assert!(gets(&sets, &issuer, &registered, &second).await);
    assert_eq!(issuer.fetches(), 1, "an old key set is fetched again");
}

#[tokio::test]
async fn requests_at_the_same_time_wait_for_one_fetch() {
    let key = SigningKey::es256("one");
    let issuer = Issuer::start(&key, false).await;
    let registered = [issuer.thumbprint.clone()];
    let sets = KeySets::new(None, clock(), false);
    let token = key.sign(&claims());
    let get = || gets(&sets, &issuer, &registered, &token);
    let (a, b, c, d) = tokio::join!(get(), get(), get(), get());
    assert!(a && b && c && d);
    assert_eq!(issuer.fetches(), 1);
}

#[tokio::test]
async fn requests_that_waited_for_a_slow_provider_do_not_wait_again() {
    let key = SigningKey::es256("one");
    let issuer = Issuer::start(&key, false).await;
    let registered = [issuer.thumbprint.clone()];
    let clock = clock();
    issuer.set(|responses| {
        responses.slow = Some(clock.clone());
        responses.status = "503 Service Unavailable";
    });
    let sets = KeySets::new(None, clock, false);
    let token = key.sign(&claims());
    let get = || gets(&sets, &issuer, &registered, &token);
    let (a, b, c, d) = tokio::join!(get(), get(), get(), get());
    assert!(!a && !b && !c && !d);
    assert_eq!(issuer.requests.load(Ordering::SeqCst), 1);
}

/// Otherwise clients that close their connections could make any number of requests to a provider.
#[tokio::test]
async fn a_fetch_that_was_given_up_is_not_begun_again() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let port = listener.local_addr().expect("an address").port();
    let requested = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&requested);
    tokio::spawn(async move {
        let mut silent = Vec::new();
        while let Ok((stream, _)) = listener.accept().await {
            count.fetch_add(1, Ordering::SeqCst);
            silent.push(stream);
        }
    });
    let sets = KeySets::new(None, clock(), false);
    let text = SigningKey::es256("one").sign(&claims());
    let token = UnverifiedToken::read(&text).expect("a token");
    let url = format!("https://127.0.0.1:{port}");
    let get = || {
        let provider = Provider {
            url: &url,
            thumbprints: &[],
        };
        sets.of(provider, &token)
    };
    let given_up = async {
        while requested.load(Ordering::SeqCst) == 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::select! {
        _ = get() => panic!("the provider is silent"),
        () = given_up => {}
    }
    assert_eq!(get().await.err(), Some(UnreachableKeys));
    assert_eq!(requested.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn old_keys_are_used_for_an_hour_while_the_provider_fails() {
    let key = SigningKey::es256("one");
    let issuer = Issuer::start(&key, false).await;
    let registered = [issuer.thumbprint.clone()];
    let clock = clock();
    let sets = KeySets::new(None, clock.clone(), false);
    let token = key.sign(&claims());
    assert!(gets(&sets, &issuer, &registered, &token).await);
    issuer.set(|responses| responses.status = "500 Internal Server Error");
    clock.advance(Duration::from_mins(59));
    assert!(gets(&sets, &issuer, &registered, &token).await);
    clock.advance(Duration::from_mins(1));
    assert!(!gets(&sets, &issuer, &registered, &token).await);
}

#[tokio::test]
async fn responses_that_are_no_key_set_are_refused() {
    let key = SigningKey::es256("one");
    let token = key.sign(&claims());
    let changes: [fn(&mut Responses); 6] = [
        |responses| responses.status = "302 Found",
        |responses| responses.document = b"{}".to_vec(),
        |responses| {
            let document = json!({"issuer": "https://other", "jwks_uri": "https://other/keys"});
            responses.document = document.to_string().into_bytes();
        },
        |responses| {
            let document = String::from_utf8_lossy(&responses.document);
            let document = document.replace("\"jwks_uri\":\"https:", "\"jwks_uri\":\"http:");
            responses.document = document.into_bytes();
        },
        |responses| responses.keys = b"[]".to_vec(),
        |responses| responses.keys = vec![b' '; 1024 * 1024 + 1],
    ];
    for change in changes {
        let issuer = Issuer::start(&key, false).await;
        issuer.set(change);
        let sets = KeySets::new(None, clock(), false);
        let registered = [issuer.thumbprint.clone()];
        assert!(!gets(&sets, &issuer, &registered, &token).await);
    }
}

#[tokio::test]
async fn a_configured_key_set_needs_no_network() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("keys.json");
    let (one, two) = (SigningKey::es256("one"), SigningKey::es256("two"));
    let write = |key: &SigningKey| {
        let keys: serde_json::Value = serde_json::from_slice(&key.set()).expect("a document");
        let file = json!({"https://offline.example.com": keys});
        std::fs::write(&path, file.to_string()).expect("written");
    };
    write(&one);
    let clock = clock();
    let file = ConfiguredKeySets::open(&path, clock.clone()).expect("a file");
    let sets = KeySets::new(Some(file), clock.clone(), false);
    let (first, second) = (one.sign(&claims()), two.sign(&claims()));
    let has = async |url: &str, token: &str| {
        let token = UnverifiedToken::read(token).expect("a token");
        let provider = Provider {
            url,
            thumbprints: &[],
        };
        let keys = sets.of(provider, &token).await;
        keys.is_ok_and(|keys| token.has_key_in(&keys))
    };
    assert!(has("https://offline.example.com", &first).await);
    assert!(!has("https://offline.example.com", &second).await);
    assert!(!has("http://other.example.com", &first).await);
    write(&two);
    let later = std::time::UNIX_EPOCH + Duration::from_secs(1_900_000_000);
    let changed = std::fs::File::options().append(true).open(&path);
    changed
        .and_then(|file| file.set_modified(later))
        .expect("changed");
    clock.advance(Duration::from_secs(5));
    assert!(has("https://offline.example.com", &second).await);
    std::fs::write(&path, "{").expect("written");
    clock.advance(Duration::from_secs(5));
    assert!(
        has("https://offline.example.com", &second).await,
        "the old one stays"
    );
}

#[test]
fn a_file_without_key_sets_is_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("keys.json");
    let open = || ConfiguredKeySets::open(&path, Clock::System).err();
    assert!(matches!(open(), Some(KeySetFileError::File { .. })));
    std::fs::write(&path, "[]").expect("written");
    assert!(matches!(open(), Some(KeySetFileError::Content { .. })));
    std::fs::write(&path, r#"{"https://a": {"keys": 1}}"#).expect("written");
    assert!(matches!(open(), Some(KeySetFileError::KeySet { .. })));
}
