//! PURE: `Link` headers that lead to the next page (RFC 8288, as the Distribution specification
//! uses it).

use std::fmt::Write as _;

use http::HeaderValue;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

/// All but what RFC 3986 calls unreserved.
const VALUE: AsciiSet = NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

/// `</v2/…?name=value&…>; rel="next"`. `path` holds only characters that need no escape (names and
/// digests do not); values are escaped.
#[must_use]
pub fn next_page(path: &str, parameters: &[(&str, Option<&str>)]) -> Option<HeaderValue> {
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
mod laws {
    use proptest::prelude::*;

    use super::super::query::Query;
    use super::*;

    #[test]
    fn a_link_by_example() {
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
        fn the_query_reads_what_the_link_wrote(last in "\\PC{0,30}", n in 0_usize..2_000) {
            let link = next_page("/v2/aa/tags/list", &[("n", Some(&n.to_string())), ("last", Some(&last))]).expect("a header");
            let text = link.to_str().expect("visible");
            let query = text.split_once('?').and_then(|(_, rest)| rest.split_once('>')).map(|(query, _)| query);
            let query = Query::parse(query).expect("a query");
            prop_assert_eq!(query.first("last"), Some(last.as_str()));
            prop_assert_eq!(query.page_size(), Ok(Some(n)));
        }
    }
}
