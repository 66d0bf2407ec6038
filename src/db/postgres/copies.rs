//! Copies of rows out of and into a PostgreSQL database.

use std::borrow::Cow;
use std::collections::BTreeMap;

use postgres::binary_copy::BinaryCopyInWriter;
use postgres::types::{ToSql, Type};
use postgres::{Client, IsolationLevel, Row, Transaction};
use wharfinger_base::{Chain, Secret};

use crate::copied_rows::{
    Batches, CopyError, Exported, RESTORE, Receive, RowBatch, Selection, listed, quoted,
};
use crate::error::OpenError;
use crate::migrate::{Dialect, HISTORY, Migration, Schema, Upgrade};
use crate::postgres::prepare;
use crate::postgres::values::Integer;
use crate::tls::Connector;
use crate::value::Value;

/// Rows that are fetched at once: each may have a manifest of 4 MiB.
const FETCHED_AT_ONCE: i32 = 32;

/// How long one statement may run: sorting the largest table takes minutes.
const STATEMENT_MINUTES: u32 = 60;

/// Exports all rows of one snapshot.
pub(crate) fn export(
    url: &Secret<String>,
    selection: Selection<'_>,
    receive: Receive<'_>,
) -> Result<Exported, CopyError> {
    let mut client = connect(url)?;
    let transaction = client.build_transaction();
    let transaction = transaction.isolation_level(IsolationLevel::RepeatableRead);
    let mut transaction = transaction.read_only(true).start()?;
    let sql = format!("SELECT MAX(version)::bigint FROM {HISTORY}");
    let version = transaction.query_one(&sql, &[])?.get(0);
    for table in tables(&mut transaction)? {
        if selection.takes(&table) {
            export_table(&mut transaction, &table, selection, receive)?;
        }
    }
    let mut counters = BTreeMap::new();
    for (table, column) in counted_columns(&mut transaction)? {
        if selection.takes(&table)
            && let Some(sequence) = sequence_of(&mut transaction, &table, &column)?
        {
            let sql = format!("SELECT last_value, is_called FROM {sequence}");
            let row = transaction.query_one(&sql, &[])?;
            if row.get(1) {
                counters.insert(table, row.get(0));
            }
        }
    }
    Ok(Exported { version, counters })
}

fn export_table(
    transaction: &mut Transaction<'_>,
    table: &str,
    selection: Selection<'_>,
    receive: Receive<'_>,
) -> Result<(), CopyError> {
    let columns = columns(transaction, table)?;
    let statement = transaction.prepare(&selection.statement(table, &columns))?;
    let portal = transaction.bind(&statement, &[])?;
    let mut batches = Batches::new(table, &columns, selection.batch_bytes, receive);
    loop {
        let rows = transaction.query_portal(&portal, FETCHED_AT_ONCE)?;
        if rows.is_empty() {
            return batches.flush();
        }
        for row in rows {
            let mut values = Vec::with_capacity(columns.len());
            for (number, column) in columns.iter().enumerate() {
                values.push(value(&row, number, table, column)?);
            }
            batches.push(values)?;
        }
    }
}

fn value(row: &Row, number: usize, table: &str, column: &str) -> Result<Value<'static>, CopyError> {
    let kind = row.columns()[number].type_();
    Ok(match *kind {
        Type::INT2 | Type::INT4 | Type::INT8 => {
            let integer: Option<Integer> = row.try_get(number)?;
            integer.map_or(Value::Null, |integer| Value::Integer(integer.0))
        }
        Type::TEXT | Type::VARCHAR => {
            let text: Option<String> = row.try_get(number)?;
            text.map_or(Value::Null, |text| Value::Text(Cow::Owned(text)))
        }
        Type::BYTEA => {
            let bytes: Option<Vec<u8>> = row.try_get(number)?;
            bytes.map_or(Value::Null, |bytes| Value::Bytes(Cow::Owned(bytes)))
        }
        _ => {
            return Err(CopyError::Column {
                table: table.to_owned(),
                column: column.to_owned(),
            });
        }
    })
}

fn connect(url: &Secret<String>) -> Result<Client, CopyError> {
    let connected = Connector::from_url(url.reveal())?.connect();
    let mut client = connected.map_err(|why| OpenError::Connect(Chain(&why).to_string()))?;
    client.batch_execute(&format!("SET statement_timeout = '{STATEMENT_MINUTES}min'"))?;
    Ok(client)
}

fn tables(transaction: &mut Transaction<'_>) -> Result<Vec<String>, CopyError> {
    let rows = transaction.query(
        "SELECT table_name::text FROM information_schema.tables
         WHERE table_schema = current_schema() AND table_type = 'BASE TABLE' ORDER BY table_name",
        &[],
    )?;
    Ok(rows.iter().map(|row| row.get(0)).collect())
}

fn columns(transaction: &mut Transaction<'_>, table: &str) -> Result<Vec<String>, CopyError> {
    let rows = transaction.query(
        "SELECT column_name::text FROM information_schema.columns
         WHERE table_schema = current_schema() AND table_name = $1 ORDER BY ordinal_position",
        &[&table],
    )?;
    Ok(rows.iter().map(|row| row.get(0)).collect())
}

