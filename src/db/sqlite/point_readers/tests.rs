//! Snapshots that are kept open, under commits of this process and of others.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::thread;

use tempfile::TempDir;

use super::*;
use crate::params;

struct Index {
    folder: TempDir,
    writer: Connection,
    readers: PointReaders,
}

fn index() -> Index {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("index");
    let writer = Connection::open(&path).expect("opens");
    writer
        .execute_batch(
            "PRAGMA journal_mode = WAL; PRAGMA wal_autocheckpoint = 0;
             CREATE TABLE counter (value INTEGER); INSERT INTO counter VALUES (0)",
        )
        .expect("a table is made");
    let readers = PointReaders::new(move || Connection::open(&path));
    Index {
        folder,
        writer,
        readers,
    }
}

impl Index {
    fn set(&self, value: i64) {
        let sql = "UPDATE counter SET value = ?1";
        self.writer.execute(sql, [value]).expect("is written");
    }

    fn set_here(&self, value: i64) {
        self.readers.commits().during(|| self.set(value));
    }

    fn read(&self) -> (Option<u64>, i64) {
        read(&self.readers)
    }

    /// Whether the log could be cut to nothing.
    fn truncate(&self) -> bool {
        let sql = "PRAGMA wal_checkpoint(TRUNCATE)";
        let busy: i64 = self.writer.query_row(sql, [], |row| row.get(0)).expect(sql);
        busy == 0
    }
}

fn read(readers: &PointReaders) -> (Option<u64>, i64) {
    let result = readers.read(|tx| {
        let value = tx.query_optional("SELECT value FROM counter", params![], |row| {
            Ok(row.integer(0))
        });
        (tx.version(), value.expect("reads").expect("one row"))
    });
    result.expect("a connection").expect("a snapshot")
}

#[test]
fn a_snapshot_serves_until_a_commit() {
    let index = index();
    let (first, value) = index.read();
    assert!(first.is_some());
    assert_eq!(value, 0);
    assert_eq!(index.read(), (first, 0));
    index.set_here(1);
    let (second, value) = index.read();
    assert_eq!(value, 1);
    assert!(second > first);
}

#[test]
fn a_commit_under_way_leaves_the_old_snapshot_in_use_and_numbers_no_new_one() {
    let index = index();
    let (first, _) = index.read();
    index.readers.commits().during(|| {
        assert_eq!(index.read(), (first, 0));
        index.readers.lock().idle.clear();
        assert_eq!(index.read(), (None, 0));
        index.set(1);
        assert_eq!(index.read(), (None, 1));
    });
    assert_eq!(index.read().1, 1);
}

#[test]
fn once_a_commit_under_way_was_seen_no_later_read_misses_it() {
    let index = index();
    assert_eq!(index.read().1, 0);
    index.readers.commits().during(|| {
        index.set(1);
        // The connection with the old snapshot is lent meanwhile.
        let seen = index.readers.read(|_| index.read());
        assert_eq!(seen.expect("a connection").expect("a snapshot"), (None, 1));
        assert_eq!(index.read(), (None, 1));
    });
}

#[test]
fn a_commit_of_another_process_is_seen_after_the_longest_age_of_a_snapshot() {
    let index = index();
    assert_eq!(index.read().1, 0);
    index.set(1);
    thread::sleep(MAX_SNAPSHOT_AGE);
    assert_eq!(index.read().1, 1);
}

#[test]
fn ended_snapshots_let_the_log_be_cut() {
    let index = index();
    index.set_here(1);
    assert_eq!(index.read().1, 1);
    index.set_here(2);
    assert!(!index.truncate(), "the snapshot should have been kept open");
    index.readers.end_snapshots();
    assert!(index.truncate());
    assert_eq!(index.read().1, 2);
}

#[test]
fn a_failed_statement_ends_the_snapshot() {
    let index = index();
    let failed = index
        .readers
        .read(|tx| tx.execute("SELECT nothing FROM nowhere", params![]));
    assert!(failed.expect("a connection").expect("a snapshot").is_err());
    assert!(index.readers.lock().idle[0].snapshot.is_none());
    assert_eq!(index.read().1, 0);
    drop(index.folder);
}

#[test]
fn no_read_is_older_than_what_was_committed_before_it_and_a_version_is_one_state() {
    const COMMITS: i64 = 300;
    let Index {
        folder: _folder,
        writer,
        readers,
    } = index();
    let readers = Arc::new(readers);
    let acknowledged = Arc::new(AtomicU64::new(0));
    let ended = Arc::new(AtomicBool::new(false));
    let threads: Vec<_> = (0..3)
        .map(|_| {
            let readers = Arc::clone(&readers);
            let (acknowledged, ended) = (Arc::clone(&acknowledged), Arc::clone(&ended));
            thread::spawn(move || {
                let mut seen = Vec::new();
                while !ended.load(Ordering::SeqCst) {
                    let before = acknowledged.load(Ordering::SeqCst);
                    let (version, value) = read(&readers);
                    assert!(value.cast_unsigned() >= before, "{value} after {before}");
                    seen.extend(version.map(|version| (version, value)));
                }
                seen
            })
        })
        .collect();
    for value in 1..=COMMITS {
        readers.commits().during(|| {
            let sql = "UPDATE counter SET value = ?1";
            writer.execute(sql, [value]).expect("is written");
        });
        acknowledged.store(value.cast_unsigned(), Ordering::SeqCst);
        if value % 50 == 0 {
            readers.end_snapshots();
        }
    }
    ended.store(true, Ordering::SeqCst);
    let mut states = HashMap::new();
    for reader in threads {
        for (version, value) in reader.join().expect("no reader fails") {
            assert_eq!(*states.entry(version).or_insert(value), value);
        }
    }
}
