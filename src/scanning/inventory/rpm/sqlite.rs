//! The database of RPM in its SQLite form.
//!
//! Source: RPM, `lib/backend/sqlite.c`.

use std::error::Error;
use std::time::Instant;

use rusqlite::limits::Limit;
use rusqlite::{Connection, MAIN_DB};

use crate::inventory::rpm::{Found, MAX_HEADER_BYTES};
use crate::store::rpm_database::{IS_TABLE, PACKAGES};

/// SQLite looks at the deadline each time it has run this many instructions.
const INSTRUCTIONS_PER_CHECK: i32 = 10_000;
/// What `PRAGMA table_xinfo` has of a column that is stored: not hidden, and not computed.
const STORED: i64 = 0;

/// Reads the packages of `rpmdb.sqlite`. All headers together are no longer than the file.
///
/// # Errors
/// Why the file cannot be read.
pub(super) fn read(mut bytes: Vec<u8>, found: &mut Found) -> Result<(), String> {
    // A database in memory cannot have a write-ahead log: the header says so, or SQLite refuses it.
    if let Some(formats) = bytes.get_mut(18..20) {
        formats.fill(1);
    }
    read_rows(&bytes, found).map_err(|error| error.to_string())
}

fn read_rows(bytes: &[u8], found: &mut Found) -> Result<(), Box<dyn Error>> {
    let connection = open(bytes, found.deadline)?;
    if !has_packages(&connection)? {
        return Err("it has no table of packages".into());
    }
    let mut statement = connection.prepare(PACKAGES)?;
    let mut rows = statement.query([])?;
    let mut bytes_left = bytes.len();
    while let Some(row) = rows.next()? {
        let blob = row.get_ref(0)?.as_blob();
        let blob = blob.map_err(|_| "a row has no header")?;
        let left = bytes_left.checked_sub(blob.len());
        bytes_left = left.ok_or("the SQLite database is damaged")?;
        if !found.add(blob)? {
            break;
        }
    }
    Ok(())
}

/// Opens a file of an image: its schema is not trusted, and its pages may be malformed.
fn open(bytes: &[u8], deadline: Instant) -> rusqlite::Result<Connection> {
    let mut connection = Connection::open_in_memory()?;
    let most = i32::try_from(MAX_HEADER_BYTES).unwrap_or(i32::MAX);
    connection.set_limit(Limit::SQLITE_LIMIT_LENGTH, most)?;
    connection.pragma_update(None, "temp_store", "memory")?;
    connection.deserialize_read_exact(MAIN_DB, bytes, bytes.len(), true)?;
    connection.pragma_update(None, "trusted_schema", false)?;
    connection.pragma_update(None, "cell_size_check", true)?;
    let check = move || Instant::now() >= deadline;
    connection.progress_handler(INSTRUCTIONS_PER_CHECK, Some(check))?;
    Ok(connection)
}

/// Whether `Packages` is a table that has the headers themselves. A view, a virtual table or a
/// computed column could be anything: SQLite would run what the image names.
fn has_packages(connection: &Connection) -> rusqlite::Result<bool> {
    if !connection.prepare(IS_TABLE)?.exists([])? {
        return Ok(false);
    }
    let mut is_stored = false;
    connection.pragma(None, "table_xinfo", "Packages", |column| {
        let (name, hidden): (String, i64) = (column.get("name")?, column.get("hidden")?);
        is_stored |= name == "blob" && hidden == STORED;
        Ok(())
    })?;
    Ok(is_stored)
}
