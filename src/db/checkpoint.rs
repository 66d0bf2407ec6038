//! Copies the write-ahead log back into the index file, off the writer's way.
//!
//! SQLite would do it inside a commit, which then takes 60 to 130 ms (measured). A thread of its own does it instead, on its own
//! connection, without a lock that stops the writer. It can never quite catch up with a busy writer, and the log starts over
//! only once all of it is copied: so it asks the writer to copy the little that is left, between two batches.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::time::Duration;

use rusqlite::Connection;

/// Pages in the log that start a checkpoint: 32 MiB, which readers still search fast and which spreads the cost of a sync.
const START_PAGES: u32 = 8 * 1024;
/// Pages that the writer may be left to copy itself: some ten milliseconds of its time.
const FINISH_PAGES: u32 = 1024;
/// Rounds of copying before the writer is asked to copy what is left, however much.
const ROUNDS: usize = 4;
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
    /// Counts the log's pages at each commit of `writer`. The receiver wakes when they are many, and ends with that connection.
    pub(super) fn watch(writer: &mut Connection) -> rusqlite::Result<(Self, Receiver<()>)> {
        let wal = Self::default();
        let (wake, wakes) = sync_channel(1);
        let shared = Arc::clone(&wal.shared);
        writer.wal_hook(Some(move |_: &mut rusqlite::hooks::Wal, pages: std::ffi::c_int| {
            let pages = u32::try_from(pages).unwrap_or_default();
            shared.pages.store(pages, Ordering::Relaxed);
            if pages >= START_PAGES {
                // Full means that the checkpointer has yet to hear the last one.
                let _ = wake.try_send(());
            }
            Ok(())
        }))?;
        Ok((wal, wakes))
    }

    /// The writer's part, between two batches.
    pub(super) fn finish_if_asked(&self, writer: &Connection) {
        if self.shared.finish.swap(false, Ordering::Relaxed) {
            note(copy(writer, "PRAGMA wal_checkpoint(PASSIVE)").map(|_| ()));
        }
    }
}

/// Runs until the writer's connection is closed; closing the last connection copies what is left.
pub(super) fn run(connection: &Connection, wal: &Wal, wakes: &Receiver<()>) {
    let mut seen = 0;
    loop {
        match wakes.recv_timeout(IDLE) {
            Ok(()) => note(catch_up(connection, wal)),
            Err(RecvTimeoutError::Timeout) => {
                let pages = wal.shared.pages.load(Ordering::Relaxed);
                if pages != 0 && pages == seen {
                    note(empty(connection, wal));
                }
                seen = pages;
            }
            Err(RecvTimeoutError::Disconnected) => return,
        }
    }
}

fn catch_up(connection: &Connection, wal: &Wal) -> rusqlite::Result<()> {
    for _ in 0..ROUNDS {
        let copied = copy(connection, "PRAGMA wal_checkpoint(PASSIVE)")?.copied;
        if wal.shared.pages.load(Ordering::Relaxed).saturating_sub(copied) <= FINISH_PAGES {
            break;
        }
    }
    wal.shared.finish.store(true, Ordering::Relaxed);
    Ok(())
}

fn empty(connection: &Connection, wal: &Wal) -> rusqlite::Result<()> {
    let pages = wal.shared.pages.load(Ordering::Relaxed);
    if !copy(connection, "PRAGMA wal_checkpoint(TRUNCATE)")?.busy {
        // A commit since then has stored its own count, which stands.
        let _ = wal.shared.pages.compare_exchange(pages, 0, Ordering::Relaxed, Ordering::Relaxed);
    }
    Ok(())
}

struct Copied {
    busy: bool,
    copied: u32,
}

fn copy(connection: &Connection, pragma: &str) -> rusqlite::Result<Copied> {
    connection
        .query_row(pragma, [], |row| Ok(Copied { busy: row.get::<_, i64>(0)? != 0, copied: row.get::<_, i64>(2)?.try_into().unwrap_or(0) }))
}

/// A checkpoint that fails (a full disk) loses nothing: the log still holds everything, and the next wake tries again.
fn note(result: rusqlite::Result<()>) {
    if let Err(error) = result {
        tracing::warn!(%error, "the index could not copy its write-ahead log");
    }
}
