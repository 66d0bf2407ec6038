//! Reads layers of any bytes, and documents about what is found.

#![no_main]

use std::time::{Duration, Instant};

use libfuzzer_sys::fuzz_target;
use wharfinger_base::Timestamp;
use wharfinger_scanning::{InventoryBuilder, SbomSubject, ScanLimits, cyclonedx, spdx};

fuzz_target!(|data: &[u8]| {
    let mut builder = InventoryBuilder::new(ScanLimits {
        unpacked_bytes: 64 * 1024 * 1024,
        ratio: 1000,
        entries: 10_000,
        packages: 10_000,
        deadline: Instant::now() + Duration::from_secs(3),
    });
    let middle = data.len() / 2;
    for layer in [data, &data[middle..]] {
        let _ = builder.add_layer(layer);
    }
    let inventory = builder.finish();
    let subject = SbomSubject {
        name: "host/name",
        digest: "sha256:00",
        layers: &[],
        created: Timestamp::from_ms(0),
    };
    for document in [cyclonedx(&inventory, &subject), spdx(&inventory, &subject)] {
        assert!(document.starts_with('{'));
    }
});
