//! The embedded engine: its connections, their settings and their threads.

pub(crate) mod copies;
pub(crate) mod point_readers;
pub(crate) mod session;

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use refinery::Migrate;
use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags, TransactionBehavior};
use wharfinger_base::{Durability, Ids};

use crate::checkpoint::{self, Wal};
use crate::engine::Tx;
use crate::error::{OpenError, Result};
use crate::job::{Receiver, Sender, queue};
use crate::migrate::{Dialect, HISTORY, Migration, Schema, Upgrade, failed, lock_file};
use crate::recovery::{Directory, rewrite_log};
use crate::sqlite::copies::unfinished_restore;
use crate::sqlite::point_readers::{Commits, PointReaders};
use crate::sqlite::session::{Session, command, fault};
use crate::threads::Threads;
use crate::writer;

/// Jobs that may wait for the writer: about a second of its work.
const WRITE_QUEUE: usize = 1024;
/// Scans that may wait for a reader thread.
const READ_QUEUE: usize = 1024;
/// Threads for scans and pages: few, as they are bound by the processor; enough that two long scans
/// do not stop all pages.
const READERS: usize = 4;
/// Prepared statements kept by each connection: all statements of the program fit.
const STATEMENTS: usize = 128;
/// Pages kept by the writer, in KiB: the changed pages of a full batch fit, so that none is written
/// twice.
const WRITER_CACHE_KIB: u32 = 8 * 1024;
/// Pages kept by each reading connection, in KiB: the upper levels of the trees of a million
/// images. The leaves are in the system's page cache.
const READER_CACHE_KIB: u32 = 8 * 1024;
/// How long a statement waits for another process (an admin command) to end its write.
const BUSY_WAIT: Duration = Duration::from_secs(5);

/// The index in a file.
pub(super) struct Sqlite {
    // Dropped in this order: all other connections are closed before those of the writer and of the
    // checkpointer, in turn, and closing the last one copies what is left of the log.
    point_readers: Arc<PointReaders>,
    reads: Sender,
    _reader_threads: Threads,
    writes: Sender,
    _writer_threads: Threads,
    _temporary: Option<TemporaryFolder>,
}

impl Sqlite {
    pub(super) fn open(
        path: &Path,
        durability: Durability,
        migrations: &[Migration],
        upgrade: Upgrade,
    ) -> Result<Self, OpenError> {
        let file = IndexFile {
            path: path.to_owned(),
            synchronous: if durability == Durability::Full {
                "FULL"
            } else {
                "NORMAL"
            },
        };
        let failed = |why: String| OpenError::File {
            path: path.to_owned(),
            why,
        };
        let directory = Directory::open(path).map_err(|error| failed(error.to_string()))?;
        let existed = path.exists();
        if durability == Durability::Full && existed {
            let connection = file.open(OpenFlags::empty());
            let connection = connection.map_err(|error| failed(error.to_string()))?;
            rewrite_log(&connection, path).map_err(|error| failed(error.to_string()))?;
        }
        file.migrate(migrations, upgrade)?;
        let started = Self::start(&file, None)?;
        if let Err(error) = directory.sync() {
            if !existed {
                // Nothing is in it yet, and the next start must create its name anew.
                let _ = std::fs::remove_file(path);
            }
            return Err(failed(error.to_string()));
        }
        Ok(started)
    }

    /// An index in a folder of its own, in memory where the system has a folder for that; it is
    /// never synced, and removed with the handle.
    pub(super) fn temporary(migrations: &[Migration]) -> Result<Self, OpenError> {
        let folder = TemporaryFolder::create()?;
        let file = IndexFile {
            path: folder.0.join("index.sqlite3"),
            synchronous: "OFF",
        };
        file.migrate(migrations, Upgrade::Apply)?;
        Self::start(&file, Some(folder))
    }

