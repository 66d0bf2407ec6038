//! `maxResults` and `nextToken` of ECS's listings.

use wharfinger_base::PageToken;

use crate::{Error, Result, error};

/// Most items on a page of most listings, and their number where the request does not say.
pub(super) const MAX_ITEMS: usize = 100;

/// How many items a page shall have, of at most `max`.
///
/// # Errors
/// A number that is not from 1 to `max`.
pub(super) fn limit(max_results: Option<i64>, max: usize) -> Result<usize> {
    let Some(requested) = max_results else {
        return Ok(max);
    };
    let requested = usize::try_from(requested).ok();
    requested
        .filter(|requested| (1..=max).contains(requested))
        .ok_or_else(|| {
            error::invalid_parameter(format!("maxResults should be between 1 and {max}"))
        })
}

/// The position that `token` encodes, which belongs to `listing` of `resource`; the beginning
/// without one.
///
/// # Errors
/// A token that was not made by this listing of this resource.
pub(super) fn position(listing: &str, resource: &str, token: Option<&str>) -> Result<String> {
    let Some(token) = token else {
        return Ok(String::new());
    };
    let parts =
        PageToken::decode(listing, token).and_then(|parts| <[String; 2]>::try_from(parts).ok());
    match parts {
        Some([of, after]) if of == resource => Ok(after),
        _ => Err(bad_token()),
    }
}

/// The token for a position in `listing` of `resource`.
pub(super) fn token(listing: &str, resource: &str, after: &str) -> String {
    PageToken::encode(listing, &[resource, after])
}

pub(super) fn bad_token() -> Error {
    error::invalid_parameter("Invalid token")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_belongs_to_a_listing_of_a_resource() {
        let made = token("ListTasks", "web", "7");
        assert_eq!(
            position("ListTasks", "web", Some(&made)).ok().as_deref(),
            Some("7")
        );
        assert_eq!(position("ListTasks", "web", None).ok().as_deref(), Some(""));
        assert!(position("ListTasks", "api", Some(&made)).is_err());
        assert!(position("ListServices", "web", Some(&made)).is_err());
    }

    #[test]
    fn pages_have_limits() {
        assert_eq!(limit(None, 100).ok(), Some(100));
        assert_eq!(limit(Some(7), 10).ok(), Some(7));
        for bad in [0, -1, 11, i64::MAX] {
            assert!(limit(Some(bad), 10).is_err());
        }
    }
}
