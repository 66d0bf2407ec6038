//! What the kernel says about this process: memory and open files.

use std::{fmt, fs};

use prometheus_client::encoding::DescriptorEncoder;
use prometheus_client::metrics::MetricType;

/// Writes the readings; where `/proc` is not there they are left out.
pub(super) fn encode(encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let files = fs::read_dir("/proc/self/fd")
        .map(|entries| entries.count() as u64)
        .ok();
    let readings = [
        (
            "resident_memory_bytes",
            "Memory in use",
            kibibytes(&status, "VmRSS:"),
        ),
        (
            "peak_resident_memory_bytes",
            "Most memory ever in use",
            kibibytes(&status, "VmHWM:"),
        ),
        ("open_files", "Open file descriptors", files),
    ];
    for (name, help, value) in readings {
        if let Some(value) = value {
            encoder
                .encode_descriptor(name, help, None, MetricType::Gauge)?
                .encode_gauge(&value)?;
        }
    }
    Ok(())
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
