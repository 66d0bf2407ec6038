//! Waits between attempts, longer each time.

use std::time::Duration;

use wharfinger_base::Ids;

/// Between attempts to remove what the runtime does not remove.
const FIRST_REMOVAL_RETRY: Duration = Duration::from_millis(500);
const LONGEST_REMOVAL_RETRY: Duration = Duration::from_mins(5);

/// The waits between attempts. Each is between half of and all of twice the one before, so that
/// many agents do not come back at once.
pub(crate) struct Backoff {
    first: Duration,
    longest: Duration,
    next: Duration,
    ids: Ids,
}

impl Backoff {
    pub(crate) fn new(first: Duration, longest: Duration, ids: Ids) -> Self {
        Self {
            first,
            longest,
            next: first,
            ids,
        }
    }

    /// The waits between attempts to remove something.
    pub(crate) fn of_removals(ids: Ids) -> Self {
        Self::new(FIRST_REMOVAL_RETRY, LONGEST_REMOVAL_RETRY, ids)
    }

    pub(crate) fn reset(&mut self) {
        self.next = self.first;
    }

    pub(crate) async fn wait(&mut self) {
        tokio::time::sleep(self.draw()).await;
    }

    fn draw(&mut self) -> Duration {
        let [byte] = self.ids.bytes::<1>();
        let wait = self.next / 2 + self.next * u32::from(byte) / 512;
        self.next = (self.next * 2).min(self.longest);
        wait
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_to_their_limit() {
        let second = Duration::from_secs(1);
        let mut backoff = Backoff::new(second, second * 8, Ids::seeded(3));
        for longest in [1, 2, 4, 8, 8, 8] {
            let wait = backoff.draw();
            let longest = second * longest;
            assert!((longest / 2..=longest).contains(&wait), "{wait:?}");
        }
        backoff.reset();
        assert!(backoff.draw() <= second);
    }
}
