//! Protection of a development server, which accepts any credentials, from web pages: a browser on
//! the same machine must not be able to use it on behalf of a site that its user opens.
//!
//! A page can send a request across sites, which the browser labels with `Origin` and
//! `Sec-Fetch-Site`, or make its own host name resolve to a loopback address (DNS rebinding), which
//! leaves that name in `Host`. Clients other than browsers send neither label.

use std::net::IpAddr;

use http::HeaderMap;
use http::header::ORIGIN;

use crate::names::Names;
use crate::origin::{Origin, registry_of};
use crate::repository_uri::RepositoryUri;
use crate::service_error::ServiceError;

const SEC_FETCH_SITE: &str = "sec-fetch-site";

/// The domains of Amazon ECR, whose names no other site can have. Clients use them where a machine
/// resolves them to this server.
const AMAZON_DOMAINS: [&str; 2] = ["amazonaws.com", "amazonaws.com.cn"];

/// The hosts by which clients may address the server.
#[derive(Clone, Debug)]
pub(crate) struct BrowserGuard {
    /// The host of the configured URL, without port.
    public_host: String,
    /// The template of repository URIs, which contains the hosts of registries.
    repository_uri: RepositoryUri,
    /// The configured domain of registry hosts.
    domain: Option<String>,
}

impl BrowserGuard {
    pub(crate) fn new(names: &Names) -> Self {
        let public_host = names.public_url.split_once("://").map(|(_, rest)| rest);
        Self {
            public_host: host_of(public_host.unwrap_or_default()),
            repository_uri: names.repository_uri.clone(),
            domain: names.domain.clone(),
        }
    }

    /// Checks a request.
    ///
    /// # Errors
    /// [`ServiceError::ForeignOrigin`], [`ServiceError::UnknownHost`].
    pub(crate) fn check(&self, headers: &HeaderMap, origin: &Origin) -> Result<(), ServiceError> {
        if let Some(host) = origin.host()
            && !self.accepts(without_port(host))
        {
            return Err(ServiceError::UnknownHost);
        }
        let site = headers.get(SEC_FETCH_SITE).map(http::HeaderValue::as_bytes);
        if site.is_some_and(|site| !matches!(site, b"none" | b"same-origin")) {
            return Err(ServiceError::ForeignOrigin);
        }
        let Some(page) = headers.get(ORIGIN) else {
            return Ok(());
        };
        let page = page.to_str().ok().and_then(|page| page.split_once("://"));
        match page {
            Some((_, authority)) if Some(authority) == origin.host() => Ok(()),
            _ => Err(ServiceError::ForeignOrigin),
        }
    }

    /// Whether no foreign site can have the host: an address, a name that always resolves to
    /// loopback, a configured name, or a registry's in a domain of Amazon.
    fn accepts(&self, host: &str) -> bool {
        let host = host.to_ascii_lowercase();
        let address = host.trim_start_matches('[').trim_end_matches(']');
        address.parse::<IpAddr>().is_ok()
            || host == "localhost"
            || host.ends_with(".localhost")
            || host == self.public_host
            || self.is_registry(&host)
            || self.domain.as_ref().is_some_and(|domain| {
                host.strip_suffix(domain.as_str())
                    .is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
            })
    }

    /// Whether the host is that of the repository URIs of its registry, or Amazon's own. Any other
    /// host of this form may be a foreign site's: `123456789012.dkr.ecr.us-east-1.evil.test`.
    fn is_registry(&self, host: &str) -> bool {
        let is_amazon = |domain: &&str| registry_of(host, Some(domain)).is_some();
        if AMAZON_DOMAINS.iter().any(is_amazon) {
            return true;
        }
        match registry_of(host, None) {
            Some(scope) => {
                host_of(&self.repository_uri.registry(&scope.account, &scope.region)) == host
            }
            None => host_of(&self.repository_uri.to_string()) == host,
        }
    }
}

