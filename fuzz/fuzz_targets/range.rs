//! Parses `Range` and `Content-Range`. An accepted range is never empty and never exceeds the
//! content.

#![no_main]

use libfuzzer_sys::fuzz_target;
use wharfinger::api::v2::range::{Asked, ChunkRange};

fuzz_target!(|input: (u64, &str)| {
    let (total, header) = input;
    if let Asked::Part(range) = Asked::of(header, total) {
        assert!(range.start < range.end && range.end <= total);
    }
    let prefixed = format!("bytes={header}");
    if let Asked::Part(range) = Asked::of(&prefixed, total) {
        assert!(range.start < range.end && range.end <= total);
    }
    if let Some(chunk) = ChunkRange::parse(header) {
        assert!(chunk.first <= chunk.last);
        let _ = chunk.len();
    }
});
