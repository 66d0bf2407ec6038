//! The request rate limit: addresses until a caller is authenticated, authenticated callers after.
//!
//! A request is charged to the identity that it proves. Only requests that prove none are charged
//! to their address, and only such requests can exhaust it: nobody spends another caller's budget
//! by sending its key id, and no header text makes a new budget.

use std::hash::{BuildHasher as _, Hash, RandomState};
use std::net::IpAddr;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use governor::clock::{Clock as _, DefaultClock};
use governor::{DefaultDirectRateLimiter, Quota};
use quick_cache::sync::Cache;
use wharfinger_iam::Caller;

use crate::service_error::ServiceError;

/// Budgets remembered at once, of some 150 bytes each. The least used are forgotten first and start
/// full again.
const BUDGETS: usize = 16 * 1024;

/// The rate at which one caller may send requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RateLimitConfig {
    pub per_second: u32,
    pub burst: u32,
}

/// The rate limiter of one server.
pub(crate) struct RateLimiter {
    quota: Quota,
    budgets: Cache<u64, Arc<DefaultDirectRateLimiter>>,
    /// Addresses whose budget ran out, until it allows a request again.
    exhausted: Cache<u64, Instant>,
    hasher: RandomState,
    clock: DefaultClock,
}

/// Who a budget belongs to.
#[derive(Hash)]
enum BudgetKey<'a> {
    Address(IpAddr),
    Caller(&'a str),
}

impl RateLimiter {
    pub(crate) fn new(config: RateLimitConfig) -> Self {
        let at_least_one = |count| NonZeroU32::new(count).unwrap_or(NonZeroU32::MIN);
        Self {
            quota: Quota::per_second(at_least_one(config.per_second))
                .allow_burst(at_least_one(config.burst)),
            budgets: Cache::new(BUDGETS),
            exhausted: Cache::new(BUDGETS),
            hasher: RandomState::new(),
            clock: DefaultClock::default(),
        }
    }

    /// Starts a request from `peer`.
    ///
    /// # Errors
    /// [`ServiceError::TooManyRequests`] if unauthenticated requests exhausted the address.
    pub(crate) fn admit(self: &Arc<Self>, peer: IpAddr) -> Result<Arc<Admission>, ServiceError> {
        let address = self.hasher.hash_one(BudgetKey::Address(network(peer)));
        if let Some(until) = self.exhausted.get(&address) {
            let now = self.clock.now();
            if now < until {
                let retry_after = until.duration_since(now);
                return Err(ServiceError::TooManyRequests { retry_after });
            }
            self.exhausted.remove(&address);
        }
        Ok(Arc::new(Admission {
            limiter: Arc::clone(self),
            address,
            identified: AtomicBool::new(false),
        }))
    }

    /// Takes one request from a budget; if there is none left, the time until there is.
    fn charge(&self, key: u64) -> Result<(), Duration> {
        let budget = self.budgets.get(&key).unwrap_or_else(|| {
            let budget = Arc::new(DefaultDirectRateLimiter::direct(self.quota));
            self.budgets.insert(key, Arc::clone(&budget));
            budget
        });
        budget
            .check()
            .map_err(|refused| refused.wait_time_from(self.clock.now()))
    }
}

/// One request's claim on the rate limit. A request that ends without an authenticated caller is
/// charged to its address.
pub(crate) struct Admission {
    limiter: Arc<RateLimiter>,
    address: u64,
    identified: AtomicBool,
}

impl Admission {
    /// Charges the request to its authenticated caller instead of its address.
    ///
    /// # Errors
    /// [`ServiceError::TooManyRequests`].
    pub(crate) fn admit_caller(&self, caller: &Caller) -> Result<(), ServiceError> {
        if self.identified.swap(true, Relaxed) {
            return Ok(());
        }
        let identity = caller.budget_id().unwrap_or(caller.arn().as_str());
        let key = self.limiter.hasher.hash_one(BudgetKey::Caller(identity));
        self.limiter
            .charge(key)
            .map_err(|retry_after| ServiceError::TooManyRequests { retry_after })
    }
}

impl Drop for Admission {
    fn drop(&mut self) {
        if *self.identified.get_mut() {
            return;
        }
        if let Err(wait) = self.limiter.charge(self.address) {
            let until = self.limiter.clock.now() + wait;
            self.limiter.exhausted.insert(self.address, until);
        }
    }
}

impl std::fmt::Debug for Admission {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Admission").finish_non_exhaustive()
    }
}

/// The network that counts as one sender: an IPv6 subscriber has a whole /64.
pub(crate) fn network(peer: IpAddr) -> IpAddr {
    match peer.to_canonical() {
        IpAddr::V6(address) => {
            let [a, b, c, d, ..] = address.segments();
            [a, b, c, d, 0, 0, 0, 0].into()
        }
        address @ IpAddr::V4(_) => address,
    }
}

#[cfg(test)]
mod tests {
    use wharfinger_aws::AccountId;

    use super::*;

    const PEER: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

    fn limiter(burst: u32) -> Arc<RateLimiter> {
        let per_second = 1;
        Arc::new(RateLimiter::new(RateLimitConfig { per_second, burst }))
    }

    /// Sends a request that proves to be from `caller`, or from nobody.
    fn send(limiter: &Arc<RateLimiter>, caller: Option<&Caller>) -> Result<(), ServiceError> {
        let admission = limiter.admit(PEER)?;
        caller.map_or(Ok(()), |caller| admission.admit_caller(caller))
    }

    #[test]
    fn requests_without_proof_exhaust_their_address() {
        let limiter = limiter(2);
        // The third finds the budget empty, which the fourth is told.
        for _ in 0..3 {
            assert_eq!(send(&limiter, None), Ok(()));
        }
        let refused = send(&limiter, None).expect_err("the budget is empty");
        assert!(matches!(
            refused,
            ServiceError::TooManyRequests { retry_after } if retry_after <= Duration::from_secs(1)
        ));
    }

    #[test]
    fn an_authenticated_caller_spends_its_own_budget_only() {
        let limiter = limiter(1);
        let key = |id: &str| Caller::root(AccountId::DEV).with_access_key(id.into());
        assert_eq!(send(&limiter, Some(&key("AKIA1"))), Ok(()));
        assert!(send(&limiter, Some(&key("AKIA1"))).is_err());
        assert_eq!(send(&limiter, Some(&key("AKIA2"))), Ok(()));
        assert_eq!(send(&limiter, None), Ok(()));
    }

    #[test]
    fn a_network_of_ipv6_is_one_sender() {
        let limiter = limiter(1);
        let send = |address: &str| {
            let peer = address.parse().expect("an address");
            limiter.admit(peer).map(drop).is_ok()
        };
        assert!(send("2001:db8::1") && send("2001:db8::2"));
        assert!(!send("2001:db8::3"));
        assert!(send("2001:db8:0:1::1"));
    }
}