    fn start(file: &IndexFile, temporary: Option<TemporaryFolder>) -> Result<Self, OpenError> {
        let trouble = |error: &rusqlite::Error| OpenError::File {
            path: file.path.clone(),
            why: error.to_string(),
        };
        let (writes, jobs) = queue(WRITE_QUEUE);
        let (reads, read_jobs) = queue(READ_QUEUE);
        let mut reader_threads = Threads::default();
        let mut writer_threads = Threads::default();
        let point_readers = Arc::new(PointReaders::new({
            let file = file.clone();
            move || file.connect(Role::PointReader)
        }));
        let mut connection = file
            .connect(Role::Writer)
            .map_err(|error| trouble(&error))?;
        let (wal, wakes) = Wal::watch(&mut connection).map_err(|error| trouble(&error))?;
        // The checkpointer hears of the writer's end while the writer's connection is being closed,
        // and connections that are closed at the same time do not remove the log.
        let (writer_open, writer_closed) = std::sync::mpsc::channel::<()>();
        writer_threads.start("db-writer", {
            let (wal, readers) = (wal.clone(), Arc::clone(&point_readers));
            move || {
                writer::run(&connection, jobs, &wal, &readers);
                drop(connection);
                drop(writer_open);
            }
        })?;
        let checkpointer = file
            .connect(Role::Checkpointer)
            .map_err(|error| trouble(&error))?;
        checkpointer
            .busy_timeout(checkpoint::TRUNCATE_WAIT)
            .map_err(|error| trouble(&error))?;
        writer_threads.start("db-checkpoint", {
            let readers = Arc::clone(&point_readers);
            move || {
                checkpoint::run(&checkpointer, &wal, &wakes, &readers);
                // Ends with an error once the writer's connection is closed.
                let _ = writer_closed.recv();
            }
        })?;
        let read_jobs = Arc::new(Mutex::new(read_jobs));
        for _ in 0..READERS {
            let reader = file
                .connect(Role::Reader)
                .map_err(|error| trouble(&error))?;
            let (jobs, readers) = (Arc::clone(&read_jobs), Arc::clone(&point_readers));
            reader_threads.start("db-reader", move || {
                run_reader(&reader, &jobs, readers.commits());
            })?;
        }
        Ok(Self {
            writes,
            reads,
            point_readers,
            _reader_threads: reader_threads,
            _writer_threads: writer_threads,
            _temporary: temporary,
        })
    }

    pub(super) fn writes(&self) -> &Sender {
        &self.writes
    }

    pub(super) fn reads(&self) -> &Sender {
        &self.reads
    }

    /// Runs a read on the calling thread; `None` where every connection for that is lent out.
    pub(super) fn inline<T>(&self, work: impl FnOnce(&mut Tx<'_>) -> T) -> Option<Result<T>> {
        self.point_readers.read(work)
    }
}

impl Drop for Sqlite {
    fn drop(&mut self) {
        self.point_readers.close();
    }
}

/// Runs reads in one snapshot.
fn snapshot<T>(connection: &Connection, work: impl FnOnce(&mut Tx<'_>) -> T) -> Result<T> {
    command(connection, "BEGIN").map_err(|error| fault(&error))?;
    let value = work(&mut Tx::new(&mut Session(connection)));
    if let Err(error) = command(connection, "COMMIT") {
        tracing::debug!(%error, "a read transaction did not end cleanly");
        // A connection that stays in the transaction would never see later changes.
        let _ = command(connection, "ROLLBACK");
    }
    Ok(value)
}

fn run_reader(connection: &Connection, jobs: &Mutex<Receiver>, commits: &Commits) {
    loop {
        // Idle readers wait for this lock.
        let next = jobs
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .blocking_recv();
        let Some(mut job) = next else { return };
        if !job.abandoned() {
            let fate = snapshot(connection, |tx| job.run(tx)).map(|_| ());
            commits.note_snapshot();
            job.send_result(fate);
        }
    }
}

/// What a connection is for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Role {
    Writer,
    /// Scans and pages.
    Reader,
    /// Reads by key.
    PointReader,
    Checkpointer,
}

#[derive(Clone)]
struct IndexFile {
    path: PathBuf,
    synchronous: &'static str,
}

impl IndexFile {
    fn connect(&self, role: Role) -> rusqlite::Result<Connection> {
        let connection = self.open(OpenFlags::empty())?;
        let reads_only = matches!(role, Role::Reader | Role::PointReader);
        let cache_kib = if role == Role::Writer {
            WRITER_CACHE_KIB
        } else {
            READER_CACHE_KIB
        };
        connection.set_prepared_statement_cache_capacity(STATEMENTS);
        if role == Role::Writer {
            // Set for good when the file was made; a copy restored from `VACUUM INTO` has lost it.
            connection.execute_batch("PRAGMA journal_mode = WAL")?;
        }
        connection.execute_batch(&format!(
            "PRAGMA synchronous = {}; PRAGMA wal_autocheckpoint = 0; PRAGMA cache_size = \
             -{cache_kib}; PRAGMA temp_store = MEMORY;
             PRAGMA foreign_keys = ON; PRAGMA query_only = {};",
            self.synchronous,
            if reads_only { "ON" } else { "OFF" },
        ))?;
        Ok(connection)
    }

