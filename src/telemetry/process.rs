//! What the kernel says about this process: memory and open files.

use std::fs;

use metrics::Recorder as _;
use metrics_exporter_prometheus::PrometheusRecorder;

use crate::series::{as_float, gauge, gauge_name};

const RESIDENT: &str = "resident_memory_bytes";
const PEAK: &str = "peak_resident_memory_bytes";
const OPEN_FILES: &str = "open_files";

pub(crate) fn describe(recorder: &PrometheusRecorder) {
    for (name, help) in [
        (RESIDENT, "Memory in use"),
        (PEAK, "Most memory ever in use"),
        (OPEN_FILES, "Open file descriptors"),
    ] {
        recorder.describe_gauge(gauge_name(name).into(), None, help.into());
    }
}

/// Sets the gauges; where `/proc` is missing they are left out.
pub(crate) fn record(recorder: &PrometheusRecorder) {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let files = fs::read_dir("/proc/self/fd")
        .map(|entries| entries.count() as u64)
        .ok();
    for (name, value) in [
        (RESIDENT, kibibytes(&status, "VmRSS:")),
        (PEAK, kibibytes(&status, "VmHWM:")),
        (OPEN_FILES, files),
    ] {
        if let Some(value) = value {
            gauge(recorder, &gauge_name(name)).set(as_float(value));
        }
    }
}

/// The field of that name in bytes.
fn kibibytes(status: &str, field: &str) -> Option<u64> {
    let value = status.lines().find_map(|line| line.strip_prefix(field))?;
    value
        .trim()
        .strip_suffix("kB")?
        .trim()
        .parse::<u64>()
        .ok()?
        .checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_from_the_status_file() {
        let status = "Name:\tx\nVmHWM:\t   20 kB\nVmRSS:\t   12 kB\n";
        assert_eq!(kibibytes(status, "VmRSS:"), Some(12 * 1024));
        assert_eq!(kibibytes(status, "VmSwap:"), None);
    }
}
