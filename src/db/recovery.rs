//! Makes durable what an earlier process may have left in the page cache only.
//!
//! When a write to the device fails, the kernel reports that to the descriptors that are open and
//! takes the page for written: it stays in the cache, and no later fsync writes it. SQLite undoes
//! the transaction then, but a process that is killed and started again reads the log from the
//! cache, takes the transaction for committed and appends to it; a power cut would end the log at
//! the page that is missing, and with it everything that was acknowledged since.

use std::ffi::OsString;
use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use rusqlite::Connection;

/// What is read and written at once.
const BUFFER_BYTES: usize = 1024 * 1024;

/// The directory of the index, open before SQLite creates anything in it.
pub(super) struct Directory(File);

impl Directory {
    pub(super) fn open(index: &Path) -> io::Result<Self> {
        let index = index.canonicalize().unwrap_or_else(|_| index.to_owned());
        let parent = index.parent().filter(|parent| *parent != Path::new(""));
        let directory = File::open(parent.unwrap_or(Path::new(".")))?;
        // An error from before is of names that an earlier process created, and dealt with.
        let _ = directory.sync_all();
        Ok(Self(directory))
    }

    /// Makes the names of the index and its log durable, or says that a flush of them has failed
    /// since the directory was opened. SQLite flushes the directory after it has created the log,
    /// but ignores an error of that: a power cut would take the whole log.
    pub(super) fn sync(&self) -> io::Result<()> {
        self.0.sync_all()
    }
}

/// Writes the log's own bytes to it once more and syncs it, so that all of it is on the device.
/// No other process may write to it meanwhile, which a transaction of `connection` sees to.
pub(super) fn rewrite_log(
    connection: &Connection,
    index: &Path,
) -> Result<(), Box<dyn std::error::Error>> {
    let log = log_path(index);
    if log.metadata().map_or(0, |log| log.len()) == 0 {
        return Ok(());
    }
    connection.execute_batch("BEGIN IMMEDIATE")?;
    let rewritten = rewrite(&log);
    connection.execute_batch("ROLLBACK")?;
    Ok(rewritten?)
}

fn log_path(index: &Path) -> PathBuf {
    let mut path = OsString::from(index.canonicalize().unwrap_or_else(|_| index.to_owned()));
    path.push("-wal");
    path.into()
}

fn rewrite(path: &Path) -> io::Result<()> {
    let file = match OpenOptions::new().read(true).write(true).open(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        opened => opened?,
    };
    // A failure from before would be reported now, after the bytes that it lost are written.
    let _ = file.sync_all();
    let mut buffer = vec![0; BUFFER_BYTES];
    let mut offset = 0;
    loop {
        let read = file.read_at(&mut buffer, offset)?;
        if read == 0 {
            return file.sync_all();
        }
        file.write_all_at(&buffer[..read], offset)?;
        offset += read as u64;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_is_the_same_after_it_was_written_again() {
        let folder = tempfile::tempdir().expect("a directory");
        let index = folder.path().join("index.sqlite3");
        let writer = Connection::open(&index).expect("created");
        let statements = "PRAGMA journal_mode = WAL; CREATE TABLE t (x); INSERT INTO t VALUES (7);";
        writer.execute_batch(statements).expect("written");
        let before = std::fs::read(log_path(&index)).expect("a log");
        assert!(!before.is_empty());
        let connection = Connection::open(&index).expect("opened");
        rewrite_log(&connection, &index).expect("written again");
        assert!(std::fs::read(log_path(&index)).expect("a log") == before);
        drop(connection);
        writer
            .execute_batch("INSERT INTO t VALUES (8)")
            .expect("no transaction was left open");
        let sum = writer.query_row("SELECT sum(x) FROM t", [], |row| row.get::<_, i64>(0));
        assert_eq!(sum, Ok(15));
    }
}
