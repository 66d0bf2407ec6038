//! The names by which clients know the server.

use std::net::SocketAddr;
use std::str::FromStr as _;

use url::Url;
use wharfinger_api_core::Names;
use wharfinger_aws::{AccountId, Region};

use crate::config::Settings;
use crate::config::problems::Problems;

const DEFAULT_REGION: &str = "us-east-1";

pub(super) fn names(
    problems: &mut Problems,
    settings: &Settings,
    listen: SocketAddr,
    tls: bool,
) -> Names {
    let public_url = match settings.public_url.as_deref() {
        None => derived_url(listen, tls),
        Some(given) => match check_url(given) {
            Ok(url) => url,
            Err(why) => {
                problems.add("public_url", why);
                derived_url(listen, tls)
            }
        },
    };
    let localhost = || "localhost".parse().expect("a well-formed template");
    let derived = Names::derived_uri(&public_url).unwrap_or_else(localhost);
    let repository_uri = problems.parsed(
        "repository_uri",
        settings.repository_uri.as_deref(),
        derived,
    );
    let domain = settings
        .domain
        .as_ref()
        .map(|domain| domain.to_ascii_lowercase());
    if domain.as_ref().is_some_and(|domain| !is_domain(domain)) {
        problems.add("domain", "it must be a domain name such as example.com");
    }
    Names {
        url_is_derived: settings.public_url.is_none(),
        uri_is_derived: settings.repository_uri.is_none(),
        public_url,
        repository_uri,
        account: problems.parsed("account", settings.account.as_deref(), AccountId::DEV),
        region: region(problems, settings.region.as_deref()),
        domain,
    }
}

fn region(problems: &mut Problems, given: Option<&str>) -> Region {
    let default = || Region::from_str(DEFAULT_REGION).expect("the default region is well-formed");
    given
        .map_or_else(|| Ok(default()), str::parse)
        .unwrap_or_else(|why| {
            problems.add("region", why);
            default()
        })
}

/// Docker on this machine reaches any address by `localhost`, and trusts it without TLS.
fn derived_url(listen: SocketAddr, tls: bool) -> String {
    let scheme = if tls { "https" } else { "http" };
    if listen.ip().is_unspecified() || listen.ip().is_loopback() {
        format!("{scheme}://localhost:{}", listen.port())
    } else {
        format!("{scheme}://{listen}")
    }
}

fn check_url(text: &str) -> Result<String, String> {
    let url = Url::parse(text).map_err(|why| why.to_string())?;
    if !matches!(url.scheme(), "http" | "https") || url.host_str().is_none() {
        return Err("it must begin with http:// or https:// and name a host".to_owned());
    }
    if url.path() != "/"
        || url.query().is_some()
        || url.fragment().is_some()
        || !url.username().is_empty()
    {
        return Err(
            "it must hold nothing but scheme, host and port: /v2/ is always at the root".to_owned(),
        );
    }
    Ok(url.as_str().trim_end_matches('/').to_owned())
}

fn is_domain(text: &str) -> bool {
    let label = |label: &str| {
        !label.is_empty()
            && label.len() <= 63
            && label
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
    };
    text.len() <= 253 && text.split('.').all(label)
}
