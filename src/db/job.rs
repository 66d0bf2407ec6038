//! Closures that are sent to a connection thread, and their results.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};

use crate::engine::Tx;
use crate::error::{Error, Result};

/// How long a caller waits while the queue is full.
const QUEUE_WAIT: Duration = Duration::from_secs(10);

/// How long a caller waits for its result: longer than the longest page of a listing takes, so what
/// takes this long hangs. A write may still be committed afterwards.
const RESULT_WAIT: Duration = Duration::from_secs(30);

/// A closure as a connection thread runs it.
pub(super) trait Job: Send {
    /// Whether it needs a transaction that can write.
    fn writes(&self) -> bool;
    /// Whether the caller has stopped waiting for the result; such a job is skipped if it has not
    /// begun.
    fn abandoned(&self) -> bool;
    /// Runs the closure; true where its transaction is to be kept. May be called again after a lost
    /// race.
    fn run(&mut self, tx: &mut Tx<'_>) -> bool;
    /// Sends the closure's result, or the error of its transaction.
    fn send_result(self: Box<Self>, fate: Result<()>);
}

pub(super) type Queue = mpsc::Sender<Box<dyn Job>>;

struct Call<F, T, E> {
    work: F,
    writes: bool,
    outcome: Option<Result<T, E>>,
    reply: oneshot::Sender<Result<T, E>>,
}

impl<F, T, E> Job for Call<F, T, E>
where
    F: Fn(&mut Tx<'_>) -> Result<T, E> + Send,
    T: Send,
    E: From<Error> + Send,
{
    fn writes(&self) -> bool {
        self.writes
    }

    fn abandoned(&self) -> bool {
        self.reply.is_closed()
    }

    fn run(&mut self, tx: &mut Tx<'_>) -> bool {
        let outcome = attempt(&self.work, tx);
        let keep = outcome.is_ok();
        self.outcome = Some(outcome);
        keep
    }

    fn send_result(self: Box<Self>, fate: Result<()>) {
        let result = match (self.outcome, fate) {
            (Some(Err(error)), _) => Err(error),
            (_, Err(error)) => Err(E::from(error)),
            (Some(Ok(value)), Ok(())) => Ok(value),
            (None, Ok(())) => Err(E::from(Error::other(
                "a transaction ended without being run",
            ))),
        };
        // The caller may have gone.
        let _ = self.reply.send(result);
    }
}

/// Runs the closure once. A panic becomes an error, and so does a failed statement that the closure
/// ignored.
pub(super) fn attempt<T, E: From<Error>>(
    work: &impl Fn(&mut Tx<'_>) -> Result<T, E>,
    tx: &mut Tx<'_>,
) -> Result<T, E> {
    match catch_unwind(AssertUnwindSafe(|| work(&mut *tx))) {
        Err(panic) => Err(E::from(Error::Other(format!(
            "a transaction panicked: {}",
            panic_text(&*panic)
        )))),
        Ok(Ok(value)) => tx
            .failure()
            .map_or(Ok(value), |failure| Err(E::from(failure.clone()))),
        Ok(Err(error)) => Err(error),
    }
}

fn panic_text(panic: &(dyn Any + Send)) -> &str {
    panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("no message")
}

/// Queues the closure and waits for its result.
pub(super) async fn submit<F, T, E>(queue: &Queue, writes: bool, work: F) -> Result<T, E>
where
    F: Fn(&mut Tx<'_>) -> Result<T, E> + Send + 'static,
    T: Send + 'static,
    E: From<Error> + Send + 'static,
{
    let (reply, result) = oneshot::channel();
    let job: Box<dyn Job> = Box::new(Call {
        work,
        writes,
        outcome: None,
        reply,
    });
    match queue.try_send(job) {
        Ok(()) => {}
        Err(mpsc::error::TrySendError::Full(job)) => {
            match tokio::time::timeout(QUEUE_WAIT, queue.send(job)).await {
                Ok(Ok(())) => {}
                Ok(Err(_)) => return Err(E::from(closed())),
                Err(_) => {
                    return Err(E::from(Error::Unavailable(
                        "too many transactions are waiting".to_owned(),
                    )));
                }
            }
        }
        Err(mpsc::error::TrySendError::Closed(_)) => return Err(E::from(closed())),
    }
    match tokio::time::timeout(RESULT_WAIT, result).await {
        Ok(Ok(result)) => result,
        Ok(Err(_)) => Err(E::from(closed())),
        Err(_) => Err(E::from(Error::Unavailable(
            "a transaction took too long; it may yet be committed".to_owned(),
        ))),
    }
}

fn closed() -> Error {
    Error::Unavailable("the index is closed".to_owned())
}
