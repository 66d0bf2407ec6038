//! Numbers of snapshots, by which caches know that two transactions find the same rows.
//!
//! The text of `pg_current_snapshot()` lists the transactions whose changes a snapshot contains, by
//! their ids. A transaction that has ended stays committed or rolled back, and while a server runs
//! it gives no id (64 bits) twice. So two snapshots of one run of a server with the same text
//! contain the same rows of every table, whoever writes them. The text alone does not say which run
//! of which server it is of, therefore two more things are compared:
//!
//! - The *epoch*. A server that crashes may give the ids of transactions that had not committed to
//!   others after its restart. It has lost all connections then. The epoch is raised after each new
//!   connection was made and before its first snapshot; a session reads the epoch before it begins
//!   a transaction. So a snapshot from before a crash has a lower epoch than one from after it.
//! - The server's address and start. During a failover, a session may still read from a server that
//!   others have left for its successor.
//!
//! A server in recovery does not list the transactions that are under way, so its snapshots get no
//! number.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// Snapshots whose number is remembered: those that sessions may use at the same time, and some
/// more. One that was forgotten gets another number when it returns.
const REMEMBERED: usize = 32;

/// The next number, for all handles of the process: no number names the snapshots of two.
static NEXT_NUMBER: AtomicU64 = AtomicU64::new(0);

/// The snapshots of all sessions of one handle.
#[derive(Debug, Default)]
pub(super) struct Snapshots {
    epoch: AtomicU64,
    known: Mutex<VecDeque<Known>>,
}

/// When a transaction began, in counts of connections made. See the description of the module.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Epoch(u64);

#[derive(Debug)]
struct Known {
    epoch: Epoch,
    server: Arc<str>,
    text: String,
    number: u64,
}

impl Snapshots {
    /// Begins a new epoch. To be called between the making of a connection and its first snapshot.
    pub(super) fn raise_epoch(&self) {
        self.epoch.fetch_add(1, Ordering::SeqCst);
    }

    /// The epoch of a transaction, to be read before it begins.
    pub(super) fn epoch(&self) -> Epoch {
        Epoch(self.epoch.load(Ordering::SeqCst))
    }

    /// The number of the snapshot with this text, taken on this server by a transaction of this
    /// epoch. Equal snapshots have the same number as long as they are remembered, different ones
    /// never.
    pub(super) fn number(&self, epoch: Epoch, server: &Arc<str>, text: &str) -> u64 {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let same =
            |known: &&Known| known.text == text && known.epoch == epoch && known.server == *server;
        if let Some(known) = known.iter().rev().find(same) {
            return known.number;
        }
        if known.len() >= REMEMBERED {
            known.pop_front();
        }
        let number = NEXT_NUMBER.fetch_add(1, Ordering::Relaxed);
        known.push_back(Known {
            epoch,
            server: Arc::clone(server),
            text: text.to_owned(),
            number,
        });
        number
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_snapshots_have_one_number_and_others_their_own() {
        let snapshots = Snapshots::default();
        let (first, second): (Arc<str>, Arc<str>) = ("first".into(), "second".into());
        let before = snapshots.epoch();
        let number = snapshots.number(before, &first, "10:12:10");
        // A copy of the text and of the server's name.
        let again: Arc<str> = "first".into();
        assert_eq!(snapshots.number(before, &again, "10:12:10"), number);
        assert_ne!(snapshots.number(before, &first, "10:12:11"), number);
        assert_ne!(snapshots.number(before, &second, "10:12:10"), number);
        snapshots.raise_epoch();
        assert_ne!(
            snapshots.number(snapshots.epoch(), &first, "10:12:10"),
            number
        );
        // A transaction that began before the connection was made.
        assert_eq!(snapshots.number(before, &first, "10:12:10"), number);
        let other = Snapshots::default();
        assert_ne!(other.number(other.epoch(), &first, "10:12:10"), number);
    }

    /// The order in which a session may meet a crash: it reads the epoch, the server crashes and
    /// restarts, another session connects and takes a snapshot with the same text.
    #[test]
    fn a_snapshot_from_before_a_crash_equals_none_from_after_it() {
        let snapshots = Snapshots::default();
        let server: Arc<str> = "server".into();
        let of_old_session = snapshots.epoch();
        let old = snapshots.number(of_old_session, &server, "10:12:");
        snapshots.raise_epoch();
        let new = snapshots.number(snapshots.epoch(), &server, "10:12:");
        assert_ne!(old, new);
        assert_eq!(snapshots.number(of_old_session, &server, "10:12:"), old);
    }

    #[test]
    fn a_forgotten_snapshot_returns_with_another_number() {
        let snapshots = Snapshots::default();
        let (server, epoch): (Arc<str>, _) = ("server".into(), snapshots.epoch());
        let mut seen = Vec::new();
        for round in 0..2 {
            for text in 0..=REMEMBERED {
                let number = snapshots.number(epoch, &server, &text.to_string());
                assert!(!seen.contains(&number), "{text} in round {round}");
                seen.push(number);
            }
        }
        let known = snapshots.known.lock().expect("no panic").len();
        assert_eq!(known, REMEMBERED);
    }
}
