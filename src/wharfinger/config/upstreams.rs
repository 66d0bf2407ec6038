//! Where upstream registries are reached, if not at their own addresses.

use std::collections::HashMap;
use std::str::FromStr;

use wharfinger_registry_client::Endpoint;

/// The hosts of upstream registries, and where each is reached instead.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Upstreams(pub HashMap<String, Endpoint>);

impl FromStr for Upstreams {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let pairs = text
            .split(',')
            .map(str::trim)
            .filter(|pair| !pair.is_empty());
        let pairs = pairs.map(|pair| {
            let (host, url) = pair.split_once('=').unwrap_or((pair, ""));
            let (host, url) = (host.trim(), url.trim());
            let endpoint = url.parse().map_err(|why| format!("`{host}`: {why}"))?;
            if host.is_empty() {
                return Err(format!("`{url}` has no host before it, as in HOST=URL"));
            }
            Ok((host.to_owned(), endpoint))
        });
        pairs.collect::<Result<_, _>>().map(Self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_and_urls_are_pairs() {
        let parse = |text: &str| text.parse::<Upstreams>();
        let two = "quay.io=http://127.0.0.1:5000, ghcr.io = https://mirror.example.com,";
        let Upstreams(found) = parse(two).expect("valid");
        assert_eq!(found.len(), 2);
        assert_eq!(found["quay.io"].to_string(), "http://127.0.0.1:5000");
        assert_eq!(found["ghcr.io"].to_string(), "https://mirror.example.com");
        assert_eq!(parse(""), Ok(Upstreams::default()));
        for text in [
            "quay.io",
            "quay.io=",
            "=http://a",
            "quay.io=ftp://a",
            "a=http://b/c",
        ] {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}
