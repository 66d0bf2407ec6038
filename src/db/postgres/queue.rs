//! The jobs that wait for a connection, and which of them a connection takes next.
//!
//! Point reads that wait are taken together, to run in one transaction. One worker at a time has
//! the *turn* to take them: those that arrive while its transaction begins wait for the next one,
//! so that many requests at once become few transactions. The turn ends when the worker runs a
//! statement, for then it is busy, or has run all of its jobs. Scans and writes are taken one by
//! one, in their order, and leave one connection to the point reads. Where both kinds wait, they
//! are taken alternately.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::Semaphore;

use crate::error::Result;
use crate::job::{Job, Kind, QUEUE_WAIT, Queue, closed, full};

/// Jobs that may wait for a connection.
const QUEUE: usize = 1024;
/// Point reads in one transaction: beyond this its beginning is a small part of the cost, and a
/// write has waited long enough.
const BATCH_JOBS: usize = 32;
/// How long a turn lasts at most: other connections do not wait for one that hangs.
const TURN: Duration = Duration::from_millis(20);

/// What a worker does next.
pub(super) enum Work<'a> {
    /// Run these point reads in one transaction.
    Points(VecDeque<Box<dyn Job>>, Turn<'a>),
    /// Run this scan or write.
    Single(Box<dyn Job>),
}

/// What a worker has done since it took work.
pub(super) enum Finished<'a> {
    Nothing,
    Points(Turn<'a>),
    Single,
}

/// The right to take point reads, see the description of the module.
pub(super) struct Turn<'a> {
    queue: &'a JobQueue,
    number: u64,
    ended: bool,
}

impl Turn<'_> {
    /// Lets another worker take point reads.
    pub(super) fn end(&mut self) {
        if !self.ended {
            self.ended = true;
            let mut waiting = self.queue.lock();
            waiting.end_turn(self.number);
            self.queue.wake_for(&waiting);
        }
    }
}

/// Jobs that wait, shared by the workers.
pub(super) struct JobQueue {
    waiting: Mutex<Waiting>,
    changed: Condvar,
    space: Semaphore,
}

struct Waiting {
    points: VecDeque<Box<dyn Job>>,
    /// How many of the first ones were put back: they take no space.
    put_back: usize,
    singles: VecDeque<Box<dyn Job>>,
    turn: Option<(u64, Instant)>,
    turns: u64,
    running_singles: usize,
    most_singles: usize,
    /// Whether a scan or write is taken before point reads.
    singles_next: bool,
    /// Workers without work.
    idle: usize,
    /// One of them waits for the end of a turn.
    watched: bool,
    closed: bool,
}

impl JobQueue {
    pub(super) fn new(workers: usize) -> Self {
        Self {
            waiting: Mutex::new(Waiting {
                points: VecDeque::new(),
                put_back: 0,
                singles: VecDeque::new(),
                turn: None,
                turns: 0,
                running_singles: 0,
                most_singles: workers.saturating_sub(1).max(1),
                singles_next: false,
                idle: 0,
                watched: false,
                closed: false,
            }),
            changed: Condvar::new(),
            space: Semaphore::new(QUEUE),
        }
    }

    /// Lets the workers end once no job waits.
    pub(super) fn close(&self) {
        self.lock().closed = true;
        self.space.close();
        self.changed.notify_all();
    }

