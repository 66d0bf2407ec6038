//! Rows on their way between an index and a copy of it.

use std::collections::BTreeMap;

use wharfinger_base::Chain;

use crate::error::{Error, OpenError};
use crate::migrate::HISTORY;
use crate::value::Value;

/// The table that says that a restore is under way.
pub(crate) const RESTORE: &str = "restore";

/// Rows of one table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RowBatch {
    pub table: String,
    pub columns: Vec<String>,
    /// As many values in each row as there are columns.
    pub rows: Vec<Vec<Value<'static>>>,
}

/// Which rows are exported, and how.
#[derive(Clone, Copy, Debug)]
pub struct Selection<'a> {
    /// Tables that are left out, beside the engines' own.
    pub left_out: &'a [&'a str],
    /// Tables that are exported in the order of a column.
    pub sorted: &'a [(&'a str, &'a str)],
    /// A batch ends with the row that brings it to so many bytes.
    pub batch_bytes: usize,
}

impl Selection<'_> {
    pub(crate) fn takes(&self, table: &str) -> bool {
        table != HISTORY && table != RESTORE && !self.left_out.contains(&table)
    }

    pub(crate) fn statement(&self, table: &str, columns: &[String]) -> String {
        let sorted = self.sorted.iter().find(|(name, _)| *name == table);
        let order = sorted.map_or_else(String::new, |(_, column)| {
            format!(" ORDER BY {}", quoted(column))
        });
        format!("SELECT {} FROM {}{order}", listed(columns), quoted(table))
    }
}

/// What an export found beside the rows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Exported {
    /// Number of the last migration that the index has.
    pub version: i64,
    /// The last number that each table gave to a row, where the database counts.
    pub counters: BTreeMap<String, i64>,
}

/// Why rows were not copied.
#[derive(Debug, thiserror::Error)]
pub enum CopyError {
    #[error(transparent)]
    Open(#[from] OpenError),
    #[error("the index failed")]
    Index(#[from] Error),
    #[error(
        "the index is not empty ({table} has rows). A restore needs a new index: remove the file \
         of the index, or name an empty PostgreSQL database"
    )]
    NotEmpty { table: String },
    #[error(
        "a restore of backup {begun} into this index was interrupted: restore that one, or begin \
         with a new index"
    )]
    Other { begun: String },
    #[error("column {column} of {table} has a type that no column of an index has")]
    Column { table: String, column: String },
    #[error("the receiver of the rows has stopped")]
    Stopped,
}

impl From<rusqlite::Error> for CopyError {
    fn from(error: rusqlite::Error) -> Self {
        Self::Index(Error::other(error))
    }
}

impl From<::postgres::Error> for CopyError {
    fn from(error: ::postgres::Error) -> Self {
        Self::Index(Error::other(Chain(&error)))
    }
}

/// Gets batches; false where no more are wanted.
pub(crate) type Receive<'a> = &'a mut dyn FnMut(RowBatch) -> bool;

/// A name as both engines quote it.
pub(crate) fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

pub(crate) fn listed(columns: &[String]) -> String {
    let names: Vec<String> = columns.iter().map(|column| quoted(column)).collect();
    names.join(", ")
}

/// Rows on their way into batches.
pub(crate) struct Batches<'a> {
    batch: RowBatch,
    bytes: usize,
    limit: usize,
    receive: Receive<'a>,
}

impl<'a> Batches<'a> {
    pub(crate) fn new(table: &str, columns: &[String], limit: usize, receive: Receive<'a>) -> Self {
        Self {
            batch: RowBatch {
                table: table.to_owned(),
                columns: columns.to_vec(),
                rows: Vec::new(),
            },
            bytes: 0,
            limit,
            receive,
        }
    }

    pub(crate) fn push(&mut self, row: Vec<Value<'static>>) -> Result<(), CopyError> {
        self.bytes += row.iter().map(size_of_value).sum::<usize>();
        self.batch.rows.push(row);
        if self.bytes >= self.limit {
            self.flush()?;
        }
        Ok(())
    }

    pub(crate) fn flush(&mut self) -> Result<(), CopyError> {
        if self.batch.rows.is_empty() {
            return Ok(());
        }
        let rows = std::mem::take(&mut self.batch.rows);
        self.bytes = 0;
        let batch = RowBatch {
            rows,
            ..self.batch.clone()
        };
        if (self.receive)(batch) {
            Ok(())
        } else {
            Err(CopyError::Stopped)
        }
    }
}

fn size_of_value(value: &Value<'_>) -> usize {
    const OVERHEAD: usize = 8;
    OVERHEAD
        + match value {
            Value::Null | Value::Integer(_) => 0,
            Value::Text(text) => text.len(),
            Value::Bytes(bytes) => bytes.len(),
        }
}
