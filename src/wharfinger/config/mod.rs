//! The configuration: what was written down ([`Settings`]) and what it means ([`Config`], the
//! product of every room's own).

mod resolve;
mod settings;
mod uri;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

pub use settings::Settings;
pub use uri::{RepositoryUri, RepositoryUriError};
use url::Url;
use wharfinger_aws::{AccountId, Region};
use wharfinger_base::Durability;
use wharfinger_blobs::BlobsConfig;
use wharfinger_db::DatabaseConfig;
use wharfinger_http::{Limits, TlsFiles};
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
    pub limits: Limits,
    /// `None`: callers may ask as often as they like.
    pub rate: Option<Rate>,
    pub data_dir: PathBuf,
    pub database: DatabaseConfig,
    pub blobs: BlobsConfig,
    /// What an answered upload survives.
    pub durability: Durability,
    pub key_file: PathBuf,
    /// The names by which clients know this server.
    pub names: Names,
    pub challenge: Challenge,
    pub create_on_push: bool,
    pub presigned_redirects: bool,
    pub registry: registry::Config,
    pub logs: LogsConfig,
    pub access_log: bool,
    /// A request that takes longer is logged whatever it did.
    pub slow_request: Duration,
    pub traces: Option<TracesConfig>,
}

/// How a client learns where and who this registry is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Names {
    /// Without a slash at its end.
    pub public_url: String,
    pub repository_uri: RepositoryUri,
    pub account: AccountId,
    pub region: Region,
    /// Where set, only hosts of this domain name a registry on `/v2/`.
    pub domain: Option<String>,
    /// Whether the URL was derived, and follows the port that the listener really got.
    derived_url: bool,
    derived_uri: bool,
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

/// How often one caller may ask.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    pub per_second: u32,
    pub burst: u32,
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

impl Names {
    /// The URL that was configured; `None` where it was derived, so that the way by which a client
    /// came is the better one.
    pub fn configured_url(&self) -> Option<&str> {
        (!self.derived_url).then_some(self.public_url.as_str())
    }

    /// Follows the port that the listener got, where the names were derived and port 0 was asked
    /// for.
    pub fn follow_port(&mut self, port: u16) {
        if !self.derived_url {
            return;
        }
        let Ok(mut url) = Url::parse(&self.public_url) else {
            return;
        };
        // Fails only for URLs without a host; a derived one has it.
        let _ = url.set_port(Some(port));
        url.as_str()
            .trim_end_matches('/')
            .clone_into(&mut self.public_url);
        if self.derived_uri {
            self.repository_uri = uri_of(&self.public_url);
        }
    }
}

/// The repository URI that goes with a public URL: its host and port.
fn uri_of(public_url: &str) -> RepositoryUri {
    let authority = public_url
        .split_once("://")
        .map_or(public_url, |(_, rest)| rest);
    let authority = authority.split('/').next().unwrap_or(authority);
    // A URL's authority holds no character that a template refuses.
    authority
        .parse()
        .unwrap_or_else(|_| RepositoryUri::localhost())
}

#[cfg(test)]
mod tests;
