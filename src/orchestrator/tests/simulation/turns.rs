//! Two servers that work at the same time, in turns that the dice choose.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Wake, Waker};

use tokio::sync::Notify;

use crate::tests::simulation::dice::Dice;

/// Runs both futures to their ends. Whenever the one whose turn it is would wait, it waits alone,
/// and the dice choose whose turn is next, so that a history repeats with its seed.
pub(super) async fn in_turns(
    first: Pin<Box<dyn Future<Output = ()> + '_>>,
    second: Pin<Box<dyn Future<Output = ()> + '_>>,
    dice: &mut Dice,
) {
    let mut both = [Some(first), Some(second)];
    while both.iter().any(Option::is_some) {
        let place = dice.below(both.len());
        if let Some(future) = &mut both[place]
            && turn(future.as_mut()).await
        {
            both[place] = None;
        }
    }
}

/// Polls a future once, and waits until it could go on. Returns whether it has ended.
async fn turn(future: Pin<&mut (dyn Future<Output = ()> + '_)>) -> bool {
    let turn = Arc::new(Turn(Notify::new()));
    let waker = Waker::from(Arc::clone(&turn));
    let has_ended = future.poll(&mut Context::from_waker(&waker)).is_ready();
    if !has_ended {
        turn.0.notified().await;
    }
    has_ended
}

struct Turn(Notify);

impl Wake for Turn {
    fn wake(self: Arc<Self>) {
        self.0.notify_one();
    }
}
