//! Workers: each has a connection and a thread, and runs jobs of the queue.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::sleep;
use std::time::{Duration, Instant};

use wharfinger_base::Ids;

use crate::error::{Error, Result};
use crate::job::{Job, Kind};
use crate::postgres::queue::{Finished, JobQueue, Turn, Work};
use crate::postgres::session::{Run, Session, SessionError};
use crate::postgres::snapshots::Snapshots;
use crate::tls::Connector;

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

/// Jobs of a batch that may run statements one after the other, before the rest of it is shared
/// with idle workers: the next job often finds what this one has left in a cache.
const SLOW_JOBS: usize = 2;

/// What the workers of one handle share.
pub(super) struct Connections {
    pub(super) connector: Connector,
    pub(super) snapshots: Snapshots,
    /// The newest failure to connect.
    outage: Mutex<Option<(Instant, Error)>>,
}

impl Connections {
    pub(super) fn new(connector: Connector) -> Self {
        Self {
            connector,
            snapshots: Snapshots::default(),
            outage: Mutex::default(),
        }
    }

    /// A new session. Tries for a while, but not while another worker's tries have just failed.
    pub(super) fn connect(&self) -> Result<Session> {
        let known = self.outage().clone();
        if let Some((at, error)) = known
            && at.elapsed() < OUTAGE
        {
            return Err(error);
        }
        let started = Instant::now();
        loop {
            let connected = self.connector.connect().map_err(SessionError::from);
            match connected.and_then(|client| Session::new(client, &self.snapshots)) {
                Ok(session) => return Ok(session),
                Err(error) if started.elapsed() >= RECONNECT_WAIT => {
                    let error = Error::Unavailable(format!("cannot use the database: {error}"));
                    *self.outage() = Some((Instant::now(), error.clone()));
                    return Err(error);
                }
                Err(error) => tracing::debug!(%error, "cannot use the database"),
            }
            sleep(RECONNECT_PAUSE);
        }
    }

    fn outage(&self) -> std::sync::MutexGuard<'_, Option<(Instant, Error)>> {
        self.outage.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One connection and its thread.
pub(super) struct Worker {
    shared: Arc<Connections>,
    session: Option<Session>,
    ids: Ids,
}

impl Worker {
    pub(super) fn new(shared: Arc<Connections>, session: Option<Session>) -> Self {
        Self {
            shared,
            session,
            ids: Ids::default(),
        }
    }

    /// Runs jobs until the queue is closed and empty.
    pub(super) fn run(&mut self, queue: &JobQueue) {
        let mut finished = Finished::Nothing;
        loop {
            let next = queue.try_take(finished).or_else(|| {
                self.end_transaction();
                queue.take()
            });
            finished = match next {
                None => return,
                Some(Work::Points(jobs, mut turn)) => {
                    self.run_points(jobs, queue, &mut turn);
                    Finished::Points(turn)
                }
                Some(Work::Single(mut job)) => {
                    if !job.abandoned() {
                        let fate = self.settle(&mut *job);
                        job.send_result(fate);
                    }
                    Finished::Single
                }
            };
        }
    }

    /// Runs point reads in one transaction. Where a statement fails, that job is tried again alone,
    /// and those that have not run are put back into the queue.
    fn run_points(
        &mut self,
        mut jobs: VecDeque<Box<dyn Job>>,
        queue: &JobQueue,
        turn: &mut Turn<'_>,
    ) {
        jobs.retain(|job| !job.abandoned());
        if jobs.is_empty() {
            return;
        }
        let (mut session, snapshot) = match self.begin_points(turn) {
            Ok(begun) => begun,
            Err(error) => {
                for job in jobs {
                    job.send_result(Err(error.clone()));
                }
                return;
            }
        };
        let failed = run_batch(&mut session, snapshot, &mut jobs, queue, turn);
        self.session = Some(session);
        if let Some((mut job, run)) = failed {
            turn.end();
            queue.give_back(jobs);
            let fate = match run {
                Run::Done(fate) => fate,
                Run::Raced | Run::Disconnected(_) => self.settle(&mut *job),
            };
            job.send_result(fate);
        }
    }

    /// Begins a transaction for point reads, on a new connection where the one at hand is lost.
    fn begin_points(&mut self, turn: &mut Turn<'_>) -> Result<(Session, Option<u64>)> {
        let mut last = Error::Conflict;
        for attempt in 0..ATTEMPTS {
            if self.session.as_ref().is_none_or(Session::is_useless) {
                // To connect may take long.
                turn.end();
            }
            let mut session = self.take_session()?;
            match session.begin_read(&self.shared.snapshots) {
                Ok(snapshot) => return Ok((session, snapshot)),
                Err(error) => last = error,
            }
            turn.end();
            self.pause(attempt);
        }
        Err(last)
    }

    /// Runs the job until it is committed, refused, or out of attempts.
    fn settle(&mut self, job: &mut dyn Job) -> Result<()> {
        let mut last = Error::Conflict;
        for attempt in 0..ATTEMPTS {
            match self.attempt(job)? {
                Run::Done(fate) => return fate,
                Run::Raced => last = Error::Conflict,
                Run::Disconnected(error) => last = error,
            }
            self.pause(attempt);
        }
        Err(last)
    }

    fn attempt(&mut self, job: &mut dyn Job) -> Result<Run> {
        let mut session = self.take_session()?;
        let run = if job.kind() == Kind::Write {
            session.write(job)
        } else {
            match session.begin_read(&self.shared.snapshots) {
                Ok(snapshot) => session.read(job, snapshot, None),
                Err(error) => Run::Disconnected(error),
            }
        };
        self.session = Some(session);
        Ok(run)
    }

    /// The session, or a new one where it has become useless.
    fn take_session(&mut self) -> Result<Session> {
        match self.session.take().filter(|session| !session.is_useless()) {
            Some(session) => Ok(session),
            None => self.shared.connect(),
        }
    }

    fn end_transaction(&mut self) {
        if let Some(session) = &mut self.session {
            session.end();
        }
    }

    fn pause(&self, attempt: u32) {
        let whole = LONGEST_PAUSE.min(FIRST_PAUSE * 2_u32.saturating_pow(attempt.min(16)));
        let [random] = self.ids.bytes::<1>();
        sleep(whole / 2 + whole * u32::from(random) / 512);
    }
}

/// Runs the jobs in the open transaction and sends their results, which hold however it ends.
/// Returns the first one that lost the transaction; those after it are left in `jobs`.
fn run_batch(
    session: &mut Session,
    snapshot: Option<u64>,
    jobs: &mut VecDeque<Box<dyn Job>>,
    queue: &JobQueue,
    turn: &mut Turn<'_>,
) -> Option<(Box<dyn Job>, Run)> {
    let mut slow_jobs = 0;
    while let Some(mut job) = jobs.pop_front() {
        let statements = session.statements();
        let run = session.read(&mut *job, snapshot, Some(turn));
        if !session.is_open() {
            return Some((job, run));
        }
        job.send_result(Ok(()));
        slow_jobs += usize::from(session.statements() > statements);
        if slow_jobs >= SLOW_JOBS {
            queue.share(jobs);
        }
    }
    None
}
