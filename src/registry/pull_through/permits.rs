//! Permits for imports, shared by registries so that slow upstreams of one do not hold up the
//! others.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::oneshot;

use crate::model::RegistryId;
use crate::pull_through::import_error::ImportError;

/// How long an import waits for its turn.
const WAIT: Duration = Duration::from_secs(30);
/// A registry may hold so many times the permits that are free. One alone gets three quarters of
/// all; a registry that holds none gets the last one.
const SHARE: usize = 3;

/// A number of permits. Cloning shares them.
#[derive(Clone)]
pub(super) struct Permits(Arc<Mutex<State>>);

struct State {
    shares: Shares,
    waiting: VecDeque<(RegistryId, oneshot::Sender<Permit>)>,
}

/// The right to import, until it is dropped.
pub(super) struct Permit {
    permits: Permits,
    registry: RegistryId,
}

impl Permits {
    pub(super) fn new(total: usize) -> Self {
        Self(Arc::new(Mutex::new(State {
            shares: Shares::new(total),
            waiting: VecDeque::new(),
        })))
    }

    /// A permit, once the registry has few enough of them.
    ///
    /// # Errors
    /// [`ImportError::TooManyRequests`] where that takes long.
    pub(super) async fn acquire(&self, registry: &RegistryId) -> Result<Permit, ImportError> {
        self.acquire_within(WAIT, registry).await
    }

    async fn acquire_within(
        &self,
        wait: Duration,
        registry: &RegistryId,
    ) -> Result<Permit, ImportError> {
        let late = |_| ImportError::TooManyRequests {
            retry_after: Some(wait),
        };
        tokio::time::timeout(wait, self.turn(registry))
            .await
            .map_err(late)
    }

    /// A permit, however long that takes.
    pub(super) async fn turn(&self, registry: &RegistryId) -> Permit {
        loop {
            let turn = {
                let mut state = self.lock();
                if state.shares.take(registry) {
                    return self.permit(registry);
                }
                let (sender, turn) = oneshot::channel();
                // Those who gave up meanwhile make no list that grows.
                state.waiting.retain(|(_, sender)| !sender.is_closed());
                state.waiting.push_back((registry.clone(), sender));
                turn
            };
            if let Ok(permit) = turn.await {
                return permit;
            }
        }
    }

    /// Whether somebody waits for one, of whatever registry.
    pub(super) fn is_awaited(&self) -> bool {
        let state = self.lock();
        state.waiting.iter().any(|(_, sender)| !sender.is_closed())
    }

    /// A permit, if the registry has few enough of them now.
    pub(super) fn try_acquire(&self, registry: &RegistryId) -> Option<Permit> {
        let taken = self.lock().shares.take(registry);
        taken.then(|| self.permit(registry))
    }

    fn permit(&self, registry: &RegistryId) -> Permit {
        Permit {
            permits: self.clone(),
            registry: registry.clone(),
        }
    }

