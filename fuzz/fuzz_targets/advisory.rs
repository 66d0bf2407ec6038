//! Reads advisories of any bytes, and compares versions of any text with them.

#![no_main]

use libfuzzer_sys::fuzz_target;
use wharfinger_scanning::fuzzing::advisory_affects;

fuzz_target!(|data: &[u8]| {
    let (version, document) = match data.iter().position(|byte| *byte == b'\n') {
        Some(end) => (&data[..end], &data[end..]),
        None => (&b"1.0.0"[..], data),
    };
    let _ = advisory_affects(document, &String::from_utf8_lossy(version));
});
