//! One row of a result, read without copying it out of the engine's own row.

use std::cell::OnceCell;

use crate::error::{Error, Result};
use crate::postgres::values::Integer;

/// A row, valid inside the closure that a query calls with it; columns count from 0.
///
/// The accessors give plain values so that a row reads as a struct literal. A column whose
/// type is not the accessor's is a fault in the statement or in stored data: the accessor returns
/// an empty value and the query as a whole returns the error.
pub struct Row<'a> {
    source: Source<'a>,
    fault: OnceCell<Error>,
}

enum Source<'a> {
    Sqlite(&'a rusqlite::Row<'a>),
    Postgres(&'a postgres::Row),
}

impl<'a> Row<'a> {
    pub(super) fn sqlite(row: &'a rusqlite::Row<'a>) -> Self {
        Self {
            source: Source::Sqlite(row),
            fault: OnceCell::new(),
        }
    }

    pub(super) fn postgres(row: &'a postgres::Row) -> Self {
        Self {
            source: Source::Postgres(row),
            fault: OnceCell::new(),
        }
    }

    /// The first mistyped access, if any; taken by the query once the caller's closure has run.
    pub(super) fn into_fault(self) -> Result<()> {
        self.fault.into_inner().map_or(Ok(()), Err)
    }

    pub fn integer(&self, column: usize) -> i64 {
        self.expect(column, self.read_integer(column))
            .unwrap_or_default()
    }

    pub fn text(&self, column: usize) -> &str {
        self.expect(column, self.read_text(column))
            .unwrap_or_default()
    }

    pub fn bytes(&self, column: usize) -> &[u8] {
        self.expect(column, self.read_bytes(column))
            .unwrap_or_default()
    }

    pub fn optional_integer(&self, column: usize) -> Option<i64> {
        self.allow_null(self.read_integer(column))
    }

    pub fn optional_text(&self, column: usize) -> Option<&str> {
        self.allow_null(self.read_text(column))
    }

    pub fn optional_bytes(&self, column: usize) -> Option<&[u8]> {
        self.allow_null(self.read_bytes(column))
    }

    fn expect<T>(&self, column: usize, read: Result<Option<T>>) -> Option<T> {
        self.allow_null(read.and_then(|value| {
            value
                .map(Some)
                .ok_or_else(|| Error::Other(format!("column {column} is NULL")))
        }))
    }

    fn allow_null<T>(&self, read: Result<Option<T>>) -> Option<T> {
        read.unwrap_or_else(|error| {
            self.fault.get_or_init(|| error);
            None
        })
    }

    fn read_integer(&self, column: usize) -> Result<Option<i64>> {
        match self.source {
            Source::Sqlite(row) => Ok(row
                .get_ref(column)
                .map_err(Error::other)?
                .as_i64_or_null()
                .map_err(Error::other)?),
            Source::Postgres(row) => row
                .try_get::<_, Option<Integer>>(column)
                .map(|value| value.map(|integer| integer.0))
                .map_err(Error::other),
        }
    }

    fn read_text(&self, column: usize) -> Result<Option<&str>> {
        match self.source {
            Source::Sqlite(row) => row
                .get_ref(column)
                .map_err(Error::other)?
                .as_str_or_null()
                .map_err(Error::other),
            Source::Postgres(row) => row.try_get(column).map_err(Error::other),
        }
    }

    fn read_bytes(&self, column: usize) -> Result<Option<&[u8]>> {
        match self.source {
            Source::Sqlite(row) => row
                .get_ref(column)
                .map_err(Error::other)?
                .as_blob_or_null()
                .map_err(Error::other),
            Source::Postgres(row) => row.try_get(column).map_err(Error::other),
        }
    }
}
