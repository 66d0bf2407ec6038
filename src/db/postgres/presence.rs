//! The advisory lock that says who uses an index: servers share it, a command has it alone.
//!
//! The lock belongs to a connection of its own, so that the database server releases it when the
//! process ends. Where that connection breaks, a server takes the lock again; it must stop where a
//! command has taken it meanwhile. The command has waited until then.

use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread::sleep;
use std::time::{Duration, Instant};

use postgres::Client;
use tokio::sync::watch;
use wharfinger_base::{Chain, Secret};

use crate::postgres::session::PROBES;
use crate::threads::Threads;
use crate::tls::Connector;

/// The class of the lock: "whar" in ASCII. Its object is the schema.
const LOCK_CLASS: i32 = 0x77_68_61_72;

/// How often a server checks its connection.
const CHECKED_EVERY: Duration = Duration::from_secs(2);
/// How long a check may take.
const CHECK_MS: u32 = 2_000;
/// How long whoever wants the index alone waits after it has the lock: a server whose connection is
/// lost has noticed by then.
const SETTLES: Duration = Duration::from_secs(5);
/// How long a server whose lock is lost tries to take it again before it stops. Its requests fail
/// as long as the database cannot be reached.
const PATIENCE: Duration = Duration::from_mins(10);

/// How long whoever comes waits for a lock that is held: the database server notices only moments
/// later that a killed process has gone.
const RELEASED_WITHIN: Duration = Duration::from_secs(3);
/// How often it tries meanwhile.
const TRIED_EVERY: Duration = Duration::from_millis(100);

/// Why the lock was not taken.
#[derive(Debug)]
pub(crate) enum PresenceError {
    /// Somebody else has it in a way that excludes this one.
    Held,
    Connection(String),
}

/// A held lock, and the thread that checks its connection.
#[derive(Debug)]
pub(crate) struct Presence {
    lost: watch::Receiver<bool>,
    // Dropped before the thread is waited for, which ends it.
    _stop: SyncSender<()>,
    _threads: Threads,
}

impl Presence {
    /// Takes the lock. Blocks some seconds where somebody holds it, or where it is to be had alone.
    pub(crate) fn take(url: &Secret<String>, alone: bool) -> Result<Self, PresenceError> {
        let connector = Connector::from_url(url.reveal());
        let connector = connector.map_err(|why| PresenceError::Connection(why.to_string()))?;
        let (stop, stopped) = sync_channel(1);
        let (sender, lost) = watch::channel(false);
        let (taken_sender, taken) = sync_channel(1);
        let mut threads = Threads::default();
        // The blocking client runs a runtime of its own, which must not happen on a thread of the
        // caller's.
        let started = threads.start("db-presence", move || {
            let client = lock_when_released(&connector, alone);
            if alone && client.is_ok() {
                sleep(SETTLES);
            }
            let (client, result) = match client {
                Ok(client) => (Some(client), Ok(())),
                Err(error) => (None, Err(error)),
            };
            // Who wanted it may have gone.
            let _ = taken_sender.send(result);
            if let Some(client) = client {
                keep(client, &connector, alone, &stopped);
                // Nobody may listen any more.
                let _ = sender.send(true);
            }
        });
        started.map_err(|why| PresenceError::Connection(why.to_string()))?;
        let ended = |_| PresenceError::Connection("its thread has ended".to_owned());
        taken.recv().map_err(ended)??;
        Ok(Self {
            lost,
            _stop: stop,
            _threads: threads,
        })
    }

    /// Returns when the lock is lost.
    pub(crate) async fn lost(&self) {
        let mut lost = self.lost.clone();
        // The thread ends only after it has said so, or with this value.
        let _ = lost.wait_for(|lost| *lost).await;
    }
}

/// Returns when the lock is lost, or no longer wanted.
fn keep(mut client: Client, connector: &Connector, alone: bool, stopped: &Receiver<()>) {
    loop {
        let Err(RecvTimeoutError::Timeout) = stopped.recv_timeout(CHECKED_EVERY) else {
            return;
        };
        if client.batch_execute("SELECT 1").is_ok() {
            continue;
        }
        if alone {
            tracing::error!("the connection that keeps servers off the index is lost");
            return;
        }
        tracing::warn!("the connection that says that this server uses the index is lost");
        let since = Instant::now();
        client = loop {
            match lock(connector, alone) {
                Ok(client) => break client,
                Err(PresenceError::Held) => {
                    tracing::error!("a command has taken the index: this server stops");
                    return;
                }
                Err(PresenceError::Connection(_)) if since.elapsed() < PATIENCE => {}
                Err(PresenceError::Connection(why)) => {
                    tracing::error!(%why, "the index was not reached for long: this server stops");
                    return;
                }
            }
            let Err(RecvTimeoutError::Timeout) = stopped.recv_timeout(CHECKED_EVERY) else {
                return;
            };
        };
    }
}

fn lock_when_released(connector: &Connector, alone: bool) -> Result<Client, PresenceError> {
    let since = Instant::now();
    loop {
        match lock(connector, alone) {
            Err(PresenceError::Held) if since.elapsed() < RELEASED_WITHIN => sleep(TRIED_EVERY),
            other => return other,
        }
    }
}

fn lock(connector: &Connector, alone: bool) -> Result<Client, PresenceError> {
    let failed = |why: postgres::Error| PresenceError::Connection(Chain(&why).to_string());
    let mut client = connector.connect().map_err(failed)?;
    let limit = format!("SET statement_timeout = {CHECK_MS}; {PROBES}");
    client.batch_execute(&limit).map_err(failed)?;
    let function = if alone {
        "pg_try_advisory_lock"
    } else {
        "pg_try_advisory_lock_shared"
    };
    let sql = format!("SELECT {function}($1, hashtext(current_schema()))");
    let row = client.query_one(&sql, &[&LOCK_CLASS]).map_err(failed)?;
    if row.get(0) {
        Ok(client)
    } else {
        Err(PresenceError::Held)
    }
}
