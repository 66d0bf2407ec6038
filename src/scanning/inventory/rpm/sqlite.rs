//! The database of RPM in its SQLite form.
//!
//! Source: RPM, `lib/backend/sqlite.c`.

use std::error::Error;

use rusqlite::{Connection, MAIN_DB};

use crate::inventory::rpm::Found;

/// SQLite looks at the deadline each time it has run this many instructions.
const INSTRUCTIONS_PER_CHECK: i32 = 10_000;

/// Reads the packages of `rpmdb.sqlite`.
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
    let mut connection = Connection::open_in_memory()?;
    connection.deserialize_read_exact(MAIN_DB, bytes, bytes.len(), true)?;
    // The file comes from an image: its schema is not trusted, and its pages may be malformed.
    connection.pragma_update(None, "trusted_schema", false)?;
    connection.pragma_update(None, "cell_size_check", true)?;
    let deadline = found.deadline;
    let check = move || std::time::Instant::now() >= deadline;
    connection.progress_handler(INSTRUCTIONS_PER_CHECK, Some(check))?;
    let mut statement = connection.prepare(crate::store::rpm_database::PACKAGES)?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let blob = row.get_ref(0)?.as_blob();
        if !found.add(blob.map_err(|_| "a row has no header")?)? {
            break;
        }
    }
    Ok(())
}
