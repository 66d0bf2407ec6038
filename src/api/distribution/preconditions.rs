//! PURE: conditional requests (RFC 9110, section 13). The entity tag of content is its digest, so
//! it is a strong one.

use std::fmt::Write as _;

use bytes::Bytes;
use http::HeaderValue;
use http::header::{ETAG, HeaderMap, IF_MATCH, IF_NONE_MATCH, IF_RANGE};
use wharfinger_oci::Digest;

use crate::response::DOCKER_CONTENT_DIGEST;

/// The longest entity tag: a SHA-512 digest in quotes.
const MAX_ENTITY_TAG_BYTES: usize = 2 + "sha512:".len() + 128;

/// The outcome of the preconditions of a GET or HEAD.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Preconditions {
    /// They hold, or there are none.
    Hold,
    /// 304: the client has the content already.
    NotModified,
    /// 412: the client wants other content only.
    Failed,
}

/// Evaluates `If-Match`, then `If-None-Match`, for content whose digest is `digest`.
#[must_use]
pub(crate) fn check_preconditions(headers: &HeaderMap, digest: &Digest) -> Preconditions {
    // Few requests have preconditions, so the digest is formatted only for those.
    if !headers.contains_key(IF_NONE_MATCH) && !headers.contains_key(IF_MATCH) {
        return Preconditions::Hold;
    }
    let opaque = digest.to_string();
    if headers.contains_key(IF_MATCH) && !names(headers, &IF_MATCH, &opaque, WeakTags::Differ) {
        return Preconditions::Failed;
    }
    if names(headers, &IF_NONE_MATCH, &opaque, WeakTags::Match) {
        Preconditions::NotModified
    } else {
        Preconditions::Hold
    }
}

/// Whether a `Range` applies: without `If-Range` always, with it only if it names this content. A
/// date never does, since content has no modification time.
#[must_use]
pub(crate) fn range_applies(headers: &HeaderMap, digest: &Digest) -> bool {
    let Some(value) = headers.get(IF_RANGE) else {
        return true;
    };
    value.to_str().is_ok_and(|text| {
        text.trim()
            .strip_prefix('"')
            .and_then(|t| t.strip_suffix('"'))
            == Some(&digest.to_string())
    })
}

/// Sets the headers that name content: its digest, and its entity tag, which is the digest in
/// quotes. Nearly every response has both, so they share one text.
pub(crate) fn set_digest_headers(headers: &mut HeaderMap, digest: &Digest) {
    let mut text = String::with_capacity(MAX_ENTITY_TAG_BYTES);
    // Writing to a String does not fail, and a digest has only visible characters.
    let _ = write!(text, "\"{digest}\"");
    let quoted = Bytes::from(text);
    let opaque = quoted.slice(1..quoted.len() - 1);
    for (name, value) in [(DOCKER_CONTENT_DIGEST, opaque), (ETAG, quoted)] {
        if let Ok(value) = HeaderValue::from_maybe_shared(value) {
            headers.insert(name, value);
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum WeakTags {
    Match,
    Differ,
}

/// Whether a list of entity tags, in one or several header lines, contains `opaque` or `*`.
fn names(headers: &HeaderMap, header: &http::HeaderName, opaque: &str, weak: WeakTags) -> bool {
    headers
        .get_all(header)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .any(|line| {
            // A digest contains no comma, so splitting a tag at one changes no result.
            line.split(',').map(str::trim).any(|tag| {
                let tag = match tag.strip_prefix("W/") {
                    Some(rest) if weak == WeakTags::Match => rest,
                    Some(_) => return false,
                    None => tag,
                };
                tag == "*"
                    || tag.strip_prefix('"').and_then(|tag| tag.strip_suffix('"')) == Some(opaque)
            })
        })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use wharfinger_oci::Algorithm;

    use super::*;

    fn with(name: http::HeaderName, value: &str) -> HeaderMap {
        HeaderMap::from_iter([(name, HeaderValue::from_str(value).expect("a header value"))])
    }

    #[test]
    fn entity_tags_are_compared_as_rfc_9110_says() {
        let digest = Digest::of(Algorithm::Sha256, b"x");
        let mut headers = HeaderMap::new();
        set_digest_headers(&mut headers, &digest);
        let text = |name| headers[name].to_str().expect("visible").to_owned();
        assert_eq!(text(DOCKER_CONTENT_DIGEST), digest.to_string());
        let tag = text(ETAG);
        assert_eq!(tag, format!("\"{digest}\""));
        let none = |value: &str| check_preconditions(&with(IF_NONE_MATCH, value), &digest);
        assert_eq!(none(&tag), Preconditions::NotModified);
        assert_eq!(none(&format!("\"a\", W/{tag}")), Preconditions::NotModified);
        assert_eq!(none("*"), Preconditions::NotModified);
        assert_eq!(none("\"a\""), Preconditions::Hold);
        assert_eq!(none(&digest.to_string()), Preconditions::Hold);
        let only = |value: &str| check_preconditions(&with(IF_MATCH, value), &digest);
        assert_eq!(only(&tag), Preconditions::Hold);
        assert_eq!(only(&format!("W/{tag}")), Preconditions::Failed);
        assert_eq!(only("\"a\""), Preconditions::Failed);
        assert_eq!(
            check_preconditions(&HeaderMap::new(), &digest),
            Preconditions::Hold
        );
    }

    #[test]
    fn a_range_of_other_content_does_not_apply() {
        let digest = Digest::of(Algorithm::Sha512, b"x");
        assert!(range_applies(&HeaderMap::new(), &digest));
        assert!(range_applies(
            &with(IF_RANGE, &format!("\"{digest}\"")),
            &digest
        ));
        for other in [
            "\"a\"",
            "Wed, 21 Oct 2015 07:28:00 GMT",
            &format!("W/\"{digest}\""),
            "",
        ] {
            assert!(!range_applies(&with(IF_RANGE, other), &digest), "{other}");
        }
    }

    proptest! {
        #[test]
        fn no_header_makes_it_panic(bytes in proptest::collection::vec(32_u8..255, 0..60)) {
            let digest = Digest::of(Algorithm::Sha256, b"x");
            if let Ok(value) = HeaderValue::from_bytes(&bytes) {
                for name in [IF_NONE_MATCH, IF_MATCH, IF_RANGE] {
                    let headers = HeaderMap::from_iter([(name, value.clone())]);
                    let _ = check_preconditions(&headers, &digest);
                    let _ = range_applies(&headers, &digest);
                }
            }
        }
    }
}
