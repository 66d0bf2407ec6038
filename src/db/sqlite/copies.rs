//! Copies of rows out of and into an SQLite file.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fs::File;
use std::path::Path;
use std::time::Duration;

use rusqlite::types::ValueRef;
use rusqlite::{Connection, OpenFlags, OptionalExtension, TransactionBehavior, params_from_iter};

use crate::copied_rows::{
    Batches, CopyError, Exported, Receive, RowBatch, Selection, listed, quoted,
};
use crate::error::OpenError;
use crate::migrate::{Dialect, HISTORY, Migration, Schema};
use crate::value::Value;

/// How long a statement waits for another process to end its write.
const BUSY_WAIT: Duration = Duration::from_secs(30);

/// Exports all rows of one snapshot.
pub(crate) fn export(
    path: &Path,
    selection: Selection<'_>,
    receive: Receive<'_>,
) -> Result<Exported, CopyError> {
    let connection = open(path, OpenFlags::empty())?;
    connection.execute_batch("PRAGMA query_only = ON; BEGIN")?;
    // The first read takes the snapshot.
    let sql = format!("SELECT MAX(version) FROM {HISTORY}");
    let version = connection.query_row(&sql, [], |row| row.get(0))?;
    for table in tables(&connection)? {
        if !selection.takes(&table) {
            continue;
        }
        let columns = columns(&connection, &table)?;
        let mut statement = connection.prepare(&selection.statement(&table, &columns))?;
        let mut batches = Batches::new(&table, &columns, selection.batch_bytes, receive);
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            let mut values = Vec::with_capacity(columns.len());
            for (number, column) in columns.iter().enumerate() {
                values.push(value(row.get_ref(number)?, &table, column)?);
            }
            batches.push(values)?;
        }
        batches.flush()?;
    }
    let mut counters = BTreeMap::new();
    // It is there once a table counts its rows.
    if !connection.table_exists(None, "sqlite_sequence")? {
        return Ok(Exported { version, counters });
    }
    let mut statement = connection.prepare("SELECT name, seq FROM sqlite_sequence")?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let table: String = row.get(0)?;
        if selection.takes(&table) {
            counters.insert(table, row.get(1)?);
        }
    }
    Ok(Exported { version, counters })
}

fn value(value: ValueRef<'_>, table: &str, column: &str) -> Result<Value<'static>, CopyError> {
    Ok(match value {
        ValueRef::Null => Value::Null,
        ValueRef::Integer(integer) => Value::Integer(integer),
        ValueRef::Text(text) => {
            let text = std::str::from_utf8(text).map_err(crate::Error::other)?;
            Value::Text(Cow::Owned(text.to_owned()))
        }
        ValueRef::Blob(bytes) => Value::Bytes(Cow::Owned(bytes.to_vec())),
        ValueRef::Real(_) => {
            return Err(CopyError::Column {
                table: table.to_owned(),
                column: column.to_owned(),
            });
        }
    })
}

fn open(path: &Path, more: OpenFlags) -> Result<Connection, CopyError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX | more;
    let connection = Connection::open_with_flags(path, flags).map_err(|error| OpenError::File {
        path: path.to_owned(),
        why: error.to_string(),
    })?;
    connection.busy_timeout(BUSY_WAIT)?;
    Ok(connection)
}

fn tables(connection: &Connection) -> Result<Vec<String>, CopyError> {
    let mut statement = connection.prepare(
        "SELECT name FROM sqlite_master
         WHERE type = 'table' AND substr(name, 1, 7) <> 'sqlite_' ORDER BY name",
    )?;
    let names = statement.query_map([], |row| row.get(0))?;
    Ok(names.collect::<Result<_, _>>()?)
}

fn columns(connection: &Connection, table: &str) -> Result<Vec<String>, CopyError> {
    let mut statement =
        connection.prepare("SELECT name FROM pragma_table_info(?1) ORDER BY cid")?;
    let names = statement.query_map([table], |row| row.get(0))?;
    Ok(names.collect::<Result<_, _>>()?)
}

/// The tables of a new index, with the number of rows that migrations leave in them.
pub(crate) fn new_tables(
    migrations: &[Migration],
    version: i64,
) -> Result<BTreeMap<String, i64>, CopyError> {
    let mut connection = Connection::open_in_memory()?;
    Schema::up_to(Dialect::Sqlite, migrations, version)?.apply(&mut connection)?;
    let names = tables(&connection)?.into_iter();
    let names = names
        .filter(|table| table != HISTORY)
        .map(|table| (table, 0));
    counts(&connection, &names.collect())
}