/// Tables whose rows the database counts, with the column of the number.
fn counted_columns(transaction: &mut Transaction<'_>) -> Result<Vec<(String, String)>, CopyError> {
    let rows = transaction.query(
        "SELECT table_name::text, column_name::text FROM information_schema.columns
         WHERE table_schema = current_schema() AND is_identity = 'YES' ORDER BY table_name",
        &[],
    )?;
    Ok(rows.iter().map(|row| (row.get(0), row.get(1))).collect())
}

fn sequence_of(
    transaction: &mut Transaction<'_>,
    table: &str,
    column: &str,
) -> Result<Option<String>, CopyError> {
    let sql = "SELECT pg_get_serial_sequence($1, $2)";
    Ok(transaction
        .query_one(sql, &[&quoted(table), &column])?
        .get(0))
}

/// An import into a database.
pub(crate) struct Import(Client);

impl Import {
    pub(crate) fn open(
        url: &Secret<String>,
        migrations: &[Migration],
        version: i64,
    ) -> Result<Self, CopyError> {
        let schema = Schema::up_to(Dialect::Postgres, migrations, version)?;
        let mut client = connect(url)?;
        prepare::check_collation(&mut client)?;
        prepare::check_durability(&mut client)?;
        prepare::migrate(&mut client, &schema, Upgrade::Apply)?;
        Ok(Self(client))
    }

    pub(crate) fn begun(&mut self) -> Result<Option<(String, i64)>, CopyError> {
        let sql = "SELECT backup, part FROM restore WHERE id = 1";
        let row = self.0.query_opt(sql, &[])?;
        Ok(row.map(|row| (row.get(0), row.get(1))))
    }

    pub(crate) fn counts(
        &mut self,
        tables: &BTreeMap<String, i64>,
    ) -> Result<BTreeMap<String, i64>, CopyError> {
        let mut counts = BTreeMap::new();
        for table in tables.keys() {
            let sql = format!("SELECT COUNT(*) FROM {}", quoted(table));
            counts.insert(table.clone(), self.0.query_one(&sql, &[])?.get(0));
        }
        Ok(counts)
    }

    pub(crate) fn begin(&mut self, backup: &str) -> Result<(), CopyError> {
        let sql = "INSERT INTO restore (id, backup, part) VALUES (1, $1, 0)";
        self.0.execute(sql, &[&backup])?;
        Ok(())
    }

    pub(crate) fn import(
        &mut self,
        part: u64,
        batch: &RowBatch,
        first: bool,
    ) -> Result<(), CopyError> {
        let mut transaction = self.0.transaction()?;
        let (table, columns) = (quoted(&batch.table), listed(&batch.columns));
        if first {
            transaction.execute(&format!("DELETE FROM {table}"), &[])?;
        }
        let described = transaction.prepare(&format!("SELECT {columns} FROM {table}"))?;
        let kinds: Vec<Type> = described
            .columns()
            .iter()
            .map(|column| column.type_().clone())
            .collect();
        let sql = format!("COPY {table} ({columns}) FROM STDIN BINARY");
        let mut writer = BinaryCopyInWriter::new(transaction.copy_in(&sql)?, &kinds);
        for row in &batch.rows {
            let values: Vec<&(dyn ToSql + Sync)> = row
                .iter()
                .map(|value| value as &(dyn ToSql + Sync))
                .collect();
            writer.write(&values)?;
        }
        writer.finish()?;
        let part = i64::try_from(part).map_err(crate::Error::other)?;
        transaction.execute("UPDATE restore SET part = $1 WHERE id = 1", &[&part])?;
        Ok(transaction.commit()?)
    }

    pub(crate) fn finish(mut self, counters: &BTreeMap<String, i64>) -> Result<(), CopyError> {
        let mut transaction = self.0.transaction()?;
        for (table, column) in counted_columns(&mut transaction)? {
            let Some(sequence) = sequence_of(&mut transaction, &table, &column)? else {
                continue;
            };
            let sql = format!(
                "SELECT COALESCE(MAX({}), 0)::bigint FROM {}",
                quoted(&column),
                quoted(&table)
            );
            let highest: i64 = transaction.query_one(&sql, &[])?.get(0);
            let last = counters
                .get(&table)
                .copied()
                .unwrap_or_default()
                .max(highest);
            if last > 0 {
                let sql = "SELECT setval($1::text::regclass, $2)";
                transaction.query_one(sql, &[&sequence, &last])?;
            }
        }
        transaction.execute("DELETE FROM restore", &[])?;
        transaction.commit()?;
        // Plans need numbers of rows, which the server itself would gather some minutes later.
        Ok(self.0.batch_execute("ANALYZE")?)
    }
}

/// The backup of which a restore into this database was interrupted.
pub(super) fn unfinished_restore(client: &mut Client) -> Result<Option<String>, postgres::Error> {
    let exists = client.query_one("SELECT to_regclass($1) IS NOT NULL", &[&RESTORE])?;
    if !exists.get::<_, bool>(0) {
        return Ok(None);
    }
    let row = client.query_opt("SELECT backup FROM restore", &[])?;
    Ok(row.map(|row| row.get(0)))
}

/// The same, over a connection of its own.
pub(crate) fn unfinished_restore_in(url: &Secret<String>) -> Result<Option<String>, CopyError> {
    Ok(unfinished_restore(&mut connect(url)?)?)
}
