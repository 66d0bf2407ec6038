//! The numbers of image scans, for `/metrics`.

use wharfinger_registry::Scans;
use wharfinger_telemetry::{Kind, Reading};

/// Scans that this server has ended.
pub(super) fn scan_readings(scans: &Scans) -> [Reading; 2] {
    let reading = |name, help, read: fn((u64, u64)) -> u64| {
        let counts = scans.counts();
        Reading {
            name,
            help,
            kind: Kind::Counter,
            read: Box::new(move || read(counts.ended())),
        }
    };
    [
        reading(
            "image_scans_ended",
            "Scans of images that told what is known, repetitions for other advisories among them",
            |(ended, _)| ended,
        ),
        reading(
            "image_scans_failed",
            "Scans of images that failed, for want of advisories or since a layer was damaged",
            |(_, failed)| failed,
        ),
    ]
}
