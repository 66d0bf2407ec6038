//! The SQL of the orchestrator: rows in, model types out. No decisions.

pub(crate) mod account_settings;
pub(crate) mod assignments;
pub(crate) mod capacity_providers;
pub(crate) mod client_tokens;
pub(crate) mod clusters;
pub(crate) mod counts;
pub(crate) mod deployments;
pub(crate) mod instances;
pub(crate) mod nodes;
pub(crate) mod quotas;
pub(crate) mod reset;
pub(crate) mod service_events;
pub(crate) mod service_tasks;
pub(crate) mod services;
pub(crate) mod tags;
pub(crate) mod task_definition_uses;
pub(crate) mod task_definitions;
pub(crate) mod tasks;

use serde::Serialize;
use serde::de::DeserializeOwned;
use wharfinger_db as db;

/// A text of a column that was a value of its type when it was stored.
fn parsed<T: std::str::FromStr>(stored: &str) -> db::Result<T> {
    let value = stored.parse();
    value.map_err(|_| db::Error::other("a stored value of an enumeration"))
}

/// The JSON document of a `details` column.
fn from_document<T: DeserializeOwned>(stored: &str) -> db::Result<T> {
    serde_json::from_str(stored).map_err(db::Error::other)
}

/// What a `details` column holds.
fn document<T: Serialize>(details: &T) -> db::Result<String> {
    serde_json::to_string(details).map_err(db::Error::other)
}

/// A number of rows as a parameter.
fn row_count(limit: usize) -> i64 {
    i64::try_from(limit).unwrap_or(i64::MAX)
}
