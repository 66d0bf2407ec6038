//! How long a server may use what it read of identities: as long as no process has changed any, of
//! which it makes sure once a second, with one read for all that it remembers.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use wharfinger_base::Timestamp;
use wharfinger_db::Tx;

use crate::error::Error;
use crate::identity_db::IdentityDb;
use crate::store::generation::generation;

/// Longest time that a check of the generation is used. What a command of another process commits
/// is read up to 10 ms late on SQLite, so the whole stays below the second that is promised.
const MAX_CHECK_AGE: Duration = Duration::from_millis(900);
/// From this age on, one caller checks again while the others still use the last check, so that
/// they do not all read at the same time.
const REFRESH_AGE: Duration = Duration::from_millis(500);
/// Longest time that an entry is used, whatever the generation. It bounds the harm of a server of a
/// version before `V0015`, which changes identities without another generation while servers are
/// replaced one by one, and repeats records of uses that failed.
const MAX_ENTRY_AGE: Duration = Duration::from_mins(1);

/// A state of all identities in the index.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Generation(i64);

impl Generation {
    /// The state that the transaction reads.
    pub(super) fn of(tx: &mut Tx<'_>) -> Result<Self, Error> {
        Ok(Self(generation(tx)?))
    }
}

/// What was read in one transaction, about an identity or that there is none.
pub(super) struct Entry<T> {
    /// From before the read.
    at: Timestamp,
    generation: Generation,
    pub(super) value: Option<Arc<T>>,
}

impl<T> Entry<T> {
    fn stands(&self, now: Timestamp, generation: Generation) -> bool {
        self.generation == generation && is_younger(self.at, now, MAX_ENTRY_AGE)
    }
}

/// The newest check of the generation.
struct Check {
    /// From before the read, so that what changed meanwhile is still seen within
    /// [`MAX_CHECK_AGE`].
    at: Timestamp,
    generation: Generation,
    being_refreshed: AtomicBool,
}

impl Check {
    /// Whether the check may be used now; if not, the caller of this reads the generation.
    fn is_usable(&self, now: Timestamp) -> bool {
        is_younger(self.at, now, MAX_CHECK_AGE)
            && (is_younger(self.at, now, REFRESH_AGE)
                || self.being_refreshed.swap(true, Ordering::Relaxed))
    }
}

/// Knows which entries still stand.
#[derive(Default)]
pub(super) struct Freshness {
    newest: ArcSwapOption<Check>,
}

impl Freshness {
    /// Whether the entry is what the index said at most [`MAX_CHECK_AGE`] ago. Reads the index
    /// about twice a second, however many entries there are.
    pub(super) async fn stands<T>(
        &self,
        db: &IdentityDb,
        now: Timestamp,
        entry: &Entry<T>,
    ) -> Result<bool, Error> {
        let known = self.newest.load().as_deref().and_then(|check| {
            let usable = check.is_usable(now);
            usable.then_some(check.generation)
        });
        let generation = match known {
            Some(generation) => generation,
            None => {
                let generation = db.get(Generation::of).await?;
                self.learn(now, generation);
                generation
            }
        };
        Ok(entry.stands(now, generation))
    }

    /// An entry that was read now. `at` is from before the read, and `generation` from the same
    /// transaction.
    pub(super) fn entry<T>(
        &self,
        at: Timestamp,
        generation: Generation,
        value: Option<Arc<T>>,
    ) -> Arc<Entry<T>> {
        self.learn(at, generation);
        Arc::new(Entry {
            at,
            generation,
            value,
        })
    }

    /// Keeps the newest check. One that is far later is from before the clock was set back.
    fn learn(&self, at: Timestamp, generation: Generation) {
        let check = Arc::new(Check {
            at,
            generation,
            being_refreshed: AtomicBool::new(false),
        });
        self.newest.rcu(|newest| match newest {
            Some(known) if at < known.at && known.at.since(at) < MAX_CHECK_AGE => {
                Some(Arc::clone(known))
            }
            _ => Some(Arc::clone(&check)),
        });
    }
}

/// Whether less than `age` has passed from `at` until `now`. A time that is later than now is from
/// before the clock was set back, and counts as old.
fn is_younger(at: Timestamp, now: Timestamp, age: Duration) -> bool {
    at <= now && now.since(at) < age
}

#[cfg(test)]
mod tests {
    use super::*;

    fn newest(freshness: &Freshness) -> Option<(i64, i64)> {
        let newest = freshness.newest.load();
        newest
            .as_deref()
            .map(|check| (check.at.as_ms(), check.generation.0))
    }

    /// Reads end in another order than they began.
    #[test]
    fn an_older_check_does_not_replace_a_newer_one() {
        let freshness = Freshness::default();
        let learn =
            |at, generation| freshness.learn(Timestamp::from_ms(at), Generation(generation));
        learn(100_000, 1);
        learn(100_200, 2);
        learn(100_100, 1);
        assert_eq!(newest(&freshness), Some((100_200, 2)));
        learn(50_000, 3);
        assert_eq!(
            newest(&freshness),
            Some((50_000, 3)),
            "the clock was set back"
        );
    }

    #[test]
    fn a_check_is_used_for_less_than_a_second_and_refreshed_by_one() {
        let check = |age: i64| Check {
            at: Timestamp::from_ms(0),
            generation: Generation(age),
            being_refreshed: AtomicBool::new(false),
        };
        let now = Timestamp::from_ms;
        assert!(check(0).is_usable(now(499)));
        let old = check(0);
        assert!(!old.is_usable(now(500)), "the first one reads");
        assert!(old.is_usable(now(899)), "the others need not");
        assert!(!old.is_usable(now(900)));
        assert!(!check(0).is_usable(now(-1)), "the clock was set back");
    }
}
