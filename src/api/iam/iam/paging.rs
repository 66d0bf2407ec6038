//! `Marker` and `MaxItems` of IAM's listings.

use serde::ser::SerializeMap;
use serde::{Deserialize, Serialize};
use wharfinger_base::{Page, PageToken};

use crate::iam::{Result, error};

/// Items on a page where the request does not say (IAM API reference, `MaxItems`).
const DEFAULT_ITEMS: usize = 100;

/// The members of a listing's request.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Paging {
    marker: Option<String>,
    max_items: Option<usize>,
}

impl Paging {
    /// How many items the page shall have; the constraints have bounded the number already.
    pub(super) fn limit(&self) -> usize {
        self.max_items.unwrap_or(DEFAULT_ITEMS)
    }

    /// The key to continue after.
    ///
    /// # Errors
    /// A marker that was not made by this listing.
    pub(super) fn after(&self, listing: &str) -> Result<Option<String>> {
        let Some(marker) = &self.marker else {
            return Ok(None);
        };
        PageToken::decode(listing, marker)
            .and_then(|mut parts| parts.pop())
            .map(Some)
            .ok_or_else(|| error::validation("Invalid Marker."))
    }
}

impl Paging {
    /// The page of a whole listing in the order of its keys.
    ///
    /// # Errors
    /// As [`Paging::after`].
    pub(super) fn page<T>(
        &self,
        listing: &str,
        items: impl IntoIterator<Item = T>,
        key: impl Fn(&T) -> &str,
    ) -> Result<(Vec<T>, PageEnd)> {
        let after = self.after(listing)?;
        let follows = |item: &T| after.as_deref().is_none_or(|after| key(item) > after);
        let rest = items.into_iter().filter(follows).take(self.limit() + 1);
        let page = Page::of(rest.collect(), self.limit(), |item| key(item).to_owned());
        let end = PageEnd::of(listing, page.next.as_deref());
        Ok((page.items, end))
    }
}

impl Paging {
    /// The page of a whole listing whose keys may be longer than a marker: its marker counts the
    /// items before.
    ///
    /// # Errors
    /// As [`Paging::after`].
    pub(super) fn counted<T: Clone>(&self, listing: &str, all: &[T]) -> Result<(Vec<T>, PageEnd)> {
        let shown = self.after(listing)?;
        let shown = shown
            .and_then(|count| count.parse().ok())
            .unwrap_or(0_usize);
        let end = shown.saturating_add(self.limit());
        let page = all.get(shown..end.min(all.len())).unwrap_or_default();
        let next = (end < all.len()).then(|| end.to_string());
        let end = PageEnd::of(listing, next.as_deref());
        Ok((page.to_vec(), end))
    }
}

/// The members of a listing's response that say whether it is whole.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct PageEnd {
    is_truncated: bool,
    marker: Option<String>,
}

impl PageEnd {
    /// `next` is the key to continue after.
    pub(super) fn of(listing: &str, next: Option<&str>) -> Self {
        Self {
            is_truncated: next.is_some(),
            marker: next.map(|next| PageToken::encode(listing, &[next])),
        }
    }

    /// Writes the members into a response that is a map.
    pub(super) fn serialize_into<M: SerializeMap>(&self, map: &mut M) -> Result<(), M::Error> {
        map.serialize_entry("IsTruncated", &self.is_truncated)?;
        map.serialize_entry("Marker", &self.marker)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_whole_listing_is_cut_into_pages() {
        let mut paging = Paging {
            marker: None,
            max_items: Some(2),
        };
        let mut seen = Vec::new();
        for _ in 0..3 {
            let (items, end) = paging
                .page("ListUserTags", ["a", "b", "c", "d", "e"], |item| item)
                .expect("a page");
            seen.push((items.concat(), end.is_truncated));
            paging.marker = end.marker;
        }
        let expected = [("ab", true), ("cd", true), ("e", false)];
        assert_eq!(seen, expected.map(|(items, more)| (items.to_owned(), more)));
    }

    /// The model allows markers of 320 characters.
    #[test]
    fn the_marker_of_long_keys_is_short() {
        let mut paging = Paging {
            marker: None,
            max_items: Some(2),
        };
        let all = ["a", "b", "c"].map(|key| key.repeat(2_000));
        let (first, end) = paging.counted("ListAttached", &all).expect("a page");
        assert_eq!(first, all[..2]);
        assert!(end.marker.as_ref().is_some_and(|marker| marker.len() < 320));
        paging.marker = end.marker;
        let (rest, end) = paging.counted("ListAttached", &all).expect("a page");
        assert_eq!((rest.as_slice(), end.is_truncated), (&all[2..], false));
    }

    #[test]
    fn a_marker_continues_its_own_listing() {
        let end = PageEnd::of("ListUsers", Some("ann"));
        let paging = |marker: Option<String>| Paging {
            marker,
            max_items: None,
        };
        let next = paging(end.marker.clone())
            .after("ListUsers")
            .expect("a key");
        assert_eq!((end.is_truncated, next.as_deref()), (true, Some("ann")));
        assert_eq!(paging(None).after("ListUsers").expect("none"), None);
        for (listing, marker) in [("ListGroups", end.marker), ("ListUsers", Some("%".into()))] {
            let refused = paging(marker).after(listing).expect_err("refused");
            assert_eq!(refused.fault().code, "ValidationError");
        }
        assert!(!PageEnd::of("ListUsers", None).is_truncated);
        assert_eq!(paging(None).limit(), 100);
    }
}