    fn open(&self, more: OpenFlags) -> rusqlite::Result<Connection> {
        let connection = Connection::open_with_flags(
            &self.path,
            OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX | more,
        )?;
        connection.busy_timeout(BUSY_WAIT)?;
        // A plan may not depend on bound values. Else SQLite compares each value with the
        // conditions of partial indexes, and plans the statement anew whenever another
        // value is bound: that was four fifths of a point read.
        connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
        Ok(connection)
    }

    /// Brings the schema up to date. Looks first, so that an index of a newer version is left as it
    /// is and one that is up to date is not locked.
    fn migrate(&self, migrations: &[Migration], upgrade: Upgrade) -> Result<(), OpenError> {
        let trouble = |error: rusqlite::Error| OpenError::File {
            path: self.path.clone(),
            why: error.to_string(),
        };
        let schema = Schema::of(Dialect::Sqlite, migrations)?;
        let mut connection = self.open(OpenFlags::SQLITE_OPEN_CREATE).map_err(trouble)?;
        if let Some(backup) = unfinished_restore(&connection).map_err(trouble)? {
            return Err(OpenError::Restoring(backup));
        }
        if !schema.needs_migration(&applied(&mut connection)?, upgrade)? {
            return Ok(());
        }
        let mut lock_path = OsString::from(&self.path);
        lock_path.push("-migrating");
        let _lock = lock_file(Path::new(&lock_path))?;
        connection
            .execute_batch(&format!(
                "PRAGMA journal_mode = WAL; PRAGMA synchronous = {};",
                self.synchronous
            ))
            .map_err(trouble)?;
        connection.set_transaction_behavior(TransactionBehavior::Immediate);
        if schema.needs_migration(&applied(&mut connection)?, upgrade)? {
            schema.apply(&mut connection)?;
        }
        Ok(())
    }
}

fn applied(connection: &mut Connection) -> Result<Vec<refinery::Migration>, OpenError> {
    let exists = connection.table_exists(None, HISTORY).map_err(failed)?;
    if exists {
        connection.get_applied_migrations(HISTORY).map_err(failed)
    } else {
        Ok(Vec::new())
    }
}

struct TemporaryFolder(PathBuf);

impl TemporaryFolder {
    fn create() -> Result<Self, OpenError> {
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        let shared_memory = Path::new("/dev/shm");
        let parent = if shared_memory.is_dir() {
            shared_memory.to_owned()
        } else {
            std::env::temp_dir()
        };
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let path = parent.join(format!(
            "wharfinger-{}-{number}-{}",
            std::process::id(),
            Ids::default().uuid().simple()
        ));
        std::fs::create_dir(&path).map_err(|error| OpenError::File {
            path: path.clone(),
            why: error.to_string(),
        })?;
        Ok(Self(path))
    }
}

impl Drop for TemporaryFolder {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_dir_all(&self.0) {
            tracing::debug!(%error, "a temporary index was not removed");
        }
    }
}
