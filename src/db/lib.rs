//! SQL transactions on SQLite (embedded, one writer with group commit) or PostgreSQL: the same
//! closure over [`Tx`] runs on both.

mod checkpoint;
mod copied_rows;
mod copies;
mod engine;
mod error;
mod job;
mod migrate;
mod pool;
mod postgres;
mod recovery;
mod row;
mod serving;
mod sqlite;
mod threads;
mod tls;
mod value;
mod writer;

pub use copied_rows::{CopyError, Exported, RowBatch, Selection};
pub use copies::{RowImport, export_rows, newest_migration, unfinished_restore};
pub use engine::Tx;
pub use error::{Error, OpenError, Result};
pub use migrate::{Migration, Upgrade};
pub use pool::{DatabaseConfig, Db, POSTGRES_CONNECTIONS};
pub use row::Row;
pub use serving::{Serving, ServingError, ServingLock};
pub use value::Value;

#[cfg(any(test, feature = "testing"))]
pub mod testing;
#[cfg(test)]
mod tests;
#[cfg(any(test, feature = "testing"))]
mod two_polls;
