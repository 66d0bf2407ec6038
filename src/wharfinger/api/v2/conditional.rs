//! PURE: conditional requests (RFC 9110, section 13). The entity tag of content is its digest, so
//! it is always a strong one.

use std::fmt::Write as _;

use http::HeaderValue;
use http::header::{HeaderMap, IF_MATCH, IF_NONE_MATCH, IF_RANGE};
use wharfinger_oci::Digest;

/// What the conditions of a GET or HEAD leave to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    Answer,
    /// 304: the client has it already.
    NotModified,
    /// 412: the client wants it only as it was.
    Failed,
}

/// Judges `If-Match`, then `If-None-Match`, for content whose digest is `digest`.
#[must_use]
pub fn judge(headers: &HeaderMap, digest: &Digest) -> Verdict {
    // Nearly no request carries a condition: look before anything is formatted.
    if !headers.contains_key(IF_NONE_MATCH) && !headers.contains_key(IF_MATCH) {
        return Verdict::Answer;
    }
    let opaque = digest.to_string();
    if headers.contains_key(IF_MATCH) && !names(headers, &IF_MATCH, &opaque, Weak::Differs) {
        return Verdict::Failed;
    }
    if names(headers, &IF_NONE_MATCH, &opaque, Weak::Matches) {
        Verdict::NotModified
    } else {
        Verdict::Answer
    }
}

/// Whether a `Range` still applies: without `If-Range` always, with it only if it names this very
/// content. A date never does, since nothing here has one.
#[must_use]
pub fn range_applies(headers: &HeaderMap, digest: &Digest) -> bool {
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

/// The entity tag of content: its digest in quotes.
#[must_use]
pub fn entity_tag(digest: &Digest) -> HeaderValue {
    let mut text = String::with_capacity(140);
    // Writing to a String does not fail, and a digest has only visible characters.
    let _ = write!(text, "\"{digest}\"");
    HeaderValue::try_from(text).unwrap_or_else(|_| HeaderValue::from_static("\"\""))
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Weak {
    Matches,
    Differs,
}

/// Whether a list of entity tags, in one or several header lines, names `opaque` or is `*`.
fn names(headers: &HeaderMap, header: &http::HeaderName, opaque: &str, weak: Weak) -> bool {
    headers
        .get_all(header)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .any(|line| {
            // A digest holds no comma, so a tag that is split here was not ours.
            line.split(',').map(str::trim).any(|tag| {
                let tag = match tag.strip_prefix("W/") {
                    Some(rest) if weak == Weak::Matches => rest,
                    Some(_) => return false,
                    None => tag,
                };
                tag == "*"
                    || tag.strip_prefix('"').and_then(|tag| tag.strip_suffix('"')) == Some(opaque)
            })
        })
}

#[cfg(test)]
mod laws {
    use proptest::prelude::*;
    use wharfinger_oci::Algorithm;

    use super::*;

    fn with(name: http::HeaderName, value: &str) -> HeaderMap {
        HeaderMap::from_iter([(name, HeaderValue::from_str(value).expect("a header value"))])
    }

    #[test]
    fn conditions_by_example() {
        let digest = Digest::of(Algorithm::Sha256, b"x");
        let tag = entity_tag(&digest).to_str().expect("visible").to_owned();
        assert_eq!(tag, format!("\"{digest}\""));
        let none = |value: &str| judge(&with(IF_NONE_MATCH, value), &digest);
        assert_eq!(none(&tag), Verdict::NotModified);
        assert_eq!(none(&format!("\"a\", W/{tag}")), Verdict::NotModified);
        assert_eq!(none("*"), Verdict::NotModified);
        assert_eq!(none("\"a\""), Verdict::Answer);
        assert_eq!(none(&digest.to_string()), Verdict::Answer);
        let only = |value: &str| judge(&with(IF_MATCH, value), &digest);
        assert_eq!(only(&tag), Verdict::Answer);
        assert_eq!(only(&format!("W/{tag}")), Verdict::Failed);
        assert_eq!(only("\"a\""), Verdict::Failed);
        assert_eq!(judge(&HeaderMap::new(), &digest), Verdict::Answer);
    }

    #[test]
    fn a_range_of_other_content_is_no_range() {
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
                    let _ = (judge(&headers, &digest), range_applies(&headers, &digest));
                }
            }
        }
    }
}
