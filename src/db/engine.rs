//! The interface between statements and the two engines: [`Tx`] for stores, [`Engine`] for `sqlite`
//! and `postgres`.

use std::ops::ControlFlow;

use wharfinger_base::Timestamp;

use crate::error::{Error, Result};
use crate::row::Row;
use crate::value::Value;

/// What an engine does with one statement inside a transaction that is already open.
pub(super) trait Engine {
    /// Calls `each` with the rows in order until it breaks or errs.
    fn query(
        &mut self,
        sql: &'static str,
        params: &[Value<'_>],
        each: &mut dyn FnMut(Row<'_>) -> Result<ControlFlow<()>>,
    ) -> Result<()>;

    /// Runs a statement that returns no rows; gives the number of rows it changed.
    fn execute(&mut self, sql: &'static str, params: &[Value<'_>]) -> Result<u64>;

    /// The time of the database server; `None` for an engine inside this process.
    fn server_time(&mut self) -> Result<Option<Timestamp>> {
        Ok(None)
    }
}

/// An open transaction. The closure that gets it may run again, so it must touch nothing else.
///
/// Statements are written once for both engines: parameters `?1 ?2 …`, columns TEXT, BIGINT and
/// BYTEA, the common subset of `ARCHITECTURE.md`. After a failed statement the transaction is lost,
/// whatever the closure returns, as PostgreSQL requires it: expected collisions are written as
/// `ON CONFLICT`.
pub struct Tx<'a> {
    engine: &'a mut dyn Engine,
    version: Option<u64>,
    failure: Option<Error>,
}

impl<'a> Tx<'a> {
    pub(super) fn new(engine: &'a mut dyn Engine) -> Self {
        Self::at(engine, None)
    }

    /// A read transaction on the state of this number.
    pub(super) fn at(engine: &'a mut dyn Engine, version: Option<u64>) -> Self {
        Self {
            engine,
            version,
            failure: None,
        }
    }

    /// The number of the state that the transaction reads, for caches of what it read: two
    /// transactions of one [`Db`](crate::Db) with the same number find the same rows, on
    /// PostgreSQL in every table, on SQLite in those that only the serving process writes. `None`
    /// where that is not known: in write transactions, in scans on SQLite and while a commit is
    /// under way there, and on a PostgreSQL server in recovery.
    #[must_use]
    pub fn version(&self) -> Option<u64> {
        self.version
    }

    /// The error that lost this transaction.
    pub(super) fn failure(&self) -> Option<&Error> {
        self.failure.as_ref()
    }

    /// Every row, through `map`.
    pub fn query<T>(
        &mut self,
        sql: &'static str,
        params: &[Value<'_>],
        mut map: impl FnMut(&Row<'_>) -> Result<T>,
    ) -> Result<Vec<T>> {
        let mut found = Vec::new();
        self.rows(sql, params, &mut |row| {
            found.push(checked(row, &mut map)?);
            Ok(ControlFlow::Continue(()))
        })?;
        Ok(found)
    }

    /// The first row through `map`, or `None` where there is none.
    pub fn query_optional<T>(
        &mut self,
        sql: &'static str,
        params: &[Value<'_>],
        mut map: impl FnMut(&Row<'_>) -> Result<T>,
    ) -> Result<Option<T>> {
        let mut found = None;
        self.rows(sql, params, &mut |row| {
            found = Some(checked(row, &mut map)?);
            Ok(ControlFlow::Break(()))
        })?;
        Ok(found)
    }

    /// The time of the database server, for what several servers of this program must agree on;
    /// `None` where the database is part of this process and its clock counts.
    pub fn server_time(&mut self) -> Result<Option<Timestamp>> {
        self.healthy()?;
        let result = self.engine.server_time();
        self.note(result)
    }

    /// Runs a statement that returns no rows; returns the number of rows changed.
    pub fn execute(&mut self, sql: &'static str, params: &[Value<'_>]) -> Result<u64> {
        self.healthy()?;
        let result = self.engine.execute(sql, params);
        self.note(result)
    }

    fn rows(
        &mut self,
        sql: &'static str,
        params: &[Value<'_>],
        each: &mut dyn FnMut(Row<'_>) -> Result<ControlFlow<()>>,
    ) -> Result<()> {
        self.healthy()?;
        let result = self.engine.query(sql, params, each);
        self.note(result)
    }

    fn healthy(&self) -> Result<()> {
        self.failure.clone().map_or(Ok(()), Err)
    }

    fn note<T>(&mut self, result: Result<T>) -> Result<T> {
        if let Err(error) = &result {
            self.failure = Some(error.clone());
        }
        result
    }
}

/// A mistyped access outranks what the closure made of the empty value it got instead.
fn checked<T>(row: Row<'_>, map: &mut impl FnMut(&Row<'_>) -> Result<T>) -> Result<T> {
    let value = map(&row);
    row.into_fault()?;
    value
}
