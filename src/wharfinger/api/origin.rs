//! Where a request comes from, and where its sender reaches this server: for conditions, challenges
//! and absolute addresses.

use std::borrow::Cow;
use std::net::IpAddr;
use std::sync::Arc;

use http::header::{HOST, USER_AGENT};
use http::request::Parts;
use wharfinger_aws::{AccountId, Region};
use wharfinger_http::Connection;
use wharfinger_iam::Caller;
use wharfinger_oci::{Digest, RepositoryName};
use wharfinger_registry::RegistryId;

use crate::app::App;

/// The query parameter by which a layer's download address carries its own permission.
pub const TICKET: &str = "ticket";

/// What the connection and the head of a request say.
#[derive(Clone, Debug, Default)]
pub struct Origin<'a> {
    /// `Host`, or the authority of an HTTP/2 request; only where it can stand within another
    /// header.
    pub host: Option<&'a str>,
    pub peer: Option<IpAddr>,
    /// Whether the connection is encrypted.
    pub secure: bool,
    pub user_agent: Option<&'a str>,
}

impl<'a> Origin<'a> {
    #[must_use]
    pub fn of(head: &'a Parts) -> Self {
        let connection = head.extensions.get::<Arc<Connection>>();
        let text = |name| head.headers.get(name).and_then(|value| value.to_str().ok());
        let host = head
            .uri
            .authority()
            .map(http::uri::Authority::as_str)
            .or_else(|| text(HOST))
            .filter(|host| is_plain(host));
        Self {
            host,
            peer: connection.map(|connection| connection.peer().ip()),
            secure: connection.is_some_and(|connection| connection.is_tls()),
            user_agent: text(USER_AGENT),
        }
    }

    /// Where clients reach this server, without a slash at the end: what the configuration says,
    /// else what this client used.
    #[must_use]
    pub fn base(&self, app: &'a App) -> Cow<'a, str> {
        match (app.config.names.configured_url(), self.host) {
            (None, Some(host)) => Cow::Owned(format!(
                "{}://{host}",
                if self.secure { "https" } else { "http" }
            )),
            (Some(url), _) => Cow::Borrowed(url),
            (None, None) => Cow::Borrowed(&app.config.names.public_url),
        }
    }

    /// The registry that the request speaks to: the one its host names, else the caller's own in
    /// the usual region.
    #[must_use]
    pub fn registry(&self, app: &App, caller: &Caller) -> RegistryId {
        self.registry_for(app, caller, None)
    }

    /// The same, where `service` is the host that a token is requested for. It takes precedence
    /// over the request's own host if it names a registry.
    #[must_use]
    pub fn registry_for(&self, app: &App, caller: &Caller, service: Option<&str>) -> RegistryId {
        let named = [service, self.host]
            .into_iter()
            .flatten()
            .find_map(|host| registry_of(host, app.config.names.domain.as_deref()));
        let (account, region) =
            named.unwrap_or_else(|| (caller.account, app.config.names.region.clone()));
        RegistryId { account, region }
    }
}

/// The address at which a layer can be read with nothing but its ticket (`iam::Iam::layer_ticket`).
#[must_use]
pub fn layer_url(base: &str, repository: &RepositoryName, digest: &Digest, ticket: &str) -> String {
    format!("{base}/v2/{repository}/blobs/{digest}?{TICKET}={ticket}")
}

/// Account and region of `{account}.dkr.ecr.{region}.DOMAIN`, with or without a port; `None` for
/// any other form of name, and where a domain is given for any other domain.
fn registry_of(host: &str, domain: Option<&str>) -> Option<(AccountId, Region)> {
    let (account, rest) = host.split_once('.')?;
    let account = account.parse().ok()?;
    let rest = rest
        .strip_prefix("dkr.ecr.")
        .or_else(|| rest.strip_prefix("dkr.ecr-fips."))?;
    let (region, rest) = rest.split_once('.')?;
    let found = rest.rsplit_once(':').map_or(rest, |(name, _)| name);
    domain
        .is_none_or(|domain| found.eq_ignore_ascii_case(domain))
        .then_some((account, region.parse().ok()?))
}

/// Only the characters of names, addresses and ports: nothing that ends a quoted string.
fn is_plain(host: &str) -> bool {
    let legal = |byte: u8| {
        byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_' | b':' | b'[' | b']')
    };
    !host.is_empty() && host.bytes().all(legal)
}

#[cfg(test)]
mod laws {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn hosts_by_example() {
        let named = |host, domain| {
            registry_of(host, domain).map(|(account, region)| format!("{account}/{region}"))
        };
        let host = "012345678901.dkr.ecr.eu-west-1.localhost:4566";
        assert_eq!(named(host, None).as_deref(), Some("012345678901/eu-west-1"));
        assert_eq!(
            named(host, Some("localhost")).as_deref(),
            Some("012345678901/eu-west-1")
        );
        assert_eq!(named(host, Some("example.com")), None);
        assert!(
            named(
                "012345678901.dkr.ecr.us-gov-west-1.amazonaws.com",
                Some("AmazonAWS.com")
            )
            .is_some()
        );
        for none in [
            "",
            "localhost:4566",
            "127.0.0.1",
            "12.dkr.ecr.us-east-1.x",
            "012345678901.dkr.ecr.us-east-1",
            "012345678901.dkr.s3.us-east-1.x",
        ] {
            assert_eq!(named(none, None), None, "{none}");
        }
    }

    #[test]
    fn a_host_that_could_break_out_of_quotes_is_no_host() {
        for (host, plain) in [
            ("localhost:4566", true),
            ("[::1]:4566", true),
            ("a\"b", false),
            ("a b", false),
            ("", false),
        ] {
            assert_eq!(is_plain(host), plain, "{host}");
        }
    }

    proptest! {
        #[test]
        fn no_host_makes_it_panic(host in "([0-9]{12})?(\\.dkr\\.ecr)?\\PC{0,40}") {
            let _ = registry_of(&host, Some("x"));
            let _ = is_plain(&host);
        }
    }
}
