//! Parses bodies of AWS requests: JSON 1.1 and the Query form.

#![no_main]

use libfuzzer_sys::fuzz_target;
use wharfinger_aws::{json, query};

fuzz_target!(|data: &[u8]| {
    let _ = json::document(data);
    let _ = query::decode(data);
});
