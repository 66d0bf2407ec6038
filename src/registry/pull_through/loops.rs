//! `CDN-Loop`: which servers a request has passed, so that rules in a circle end. PURE.
//!
//! Source: RFC 8586.

use uuid::Uuid;

/// Servers that a request may have passed: a chain of caches is short.
const MAX_SERVERS: usize = 4;
/// The name under which servers of this kind write themselves down.
const NAME: &str = "wharfinger";

/// The value of the header for a request to an upstream, where `received` is that of the request
/// which caused it; `None` where the request must not go further.
pub(super) fn onward(received: Option<&str>, server: Uuid) -> Option<String> {
    let received = received.unwrap_or_default().split(',');
    let mut passed: Vec<Uuid> = received.filter_map(server_in).take(MAX_SERVERS).collect();
    if passed.len() >= MAX_SERVERS || passed.contains(&server) {
        return None;
    }
    passed.push(server);
    let passed = passed.iter().map(|id| format!("{NAME}; id={id}"));
    Some(passed.collect::<Vec<_>>().join(", "))
}

/// The server that an element names, if it is one of this kind. What others wrote, or a client made
/// up, is not sent on.
fn server_in(element: &str) -> Option<Uuid> {
    let (name, id) = element.split_once(';')?;
    let id = id.trim().strip_prefix("id=")?;
    (name.trim() == NAME).then(|| id.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_comes_to_no_server_twice_and_to_few() {
        let servers: Vec<_> = (1..=6).map(Uuid::from_u128).collect();
        let mut value = onward(None, servers[0]);
        assert_eq!(value, Some(format!("wharfinger; id={}", servers[0])));
        assert_eq!(onward(value.as_deref(), servers[0]), None);
        for server in &servers[1..4] {
            value = onward(value.as_deref(), *server);
            assert!(value.is_some(), "{server}");
        }
        assert_eq!(onward(value.as_deref(), servers[4]), None);
        let others = "cdn.example.com; a=b, other, other, other, other";
        let expected = format!("wharfinger; id={}", servers[0]);
        assert_eq!(onward(Some(others), servers[0]), Some(expected));
        assert!(onward(Some(" "), servers[0]).is_some());
    }
}
