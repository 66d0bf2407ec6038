//! Work that many requests wait for and that is done once.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

/// Work under way at once; each entry is a task that waits for its turn.
const MAX_FLIGHTS: usize = 1_024;
/// Of it, work of one registry.
const MAX_ALIKE: usize = MAX_FLIGHTS / 4 * 3;

/// Work under way by key. It goes on without those who waited for it, so it is counted.
pub(super) struct Flights<K, V>(Arc<Mutex<HashMap<K, watch::Receiver<Option<V>>>>>);

impl<K, V> Clone for Flights<K, V> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<K, V> Default for Flights<K, V> {
    fn default() -> Self {
        Self(Arc::default())
    }
}

impl<K, V> Flights<K, V>
where
    K: Clone + Eq + Hash + Send + Sync + 'static,
    V: Clone + Send + Sync + 'static,
{
    /// The outcome of the work with this key that is under way, or else of `work`, which then runs
    /// to its end in a task of its own, also where nobody waits any more. `None` where the work
    /// panicked.
    pub(super) async fn join<F>(&self, key: K, work: impl FnOnce() -> F) -> Option<V>
    where
        F: Future<Output = V> + Send + 'static,
    {
        let mut outcome = {
            let mut all = self.lock();
            match all.get(&key) {
                Some(outcome) => outcome.clone(),
                None => {
                    let (sender, outcome) = watch::channel(None);
                    all.insert(key.clone(), outcome.clone());
                    let ended = Ended {
                        flights: self.clone(),
                        key,
                    };
                    let work = work();
                    tokio::spawn(async move {
                        let outcome = work.await;
                        // Whoever comes from now on looks at what the work has changed.
                        drop(ended);
                        sender.send_replace(Some(outcome));
                    });
                    outcome
                }
            }
        };
        let outcome = outcome.wait_for(Option::is_some).await;
        outcome.ok().and_then(|outcome| outcome.clone())
    }

    /// Whether so much work is under way that no other may begin, in all or among that which is
    /// `alike`: of one registry, so that it leaves a part to others.
    pub(super) fn is_full(&self, alike: impl Fn(&K) -> bool) -> bool {
        let all = self.lock();
        all.len() >= MAX_ALIKE && {
            let count = all.keys().filter(|key| alike(key)).count();
            all.len() >= MAX_FLIGHTS || count >= MAX_ALIKE
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<K, watch::Receiver<Option<V>>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Removes the entry of work that has ended, also by a panic.
struct Ended<K: Eq + Hash, V> {
    flights: Flights<K, V>,
    key: K,
}

impl<K: Eq + Hash, V> Drop for Ended<K, V> {
    fn drop(&mut self) {
        let flights = &self.flights.0;
        let mut all = flights.lock().unwrap_or_else(PoisonError::into_inner);
        all.remove(&self.key);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use futures_util::FutureExt as _;
    use futures_util::future::join_all;
    use tokio::sync::Notify;

    use super::*;

    #[tokio::test]
    async fn work_is_done_once_for_all_who_wait() {
        let flights = Flights::<u8, usize>::default();
        let (runs, go) = (Arc::new(AtomicUsize::new(0)), Arc::new(Notify::new()));
        let work = || {
            let (runs, go) = (Arc::clone(&runs), Arc::clone(&go));
            async move {
                let run = runs.fetch_add(1, Ordering::Relaxed);
                go.notified().await;
                run
            }
        };
        let all = join_all((0..20).map(|_| flights.join(1, work)));
        let release = async {
            tokio::task::yield_now().await;
            go.notify_one();
        };
        let (found, ()) = tokio::join!(all, release);
        assert_eq!(found, vec![Some(0); 20]);
        assert!(flights.lock().is_empty());
        go.notify_one();
        assert_eq!(flights.join(1, work).await, Some(1));
    }

    #[tokio::test]
    async fn work_goes_on_without_those_who_waited() {
        let flights = Flights::<u8, ()>::default();
        let (go, done) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
        let work = {
            let (go, done) = (Arc::clone(&go), Arc::clone(&done));
            || async move {
                go.notified().await;
                done.notify_one();
            }
        };
        {
            let waiting = std::pin::pin!(flights.join(1, work));
            assert!(futures_util::poll!(waiting).is_pending());
        }
        go.notify_one();
        done.notified().await;
    }

    #[tokio::test]
    async fn work_of_one_kind_leaves_a_part_to_others() {
        let flights = Flights::<(u8, usize), ()>::default();
        let begin = |kind, number| {
            let waiting = flights.join((kind, number), std::future::pending);
            assert!(waiting.now_or_never().is_none());
        };
        let is_full = |kind| flights.is_full(|(of, _)| *of == kind);
        (0..MAX_ALIKE).for_each(|number| begin(1, number));
        assert!(is_full(1));
        assert!(!is_full(2));
        (MAX_ALIKE..MAX_FLIGHTS).for_each(|number| begin(2, number));
        assert!(is_full(2) && is_full(3));
    }

    #[tokio::test]
    async fn a_panic_is_no_outcome() {
        let flights = Flights::<u8, ()>::default();
        let outcome = flights.join(1, || async { panic!("a test") });
        assert_eq!(outcome.await, None);
        assert!(flights.lock().is_empty());
    }
}
