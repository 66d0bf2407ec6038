//! The configuration: what was written down ([`Settings`]) and what it means ([`Config`], the
//! product of every room's own).

mod resolve;
mod settings;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

pub use settings::Settings;
use wharfinger_api_core::{HttpServiceConfig, Names};
use wharfinger_base::Durability;
use wharfinger_blobs::BlobsConfig;
use wharfinger_db::DatabaseConfig;
use wharfinger_http::{ConnectionLimits, TlsFiles};
use wharfinger_registry as registry;
use wharfinger_telemetry::{LogsConfig, TracesConfig};

/// The port where local AWS tools already look.
pub const DEFAULT_PORT: u16 = 4566;

/// Everything that a server needs to know, checked.
#[derive(Clone, Debug)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a switch of its own, named as in the file"
)]
pub struct Config {
    pub dev: bool,
    pub listen: SocketAddr,
    pub tls: Option<TlsFiles>,
    pub limits: ConnectionLimits,
    pub http: HttpServiceConfig,
    pub data_dir: PathBuf,
    pub database: DatabaseConfig,
    pub blobs: BlobsConfig,
    /// What an answered upload survives.
    pub durability: Durability,
    pub key_file: PathBuf,
    /// The names by which clients know this server.
    pub names: Names,
    pub challenge: Challenge,
    /// How long a Bearer token of `/token` holds.
    pub registry_token_ttl: Duration,
    pub create_on_push: bool,
    pub presigned_redirects: bool,
    pub registry: registry::Config,
    pub logs: LogsConfig,
    pub traces: Option<TracesConfig>,
}

/// How clients are asked to sign in on `/v2/`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Challenge {
    /// As ECR does.
    #[default]
    Basic,
    /// By tokens from `/token`.
    Bearer,
}

/// One thing wrong with the settings: the key, and why its value will not do.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{key}: {why}")]
pub struct Problem {
    pub key: &'static str,
    pub why: String,
}

impl Config {
    /// Gives defaults to what is not set and checks the rest. All problems are found at once, not
    /// only the first.
    pub fn from_settings(settings: Settings) -> Result<Self, Vec<Problem>> {
        resolve::resolve(settings)
    }
}

#[cfg(test)]
mod tests;