    /// The next work; waits for it. `None` where the queue is closed and empty.
    pub(super) fn take(&self) -> Option<Work<'_>> {
        let mut waiting = self.lock();
        loop {
            if let Some(work) = self.next(&mut waiting) {
                return Some(work);
            }
            if waiting.closed && waiting.points.is_empty() && waiting.singles.is_empty() {
                // Those that wait may end as well.
                self.changed.notify_all();
                return None;
            }
            waiting.idle += 1;
            let watch = waiting.needs_watch();
            if let Some((_, began)) = waiting.turn.filter(|_| watch) {
                waiting.watched = true;
                let rest = TURN.saturating_sub(began.elapsed());
                let woken = self.changed.wait_timeout(waiting, rest);
                waiting = woken.unwrap_or_else(PoisonError::into_inner).0;
                waiting.watched = false;
            } else {
                let woken = self.changed.wait(waiting);
                waiting = woken.unwrap_or_else(PoisonError::into_inner);
            }
            waiting.idle -= 1;
        }
    }

    /// The next work, if a job waits that may be taken. The turn of `finished` goes to the caller
    /// before anybody else.
    pub(super) fn try_take(&self, finished: Finished<'_>) -> Option<Work<'_>> {
        let mut waiting = self.lock();
        match finished {
            Finished::Nothing => {}
            Finished::Points(turn) if turn.ended => {}
            Finished::Points(turn) => waiting.end_turn(turn.number),
            Finished::Single => waiting.running_singles -= 1,
        }
        self.next(&mut waiting)
    }

    /// Puts jobs back, before those that wait.
    pub(super) fn give_back(&self, jobs: VecDeque<Box<dyn Job>>) {
        let mut waiting = self.lock();
        waiting.put_first(jobs);
        self.wake_for(&waiting);
    }

    /// Puts the last ones of the jobs back for the workers that are idle, so that each gets a
    /// part.
    pub(super) fn share(&self, jobs: &mut VecDeque<Box<dyn Job>>) {
        let mut waiting = self.lock();
        let own = jobs.len().div_ceil(waiting.idle + 1);
        if own < jobs.len() {
            waiting.put_first(jobs.split_off(own));
            self.wake_for(&waiting);
        }
    }

    fn next(&self, waiting: &mut Waiting) -> Option<Work<'_>> {
        let work = match (waiting.has_points(), waiting.has_singles()) {
            (false, false) => return None,
            (true, singles) if !singles || !waiting.singles_next => {
                let (jobs, space) = waiting.take_points();
                let number = waiting.begin_turn();
                waiting.singles_next = true;
                self.space.add_permits(space);
                let turn = Turn {
                    queue: self,
                    number,
                    ended: false,
                };
                Work::Points(jobs, turn)
            }
            _ => {
                waiting.running_singles += 1;
                waiting.singles_next = false;
                self.space.add_permits(1);
                Work::Single(waiting.singles.pop_front()?)
            }
        };
        self.wake_for(waiting);
        Some(work)
    }

    /// Wakes a worker where one is idle and has something to do.
    fn wake_for(&self, waiting: &Waiting) {
        let useful = waiting.has_points() || waiting.has_singles() || waiting.needs_watch();
        if waiting.idle > 0 && useful {
            self.changed.notify_one();
        }
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Queue for JobQueue {
    async fn push(&self, job: Box<dyn Job>) -> Result<()> {
        let permit = match self.space.try_acquire() {
            Ok(permit) => permit,
            Err(_) => tokio::time::timeout(QUEUE_WAIT, self.space.acquire())
                .await
                .map_err(|_| full())?
                .map_err(|_| closed())?,
        };
        let mut waiting = self.lock();
        if waiting.closed {
            return Err(closed());
        }
        permit.forget();
        match job.kind() {
            Kind::Points => waiting.points.push_back(job),
            Kind::Scan | Kind::Write => waiting.singles.push_back(job),
        }
        self.wake_for(&waiting);
        Ok(())
    }
}

impl Waiting {
    fn has_points(&self) -> bool {
        let free = self.turn.is_none_or(|(_, began)| began.elapsed() >= TURN);
        !self.points.is_empty() && free
    }

    fn has_singles(&self) -> bool {
        !self.singles.is_empty() && self.running_singles < self.most_singles
    }

    /// Whether a worker must see to it that point reads do not wait for a turn that hangs.
    fn needs_watch(&self) -> bool {
        !self.points.is_empty() && self.turn.is_some() && !self.watched
    }

    /// The first point reads, and how much space that leaves for others.
    fn take_points(&mut self) -> (VecDeque<Box<dyn Job>>, usize) {
        let count = self.points.len().min(BATCH_JOBS);
        let without_space = self.put_back.min(count);
        self.put_back -= without_space;
        (self.points.drain(..count).collect(), count - without_space)
    }

    fn begin_turn(&mut self) -> u64 {
        self.turns += 1;
        self.turn = Some((self.turns, Instant::now()));
        self.turns
    }

    /// Ends the turn, unless it was taken over.
    fn end_turn(&mut self, number: u64) {
        self.turn = self.turn.filter(|(current, _)| *current != number);
    }

    fn put_first(&mut self, jobs: VecDeque<Box<dyn Job>>) {
        self.put_back += jobs.len();
        for job in jobs.into_iter().rev() {
            self.points.push_front(job);
        }
    }
}

#[cfg(test)]
mod tests;
