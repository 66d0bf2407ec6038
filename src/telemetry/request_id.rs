//! The id that a request carries through logs, answers and traces: the client's own, or one made
//! cheaply.

use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;

use http::{HeaderMap, HeaderName, HeaderValue};
use uuid::Uuid;
use wharfinger_base::Ids;

/// The header that carries the id both ways.
pub const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// The longest id taken over from a client; a longer one is replaced, so that nobody fills the
/// logs.
const LONGEST_GIVEN: usize = 128;

/// Makes ids. One counter and one secret start: unique without asking the operating system for
/// randomness at every request. They name requests, they guard nothing.
#[derive(Debug)]
pub struct RequestIds {
    high: u64,
    next: AtomicU64,
}

impl RequestIds {
    pub fn new(ids: &Ids) -> Self {
        let (high, low) = ids.uuid().as_u64_pair();
        Self {
            high,
            next: AtomicU64::new(low),
        }
    }

    /// The id for a request with these headers.
    pub fn of(&self, headers: &HeaderMap) -> RequestId {
        match headers.get(REQUEST_ID) {
            Some(given) if is_harmless(given.as_bytes()) => RequestId::Given(given.clone()),
            _ => RequestId::Made(self.make()),
        }
    }

    fn make(&self) -> Uuid {
        // The count is spread over all bits, so that ids of neighbours differ at a glance.
        let count = self.next.fetch_add(1, Relaxed);
        let mixed = count.wrapping_mul(0x9E37_79B9_7F4A_7C15);
        let high = self.high ^ mixed.rotate_left(32);
        let bits = (u128::from(high) << 64) | u128::from(mixed);
        uuid::Builder::from_u128(bits)
            .with_version(uuid::Version::Random)
            .with_variant(uuid::Variant::RFC4122)
            .into_uuid()
    }
}

fn is_harmless(id: &[u8]) -> bool {
    (1..=LONGEST_GIVEN).contains(&id.len())
        && id
            .iter()
            .all(|byte| byte.is_ascii_alphanumeric() || b"-_.:=+/".contains(byte))
}

/// One request's id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RequestId {
    Given(HeaderValue),
    Made(Uuid),
}

impl RequestId {
    pub fn to_header(&self) -> HeaderValue {
        match self {
            Self::Given(value) => value.clone(),
            Self::Made(id) => {
                let mut text = Uuid::encode_buffer();
                // A hyphenated UUID is visible ASCII.
                HeaderValue::from_str(id.hyphenated().encode_lower(&mut text))
                    .unwrap_or(HeaderValue::from_static("-"))
            }
        }
    }
}

impl std::fmt::Display for RequestId {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Given(value) => formatter.write_str(value.to_str().unwrap_or("-")),
            Self::Made(id) => std::fmt::Display::fmt(id, formatter),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn headers(id: &str) -> HeaderMap {
        HeaderMap::from_iter([(REQUEST_ID, HeaderValue::from_str(id).expect("a header"))])
    }

    #[test]
    fn made_ids_are_uuids_that_do_not_repeat() {
        let ids = RequestIds::new(&Ids::seeded(1));
        let made: BTreeSet<String> = (0..10_000)
            .map(|_| ids.of(&HeaderMap::new()).to_string())
            .collect();
        assert_eq!(made.len(), 10_000);
        assert!(
            made.iter()
                .all(|id| Uuid::parse_str(id).is_ok_and(|id| id.get_version_num() == 4))
        );
    }

    #[test]
    fn a_clients_id_is_kept_where_it_is_harmless() {
        let ids = RequestIds::new(&Ids::seeded(1));
        assert_eq!(
            ids.of(&headers("build-7/step.2")).to_string(),
            "build-7/step.2"
        );
        for bad in ["", "a b", "a\"b", &"x".repeat(129)] {
            assert_ne!(ids.of(&headers(bad)).to_string(), bad);
        }
        assert_eq!(ids.of(&headers("a")).to_header(), "a");
    }
}
