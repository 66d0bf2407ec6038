//! Which addresses a request may go to: a registry decides where its redirects and its token server
//! are, and must not be able to direct this server to others in its own network.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use url::{Host, Url};

use crate::Result;
use crate::error::{Error, PrivateAddress};

/// Resolves names to public addresses only. The connection goes to what was checked: a name that
/// changes in between gains nothing.
pub(crate) struct PublicAddresses;

impl Resolve for PublicAddresses {
    fn resolve(&self, name: Name) -> Resolving {
        Box::pin(async move {
            let host = name.as_str().to_owned();
            let found: Vec<_> = tokio::net::lookup_host((host.as_str(), 0)).await?.collect();
            if !found.iter().all(|address| is_public(address.ip())) {
                // Clients read the error: it does not say what the name stands for in this network.
                return Err(PrivateAddress(format!("of {host}")).into());
            }
            Ok(Box::new(found.into_iter()) as Addrs)
        })
    }
}

/// Checks a URL that a registry gave. Names are checked when they are resolved.
///
/// # Errors
/// [`Error::Address`].
pub(crate) fn check(url: &Url) -> Result<()> {
    let public = match url.host() {
        Some(Host::Ipv4(address)) => is_public(address.into()),
        Some(Host::Ipv6(address)) => is_public(address.into()),
        Some(Host::Domain(_)) => true,
        None => false,
    };
    if public && url.scheme() == "https" {
        return Ok(());
    }
    Err(Error::Address(url.origin().ascii_serialization()))
}

/// Whether an address is one of the internet (IANA special-purpose address registries).
pub(crate) fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => is_public_v4(address),
        IpAddr::V6(address) => is_public_v6(address),
    }
}

fn is_public_v4(address: Ipv4Addr) -> bool {
    let [a, b, c, _] = address.octets();
    let special = a == 0
        || a >= 224 // multicast, reserved, broadcast
        || address.is_private()
        || address.is_loopback()
        || address.is_link_local()
        || (a == 100 && (64..128).contains(&b)) // shared by carriers
        || (a == 192 && b == 0 && (c == 0 || c == 2))
        || (a == 192 && b == 88 && c == 99)
        || (a == 198 && (b == 18 || b == 19)) // benchmarks
        || address.is_documentation();
    !special
}

fn is_public_v6(address: Ipv6Addr) -> bool {
    if let Some(inner) = address.to_ipv4_mapped() {
        return is_public_v4(inner);
    }
    let segments = address.segments();
    match segments {
        // NAT64 and 6to4 carry an address of the other family.
        [0x64, 0xff9b, 0, 0, 0, 0, high, low] | [0x2002, high, low, ..] => {
            let ([a, b], [c, d]) = (high.to_be_bytes(), low.to_be_bytes());
            is_public_v4(Ipv4Addr::new(a, b, c, d))
        }
        [0x2001, 0x0db8, ..] => false,
        [0x2001, second, ..] if second < 0x200 => false, // protocol assignments, Teredo
        // Only 2000::/3 is given to the internet.
        [first, ..] => first & 0xe000 == 0x2000,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_addresses_of_the_internet_are_public() {
        for (address, public) in [
            ("8.8.8.8", true),
            ("52.95.110.1", true),
            ("127.0.0.1", false),
            ("127.9.9.9", false),
            ("10.1.2.3", false),
            ("172.16.0.1", false),
            ("172.32.0.1", true),
            ("192.168.1.1", false),
            ("169.254.169.254", false),
            ("100.64.0.1", false),
            ("100.128.0.1", true),
            ("0.0.0.0", false),
            ("224.0.0.1", false),
            ("255.255.255.255", false),
            ("198.18.0.1", false),
            ("203.0.113.1", false),
            ("2606:4700::1111", true),
            ("::1", false),
            ("::", false),
            ("fe80::1", false),
            ("fd00::1", false),
            ("ff02::1", false),
            ("::ffff:127.0.0.1", false),
            ("::ffff:8.8.8.8", true),
            ("64:ff9b::7f00:1", false),
            ("2002:7f00:1::", false),
            ("2001:db8::1", false),
        ] {
            let parsed: IpAddr = address.parse().expect("an address");
            assert_eq!(is_public(parsed), public, "{address}");
        }
    }

    #[test]
    fn a_url_of_a_registry_is_encrypted_and_public() {
        for (url, fine) in [
            ("https://cdn.example.com/x", true),
            ("https://8.8.8.8/x", true),
            ("http://cdn.example.com/x", false),
            ("https://127.0.0.1/x", false),
            ("https://0x7f000001/x", false),
            ("https://2130706433/x", false),
            ("https://[::1]/x", false),
            ("file:///etc/passwd", false),
        ] {
            let parsed: Url = url.parse().expect("a URL");
            assert_eq!(check(&parsed).is_ok(), fine, "{url}");
        }
    }
}
