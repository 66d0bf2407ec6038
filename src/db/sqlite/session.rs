//! Statements of an open SQLite transaction, and the errors that they fail with.

use std::ops::ControlFlow;

use rusqlite::types::{ToSqlOutput, ValueRef};
use rusqlite::{Connection, ErrorCode, ToSql, ffi};

use crate::engine::Engine;
use crate::error::{Error, Result};
use crate::row::Row;
use crate::value::Value;

/// Statements of an open transaction.
pub(crate) struct Session<'a>(pub(crate) &'a Connection);

impl Engine for Session<'_> {
    fn query(
        &mut self,
        sql: &'static str,
        params: &[Value<'_>],
        each: &mut dyn FnMut(Row<'_>) -> Result<ControlFlow<()>>,
    ) -> Result<()> {
        let mut statement = self.prepare(sql, params)?;
        let mut rows = statement.raw_query();
        while let Some(row) = rows.next().map_err(|error| fault(&error))? {
            if each(Row::sqlite(row))?.is_break() {
                break;
            }
        }
        Ok(())
    }

    fn execute(&mut self, sql: &'static str, params: &[Value<'_>]) -> Result<u64> {
        let changed = self
            .prepare(sql, params)?
            .raw_execute()
            .map_err(|error| fault(&error))?;
        u64::try_from(changed).map_err(Error::other)
    }
}

impl<'a> Session<'a> {
    fn prepare(
        &self,
        sql: &'static str,
        params: &[Value<'_>],
    ) -> Result<rusqlite::CachedStatement<'a>> {
        let mut statement = self.0.prepare_cached(sql).map_err(|error| fault(&error))?;
        if statement.parameter_count() != params.len() {
            return Err(Error::Other(format!(
                "{} parameters for a statement that takes {}",
                params.len(),
                statement.parameter_count()
            )));
        }
        for (number, value) in (1..).zip(params) {
            statement
                .raw_bind_parameter(number, value)
                .map_err(|error| fault(&error))?;
        }
        Ok(statement)
    }
}

impl ToSql for Value<'_> {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::Borrowed(match self {
            Self::Null => ValueRef::Null,
            Self::Integer(integer) => ValueRef::Integer(*integer),
            Self::Text(text) => ValueRef::Text(text.as_bytes()),
            Self::Bytes(bytes) => ValueRef::Blob(bytes),
        }))
    }
}

/// Runs a statement without parameters and rows, such as `COMMIT`.
pub(crate) fn command(connection: &Connection, sql: &'static str) -> rusqlite::Result<()> {
    connection.prepare_cached(sql)?.raw_execute().map(|_| ())
}

/// The error that a failure of SQLite is to callers.
pub(crate) fn fault(error: &rusqlite::Error) -> Error {
    let rusqlite::Error::SqliteFailure(failure, _) = error else {
        return Error::other(error);
    };
    match failure.extended_code {
        ffi::SQLITE_CONSTRAINT_UNIQUE
        | ffi::SQLITE_CONSTRAINT_PRIMARYKEY
        | ffi::SQLITE_CONSTRAINT_ROWID => return Error::Unique,
        _ => {}
    }
    match failure.code {
        ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked => Error::Conflict,
        ErrorCode::DiskFull | ErrorCode::SystemIoFailure | ErrorCode::CannotOpen => {
            Error::Unavailable(error.to_string())
        }
        _ => Error::other(error),
    }
}
