//! The configuration: [`Settings`] as they are written, and the checked [`Config`], which holds the
//! configurations of all parts.

mod audit;
mod destinations;
mod events;
mod local_clusters;
mod names;
mod network;
mod problems;
mod resolve;
mod settings;
pub(crate) mod units;
mod upstreams;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

pub use destinations::{DestinationConfig, DestinationSettings, DestinationSignIn};
pub use events::{EventSettings, EventSinkConfig, SinkKind};
pub use local_clusters::LocalClusters;
pub use settings::Settings;
pub use upstreams::Upstreams;
use wharfinger_api_core::{HttpServiceConfig, Names};
use wharfinger_api_distribution::DistributionConfig;
use wharfinger_audit::AuditConfig;
use wharfinger_base::Durability;
use wharfinger_blobs::{BlobsConfig, S3Keys};
use wharfinger_db::DatabaseConfig;
use wharfinger_http::{ConnectionLimits, TlsFiles};
use wharfinger_orchestrator::ServiceSettings;
use wharfinger_registry as registry;
use wharfinger_telemetry::{LogsConfig, TracesConfig};

/// The default port, which local AWS tools use already.
pub const DEFAULT_PORT: u16 = 4566;

/// The checked configuration of a server.
#[derive(Clone, Debug)]
pub struct Config {
    pub dev: bool,
    pub listen: SocketAddr,
    pub tls: Option<TlsFiles>,
    pub limits: ConnectionLimits,
    pub http: HttpServiceConfig,
    pub data_dir: PathBuf,
    pub database: DatabaseConfig,
    pub blobs: BlobsConfig,
    /// Where archived blobs go; `None` for within the store of blobs, where they are compressed.
    pub archive: Option<BlobsConfig>,
    /// The key for buckets.
    pub s3_keys: Option<S3Keys>,
    /// What an acknowledged upload survives.
    pub durability: Durability,
    pub key_file: PathBuf,
    /// The names by which clients know this server.
    pub names: Names,
    pub distribution: DistributionConfig,
    /// How long a Bearer token of `/token` holds.
    pub registry_token_ttl: Duration,
    /// A file with key sets of OIDC providers, which are not fetched then.
    pub oidc_key_sets: Option<PathBuf>,
    pub registry: registry::Config,
    /// Where upstream registries are reached, if not at their own addresses.
    pub upstreams: Upstreams,
    /// How long a tag of the pull-through cache is served without a look upstream.
    pub pull_through_refresh: Duration,
    pub logs: LogsConfig,
    pub traces: Option<TracesConfig>,
    /// The clusters that this host is a container instance of.
    pub local_clusters: LocalClusters,
    /// The Docker Engine of this host, if not that of the environment.
    pub docker_host: Option<String>,
    /// How long the containers of a stopped task are kept.
    pub task_cleanup_wait: Duration,
    pub services: ServiceSettings,
    /// `None`: nothing is recorded.
    pub audit: Option<AuditConfig>,
    pub event_sinks: Vec<EventSinkConfig>,
    /// Registries of other servers that images are replicated to.
    pub replication_destinations: Vec<DestinationConfig>,
}

/// A setting that is not valid: the key, and what is wrong with its value.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{key}: {why}")]
pub struct Problem {
    pub key: &'static str,
    pub why: String,
}

#[cfg(test)]
mod tests;
