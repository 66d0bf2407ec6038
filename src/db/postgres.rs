//! The server engine: connection threads, prepared statements, point reads that share transactions,
//! and serialisable writes that are repeated after a lost race.
//!
//! A connection keeps named prepared statements and a `statement_timeout` of its own, so it must
//! lead to one server session: a pooler between must pool sessions, not transactions.

pub(crate) mod copies;
mod fault;
mod prepare;
pub(crate) mod presence;
mod queue;
mod session;
mod snapshots;
#[cfg(test)]
mod tests;
pub(crate) mod values;
mod worker;

use std::sync::Arc;

use fault::chain;
use queue::JobQueue;
use session::Session;
use wharfinger_base::Secret;
use worker::{Connections, Worker};

use crate::error::OpenError;
use crate::job::Queue;
use crate::migrate::{Dialect, Migration, Schema, Upgrade};
use crate::threads::Threads;
use crate::tls::Connector;

/// The index on a PostgreSQL server.
pub(super) struct Postgres {
    queue: Arc<JobQueue>,
    // Dropped after the queue was closed.
    _threads: Threads,
}

impl Postgres {
    pub(super) fn open(
        url: &Secret<String>,
        connections: usize,
        migrations: &[Migration],
        upgrade: Upgrade,
    ) -> Result<Self, OpenError> {
        let shared = Arc::new(Connections::new(Connector::from_url(url.reveal())?));
        let schema = Schema::of(Dialect::Postgres, migrations)?;
        // The blocking client runs a runtime of its own, which must not happen on a thread of the
        // caller's.
        let first = std::thread::scope(|scope| {
            let opening = scope.spawn(|| {
                let mut client = shared
                    .connector
                    .connect()
                    .map_err(|error| OpenError::Connect(chain(&error)))?;
                prepare::check_collation(&mut client)?;
                prepare::check_durability(&mut client)?;
                let restoring = copies::unfinished_restore(&mut client)
                    .map_err(|error| OpenError::Connect(chain(&error)))?;
                if let Some(backup) = restoring {
                    return Err(OpenError::Restoring(backup));
                }
                prepare::migrate(&mut client, &schema, upgrade)?;
                Ok(Session::new(client, &shared.snapshots)?)
            });
            opening.join().unwrap_or_else(|_| {
                Err(OpenError::Connect(
                    "the connection thread panicked".to_owned(),
                ))
            })
        })?;
        let connections = connections.max(1);
        let queue = Arc::new(JobQueue::new(connections));
        let mut threads = Threads::default();
        let mut first = Some(first);
        for _ in 0..connections {
            let mut worker = Worker::new(Arc::clone(&shared), first.take());
            let jobs = Arc::clone(&queue);
            threads.start("db-postgres", move || worker.run(&jobs))?;
        }
        Ok(Self {
            queue,
            _threads: threads,
        })
    }

    pub(super) fn queue(&self) -> &impl Queue {
        &*self.queue
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        self.queue.close();
    }
}
