//! Parses `Range` and `Content-Range`. An accepted range is never empty and never exceeds the
//! content.

#![no_main]

use libfuzzer_sys::fuzz_target;
use wharfinger_api_distribution::fuzzing::parse_ranges;

fuzz_target!(|input: (u64, &str)| parse_ranges(input.0, input.1));
