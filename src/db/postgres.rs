//! The server engine: connection threads, prepared statements, serialisable transactions that are
//! repeated after a lost race.
//!
//! A connection keeps named prepared statements and a `statement_timeout` of its own, so it must
//! lead to one server session: a pooler between must pool sessions, not transactions.

mod fault;
mod prepare;
mod session;
#[cfg(test)]
mod tests;
pub(crate) mod values;

use std::sync::{Arc, Mutex, PoisonError};
use std::thread::sleep;
use std::time::{Duration, Instant};

use fault::chain;
use session::{Run, Session, SessionError};
use tokio::sync::mpsc;
use wharfinger_base::{Ids, Secret};

use crate::error::{Error, OpenError, Result};
use crate::job::{Job, Queue};
use crate::migrate::{Dialect, Migration, Schema, Upgrade};
use crate::threads::Threads;
use crate::tls::Connector;

/// Jobs that may wait for a connection.
const QUEUE: usize = 1024;
/// Runs of one closure before a lost race becomes the caller's: with the pauses below, two to three
/// seconds of trying.
const ATTEMPTS: u32 = 24;
/// The first pause after a lost race; it doubles up to the longest one, and a random half of it is
/// left out.
const FIRST_PAUSE: Duration = Duration::from_millis(2);
const LONGEST_PAUSE: Duration = Duration::from_millis(200);
/// How long a waiting job's connection is tried again and again: a restarted server is back by
/// then.
const RECONNECT_WAIT: Duration = Duration::from_secs(1);
const RECONNECT_PAUSE: Duration = Duration::from_millis(100);
/// After a failure to connect, how long other jobs are refused without a try: with a server that
/// is away, each would wait for its own.
const OUTAGE: Duration = Duration::from_secs(1);

/// The index on a PostgreSQL server.
pub(super) struct Postgres {
    queue: Queue,
    _threads: Threads,
}

impl Postgres {
    pub(super) fn open(
        url: &Secret<String>,
        connections: usize,
        migrations: &[Migration],
        upgrade: Upgrade,
    ) -> Result<Self, OpenError> {
        let connector = Arc::new(Connector::from_url(url.reveal())?);
        let schema = Schema::of(Dialect::Postgres, migrations)?;
        // The blocking client runs a runtime of its own, which must not happen on a thread of the
        // caller's.
        let first = std::thread::scope(|scope| {
            let opening = scope.spawn(|| {
                let mut client = connector
                    .connect()
                    .map_err(|error| OpenError::Connect(chain(&error)))?;
                prepare::check_collation(&mut client)?;
                prepare::check_durability(&mut client)?;
                prepare::migrate(&mut client, &schema, upgrade)?;
                Ok(Session::new(client)?)
            });
            opening.join().unwrap_or_else(|_| {
                Err(OpenError::Connect(
                    "the connection thread panicked".to_owned(),
                ))
            })
        })?;
        let (queue, jobs) = mpsc::channel(QUEUE);
        let jobs = Arc::new(Mutex::new(jobs));
        let mut threads = Threads::default();
        let mut first = Some(first);
        let outage = Arc::new(Mutex::new(None));
        for _ in 0..connections.max(1) {
            let mut worker = Worker {
                connector: Arc::clone(&connector),
                outage: Arc::clone(&outage),
                session: first.take(),
                ids: Ids::default(),
            };
            let jobs = Arc::clone(&jobs);
            threads.start("db-postgres", move || worker.run(&jobs))?;
        }
        Ok(Self {
            queue,
            _threads: threads,
        })
    }

    pub(super) fn queue(&self) -> &Queue {
        &self.queue
    }
}

/// One connection, its thread and what it has prepared.
struct Worker {
    connector: Arc<Connector>,
    outage: Arc<Outage>,
    session: Option<Session>,
    ids: Ids,
}

/// The newest failure to connect, shared by all workers.
type Outage = Mutex<Option<(Instant, Error)>>;

impl Worker {
    fn run(&mut self, jobs: &Mutex<mpsc::Receiver<Box<dyn Job>>>) {
        loop {
            // Idle workers wait for this lock.
            let next = jobs
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .blocking_recv();
            let Some(mut job) = next else { return };
            if !job.abandoned() {
                let fate = self.settle(&mut *job);
                job.send_result(fate);
            }
        }
    }

    /// Runs the job until it is committed, refused, or out of attempts.
    fn settle(&mut self, job: &mut dyn Job) -> Result<()> {
        let mut last = Error::Conflict;
        for attempt in 0..ATTEMPTS {
            let session = match &mut self.session {
                Some(session) => session,
                None => self.session.insert(connect(&self.connector, &self.outage)?),
            };
            let run = session.run(job);
            if session.is_useless() {
                self.session = None;
            }
            match run {
                Run::Done(fate) => return fate,
                Run::Raced => last = Error::Conflict,
                Run::Disconnected(error) => last = error,
            }
            self.pause(attempt);
        }
        Err(last)
    }

    fn pause(&self, attempt: u32) {
        let whole = LONGEST_PAUSE.min(FIRST_PAUSE * 2_u32.saturating_pow(attempt.min(16)));
        let [random] = self.ids.bytes::<1>();
        sleep(whole / 2 + whole * u32::from(random) / 512);
    }
}

/// A new session. Tries for a while, but not while another worker's tries have just failed.
fn connect(connector: &Connector, outage: &Outage) -> Result<Session> {
    let known = outage
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .clone();
    if let Some((at, error)) = known
        && at.elapsed() < OUTAGE
    {
        return Err(error);
    }
    let started = Instant::now();
    loop {
        let connected = connector.connect().map_err(SessionError::from);
        match connected.and_then(Session::new) {
            Ok(session) => return Ok(session),
            Err(error) if started.elapsed() >= RECONNECT_WAIT => {
                let error = Error::Unavailable(format!("cannot use the database: {error}"));
                *outage.lock().unwrap_or_else(PoisonError::into_inner) =
                    Some((Instant::now(), error.clone()));
                return Err(error);
            }
            Err(error) => tracing::debug!(%error, "cannot use the database"),
        }
        sleep(RECONNECT_PAUSE);
    }
}
