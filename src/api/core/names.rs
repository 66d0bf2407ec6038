//! The names by which clients know this server.

use url::Url;
use wharfinger_aws::{AccountId, Region};

use crate::repository_uri::RepositoryUri;

/// Public URL, repository URIs, account and region of this server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Names {
    /// The URL for clients, without a slash at its end.
    pub public_url: String,
    pub repository_uri: RepositoryUri,
    /// The account of the server's root.
    pub account: AccountId,
    /// The region of requests that name none.
    pub region: Region,
    /// If set, only hosts of this domain name a registry (`ACCOUNT.dkr.ecr.REGION.DOMAIN`).
    pub domain: Option<String>,
    /// Whether `public_url` was derived from the listen address rather than configured.
    pub url_is_derived: bool,
    /// Whether `repository_uri` was derived from `public_url` rather than configured.
    pub uri_is_derived: bool,
}

impl Names {
    /// The configured URL; `None` if it was derived, so that the host a client used is preferred.
    #[must_use]
    pub fn configured_url(&self) -> Option<&str> {
        (!self.url_is_derived).then_some(self.public_url.as_str())
    }

    /// Sets the port of derived names to the one that the listener got, for port 0.
    pub fn follow_port(&mut self, port: u16) {
        if !self.url_is_derived {
            return;
        }
        let Ok(mut url) = Url::parse(&self.public_url) else {
            return;
        };
        // Fails only for URLs without a host; a derived one has a host.
        let _ = url.set_port(Some(port));
        url.as_str()
            .trim_end_matches('/')
            .clone_into(&mut self.public_url);
        if self.uri_is_derived
            && let Some(uri) = Self::derived_uri(&self.public_url)
        {
            self.repository_uri = uri;
        }
    }

    /// The repository URI that goes with a public URL: its host and port. `None` for a URL whose
    /// authority docker does not accept.
    #[must_use]
    pub fn derived_uri(public_url: &str) -> Option<RepositoryUri> {
        let (_, rest) = public_url.split_once("://")?;
        rest.split('/').next()?.parse().ok()
    }

    /// Where docker signs in to a registry: the host of its repository URIs, with the scheme of the
    /// public URL.
    #[must_use]
    pub fn registry_url(&self, account: &AccountId, region: &Region) -> String {
        let scheme = self
            .public_url
            .split_once("://")
            .map_or("http", |(scheme, _)| scheme);
        let registry = self.repository_uri.registry(account, region);
        let host = registry.split('/').next().unwrap_or_default();
        format!("{scheme}://{host}")
    }
}
