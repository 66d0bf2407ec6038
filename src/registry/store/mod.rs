//! SQL of the registry: text above, model types out. No decisions.

pub(super) mod archive;
pub(super) mod backfills;
pub(super) mod blob_store;
pub(super) mod blobs;
pub(super) mod creation_templates;
pub(super) mod deletions;
pub(super) mod events;
pub(super) mod fsck;
pub(super) mod gc;
pub(super) mod image_status;
pub(super) mod images;
pub(super) mod journal;
pub(super) mod journal_entries;
pub(super) mod journal_registries;
pub(super) mod leases;
pub(super) mod lifecycle;
pub(super) mod previews;
pub(super) mod pull_through;
pub(super) mod rebuild;
pub(super) mod registry_settings;
pub(super) mod replication;
pub(super) mod replication_results;
pub(super) mod repositories;
pub(super) mod scans;
mod settings_tables;
pub(super) mod signing;
pub(super) mod survey;
pub(super) mod tags;
pub(super) mod uploads;

use wharfinger_db as db;
use wharfinger_oci::Digest;

use crate::model::ImageStatus;

/// A digest out of a column; bytes that are none mean a damaged index.
fn digest(stored: &[u8]) -> db::Result<Digest> {
    Digest::from_stored(stored).ok_or_else(|| db::Error::other("a stored digest"))
}

/// A count or size out of a column; the index holds none below zero.
fn unsigned(stored: i64) -> db::Result<u64> {
    u64::try_from(stored).map_err(|_| db::Error::other("a stored size"))
}

/// A size as the index takes it.
fn signed(size: u64) -> i64 {
    i64::try_from(size).unwrap_or(i64::MAX)
}

/// The status of an image.
fn status_of(text: &str) -> db::Result<ImageStatus> {
    match text {
        "active" => Ok(ImageStatus::Active),
        "archived" => Ok(ImageStatus::Archived),
        "activating" => Ok(ImageStatus::Activating),
        _ => Err(db::Error::other("a stored image status")),
    }
}

/// A text that was parsed before it was stored.
fn parsed<T: std::str::FromStr>(stored: &str) -> db::Result<T> {
    stored
        .parse()
        .map_err(|_| db::Error::other("a stored name"))
}

/// A value as a column of JSON has it.
pub(super) fn json<T: serde::Serialize>(value: &T) -> String {
    serde_json::to_string(value).unwrap_or_default()
}

/// A value out of a column of JSON.
pub(super) fn from_json<T: serde::de::DeserializeOwned>(text: &str) -> db::Result<T> {
    serde_json::from_str(text).map_err(|_| db::Error::other("stored JSON"))
}
