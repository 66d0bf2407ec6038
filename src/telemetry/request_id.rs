//! The id of a request in logs, responses and traces: the client's own, or one made here.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;

use http::{HeaderMap, HeaderName, HeaderValue, Request};
use tower_http::request_id::{MakeRequestId, RequestId};
use uuid::Uuid;
use wharfinger_base::Ids;

/// The header that carries the id both ways.
pub const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// The longest id accepted from a client, in bytes, so that nobody fills the logs.
const MAX_GIVEN_BYTES: usize = 128;

/// Makes ids from a counter and one random start: unique without random bytes from the operating
/// system for each request. They name requests and protect nothing.
#[derive(Clone, Debug)]
pub struct RequestIds {
    high: u64,
    next: Arc<AtomicU64>,
}

impl RequestIds {
    pub fn new(ids: &Ids) -> Self {
        let (high, low) = ids.uuid().as_u64_pair();
        Self {
            high,
            next: Arc::new(AtomicU64::new(low)),
        }
    }

    fn make(&self) -> Uuid {
        // The count is spread over all bits, so that successive ids differ at a glance.
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

impl MakeRequestId for RequestIds {
    fn make_request_id<B>(&mut self, _request: &Request<B>) -> Option<RequestId> {
        let mut text = Uuid::encode_buffer();
        let text = self.make().hyphenated().encode_lower(&mut text);
        HeaderValue::from_str(text).ok().map(RequestId::new)
    }
}

/// Removes an id that is too long or could confuse a reader of the logs, so that one is made.
pub fn remove_unsafe_id(headers: &mut HeaderMap) {
    if headers
        .get(REQUEST_ID)
        .is_some_and(|id| !is_safe(id.as_bytes()))
    {
        headers.remove(REQUEST_ID);
    }
}

fn is_safe(id: &[u8]) -> bool {
    (1..=MAX_GIVEN_BYTES).contains(&id.len())
        && id
            .iter()
            .all(|byte| byte.is_ascii_alphanumeric() || b"-_.:=+/".contains(byte))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn made_ids_are_uuids_that_do_not_repeat() {
        let mut ids = RequestIds::new(&Ids::seeded(1));
        let mut next_id = || {
            let id = ids.make_request_id(&Request::new(())).expect("an id");
            id.header_value().to_str().expect("text").to_owned()
        };
        let made: BTreeSet<String> = (0..10_000).map(|_| next_id()).collect();
        assert_eq!(made.len(), 10_000);
        assert!(
            made.iter()
                .all(|id| Uuid::parse_str(id).is_ok_and(|id| id.get_version_num() == 4))
        );
    }

    #[test]
    fn a_clients_id_is_kept_if_it_is_safe() {
        let long = "x".repeat(MAX_GIVEN_BYTES + 1);
        for (id, kept) in [
            ("build-7/step.2", true),
            ("", false),
            ("a b", false),
            ("a\"b", false),
            (long.as_str(), false),
        ] {
            let value = HeaderValue::from_str(id).expect("a header");
            let mut headers = HeaderMap::from_iter([(REQUEST_ID, value)]);
            remove_unsafe_id(&mut headers);
            assert_eq!(headers.contains_key(REQUEST_ID), kept, "{id}");
        }
    }
}
