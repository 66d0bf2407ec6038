//! Futures that wait once, for tests that run two servers in turns.

use std::future::poll_fn;
use std::pin::Pin;
use std::task::Poll;

/// Lets a future wait at its first poll, even if it is ready then: whoever runs futures in turns
/// gets the same turns again, whatever the threads of the index do meanwhile.
pub(crate) async fn in_two_polls<F: Future + Unpin>(mut future: F) -> F::Output {
    let (mut is_first, mut early) = (true, None);
    poll_fn(|context| {
        if let Some(output) = early.take() {
            return Poll::Ready(output);
        }
        let poll = Pin::new(&mut future).poll(context);
        if !std::mem::replace(&mut is_first, false) {
            return poll;
        }
        if let Poll::Ready(output) = poll {
            early = Some(output);
            context.waker().wake_by_ref();
        }
        Poll::Pending
    })
    .await
}

#[cfg(test)]
mod tests {
    use std::task::{Context, Waker};

    use super::*;

    #[test]
    fn a_future_that_is_ready_waits_once() {
        let mut future = std::pin::pin!(in_two_polls(std::future::ready(7)));
        let mut context = Context::from_waker(Waker::noop());
        assert_eq!(future.as_mut().poll(&mut context), Poll::Pending);
        assert_eq!(future.poll(&mut context), Poll::Ready(7));
    }
}
