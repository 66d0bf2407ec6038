//! The settings of the audit log.

use std::path::Path;
use std::time::Duration;

use wharfinger_audit::AuditConfig;

use crate::config::Settings;
use crate::config::problems::Problems;
use crate::config::units::{UnitError, size, time};

/// The folder of the log within the data folder.
const FOLDER: &str = "audit";
/// Some 300,000 records.
const MAX_BYTES: u64 = 256 << 20;
/// As long as `CloudTrail` keeps its history of events.
const MAX_AGE: Duration = Duration::from_hours(90 * 24);

/// `None` where the log is off.
pub(super) fn audit(
    problems: &mut Problems,
    settings: &Settings,
    data_dir: &Path,
) -> Option<AuditConfig> {
    let given = settings.audit_max_size.as_deref();
    let max_bytes = read(problems, "audit_max_size", given, size, MAX_BYTES);
    if !(1 << 20..=1 << 40).contains(&max_bytes) {
        problems.add("audit_max_size", "it is not between 1MiB and 1024GiB");
    }
    let given = settings.audit_max_age.as_deref();
    let max_age = read(problems, "audit_max_age", given, time, MAX_AGE);
    let years = Duration::from_hours(24 * 3_653);
    if !(Duration::from_mins(1)..=years).contains(&max_age) {
        problems.add("audit_max_age", "it is not between 1m and 3653d");
    }
    settings.audit.unwrap_or(true).then(|| AuditConfig {
        folder: data_dir.join(FOLDER),
        max_bytes,
        max_age,
    })
}

fn read<T>(
    problems: &mut Problems,
    key: &'static str,
    given: Option<&str>,
    parse: fn(&str) -> Result<T, UnitError>,
    default: T,
) -> T {
    match given.map(parse) {
        None => default,
        Some(Ok(value)) => value,
        Some(Err(why)) => {
            problems.add(key, why);
            default
        }
    }
}
