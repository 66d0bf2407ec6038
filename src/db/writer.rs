//! The one writer of the embedded engine: many jobs share one transaction, so one sync of the disk.

use std::time::{Duration, Instant};

use rusqlite::{Connection, ErrorCode};

use crate::checkpoint::Wal;
use crate::engine::Tx;
use crate::error::{Error, Result};
use crate::job::{Job, Receiver};
use crate::sqlite::point_readers::{Commits, PointReaders};
use crate::sqlite::session::{Session, command, fault};

/// Jobs in one transaction: beyond this the sync is a small part of the cost, and the first job has
/// waited long enough.
const BATCH_JOBS: usize = 64;
/// Time after which a batch takes no further job.
const BATCH_TIME: Duration = Duration::from_millis(20);

/// Runs until the queue is closed and empty.
pub(super) fn run(connection: &Connection, mut jobs: Receiver, wal: &Wal, readers: &PointReaders) {
    let mut done = Vec::with_capacity(BATCH_JOBS);
    while let Some(first) = jobs.blocking_recv() {
        let started = Instant::now();
        roll_back(connection);
        let fate = match command(connection, "BEGIN IMMEDIATE") {
            Ok(()) => run_batch(connection, first, &mut jobs, &mut done, readers.commits()),
            Err(error) => {
                done.push(first);
                Err(begin_fault(&error))
            }
        };
        for job in done.drain(..) {
            job.send_result(fate.clone());
        }
        wal.between_batches(connection, started.elapsed(), readers);
    }
}

/// Runs the first job and those that wait after it, then commits. Its result is that of every job
/// in `done`.
fn run_batch(
    connection: &Connection,
    first: Box<dyn Job>,
    jobs: &mut Receiver,
    done: &mut Vec<Box<dyn Job>>,
    commits: &Commits,
) -> Result<()> {
    let started = Instant::now();
    let mut next = Some(first);
    while let Some(mut job) = next {
        if !job.abandoned() {
            let result = run_job(connection, &mut *job);
            done.push(job);
            if let Err(error) = result {
                roll_back(connection);
                return Err(error);
            }
        }
        let may_grow = done.len() < BATCH_JOBS && started.elapsed() < BATCH_TIME;
        next = if may_grow { jobs.try_recv().ok() } else { None };
    }
    let committed = commits.during(|| command(connection, "COMMIT"));
    committed.map_err(|error| {
        roll_back(connection);
        fault(&error)
    })
}

/// Runs one job in its own savepoint, so that its failure is its own. An error here has lost the
/// whole batch.
fn run_job(connection: &Connection, job: &mut dyn Job) -> Result<()> {
    command(connection, "SAVEPOINT job").map_err(|error| fault(&error))?;
    let mut session = Session(connection);
    let mut tx = Tx::new(&mut session);
    let keep = job.run(&mut tx);
    if connection.is_autocommit() {
        // A full disk or a failed read makes SQLite give up the transaction as a whole.
        return Err(tx
            .failure()
            .cloned()
            .unwrap_or_else(|| Error::other("the transaction was rolled back")));
    }
    if !keep {
        command(connection, "ROLLBACK TO job").map_err(|error| fault(&error))?;
    }
    command(connection, "RELEASE job").map_err(|error| fault(&error))
}

/// Leaves the transaction, if there is one. Called again before the next batch, should it fail.
fn roll_back(connection: &Connection) {
    if connection.is_autocommit() {
        return;
    }
    if let Err(error) = command(connection, "ROLLBACK") {
        tracing::error!(%error, "the index could not roll back");
    }
}

/// Another process that keeps the write lock is not a race that a caller lost.
fn begin_fault(error: &rusqlite::Error) -> Error {
    match error.sqlite_error_code() {
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => {
            Error::Unavailable("another process keeps the index locked".to_owned())
        }
        _ => fault(error),
    }
}