/// The host of `HOST[:PORT][/PATH]`, in lower case.
fn host_of(text: &str) -> String {
    let authority = text.split('/').next().unwrap_or_default();
    without_port(authority).to_ascii_lowercase()
}

/// The host of `HOST`, `HOST:PORT`, `[IPV6]` or `[IPV6]:PORT`.
fn without_port(authority: &str) -> &str {
    match authority.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => host,
        _ => authority,
    }
}

#[cfg(test)]
mod tests {
    use http::request::Parts;
    use http::{HeaderName, HeaderValue, Request};
    use wharfinger_aws::AccountId;

    use super::*;

    fn check(sent: &[(&'static str, &str)]) -> Result<(), ServiceError> {
        check_with("images.test:4566", sent)
    }

    fn check_with(template: &str, sent: &[(&'static str, &str)]) -> Result<(), ServiceError> {
        let names = Names {
            public_url: "http://registry.test:4566".to_owned(),
            repository_uri: template.parse().expect("a template"),
            account: AccountId::DEV,
            region: "us-east-1".parse().expect("a region"),
            domain: Some("example.com".to_owned()),
            url_is_derived: false,
            uri_is_derived: false,
        };
        let (mut head, ()): (Parts, ()) = Request::new(()).into_parts();
        for (name, value) in sent {
            let value = HeaderValue::from_str(value).expect("a value");
            head.headers.insert(HeaderName::from_static(name), value);
        }
        BrowserGuard::new(&names).check(&head.headers, &Origin::of(&head))
    }

    #[test]
    fn hosts_that_a_foreign_site_may_have_are_refused() {
        for host in [
            "localhost:4566",
            "127.0.0.1:4566",
            "[::1]:4566",
            "10.0.0.7",
            "LocalHost",
            "aws.localhost:4566",
            "123456789012.dkr.ecr.us-east-1.localhost:4566",
            "123456789012.dkr.ecr.us-east-1.amazonaws.com",
            "123456789012.dkr.ecr.cn-north-1.amazonaws.com.cn:443",
            "registry.test",
            "images.test:80",
            "example.com",
            "a.example.com:1",
        ] {
            assert_eq!(check(&[("host", host)]), Ok(()), "{host}");
        }
        for host in [
            "evil.test:4566",
            "notexample.com",
            "localhost.evil.test",
            "123456789012.dkr.ecr.us-east-1.evil.test:4566",
            "x.dkr.ecr.us-east-1.amazonaws.com",
            "123456789012.dkr.ecr.us-east-1.amazonaws.com.evil.test",
        ] {
            let refused = Err(ServiceError::UnknownHost);
            assert_eq!(check(&[("host", host)]), refused, "{host}");
        }
    }

    #[test]
    fn a_template_names_the_hosts_of_registries() {
        let template = "{account}.dkr.ecr.{region}.registry.test:4566/team";
        let check = |host| check_with(template, &[("host", host)]);
        let registry = "123456789012.dkr.ecr.eu-west-1.registry.test:4566";
        assert_eq!(check(registry), Ok(()));
        let foreign = "123456789012.dkr.ecr.eu-west-1.evil.test:4566";
        assert_eq!(check(foreign), Err(ServiceError::UnknownHost));
    }

    #[test]
    fn requests_that_another_site_caused_are_refused() {
        let host = ("host", "localhost:4566");
        for label in [
            ("origin", "http://localhost:4566"),
            ("sec-fetch-site", "same-origin"),
            ("sec-fetch-site", "none"),
        ] {
            assert_eq!(check(&[host, label]), Ok(()), "{label:?}");
        }
        for label in [
            ("origin", "https://evil.test"),
            ("origin", "http://localhost:3000"),
            ("origin", "null"),
            ("sec-fetch-site", "cross-site"),
            ("sec-fetch-site", "same-site"),
        ] {
            let refused = Err(ServiceError::ForeignOrigin);
            assert_eq!(check(&[host, label]), refused, "{label:?}");
        }
    }
}
