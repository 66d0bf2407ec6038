//! Connections for point reads. Between two reads a connection keeps its snapshot open for as long
//! as nothing is committed: opening and ending one costs two statements and two system calls, about
//! a third of a point read.

mod mapping;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rusqlite::Connection;

use self::mapping::Mapping;
use crate::engine::Tx;
use crate::error::Result;
use crate::sqlite::session::{Session, command, fault};

/// Connections lent at one time; a runtime has a worker a core, so more means callers that may as
/// well queue.
const CONNECTIONS: usize = 64;
/// How long a snapshot is kept at most. Commits of this process end it at once; those of another
/// one (an admin command) are seen after this time.
const MAX_SNAPSHOT_AGE: Duration = Duration::from_millis(10);
/// Reads a page of the index, so that the snapshot of the transaction is taken.
const TAKE_SNAPSHOT: &str = "SELECT 1 FROM sqlite_schema LIMIT 1";

/// Counts the commits of this process: odd while one is under way. Two snapshots that were taken
/// while it had the same even value are the same state.
#[derive(Debug, Default)]
pub(crate) struct Commits {
    count: AtomicU64,
    /// The newest commit that a reader may have seen while it was under way, as its count then.
    /// Snapshots from before are not used any more: a change that was seen stays.
    seen: AtomicU64,
}

impl Commits {
    /// Runs a commit. Its result may be sent once this has returned: no read that begins later
    /// uses an older snapshot.
    pub(crate) fn during<T>(&self, commit: impl FnOnce() -> T) -> T {
        self.count.fetch_add(1, Ordering::SeqCst);
        let result = commit();
        self.count.fetch_add(1, Ordering::SeqCst);
        result
    }

    /// Makes all snapshots outdated.
    fn skip(&self) {
        self.count.fetch_add(2, Ordering::SeqCst);
    }

    /// The count; `None` while a commit is under way.
    fn settled(&self) -> Option<u64> {
        let count = self.count.load(Ordering::SeqCst);
        count.is_multiple_of(2).then_some(count)
    }

    /// Notes that a reader has taken a new snapshot, before its result is used: it may hold the
    /// commit that is under way.
    pub(crate) fn note_snapshot(&self) {
        let count = self.count.load(Ordering::SeqCst);
        if !count.is_multiple_of(2) {
            self.seen.fetch_max(count, Ordering::SeqCst);
        }
    }

    /// Whether no commit has ended since the count was `version`. One that is under way is not
    /// acknowledged yet, and counts only if it may have been seen.
    fn is_current(&self, version: u64) -> bool {
        let count = self.count.load(Ordering::SeqCst);
        count & !1 == version && (count == version || self.seen.load(Ordering::SeqCst) < count)
    }
}

/// A connection with the snapshot that it keeps open.
struct PointReader {
    connection: Connection,
    snapshot: Option<Snapshot>,
    mapping: Mapping,
}

#[derive(Clone, Copy)]
struct Snapshot {
    /// The count of commits; `None` where one was under way when the snapshot was taken.
    version: Option<u64>,
    taken_at: Instant,
}

impl Snapshot {
    fn is_current(&self, commits: &Commits) -> bool {
        self.version.is_some_and(|is| commits.is_current(is))
    }

    fn is_usable(&self, commits: &Commits) -> bool {
        self.is_current(commits) && self.taken_at.elapsed() < MAX_SNAPSHOT_AGE
    }
}

