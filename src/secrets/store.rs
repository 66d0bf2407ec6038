//! SQL of secrets and parameters: rows in, model types out. No decisions.

pub(crate) mod parameters;
pub(crate) mod secrets;

use serde::Serialize;
use serde::de::DeserializeOwned;
use wharfinger_db as db;

/// The JSON document of a column.
fn from_document<T: DeserializeOwned>(stored: &str) -> db::Result<T> {
    serde_json::from_str(stored).map_err(db::Error::other)
}

/// What a column of a JSON document holds.
fn document<T: Serialize>(value: &T) -> db::Result<String> {
    serde_json::to_string(value).map_err(db::Error::other)
}

/// A number of rows as a parameter.
fn row_count(limit: usize) -> i64 {
    i64::try_from(limit).unwrap_or(i64::MAX)
}
