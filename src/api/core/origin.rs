//! The sender of a request as far as the connection and the head tell, and the host that it used.

use std::borrow::Cow;
use std::net::IpAddr;
use std::sync::Arc;

use http::HeaderValue;
use http::header::{HOST, USER_AGENT};
use http::request::Parts;
use wharfinger_aws::{AccountId, Region};
use wharfinger_http::Connection;

use crate::names::Names;
use crate::scope::RequestScope;

/// What the connection and the head of a request say about its sender. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Origin {
    /// `Host`, or the authority of an HTTP/2 request; only if it can be part of another header.
    host: Option<HeaderValue>,
    user_agent: Option<HeaderValue>,
    peer: Option<IpAddr>,
    secure: bool,
}

impl Origin {
    #[must_use]
    pub fn of(head: &Parts) -> Self {
        let connection = head.extensions.get::<Arc<Connection>>();
        let authority = head
            .uri
            .authority()
            .and_then(|authority| HeaderValue::from_str(authority.as_str()).ok());
        let host = authority
            .or_else(|| head.headers.get(HOST).cloned())
            .filter(|host| is_host(host.as_bytes()));
        Self {
            host,
            user_agent: head.headers.get(USER_AGENT).cloned(),
            peer: connection.map(|connection| connection.peer().ip()),
            secure: connection.is_some_and(|connection| connection.is_tls()),
        }
    }

    /// The host and port that the client used.
    #[must_use]
    pub fn host(&self) -> Option<&str> {
        self.host.as_ref()?.to_str().ok()
    }

    #[must_use]
    pub fn user_agent(&self) -> Option<&str> {
        self.user_agent.as_ref()?.to_str().ok()
    }

    /// The address at the other end of the connection.
    #[must_use]
    pub const fn peer(&self) -> Option<IpAddr> {
        self.peer
    }

    /// Whether the connection is encrypted.
    #[must_use]
    pub const fn is_secure(&self) -> bool {
        self.secure
    }

    /// The URL by which this client reaches the server, without a slash at its end: the configured
    /// one, else the host that this client used.
    #[must_use]
    pub fn base_url<'a>(&self, names: &'a Names) -> Cow<'a, str> {
        let scheme = if self.secure { "https" } else { "http" };
        match (names.configured_url(), self.host()) {
            (Some(url), _) => Cow::Borrowed(url),
            (None, Some(host)) => Cow::Owned(format!("{scheme}://{host}")),
            (None, None) => Cow::Borrowed(&names.public_url),
        }
    }

    /// The registry that the host names (`ACCOUNT.dkr.ecr.REGION.DOMAIN`), else `account` in the
    /// server's own region.
    #[must_use]
    pub fn registry_scope(&self, names: &Names, account: AccountId) -> RequestScope {
        self.requested_registry_scope(names, account, None)
    }

    /// The same, except that `service`, the host for which a token is requested, takes precedence
    /// if it names a registry.
    #[must_use]
    pub fn requested_registry_scope(
        &self,
        names: &Names,
        account: AccountId,
        service: Option<&str>,
    ) -> RequestScope {
        [service, self.host()]
            .into_iter()
            .flatten()
            .find_map(|host| registry_of(host, names.domain.as_deref()))
            .unwrap_or_else(|| RequestScope {
                account,
                region: names.region.clone(),
            })
    }
}

/// Account and region of `ACCOUNT.dkr.ecr.REGION.DOMAIN`, with or without a port; `None` for any
/// other host, and for any other domain than `domain` if there is one.
pub(crate) fn registry_of(host: &str, domain: Option<&str>) -> Option<RequestScope> {
    // Names of hosts do not depend on case.
    let host = host.to_ascii_lowercase();
    let (account, rest) = host.split_once('.')?;
    let account: AccountId = account.parse().ok()?;
    let rest = rest
        .strip_prefix("dkr.ecr.")
        .or_else(|| rest.strip_prefix("dkr.ecr-fips."))?;
    let (region, rest) = rest.split_once('.')?;
    let region: Region = region.parse().ok()?;
    let found = rest.rsplit_once(':').map_or(rest, |(name, _)| name);
    domain
        .is_none_or(|domain| found.eq_ignore_ascii_case(domain))
        .then_some(RequestScope { account, region })
}

/// Whether the text has only the characters of names, addresses and ports, none of which ends a
/// quoted string.
fn is_host(host: &[u8]) -> bool {
    let legal = |byte: &u8| {
        byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_' | b':' | b'[' | b']')
    };
    !host.is_empty() && host.iter().all(legal)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn hosts_name_registries() {
        let named = |host, domain| {
            registry_of(host, domain).map(|scope| format!("{}/{}", scope.account, scope.region))
        };
        let host = "012345678901.dkr.ecr.eu-west-1.localhost:4566";
        assert_eq!(named(host, None).as_deref(), Some("012345678901/eu-west-1"));
        assert_eq!(
            named(host, Some("localhost")).as_deref(),
            Some("012345678901/eu-west-1")
        );
        assert_eq!(named(host, Some("example.com")), None);
        let amazon = "012345678901.dkr.ecr.us-gov-west-1.amazonaws.com";
        assert!(named(amazon, Some("AmazonAWS.com")).is_some());
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
    fn a_host_cannot_end_a_quoted_string() {
        for (host, expected) in [
            ("localhost:4566", true),
            ("[::1]:4566", true),
            ("a\"b", false),
            ("a b", false),
            ("", false),
        ] {
            assert_eq!(is_host(host.as_bytes()), expected, "{host}");
        }
    }

    #[test]
    fn the_case_of_a_host_does_not_matter() {
        let host = "222222222222.DKR.ECR.EU-West-1.Example.com:443";
        let scope = registry_of(host, Some("example.COM")).expect("a registry");
        assert_eq!(scope.account.to_string(), "222222222222");
        assert_eq!(scope.region.to_string(), "eu-west-1");
    }

    proptest! {
        #[test]
        fn any_host_is_parsed_without_a_panic(host in "([0-9]{12})?(\\.dkr\\.ecr)?\\PC{0,40}") {
            let _ = registry_of(&host, Some("x"));
            let _ = is_host(host.as_bytes());
        }
    }
}
