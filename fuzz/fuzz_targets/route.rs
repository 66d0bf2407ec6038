//! Parses paths and queries of `/v2/`.

#![no_main]

use libfuzzer_sys::fuzz_target;
use wharfinger_api_distribution::fuzzing::parse_path_and_query;

fuzz_target!(|text: &str| parse_path_and_query(text));
