//! Copies the write-ahead log back into the index file on a thread of its own.
//!
//! SQLite would copy it inside a commit, which then takes 60 to 130 ms (measured). The thread uses
//! its own connection and takes no lock that blocks the writer. It cannot catch up completely with
//! a busy writer, and SQLite reuses the log only once all of it is copied, so the writer copies the
//! remaining pages between two batches.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::thread::sleep;
use std::time::{Duration, Instant};

use rusqlite::Connection;

use crate::sqlite::point_readers::PointReaders;

/// Pages in the log that start a checkpoint: 16 MiB, so that each sync of the index file is short.
const START_PAGES: u32 = 4 * 1024;
/// Pages that the writer may be left to copy itself: some ten milliseconds of its time.
const FINISH_PAGES: u32 = 512;
/// Rounds of copying after which the writer copies all remaining pages, whatever their number.
const ROUNDS: usize = 4;
/// Pages in the log that slow the writer: 48 MiB. Beyond, copying does not keep up, and a log that
/// grows makes every reader search longer and the start after a crash slow (a second for 400 MiB).
const SLOW_PAGES: u32 = 12 * 1024;
/// The longest pause between two batches of a slowed writer.
const SLOW_PAUSE: Duration = Duration::from_millis(10);
/// Pages in the log at which the writer waits until they are copied: 96 MiB.
const FULL_PAGES: u32 = 24 * 1024;
/// The longest such wait: a disk that cannot take the copy must not stop the writes that it can
/// still take.
const FULL_WAIT: Duration = Duration::from_secs(1);
const FULL_POLL: Duration = Duration::from_millis(2);
/// Without a write for this long the log is emptied and cut to nothing.
const IDLE: Duration = Duration::from_secs(2);
/// How long cutting the log may hold up the writer while it waits for readers to leave.
pub(super) const TRUNCATE_WAIT: Duration = Duration::from_millis(20);

/// What the writer and the checkpointer tell each other.
#[derive(Clone, Default)]
pub(super) struct Wal {
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    /// Pages in the log after the last commit.
    pages: AtomicU32,
    /// Nearly all is copied: the writer is to copy the rest.
    finish: AtomicBool,
}

impl Wal {
    /// Counts the log's pages at each commit of `writer`. The receiver wakes when they are many,
    /// and ends with that connection.
    pub(super) fn watch(writer: &mut Connection) -> rusqlite::Result<(Self, Receiver<()>)> {
        let wal = Self::default();
        let (wake, wakes) = sync_channel(1);
        let shared = Arc::clone(&wal.shared);
        writer.wal_hook(Some(
            move |_: &mut rusqlite::hooks::Wal, pages: std::ffi::c_int| {
                let pages = u32::try_from(pages).unwrap_or_default();
                shared.pages.store(pages, Ordering::Relaxed);
                if pages >= START_PAGES {
                    // Full means that the checkpointer has yet to hear the last one.
                    let _ = wake.try_send(());
                }
                Ok(())
            },
        ))?;
        Ok((wal, wakes))
    }

    /// The writer calls this between two batches; `batch` is the duration of the last one. Pauses
    /// if the log has grown too long, and copies the rest of it if the checkpointer requests that
    /// or the log is full.
    pub(super) fn between_batches(
        &self,
        writer: &Connection,
        batch: Duration,
        readers: &PointReaders,
    ) {
        let full = self.pages() >= FULL_PAGES;
        if !full && self.pages() >= SLOW_PAGES {
            sleep(batch.min(SLOW_PAUSE));
        }
        if self.shared.finish.swap(false, Ordering::Relaxed) || full {
            readers.end_snapshots();
            note(finish(
                writer,
                if full { FULL_WAIT } else { Duration::ZERO },
            ));
            // Those taken meanwhile read the log; later ones read the index file alone, so that
            // the next batch can begin the log anew.
            readers.end_snapshots();
        }
    }

    fn pages(&self) -> u32 {
        self.shared.pages.load(Ordering::Relaxed)
    }
}

/// Runs until the writer's connection is closed; closing the last connection copies what is left.
pub(super) fn run(
    connection: &Connection,
    wal: &Wal,
    wakes: &Receiver<()>,
    readers: &PointReaders,
) {
    let mut seen = 0;
    loop {
        match wakes.recv_timeout(IDLE) {
            Ok(()) => note(catch_up(connection, wal, readers)),
            Err(RecvTimeoutError::Timeout) => {
                let pages = wal.pages();
                if pages != 0 && pages == seen {
                    readers.end_snapshots();
                    note(empty(connection, wal));
                }
                seen = pages;
            }
            Err(RecvTimeoutError::Disconnected) => return,
        }
    }
}

/// Copies the rest; waits up to `patience` where the checkpointer is at work, but not for readers
/// of an old snapshot.
fn finish(writer: &Connection, patience: Duration) -> rusqlite::Result<()> {
    let started = Instant::now();
    while copy(writer, "PRAGMA wal_checkpoint(PASSIVE)")?.busy && started.elapsed() < patience {
        sleep(FULL_POLL);
    }
    Ok(())
}

fn catch_up(connection: &Connection, wal: &Wal, readers: &PointReaders) -> rusqlite::Result<()> {
    for _ in 0..ROUNDS {
        readers.end_snapshots();
        let copied = copy(connection, "PRAGMA wal_checkpoint(PASSIVE)")?.copied;
        if wal.pages().saturating_sub(copied) <= FINISH_PAGES {
            break;
        }
    }
    wal.shared.finish.store(true, Ordering::Relaxed);
    Ok(())
}

fn empty(connection: &Connection, wal: &Wal) -> rusqlite::Result<()> {
    let pages = wal.pages();
    if !copy(connection, "PRAGMA wal_checkpoint(TRUNCATE)")?.busy {
        // A commit since then has stored its own count, which stands.
        let _ = wal
            .shared
            .pages
            .compare_exchange(pages, 0, Ordering::Relaxed, Ordering::Relaxed);
    }
    Ok(())
}

struct Copied {
    busy: bool,
    copied: u32,
}

fn copy(connection: &Connection, pragma: &str) -> rusqlite::Result<Copied> {
    connection.query_row(pragma, [], |row| {
        Ok(Copied {
            busy: row.get::<_, i64>(0)? != 0,
            copied: row.get::<_, i64>(2)?.try_into().unwrap_or(0),
        })
    })
}

/// A checkpoint that fails (a full disk) loses nothing: the log still holds everything, and the
/// next wake tries again.
fn note(result: rusqlite::Result<()>) {
    if let Err(error) = result {
        tracing::warn!(%error, "the index could not copy its write-ahead log");
    }
}
