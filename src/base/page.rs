//! One page of a listing, and the opaque token that names where the next one starts.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

/// Items of one page and, where more follow, the key to continue after.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page<T, K = String> {
    pub items: Vec<T>,
    pub next: Option<K>,
}

impl<T, K> Page<T, K> {
    /// Makes a page of at most `limit` items from up to `limit + 1` that a query returned. The last
    /// one only tells that more follow.
    #[must_use]
    pub fn of(mut rows: Vec<T>, limit: usize, key: impl Fn(&T) -> K) -> Self {
        let more = rows.len() > limit;
        rows.truncate(limit);
        let next = if more { rows.last().map(key) } else { None };
        Self { items: rows, next }
    }

    #[must_use]
    pub fn map<U>(self, f: impl FnMut(T) -> U) -> Page<U, K> {
        Page {
            items: self.items.into_iter().map(f).collect(),
            next: self.next,
        }
    }

    /// Keeps what `f` makes something of. The next page is where it was.
    #[must_use]
    pub fn filtered<U>(self, f: impl FnMut(T) -> Option<U>) -> Page<U, K> {
        Page {
            items: self.items.into_iter().filter_map(f).collect(),
            next: self.next,
        }
    }
}

/// An opaque token. It carries the parts of a keyset position, and the listing it belongs to, so
/// that another operation rejects it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PageToken;

impl PageToken {
    #[must_use]
    pub fn encode(listing: &str, parts: &[&str]) -> String {
        let mut values = vec![listing];
        values.extend_from_slice(parts);
        URL_SAFE_NO_PAD.encode(serde_json::to_vec(&values).unwrap_or_default())
    }

    /// Returns the parts given to [`PageToken::encode`], or `None` for a token that this listing
    /// did not issue.
    #[must_use]
    pub fn decode(listing: &str, token: &str) -> Option<Vec<String>> {
        let bytes = URL_SAFE_NO_PAD.decode(token).ok()?;
        let mut values: Vec<String> = serde_json::from_slice(&bytes).ok()?;
        if values.first().map(String::as_str) != Some(listing) {
            return None;
        }
        values.remove(0);
        Some(values)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_surplus_row_only_says_that_more_follow() {
        let page = Page::of(vec![1, 2, 3], 2, |last| *last);
        assert_eq!(
            page,
            Page {
                items: vec![1, 2],
                next: Some(2)
            }
        );
        assert_eq!(Page::of(vec![1, 2], 2, |last| *last).next, None);
        assert_eq!(Page::of(vec![1], 0, |last| *last).next, None);
    }

    #[test]
    fn a_token_belongs_to_its_listing() {
        let token = PageToken::encode("ListImages", &["a", "b"]);
        assert_eq!(
            PageToken::decode("ListImages", &token),
            Some(vec!["a".into(), "b".into()])
        );
        assert_eq!(PageToken::decode("DescribeImages", &token), None);
        assert_eq!(PageToken::decode("ListImages", "%%"), None);
    }
}
