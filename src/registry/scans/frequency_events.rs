//! Tells which repositories a new scanning configuration scans at other times than before.
//!
//! Source: ECR user guide, "Amazon ECR events and `EventBridge`": events of changes are sent where
//! enhanced scanning is, or was, turned on.

use wharfinger_base::Timestamp;
use wharfinger_db::Tx;

use crate::error::Error;
use crate::events::{EventOutbox, FrequencyChange, RegistryEvent};
use crate::model::RegistryId;
use crate::scanning_rules::{ScanType, ScanningConfiguration, frequency_of};
use crate::store::repositories::{self, RepositoryRow};

/// Repositories that are read at once.
const PAGE: i64 = 500;
/// Repositories that are looked at.
const MAX_REPOSITORIES: usize = 10_000;
/// Repositories of one event.
const PER_EVENT: usize = 100;

/// The repositories that change from one configuration to another. It takes long with many
/// repositories and filters, so it is no part of the transaction that writes.
pub(crate) fn changes(
    tx: &mut Tx<'_>,
    registry: &RegistryId,
    old: &ScanningConfiguration,
    new: &ScanningConfiguration,
) -> Result<Vec<FrequencyChange>, Error> {
    let is_enhanced = |one: &ScanningConfiguration| one.scan_type == ScanType::Enhanced;
    if !(is_enhanced(old) || is_enhanced(new)) {
        return Ok(Vec::new());
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
    Ok(changes)
}

/// Records events of the changes.
pub(crate) fn record(
    tx: &mut Tx<'_>,
    events: &EventOutbox,
    registry: &RegistryId,
    (scan_type, changes): (ScanType, &[FrequencyChange]),
    now: Timestamp,
) -> Result<(), Error> {
    for some in changes.chunks(PER_EVENT) {
        let event = RegistryEvent::ScanResourceChange {
            scan_type,
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
        frequency_of(configuration, &row.name, on_push)
    };
    let (previous, frequency) = (of(old), of(new));
    (previous != frequency).then(|| FrequencyChange {
        repository: row.name.clone(),
        frequency,
        previous,
    })
}