impl PointReader {
    fn read<T>(&mut self, commits: &Commits, work: impl FnOnce(&mut Tx<'_>) -> T) -> Result<T> {
        self.mapping.reads();
        let snapshot = self.open(commits)?;
        let mut session = Session(&self.connection);
        let mut tx = Tx::at(&mut session, snapshot.version);
        let value = work(&mut tx);
        if tx.failure().is_some() || !snapshot.is_current(commits) {
            self.end();
        }
        Ok(value)
    }

    fn open(&mut self, commits: &Commits) -> Result<Snapshot> {
        if let Some(snapshot) = self.snapshot {
            if snapshot.is_usable(commits) {
                return Ok(snapshot);
            }
            self.end();
        }
        let before = commits.settled();
        if let Some(statement) = self.mapping.opens(before) {
            // Its result is the new size. A connection that keeps the other way reads as well.
            let set = self.connection.query_row(statement, (), |_| Ok(()));
            if let Err(error) = set {
                tracing::debug!(%error, "an index connection keeps its way to read");
            }
        }
        let taken_at = Instant::now();
        command(&self.connection, "BEGIN").map_err(|error| fault(&error))?;
        if let Err(error) = self.take_snapshot() {
            self.end();
            return Err(fault(&error));
        }
        let snapshot = Snapshot {
            version: before.filter(|_| commits.settled() == before),
            taken_at,
        };
        if snapshot.version.is_none() {
            commits.note_snapshot();
        }
        self.snapshot = Some(snapshot);
        Ok(snapshot)
    }

    fn take_snapshot(&self) -> rusqlite::Result<()> {
        let mut statement = self.connection.prepare_cached(TAKE_SNAPSHOT)?;
        statement.raw_query().next().map(drop)
    }

    fn end(&mut self) {
        self.snapshot = None;
        if let Err(error) = command(&self.connection, "COMMIT") {
            tracing::debug!(%error, "a read transaction did not end cleanly");
            let _ = command(&self.connection, "ROLLBACK");
        }
    }
}

/// The connections for point reads. A thread takes one while it runs a closure, which cannot wait,
/// so there are as many as threads that read at one time. The last one used is the next one taken,
/// so that its pages are in memory.
pub(crate) struct PointReaders {
    connect: Box<dyn Fn() -> rusqlite::Result<Connection> + Send + Sync>,
    commits: Commits,
    lent: Mutex<Lent>,
}

#[derive(Default)]
struct Lent {
    // Boxed: a connection is some hundred bytes, which each read would copy twice.
    #[expect(clippy::vec_box, reason = "moved out and in by each read")]
    idle: Vec<Box<PointReader>>,
    opened: usize,
}

impl PointReaders {
    pub(crate) fn new(
        connect: impl Fn() -> rusqlite::Result<Connection> + Send + Sync + 'static,
    ) -> Self {
        Self {
            connect: Box::new(connect),
            commits: Commits::default(),
            lent: Mutex::default(),
        }
    }

    pub(crate) const fn commits(&self) -> &Commits {
        &self.commits
    }

    /// Runs a read on the calling thread; `None` where every connection is lent out.
    pub(crate) fn read<T>(&self, work: impl FnOnce(&mut Tx<'_>) -> T) -> Option<Result<T>> {
        let mut reader = match self.take()? {
            Ok(reader) => reader,
            Err(error) => return Some(Err(error)),
        };
        let result = reader.read(&self.commits, work);
        self.give_back(reader);
        Some(result)
    }

    /// Ends the snapshots that are kept open: a checkpoint copies nothing that is newer than the
    /// oldest one, and the log is not begun anew before all of them have gone.
    pub(crate) fn end_snapshots(&self) {
        // Those that are lent out are ended when they are given back.
        self.commits.skip();
        for reader in &mut self.lock().idle {
            if reader.snapshot.is_some() {
                reader.end();
            }
        }
    }

    /// Closes the connections. Nobody may read any more.
    pub(crate) fn close(&self) {
        self.lock().idle.clear();
    }

    fn take(&self) -> Option<Result<Box<PointReader>>> {
        {
            let mut lent = self.lock();
            if let Some(reader) = lent.idle.pop() {
                return Some(Ok(reader));
            }
            if lent.opened >= CONNECTIONS {
                return None;
            }
            lent.opened += 1;
        }
        let opened = (self.connect)().map_err(|error| fault(&error));
        if opened.is_err() {
            self.lock().opened -= 1;
        }
        Some(opened.map(|connection| {
            Box::new(PointReader {
                connection,
                snapshot: None,
                mapping: Mapping::default(),
            })
        }))
    }

    fn give_back(&self, reader: Box<PointReader>) {
        let mut lent = self.lock();
        // One that stays in a transaction that it could not end would never see later changes.
        if reader.snapshot.is_none() && !reader.connection.is_autocommit() {
            lent.opened -= 1;
        } else {
            lent.idle.push(reader);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Lent> {
        self.lent.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests;
