//! A server in this process, on a port of its own, with an index in memory and blobs in a folder
//! that goes with it.

use std::net::SocketAddr;
use std::sync::Arc;

use tokio::sync::oneshot;
use wharfinger::api::routes::http_service;
use wharfinger::app::App;
use wharfinger::config::{Config, Settings};
use wharfinger_aws::AccountId;
use wharfinger_base::{Clock, Durability, Ids, Timestamp};
use wharfinger_blobs::{BlobStore, BlobsConfig};
use wharfinger_db::Db;
use wharfinger_http::Listener;
use wharfinger_iam::{Caller, Iam, MasterKey, NewAccessKey, PolicyAttachment, Principal, UserName};
use wharfinger_registry::Registry;

use super::aws::Aws;
use super::client::Client;

/// How the server differs from a plain one.
#[derive(Clone, Copy, Debug, Default)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a switch of the server's own"
)]
pub(crate) struct Setup {
    /// Any credentials are taken, and repositories are made by pushing.
    pub(crate) dev: bool,
    pub(crate) bearer: bool,
    pub(crate) create_on_push: bool,
    /// Manifests may name what is not there.
    pub(crate) sparse: bool,
    /// Requests per second of one caller, and as many at once.
    pub(crate) rate: Option<u32>,
}

/// A running server; it ends with this value.
pub(crate) struct TestServer {
    pub(crate) app: Arc<App>,
    /// Stands still until a test moves it.
    pub(crate) clock: Clock,
    pub(crate) address: SocketAddr,
    root: NewAccessKey,
    _folder: tempfile::TempDir,
    _stop: oneshot::Sender<()>,
}

impl TestServer {
    pub(crate) async fn dev() -> Self {
        Self::start(Setup {
            dev: true,
            ..Setup::default()
        })
        .await
    }

    pub(crate) async fn start(setup: Setup) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let settings = Settings {
            listen: Some("127.0.0.1:0".to_owned()),
            data_dir: Some(folder.path().display().to_string()),
            dev: Some(setup.dev),
            create_on_push: Some(setup.create_on_push || setup.dev),
            accept_missing_references: Some(setup.sparse),
            auth_challenge: Some(if setup.bearer { "bearer" } else { "basic" }.to_owned()),
            rate_per_second: setup.rate,
            rate_burst: setup.rate,
            ..Settings::default()
        };
        let config =
            Config::from_settings(settings).unwrap_or_else(|problems| panic!("{problems:?}"));
        let (clock, ids) = (
            Clock::manual(Timestamp::from_ms(1_800_000_000_000)),
            Ids::default(),
        );
        let db = Db::memory(&wharfinger::server::migrations()).expect("an index in memory");
        let place = BlobsConfig::Disk {
            root: folder.path().join("blobs"),
        };
        let blobs = BlobStore::open(&place, Durability::Relaxed, ids.clone())
            .await
            .expect("a blob store");
        let registry = Registry::new(&db, &blobs, &clock, &ids, config.registry.clone());
        let iam = wharfinger_iam::Config {
            dev: setup.dev,
            ..wharfinger_iam::Config::default()
        };
        let iam = Iam::open(
            db.clone(),
            &MasterKey::random(&ids),
            clock.clone(),
            ids.clone(),
            iam,
        )
        .await
        .expect("sign-in");
        let root = iam
            .bootstrap()
            .await
            .expect("a first key")
            .expect("a new index");
        let listener =
            Listener::bind(config.listen, None, config.limits.clone()).expect("a free port");
        let address = listener.address().expect("an address");
        let app = Arc::new(App {
            clock: clock.clone(),
            ids,
            db,
            iam,
            registry,
            config,
        });
        let (stop, stopped) = oneshot::channel();
        let service = http_service(&app, Vec::new());
        tokio::spawn(listener.serve(service, async move { drop(stopped.await) }));
        Self {
            app,
            clock,
            address,
            root,
            _folder: folder,
            _stop: stop,
        }
    }

    /// A client without credentials.
    pub(crate) fn client(&self) -> Client {
        Client::new(self.address)
    }

    /// A client with the account root's password.
    pub(crate) fn root(&self) -> Client {
        self.client().with_password(&self.root_password())
    }

    pub(crate) fn root_password(&self) -> String {
        self.password(Principal::Root, &self.root)
    }

    /// A client whose password was the root's but for one character within its signature.
    pub(crate) fn root_with_changed_password(&self) -> Client {
        let mut password = self.root_password();
        let at = password.len() - 10;
        let other = if &password[at..=at] == "A" { "B" } else { "A" };
        password.replace_range(at..=at, other);
        self.client().with_password(&password)
    }

    /// A client with the password of a new user, under a managed policy by its name or a policy
    /// document.
    pub(crate) async fn user(&self, account: AccountId, name: &str, policy: &str) -> Client {
        let policy = if policy.starts_with('{') {
            PolicyAttachment::inline("own", policy)
        } else {
            PolicyAttachment::managed(policy)
        };
        let users = self.app.iam.users();
        let key = users
            .create(account, name, vec![policy.expect("a policy")])
            .await
            .expect("a new user");
        let listed = users.list(account, None, 100).await.expect("users").items;
        let id = listed
            .into_iter()
            .find(|user| user.name == name)
            .expect("the new user")
            .id;
        let principal = Principal::User(UserName {
            path: "/".to_owned(),
            name: name.to_owned(),
            id,
        });
        self.client().with_password(&self.password(principal, &key))
    }

    /// The AWS APIs, signed by the account root's key.
    pub(crate) fn aws(&self) -> Aws {
        Aws::new(self, &self.root)
    }

    /// The AWS APIs, signed by a new user's key.
    pub(crate) async fn aws_user(&self, account: AccountId, name: &str, policy: &str) -> Aws {
        let policy = if policy.starts_with('{') {
            PolicyAttachment::inline("own", policy)
        } else {
            PolicyAttachment::managed(policy)
        };
        let key = self
            .app
            .iam
            .users()
            .create(account, name, vec![policy.expect("a policy")])
            .await
            .expect("a new user");
        Aws::new(self, &key)
    }

    fn password(&self, principal: Principal, key: &NewAccessKey) -> String {
        let caller = Caller::new(key.account, principal, Arc::default())
            .with_access_key(key.access_key_id.as_str().into());
        self.app
            .iam
            .password_for(&caller)
            .expect("a password")
            .token
            .into_inner()
    }
}
