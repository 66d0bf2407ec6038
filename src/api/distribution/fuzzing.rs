//! Entry points for the fuzzer (`fuzz/`): the parsers of network input, which are private.

use crate::query::Query;
use crate::range::{ByteRange, ChunkRange};
use crate::route::Route;

/// Parses `text` as a path and as a query.
pub fn parse_path_and_query(text: &str) {
    let _ = Route::parse(text);
    let _ = Route::parse(&format!("/v2/{text}"));
    if let Ok(query) = Query::parse(Some(text)) {
        let _ = (query.digest(), query.digest_algorithm(), query.tags());
        let _ = (query.page_size(), query.last(), query.mount().is_ok());
    }
}

/// Parses `header` as a `Range` of content that has `total` bytes and as a `Content-Range`.
///
/// # Panics
/// If a range is accepted that is empty or exceeds the content.
pub fn parse_ranges(total: u64, header: &str) {
    for text in [header, &format!("bytes={header}")] {
        if let ByteRange::Part(range) = ByteRange::parse(text, total) {
            assert!(range.start < range.end && range.end <= total);
        }
    }
    if let Some(chunk) = ChunkRange::parse(header) {
        assert!(chunk.first <= chunk.last && chunk.len() > 0);
    }
}
