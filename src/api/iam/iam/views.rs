//! Structures that several IAM operations share.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::{Deserialize, Serialize};
use wharfinger_base::Timestamp;

use crate::iam::{Result, error};

/// What RFC 3986 leaves as it is, which is how the IAM API encodes documents.
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

/// A document as responses hold it.
pub(super) fn encoded(document: &str) -> String {
    utf8_percent_encode(document, RESERVED).to_string()
}

/// A time as the Query protocol writes it, in whole seconds.
pub(super) fn date(time: Timestamp) -> String {
    let seconds = time.as_ms().div_euclid(1_000);
    Timestamp::from_ms(seconds.saturating_mul(1_000)).to_rfc3339()
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct TagView {
    key: String,
    value: String,
}

impl TagView {
    pub(super) fn from_pair((key, value): (String, String)) -> Self {
        Self { key, value }
    }

    pub(super) fn pair(&self) -> (String, String) {
        (self.key.clone(), self.value.clone())
    }
}

/// The tags of a request, none twice.
///
/// # Errors
/// `InvalidInput` for keys that differ by case alone, or that AWS reserves.
pub(super) fn checked_tags(tags: &[TagView]) -> Result<Vec<(String, String)>> {
    let folded = tags.iter().map(|tag| tag.key.to_ascii_lowercase());
    let mut folded: Vec<String> = folded.collect();
    if folded.iter().any(|key| key.starts_with("aws:")) {
        return Err(error::invalid_input(
            "aws: prefixed tag key names are not allowed for external use.",
        ));
    }
    folded.sort_unstable();
    if folded.windows(2).any(|pair| pair[0] == pair[1]) {
        return Err(error::invalid_input(
            "Duplicate tag keys found. Please note that Tag keys are case insensitive.",
        ));
    }
    Ok(tags.iter().map(TagView::pair).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn documents_are_encoded_as_in_a_url() {
        assert_eq!(
            encoded(r#"{"a": "b-c_d.~"}"#),
            "%7B%22a%22%3A%20%22b-c_d.~%22%7D"
        );
    }

    #[test]
    fn times_have_whole_seconds() {
        let time = Timestamp::from_ms(1_700_000_000_999);
        assert_eq!(date(time), "2023-11-14T22:13:20Z");
    }

    #[test]
    fn tag_keys_are_used_once_whatever_their_case() {
        let tags = |keys: &[&str]| {
            let tags = keys.iter().map(|key| TagView {
                key: (*key).to_owned(),
                value: String::new(),
            });
            checked_tags(&tags.collect::<Vec<_>>())
        };
        assert_eq!(tags(&["a", "b"]).expect("tags").len(), 2);
        for bad in [&["a", "A"][..], &["AWS:x"]] {
            assert_eq!(tags(bad).expect_err("refused").fault().code, "InvalidInput");
        }
    }
}
