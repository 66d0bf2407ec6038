//! How often one caller may ask: a bucket each, for as many callers as are worth remembering.

use std::hash::{BuildHasher as _, RandomState};
use std::net::IpAddr;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use governor::clock::{Clock as _, DefaultClock};
use governor::{DefaultDirectRateLimiter, Quota, RateLimiter};
use http::HeaderMap;
use http::header::AUTHORIZATION;
use quick_cache::sync::Cache;

use crate::config::Rate;

/// Callers remembered at once; the least asked-for are forgotten first, and begin anew with a full
/// bucket. One takes about 150 bytes.
const CALLERS: usize = 16 * 1024;

/// The limiter of one server.
pub(super) struct RateLimit {
    quota: Quota,
    buckets: Cache<u64, Arc<DefaultDirectRateLimiter>>,
    hasher: RandomState,
    clock: DefaultClock,
}

/// Who asks, before anybody has checked it: who claims another's key is let through no sooner by
/// that, and refused by its signature.
#[derive(Hash)]
enum Claimed<'a> {
    AccessKey(&'a [u8]),
    Header(&'a [u8]),
    Address(IpAddr),
}

impl RateLimit {
    pub(super) fn new(rate: Rate) -> Self {
        let at_least_one = |count| NonZeroU32::new(count).unwrap_or(NonZeroU32::MIN);
        Self {
            quota: Quota::per_second(at_least_one(rate.per_second))
                .allow_burst(at_least_one(rate.burst)),
            buckets: Cache::new(CALLERS),
            hasher: RandomState::new(),
            clock: DefaultClock::default(),
        }
    }

    /// Takes one from the caller's bucket; where it is empty, says how long to wait.
    pub(super) fn admit(&self, headers: &HeaderMap, peer: IpAddr) -> Result<(), Duration> {
        let key = self.hasher.hash_one(Claimed::of(headers, peer));
        let bucket = self.buckets.get(&key).unwrap_or_else(|| {
            let fresh = Arc::new(RateLimiter::direct(self.quota));
            self.buckets.insert(key, Arc::clone(&fresh));
            fresh
        });
        bucket
            .check()
            .map_err(|refused| refused.wait_time_from(self.clock.now()))
    }
}

impl<'a> Claimed<'a> {
    fn of(headers: &'a HeaderMap, peer: IpAddr) -> Self {
        let Some(header) = headers.get(AUTHORIZATION).map(http::HeaderValue::as_bytes) else {
            return Self::Address(subscriber(peer));
        };
        // A signature differs in every request, its key does not.
        match header.strip_prefix(b"AWS4-HMAC-SHA256 Credential=") {
            Some(credential) => Self::AccessKey(
                credential
                    .split(|byte| *byte == b'/')
                    .next()
                    .unwrap_or(credential),
            ),
            None => Self::Header(header),
        }
    }
}

/// One subscriber has a whole /64 of IPv6.
fn subscriber(peer: IpAddr) -> IpAddr {
    match peer {
        IpAddr::V4(_) => peer,
        IpAddr::V6(address) => {
            let [a, b, c, d, ..] = address.segments();
            [a, b, c, d, 0, 0, 0, 0].into()
        }
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn signed_by(key: &str, signature: &str) -> HeaderMap {
        let value = format!(
            "AWS4-HMAC-SHA256 Credential={key}/20260101/us-east-1/ecr/aws4_request, Signature={signature}"
        );
        HeaderMap::from_iter([(
            AUTHORIZATION,
            HeaderValue::from_str(&value).expect("a header"),
        )])
    }

    #[test]
    fn each_caller_has_a_bucket() {
        let limit = RateLimit::new(Rate {
            per_second: 1,
            burst: 2,
        });
        let peer = IpAddr::from([127, 0, 0, 1]);
        for signature in ["a", "b"] {
            assert_eq!(limit.admit(&signed_by("AKIA1", signature), peer), Ok(()));
        }
        let wait = limit
            .admit(&signed_by("AKIA1", "c"), peer)
            .expect_err("the bucket is empty");
        assert!(
            wait > Duration::ZERO && wait <= Duration::from_secs(1),
            "{wait:?}"
        );
        assert_eq!(limit.admit(&signed_by("AKIA2", "a"), peer), Ok(()));
        assert_eq!(limit.admit(&HeaderMap::new(), peer), Ok(()));
    }

    #[test]
    fn neighbours_in_a_network_of_ipv6_are_one() {
        let limit = RateLimit::new(Rate {
            per_second: 1,
            burst: 1,
        });
        let admit = |address: &str| {
            limit
                .admit(&HeaderMap::new(), address.parse().expect("an address"))
                .is_ok()
        };
        assert!(admit("2001:db8::1") && !admit("2001:db8::2") && admit("2001:db8:0:1::1"));
    }
}
