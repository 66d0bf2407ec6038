//! PURE: `Link` headers for the next page (RFC 8288, as the Distribution specification uses it).

use std::fmt::Write as _;

use http::HeaderValue;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

/// Everything except the characters that RFC 3986 calls unreserved.
const VALUE: AsciiSet = NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

/// Formats `</v2/…?name=value&…>; rel="next"`. `path` has only characters that need no escape, as
/// names and digests do; values are escaped.
#[must_use]
pub(crate) fn next_page(path: &str, parameters: &[(&str, Option<&str>)]) -> Option<HeaderValue> {
    let mut text = String::with_capacity(path.len() + 64);
    text.push('<');
    text.push_str(path);
    let given = parameters
        .iter()
        .filter_map(|(name, value)| value.map(|value| (name, value)));
    for (index, (name, value)) in given.enumerate() {
        let separator = if index == 0 { '?' } else { '&' };
        let _ = write!(
            text,
            "{separator}{name}={}",
            utf8_percent_encode(value, &VALUE)
        );
    }
    text.push_str(">; rel=\"next\"");
    HeaderValue::try_from(text).ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::query::Query;

    #[test]
    fn a_link_has_the_given_parameters_escaped() {
        let link = next_page(
            "/v2/a/referrers/x",
            &[
                ("n", None),
                ("artifactType", Some("a/b+json")),
                ("last", Some("sha256:1")),
            ],
        );
        let expected =
            "</v2/a/referrers/x?artifactType=a%2Fb%2Bjson&last=sha256%3A1>; rel=\"next\"";
        assert_eq!(
            link.as_ref().and_then(|link| link.to_str().ok()),
            Some(expected)
        );
    }

    proptest! {
        #[test]
        fn the_parameters_of_a_link_parse_to_the_same(
            last in "\\PC{0,30}",
            n in 0_usize..2_000,
        ) {
            let size = n.to_string();
            let parameters = [("n", Some(size.as_str())), ("last", Some(last.as_str()))];
            let link = next_page("/v2/aa/tags/list", &parameters).expect("a header");
            let text = link.to_str().expect("visible");
            let (_, rest) = text.split_once('?').expect("a query");
            let query = Query::parse(rest.split('>').next()).expect("a query");
            prop_assert_eq!(query.first("last"), Some(last.as_str()));
            prop_assert_eq!(query.page_size(), Ok(Some(n)));
        }
    }
}
