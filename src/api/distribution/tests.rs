//! The state of the API for unit tests: an index and blobs in memory, and a clock that the test
//! sets.

mod expired_credentials;

use std::sync::Arc;

use wharfinger_api_core::Names;
use wharfinger_audit::AuditLog;
use wharfinger_base::{Clock, Durability, Ids};
use wharfinger_blobs::{BlobStore, BlobsConfig};
use wharfinger_db::Db;
use wharfinger_iam::{self as iam, Iam, MasterKey};
use wharfinger_registry::{self as registry, Registry};
use wharfinger_telemetry::Metrics;

use crate::state::{DistributionConfig, DistributionState};

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
    DistributionState {
        registry: Registry::new(&db, &blobs, &clock, &ids, registry::Config::default()),
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