    /// Takes a permit back, and gives those that are free to who waits.
    fn give(&self, registry: &RegistryId) {
        let mut unwanted = Vec::new();
        let mut state = self.lock();
        state.shares.give(registry);
        let state = &mut *state;
        loop {
            let waiting = state.waiting.iter().map(|(registry, _)| registry);
            let Some(index) = state.shares.next(waiting) else {
                break;
            };
            let Some((registry, sender)) = state.waiting.remove(index) else {
                break;
            };
            if !sender.is_closed()
                && state.shares.take(&registry)
                && let Err(permit) = sender.send(self.permit(&registry))
            {
                // Dropped outside of the lock that its drop takes.
                unwanted.push(permit);
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.permits.give(&self.registry);
    }
}

/// Who holds how many permits. Free of I/O.
struct Shares {
    free: usize,
    /// Registries that hold one at least.
    held: HashMap<RegistryId, usize>,
}

impl Shares {
    fn new(total: usize) -> Self {
        Self {
            free: total,
            held: HashMap::new(),
        }
    }

    fn held(&self, registry: &RegistryId) -> usize {
        self.held.get(registry).copied().unwrap_or(0)
    }

    /// Takes a permit for the registry, if it may have one more.
    fn take(&mut self, registry: &RegistryId) -> bool {
        if self.held(registry) >= self.free.saturating_mul(SHARE) {
            return false;
        }
        self.free -= 1;
        *self.held.entry(registry.clone()).or_default() += 1;
        true
    }

    fn give(&mut self, registry: &RegistryId) {
        if let Some(held) = self.held.get_mut(registry) {
            self.free += 1;
            *held -= 1;
            if *held == 0 {
                self.held.remove(registry);
            }
        }
    }

    /// Which of those who wait is next: of the registries that may have one more, that with the
    /// fewest, and of its requests the first.
    fn next<'a>(&self, waiting: impl Iterator<Item = &'a RegistryId>) -> Option<usize> {
        let allowed = waiting.enumerate().filter_map(|(index, registry)| {
            let held = self.held(registry);
            (held < self.free.saturating_mul(SHARE)).then_some((held, index))
        });
        allowed.min().map(|(_, index)| index)
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;
    use proptest::prelude::*;
    use wharfinger_aws::AccountId;

    use super::*;

    fn registry(number: usize) -> RegistryId {
        RegistryId {
            account: AccountId::DEV,
            region: format!("us-east-{number}").parse().expect("a region"),
        }
    }

    #[test]
    fn one_registry_leaves_permits_to_others() {
        let permits = Permits::new(16);
        let take = |number| permits.try_acquire(&registry(number));
        let mut held: Vec<_> = std::iter::from_fn(|| take(1)).collect();
        assert_eq!(held.len(), 12);
        held.extend(std::iter::from_fn(|| take(2)));
        assert_eq!(held.len(), 15);
        held.extend(std::iter::from_fn(|| take(3)));
        assert_eq!(held.len(), 16);
        assert!(take(4).is_none());
        drop(held);
        let held: Vec<_> = std::iter::from_fn(|| take(4)).collect();
        assert_eq!(held.len(), 12);
    }

    #[tokio::test]
    async fn a_permit_goes_to_who_has_the_fewest() {
        let permits = Permits::new(2);
        let (one, two) = (registry(1), registry(2));
        let first = permits.turn(&one).await;
        let second = permits.turn(&one).await;
        let mut more = Box::pin(permits.turn(&one));
        let mut gone = Box::pin(permits.turn(&two));
        let mut other = Box::pin(permits.turn(&two));
        for waiting in [&mut more, &mut gone, &mut other] {
            assert!(waiting.now_or_never().is_none());
        }
        drop(gone);
        drop(first);
        assert!((&mut more).now_or_never().is_none());
        let other = other.now_or_never().expect("a permit");
        drop(second);
        let more = more.now_or_never().expect("a permit");
        drop((other, more));
        assert_eq!(permits.lock().shares.free, 2);
        assert!(permits.lock().shares.held.is_empty());
    }

    #[tokio::test]
    async fn a_long_wait_ends() {
        let permits = Permits::new(1);
        let held = permits.turn(&registry(1)).await;
        let wait = Duration::from_millis(10);
        let waited = permits.acquire_within(wait, &registry(2)).await;
        assert!(matches!(waited, Err(ImportError::TooManyRequests { .. })));
        drop(held);
        assert!(permits.acquire(&registry(2)).await.is_ok());
    }

    proptest! {
        /// Whatever is taken and given: the numbers add up, nobody who holds none is refused while
        /// one is free, and nobody takes the last one who holds any.
        #[test]
        fn shares_add_up(
            total in 1_usize..40,
            steps in prop::collection::vec((0_usize..5, any::<bool>()), 0..200),
        ) {
            let mut shares = Shares::new(total);
            for (number, takes) in steps {
                let registry = registry(number);
                let (free, held) = (shares.free, shares.held(&registry));
                if takes {
                    let taken = shares.take(&registry);
                    prop_assert_eq!(taken, held < SHARE * free);
                    prop_assert!(taken || held > 0 || free == 0);
                } else {
                    shares.give(&registry);
                }
                let all: usize = shares.held.values().sum();
                prop_assert_eq!(all + shares.free, total);
            }
        }
    }
}
