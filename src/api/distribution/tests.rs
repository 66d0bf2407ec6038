//! The state of the API for unit tests: an index and blobs in memory, and a clock that the test
//! sets.

mod expired_credentials;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use wharfinger_api_core::Names;
use wharfinger_audit::AuditLog;
use wharfinger_aws::Arn;
use wharfinger_base::{Clock, Durability, Ids, Secret};
use wharfinger_blobs::{BlobStore, BlobsConfig};
use wharfinger_db::Db;
use wharfinger_iam::{self as iam, Iam, MasterKey};
use wharfinger_registry::{
    self as registry, PullThrough, PullThroughRules, Registry, RegistryId, SecretError,
    UpstreamAccess, UpstreamSecrets,
};
use wharfinger_registry_client::RegistryClient;
use wharfinger_telemetry::Metrics;

use crate::state::{DistributionConfig, DistributionState};

/// No upstream has a secret.
struct NoSecrets;

#[async_trait]
impl UpstreamSecrets for NoSecrets {
    async fn value(&self, _: &RegistryId, _: &Arn) -> Result<Secret<String>, SecretError> {
        Err(SecretError::NotFound)
    }
}

/// A server under `--dev` if `dev`, on which a push creates its repository.
pub(crate) async fn state(clock: Clock, dev: bool) -> DistributionState {
    let migrations = [registry::MIGRATIONS, iam::MIGRATIONS].concat();
    let db = Db::memory(&migrations).expect("an index");
    let ids = Ids::default();
    let blobs = BlobStore::open(&BlobsConfig::Memory, Durability::Relaxed, ids.clone());
    let blobs = blobs.await.expect("a store");
    let config = iam::Config {
        dev,
        ..iam::Config::default()
    };
    let folder = tempfile::tempdir().expect("a folder");
    let master = MasterKey::open_or_create(&folder.path().join("key"), &ids).expect("a key");
    let account = config.account;
    let iam = Iam::open(db.clone(), &master, clock.clone(), ids.clone(), config);
    let registry = Registry::new(&db, &blobs, &clock, &ids, registry::Config::default());
    let upstreams = UpstreamAccess {
        client: RegistryClient::new(std::iter::empty(), clock.clone()),
        endpoints: HashMap::new(),
        secrets: Arc::new(NoSecrets),
    };
    let rules = PullThroughRules::new(db.clone(), clock.clone(), upstreams);
    let day = Duration::from_hours(24);
    DistributionState {
        pull_through: PullThrough::new(registry.clone(), rules, clock.clone(), ids.uuid(), day),
        registry,
        iam: Arc::new(iam.await.expect("opens")),
        clock,
        names: Names {
            public_url: "http://registry.test".to_owned(),
            repository_uri: "registry.test".parse().expect("a template"),
            account,
            region: "us-east-1".parse().expect("a region"),
            domain: None,
            url_is_derived: false,
            uri_is_derived: false,
        },
        metrics: Arc::new(Metrics::new([], Vec::new()).expect("metrics")),
        audit: AuditLog::off(),
        config: DistributionConfig {
            create_on_push: true,
            ..DistributionConfig::default()
        },
    }
}
