//! Requests that wait for their cluster: one after the other decides, and many share a transaction.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;
use wharfinger_base::Timestamp;

use crate::error::Result;
use crate::model::ClusterId;
use crate::tasks::prepared::Prepared;
use crate::tasks::request::StartedTasks;

/// Requests of one cluster that may wait.
const MAX_WAITING: usize = 1024;
/// Tasks that one transaction stores: beyond this its cost is that of the tasks alone.
const MAX_BATCH_TASKS: usize = 1000;

/// A request with the one who waits for it.
pub(super) struct Job {
    pub(super) prepared: Prepared,
    pub(super) queued_at: Timestamp,
    pub(super) attempts: usize,
    pub(super) reply: oneshot::Sender<Result<Outcome>>,
}

/// What became of a request that did not fail.
pub(super) enum Outcome {
    Started(StartedTasks),
    /// Another request used the same client token.
    TokenUsed,
}

impl Job {
    /// Ends the request. The one who waited may have gone.
    pub(super) fn respond(self, outcome: Result<Outcome>) {
        let _ = self.reply.send(outcome);
    }
}

/// The queues of all clusters that somebody works on.
#[derive(Default)]
pub(super) struct Queues(Mutex<HashMap<ClusterId, VecDeque<Job>>>);

/// The right to work on the queue of a cluster. The queue ends with its drop.
pub(super) struct Worker<'a> {
    queues: &'a Queues,
    cluster: ClusterId,
}

impl Queues {
    /// Adds a request; true if the caller must see that somebody works on the queue, since nobody
    /// does.
    ///
    /// # Errors
    /// The request, where too many wait.
    pub(super) fn push(&self, cluster: &ClusterId, job: Job) -> Result<bool, Box<Job>> {
        let mut queues = self.lock();
        if let Some(queue) = queues.get_mut(cluster) {
            if queue.len() >= MAX_WAITING {
                return Err(Box::new(job));
            }
            queue.push_back(job);
            return Ok(false);
        }
        queues.insert(cluster.clone(), VecDeque::from([job]));
        Ok(true)
    }

    /// Begins to work on the queue that [`Queues::push`] made.
    pub(super) fn worker(&self, cluster: ClusterId) -> Worker<'_> {
        Worker {
            queues: self,
            cluster,
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<ClusterId, VecDeque<Job>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Worker<'_> {
    /// The next requests that share a transaction. The queue ends when there are none.
    pub(super) fn next(&self) -> Vec<Job> {
        let mut queues = self.queues.lock();
        let mut taken = Vec::new();
        let Some(queue) = queues.get_mut(&self.cluster) else {
            return taken;
        };
        let mut tasks = 0;
        while let Some(job) = queue.front() {
            tasks += job.prepared.request.count();
            if !taken.is_empty() && tasks > MAX_BATCH_TASKS {
                break;
            }
            taken.extend(queue.pop_front());
        }
        if taken.is_empty() {
            queues.remove(&self.cluster);
        }
        taken
    }
}

impl Drop for Worker<'_> {
    /// After a panic those that wait hear that nobody works for them.
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.queues.lock().remove(&self.cluster);
        }
    }
}
