//! Tells which repositories a new scanning configuration scans at other times than before.
//!
//! Source: ECR user guide, "Amazon ECR events and `EventBridge`": events of changes are sent where
//! enhanced scanning is, or was, turned on.

use wharfinger_base::Timestamp;
use wharfinger_db::Tx;

use crate::error::Error;
use crate::events::{EventOutbox, FrequencyChange, RegistryEvent};
use crate::model::RegistryId;
use crate::scanning_rules::{ScanType, ScanningConfiguration, scan_frequency};
use crate::store::repositories::{self, RepositoryRow};

/// Repositories that are read at once.
const PAGE: i64 = 500;
/// Repositories that are looked at: some tens of milliseconds, in which nobody else writes.
const MAX_REPOSITORIES: usize = 10_000;
/// Repositories of one event.
const PER_EVENT: usize = 100;

/// Records events of the change from one configuration to another.
pub(crate) fn record(
    tx: &mut Tx<'_>,
    events: &EventOutbox,
    registry: &RegistryId,
    (old, new): (&ScanningConfiguration, &ScanningConfiguration),
    now: Timestamp,
) -> Result<(), Error> {
    let is_enhanced = |one: &ScanningConfiguration| one.scan_type == ScanType::Enhanced;
    if !events.is_open() || !(is_enhanced(old) || is_enhanced(new)) {
        return Ok(());
    }
    let (mut changes, mut after, mut seen) = (Vec::new(), String::new(), 0);
    while seen < MAX_REPOSITORIES {
        let page = repositories::page(tx, registry, &after, PAGE)?;
        let Some(last) = page.last() else {
            break;
        };
        after = last.name.to_string();
        seen += page.len();
        changes.extend(page.iter().filter_map(|row| change(row, old, new)));
    }
    for some in changes.chunks(PER_EVENT) {
        let event = RegistryEvent::ScanResourceChange {
            scan_type: new.scan_type.as_str(),
            repositories: some.to_vec(),
        };
        events.record(tx, registry, &event, now)?;
    }
    Ok(())
}

fn change(
    row: &RepositoryRow,
    old: &ScanningConfiguration,
    new: &ScanningConfiguration,
) -> Option<FrequencyChange> {
    let of = |configuration| {
        let on_push = row.settings.scan_on_push;
        scan_frequency(configuration, &row.name, on_push).frequency
    };
    let (previous, frequency) = (of(old), of(new));
    (previous != frequency).then(|| FrequencyChange {
        repository: row.name.clone(),
        frequency: frequency.as_str(),
        previous: previous.as_str(),
    })
}
