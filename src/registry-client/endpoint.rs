//! Registries as requests address them.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use url::{Origin, Url};
use wharfinger_base::Secret;

/// A registry's scheme, host and port.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Endpoint(Url);

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a registry is named as http://HOST[:PORT] or https://HOST[:PORT]")]
pub struct EndpointError;

impl Endpoint {
    /// The registry that clients reach at a host, over TLS.
    ///
    /// # Errors
    /// [`EndpointError`].
    pub fn https(host: &str) -> Result<Self, EndpointError> {
        format!("https://{host}").parse()
    }

    pub(crate) fn origin(&self) -> Origin {
        self.0.origin()
    }

    /// `/v2/REPOSITORY/KIND/REFERENCE`. The parts were parsed before, so they need no escaping.
    pub(crate) fn path(&self, repository: &str, kind: &str, reference: &str) -> Url {
        let mut url = self.0.clone();
        url.set_path(&format!("/v2/{repository}/{kind}/{reference}"));
        url
    }

    /// `/v2/REPOSITORY/blobs/uploads/`, where uploads begin.
    pub(crate) fn uploads(&self, repository: &str) -> Url {
        let mut url = self.0.clone();
        url.set_path(&format!("/v2/{repository}/blobs/uploads/"));
        url
    }

    /// The path and query of another URL at this registry.
    pub(crate) fn at(&self, other: &Url) -> Url {
        let mut url = self.0.clone();
        url.set_path(other.path());
        url.set_query(other.query());
        url
    }

    /// `/v2/`, which tells whether credentials are accepted.
    pub(crate) fn base(&self) -> Url {
        let mut url = self.0.clone();
        url.set_path("/v2/");
        url
    }
}

impl FromStr for Endpoint {
    type Err = EndpointError;

    fn from_str(text: &str) -> Result<Self, EndpointError> {
        let url: Url = text.parse().map_err(|_| EndpointError)?;
        let plain = url.username().is_empty()
            && url.password().is_none()
            && matches!(url.path(), "" | "/")
            && url.query().is_none()
            && url.fragment().is_none();
        if plain && url.has_host() && matches!(url.scheme(), "http" | "https") {
            Ok(Self(url))
        } else {
            Err(EndpointError)
        }
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.0.as_str().trim_end_matches('/'))
    }
}

/// A name and a password, or a token in its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Credentials {
    pub username: String,
    pub password: Secret<String>,
}

/// A registry to read from or to write to, and as whom.
#[derive(Clone, Debug)]
pub struct Upstream {
    pub endpoint: Endpoint,
    /// Anonymous without.
    pub credentials: Option<Arc<Credentials>>,
    /// The value of `CDN-Loop` (RFC 8586), by which servers in a circle recognise their own
    /// requests.
    pub cdn_loop: Option<String>,
    /// The host in whose name requests are made where the endpoint is this server's own listener.
    /// Its certificate is for other names and is not checked; where it redirects to is trusted.
    pub own_host: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_endpoint_is_an_origin() {
        for (text, fine) in [
            ("https://registry-1.docker.io", true),
            ("http://127.0.0.1:5000/", true),
            ("https://[::1]:5000", true),
            ("https://host/path", false),
            ("https://user@host", false),
            ("https://user:password@host", false),
            ("https://host?x=1", false),
            ("ftp://host", false),
            ("host:5000", false),
            ("", false),
        ] {
            assert_eq!(text.parse::<Endpoint>().is_ok(), fine, "{text}");
        }
        let endpoint = Endpoint::https("ghcr.io").expect("an endpoint");
        assert_eq!(endpoint.to_string(), "https://ghcr.io");
        let url = endpoint.path("a/b", "manifests", "v1");
        assert_eq!(url.as_str(), "https://ghcr.io/v2/a/b/manifests/v1");
    }
}