fn counts(
    connection: &Connection,
    tables: &BTreeMap<String, i64>,
) -> Result<BTreeMap<String, i64>, CopyError> {
    let mut counts = BTreeMap::new();
    for table in tables.keys() {
        let sql = format!("SELECT COUNT(*) FROM {}", quoted(table));
        let count = connection.query_row(&sql, [], |row| row.get(0))?;
        counts.insert(table.clone(), count);
    }
    Ok(counts)
}

/// An import into a file.
pub(crate) struct Import(Connection);

impl Import {
    pub(crate) fn open(
        path: &Path,
        migrations: &[Migration],
        version: i64,
    ) -> Result<Self, CopyError> {
        let mut connection = open(path, OpenFlags::SQLITE_OPEN_CREATE)?;
        connection.execute_batch("PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;")?;
        connection.set_transaction_behavior(TransactionBehavior::Immediate);
        let schema = Schema::up_to(Dialect::Sqlite, migrations, version)?;
        schema.apply(&mut connection)?;
        let parent = path.parent().filter(|parent| *parent != Path::new(""));
        let synced = File::open(parent.unwrap_or(Path::new("."))).and_then(|one| one.sync_all());
        synced.map_err(|error| OpenError::File {
            path: path.to_owned(),
            why: error.to_string(),
        })?;
        Ok(Self(connection))
    }

    pub(crate) fn begun(&mut self) -> Result<Option<(String, i64)>, CopyError> {
        let sql = "SELECT backup, part FROM restore WHERE id = 1";
        let begun = self
            .0
            .query_row(sql, [], |row| Ok((row.get(0)?, row.get(1)?)));
        Ok(begun.optional()?)
    }

    pub(crate) fn counts(
        &mut self,
        tables: &BTreeMap<String, i64>,
    ) -> Result<BTreeMap<String, i64>, CopyError> {
        counts(&self.0, tables)
    }

    pub(crate) fn begin(&mut self, backup: &str) -> Result<(), CopyError> {
        let sql = "INSERT INTO restore (id, backup, part) VALUES (1, ?1, 0)";
        self.0.execute(sql, [backup])?;
        Ok(())
    }

    pub(crate) fn import(
        &mut self,
        part: u64,
        batch: &RowBatch,
        first: bool,
    ) -> Result<(), CopyError> {
        let transaction = self.0.transaction()?;
        let table = quoted(&batch.table);
        if first {
            transaction.execute(&format!("DELETE FROM {table}"), [])?;
        }
        let values: Vec<String> = (1..=batch.columns.len()).map(|n| format!("?{n}")).collect();
        let sql = format!(
            "INSERT INTO {table} ({}) VALUES ({})",
            listed(&batch.columns),
            values.join(", ")
        );
        {
            let mut insert = transaction.prepare_cached(&sql)?;
            for row in &batch.rows {
                insert.execute(params_from_iter(row))?;
            }
        }
        let part = i64::try_from(part).map_err(crate::Error::other)?;
        transaction.execute("UPDATE restore SET part = ?1 WHERE id = 1", [part])?;
        Ok(transaction.commit()?)
    }

    pub(crate) fn finish(mut self, counters: &BTreeMap<String, i64>) -> Result<(), CopyError> {
        let transaction = self.0.transaction()?;
        for (table, last) in counters {
            let sql = "UPDATE sqlite_sequence SET seq = MAX(seq, ?2) WHERE name = ?1";
            if transaction.execute(sql, (table, last))? == 0 {
                let sql = "INSERT INTO sqlite_sequence (name, seq) VALUES (?1, ?2)";
                transaction.execute(sql, (table, last))?;
            }
        }
        transaction.execute("DELETE FROM restore", [])?;
        Ok(transaction.commit()?)
    }
}

/// The backup of which a restore into this file was interrupted.
pub(crate) fn unfinished_restore(connection: &Connection) -> rusqlite::Result<Option<String>> {
    if !connection.table_exists(None, crate::copied_rows::RESTORE)? {
        return Ok(None);
    }
    let backup = connection.query_row("SELECT backup FROM restore", [], |row| row.get(0));
    backup.optional()
}

/// The same, of a file that may be missing.
pub(crate) fn unfinished_restore_in(path: &Path) -> Result<Option<String>, CopyError> {
    if !path.exists() {
        return Ok(None);
    }
    Ok(unfinished_restore(&open(path, OpenFlags::empty())?)?)
}
