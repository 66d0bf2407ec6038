//! Closures that are sent to a connection thread, and their results.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};

use crate::engine::Tx;
use crate::error::{Error, Result};

/// How long a caller waits while the queue is full.
pub(super) const QUEUE_WAIT: Duration = Duration::from_secs(10);

/// How long a caller waits for its result: longer than the longest page of a listing takes, so what
/// takes this long hangs. A write may still be committed afterwards.
const RESULT_WAIT: Duration = Duration::from_secs(30);

/// What a job needs of its transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Reads by key: short, so that several may share a transaction.
    Points,
    /// Reads of any length.
    Scan,
    /// A transaction of its own that can write.
    Write,
}

/// A closure as a connection thread runs it.
pub(super) trait Job: Send {
    fn kind(&self) -> Kind;
    /// Whether the caller has stopped waiting for the result; such a job is skipped if it has not
    /// begun.
    fn abandoned(&self) -> bool;
    /// Runs the closure; true where its transaction is to be kept. May be called again after a lost
    /// race.
    fn run(&mut self, tx: &mut Tx<'_>) -> bool;
    /// Sends the closure's result, or the error of its transaction.
    fn send_result(self: Box<Self>, fate: Result<()>);
}

/// Where jobs wait for a connection thread.
pub(super) trait Queue: Sync {
    /// Adds the job; waits for a bounded time while the queue is full.
    ///
    /// # Errors
    /// [`Error::Unavailable`] where the queue stays full or is closed.
    fn push(&self, job: Box<dyn Job>) -> impl Future<Output = Result<()>> + Send;
}

/// The queue of threads that take jobs in their order.
pub(super) struct Sender(mpsc::Sender<Box<dyn Job>>);

pub(super) type Receiver = mpsc::Receiver<Box<dyn Job>>;

/// A queue in which so many jobs may wait.
pub(super) fn queue(capacity: usize) -> (Sender, Receiver) {
    let (sender, receiver) = mpsc::channel(capacity);
    (Sender(sender), receiver)
}

impl Queue for Sender {
    async fn push(&self, job: Box<dyn Job>) -> Result<()> {
        match self.0.try_send(job) {
            Ok(()) => Ok(()),
            Err(mpsc::error::TrySendError::Full(job)) => {
                match tokio::time::timeout(QUEUE_WAIT, self.0.send(job)).await {
                    Ok(Ok(())) => Ok(()),
                    Ok(Err(_)) => Err(closed()),
                    Err(_) => Err(full()),
                }
            }
            Err(mpsc::error::TrySendError::Closed(_)) => Err(closed()),
        }
    }
}

struct Call<F, T, E> {
    work: F,
    kind: Kind,
    outcome: Option<Result<T, E>>,
    reply: oneshot::Sender<Result<T, E>>,
}

impl<F, T, E> Job for Call<F, T, E>
where
    F: Fn(&mut Tx<'_>) -> Result<T, E> + Send,
    T: Send,
    E: From<Error> + Send,
{
    fn kind(&self) -> Kind {
        self.kind
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
pub(super) async fn submit<F, T, E>(queue: &impl Queue, kind: Kind, work: F) -> Result<T, E>
where
    F: Fn(&mut Tx<'_>) -> Result<T, E> + Send + 'static,
    T: Send + 'static,
    E: From<Error> + Send + 'static,
{
    let (reply, result) = oneshot::channel();
    let job: Box<dyn Job> = Box::new(Call {
        work,
        kind,
        outcome: None,
        reply,
    });
    queue.push(job).await?;
    #[cfg(any(test, feature = "testing"))]
    let result = crate::two_polls::in_two_polls(result);
    match tokio::time::timeout(RESULT_WAIT, result).await {
        Ok(Ok(result)) => result,
        Ok(Err(_)) => Err(E::from(closed())),
        Err(_) => Err(E::from(Error::Unavailable(
            "a transaction took too long; it may yet be committed".to_owned(),
        ))),
    }
}

pub(super) fn closed() -> Error {
    Error::Unavailable("the index is closed".to_owned())
}

pub(super) fn full() -> Error {
    Error::Unavailable("too many transactions are waiting".to_owned())
}
