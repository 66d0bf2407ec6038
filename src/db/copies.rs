//! Copies of all rows of an index as of one moment, and their way into an empty index of either
//! engine: what backups are made of.
//!
//! Tables and columns are those that the database itself lists, so that a new table is in the next
//! copy without being named anywhere.

use std::collections::BTreeMap;

use crate::copied_rows::{CopyError, Exported, RowBatch, Selection};
use crate::migrate::{Dialect, Migration, Schema};
use crate::pool::DatabaseConfig;
use crate::postgres::copies as postgres;
use crate::sqlite::copies as sqlite;

/// Calls `receive` with all rows that the index has at one moment after the call, table by table.
/// Other processes may read and write meanwhile. Blocking; memory holds one batch.
///
/// # Errors
/// [`CopyError::Stopped`] where `receive` returned false.
pub fn export_rows(
    database: &DatabaseConfig,
    selection: Selection<'_>,
    receive: &mut dyn FnMut(RowBatch) -> bool,
) -> Result<Exported, CopyError> {
    match database {
        DatabaseConfig::Sqlite { path, .. } => sqlite::export(path, selection, receive),
        DatabaseConfig::Postgres { url, .. } => postgres::export(url, selection, receive),
    }
}

/// Takes rows into an index that is empty at first.
///
/// Batches have increasing numbers from 1. Each is one transaction with its number, so that a
/// restore that was interrupted goes on. Until [`RowImport::finish`], no server and no command
/// opens the index. All calls block.
pub struct RowImport {
    engine: Importer,
    /// The tables of the index, with the number of rows that migrations leave in them.
    tables: BTreeMap<String, i64>,
    part: u64,
}

enum Importer {
    Sqlite(sqlite::Import),
    Postgres(postgres::Import),
    /// Everything is in.
    Done,
}

/// The backup of which a restore into the index was interrupted, if any. Blocking.
pub fn unfinished_restore(database: &DatabaseConfig) -> Result<Option<String>, CopyError> {
    match database {
        DatabaseConfig::Sqlite { path, .. } => sqlite::unfinished_restore_in(path),
        DatabaseConfig::Postgres { url, .. } => postgres::unfinished_restore_in(url),
    }
}

/// The number of the newest migration of an index with these migrations, the engine's own ones
/// among them.
pub fn newest_migration(migrations: &[Migration]) -> Result<i64, CopyError> {
    Ok(Schema::of(Dialect::Sqlite, migrations)?.newest())
}

impl RowImport {
    /// Makes the tables as they were at migration `version`, in an index that is empty, or goes on
    /// with the restore of the same backup.
    ///
    /// # Errors
    /// [`CopyError::NotEmpty`], [`CopyError::Other`]: nothing is changed then.
    pub fn begin(
        database: &DatabaseConfig,
        migrations: &[Migration],
        version: i64,
        backup: &str,
    ) -> Result<Self, CopyError> {
        let tables = sqlite::new_tables(migrations, version)?;
        let mut engine = match database {
            DatabaseConfig::Sqlite { path, .. } => {
                Importer::Sqlite(sqlite::Import::open(path, migrations, version)?)
            }
            DatabaseConfig::Postgres { url, .. } => {
                Importer::Postgres(postgres::Import::open(url, migrations, version)?)
            }
        };
        let part = match engine.begun()? {
            Some((begun, part)) if begun == backup => u64::try_from(part).unwrap_or_default(),
            Some((begun, _)) => return Err(CopyError::Other { begun }),
            None => {
                if let Some(table) = not_as_new(&tables, &engine.counts(&tables)?) {
                    return Err(CopyError::NotEmpty { table });
                }
                engine.begin(backup)?;
                0
            }
        };
        Ok(Self {
            engine,
            tables,
            part,
        })
    }

    /// The import into an index that was finished before the restore as a whole was: it takes
    /// nothing in.
    pub fn finished(migrations: &[Migration], version: i64) -> Result<Self, CopyError> {
        Ok(Self {
            engine: Importer::Done,
            tables: sqlite::new_tables(migrations, version)?,
            part: u64::MAX,
        })
    }

    /// Whether this index has the table.
    #[must_use]
    pub fn has_table(&self, table: &str) -> bool {
        self.tables.contains_key(table)
    }

    /// The number of the last batch that is in.
    #[must_use]
    pub const fn part(&self) -> u64 {
        self.part
    }

    /// Takes a batch in, unless an earlier run did. The first batch of a table replaces the rows
    /// that migrations left in it (`first`).
    pub fn import(&mut self, part: u64, batch: &RowBatch, first: bool) -> Result<(), CopyError> {
        if part <= self.part {
            return Ok(());
        }
        self.engine.import(part, batch, first)?;
        self.part = part;
        Ok(())
    }

    /// Everything is in: rows that come get numbers above those of the exported index.
    pub fn finish(self, counters: &BTreeMap<String, i64>) -> Result<(), CopyError> {
        let ours: BTreeMap<_, _> = counters
            .iter()
            .filter(|(table, _)| self.tables.contains_key(*table))
            .map(|(table, last)| (table.clone(), *last))
            .collect();
        match self.engine {
            Importer::Sqlite(import) => import.finish(&ours),
            Importer::Postgres(import) => import.finish(&ours),
            Importer::Done => Ok(()),
        }
    }
}

impl Importer {
    /// The restore that is under way, and its last batch.
    fn begun(&mut self) -> Result<Option<(String, i64)>, CopyError> {
        match self {
            Self::Sqlite(import) => import.begun(),
            Self::Postgres(import) => import.begun(),
            Self::Done => Ok(None),
        }
    }

    /// The numbers of rows.
    fn counts(
        &mut self,
        tables: &BTreeMap<String, i64>,
    ) -> Result<BTreeMap<String, i64>, CopyError> {
        match self {
            Self::Sqlite(import) => import.counts(tables),
            Self::Postgres(import) => import.counts(tables),
            Self::Done => Ok(BTreeMap::new()),
        }
    }

    fn begin(&mut self, backup: &str) -> Result<(), CopyError> {
        match self {
            Self::Sqlite(import) => import.begin(backup),
            Self::Postgres(import) => import.begin(backup),
            Self::Done => Ok(()),
        }
    }

    fn import(&mut self, part: u64, batch: &RowBatch, first: bool) -> Result<(), CopyError> {
        match self {
            Self::Sqlite(import) => import.import(part, batch, first),
            Self::Postgres(import) => import.import(part, batch, first),
            Self::Done => Ok(()),
        }
    }
}

/// Tables that an index in use differs in without holding anything.
const CHANGES_ALWAYS: [&str; 1] = ["readiness"];

/// The first table that has other rows than migrations leave in it.
fn not_as_new(new: &BTreeMap<String, i64>, counts: &BTreeMap<String, i64>) -> Option<String> {
    let differs = |(table, count): &(&String, &i64)| {
        !CHANGES_ALWAYS.contains(&table.as_str()) && new.get(*table) != Some(*count)
    };
    counts.iter().find(differs).map(|(table, _)| table.clone())
}

#[cfg(test)]
mod tests;
